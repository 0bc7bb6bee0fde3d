//! Writing messages.

use std::collections::HashMap;

use super::{CLASS_IN, Data, Question, Record, Srv, kind, name::Name};

/// As far as a pointer to a name reaches.
const POINTER_MAX: usize = 0x3fff;
/// The longest character string of a text record.
const TEXT_PIECE_BYTES_MAX: usize = 255;

/// Whether names are written in full, or lead back to where they stood before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::mdns) enum Names {
    Full,
    Short,
}

/// What is to be written.
#[derive(Debug, Clone, Copy)]
pub(in crate::mdns) struct Message<'a> {
    pub(in crate::mdns) id: u16,
    pub(in crate::mdns) flags: u16,
    pub(in crate::mdns) questions: &'a [Question],
    pub(in crate::mdns) answers: &'a [Record],
    pub(in crate::mdns) authorities: &'a [Record],
}

/// A message under way.
struct Writer<'a> {
    bytes: Vec<u8>,
    /// Where each name, and each end of a name, stood first.
    known: Option<HashMap<&'a [u8], u16>>,
}

// === impl Message ===

impl Message<'_> {
    /// The bytes. Sections longer than 65,535 cannot be counted, and nothing here makes them.
    pub(in crate::mdns) fn write(&self, names: Names) -> Vec<u8> {
        let Self { id, flags, questions, answers, authorities } = *self;
        let known = (names == Names::Short).then(HashMap::new);
        let mut writer = Writer { bytes: Vec::with_capacity(512), known };
        let counts = [questions.len(), answers.len(), authorities.len(), 0].map(|count| count as u16);
        for field in [id, flags].into_iter().chain(counts) {
            writer.u16(field);
        }
        for question in questions {
            writer.name(&question.name, true);
            writer.u16(question.kind);
            writer.u16(question.class);
        }
        for record in answers.iter().chain(authorities) {
            writer.record(record);
        }
        writer.bytes
    }
}

// === impl Writer ===

impl<'a> Writer<'a> {
    fn record(&mut self, record: &'a Record) {
        let Record { name, ttl_s, data } = record;
        self.name(name, true);
        self.u16(match data {
            Data::A(_) => kind::A,
            Data::Aaaa(_) => kind::AAAA,
            Data::Ptr(_) => kind::PTR,
            Data::Srv(_) => kind::SRV,
            Data::Txt(_) | Data::Other => kind::TXT,
        });
        self.u16(CLASS_IN);
        self.bytes.extend_from_slice(&ttl_s.to_be_bytes());
        let length_at = self.bytes.len();
        self.u16(0);
        self.data(data);
        let length = (self.bytes.len() - length_at - 2) as u16;
        self.bytes[length_at..length_at + 2].copy_from_slice(&length.to_be_bytes());
    }

    fn data(&mut self, data: &'a Data) {
        match data {
            Data::A(address) => self.bytes.extend_from_slice(&address.octets()),
            Data::Aaaa(address) => self.bytes.extend_from_slice(&address.octets()),
            Data::Ptr(name) => self.name(name, true),
            Data::Srv(Srv { priority, weight, port, target }) => {
                [priority, weight, port].into_iter().for_each(|field| self.u16(*field));
                // In full (RFC 2782), and yet others may lead back to it.
                self.name(target, false);
            }
            Data::Txt(text) => {
                for piece in text.chunks(TEXT_PIECE_BYTES_MAX) {
                    self.bytes.push(piece.len() as u8);
                    self.bytes.extend_from_slice(piece);
                }
            }
            Data::Other => {}
        }
    }

    /// Writes a name, in short if that may be and is possible.
    fn name(&mut self, name: &'a Name, may_be_short: bool) {
        let mut rest = name.wire();
        while let Some((length, _)) = rest.split_first() {
            let here = self.bytes.len();
            if let Some(known) = &mut self.known {
                match known.get(rest).copied() {
                    Some(at) if may_be_short => return self.u16(0xc000 | at),
                    Some(_) => {}
                    None if here <= POINTER_MAX => {
                        known.insert(rest, here as u16);
                    }
                    None => {}
                }
            }
            let (label, tail) = rest.split_at(1 + usize::from(*length));
            self.bytes.extend_from_slice(label);
            rest = tail;
        }
        self.bytes.push(0);
    }

    fn u16(&mut self, value: u16) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }
}
