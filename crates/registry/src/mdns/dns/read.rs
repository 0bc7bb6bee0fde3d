//! Reading messages that anybody may have sent.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{
    Data, Question, Read, Record, Srv, kind,
    name::{NAME_BYTES_MAX, Name},
};

/// The most questions and records that are read of one message. go-micro's have five.
const PARTS_MAX: usize = 512;

/// Reads a message, or says why it is none.
pub(in crate::mdns) fn read(bytes: &[u8]) -> Result<Read, &'static str> {
    let mut cursor = Cursor { bytes, at: 0 };
    let [id, flags, questions, answers, authorities, additional] = cursor.header()?;
    let counts = [questions, answers, authorities, additional];
    if counts.iter().map(|count| usize::from(*count)).sum::<usize>() > PARTS_MAX {
        return Err("it holds too many records");
    }
    let questions = (0..questions).map(|_| cursor.question()).collect::<Result<_, _>>()?;
    let mut records = |count| (0..count).map(|_| cursor.record()).collect::<Result<Vec<_>, _>>();
    let mut answers = records(answers)?;
    let authorities = records(authorities)?;
    answers.extend(records(additional)?);
    Ok(Read { id, flags, questions, answers, authorities })
}

/// A place in a message.
#[derive(Clone, Copy)]
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

// === impl Cursor ===

impl<'a> Cursor<'a> {
    fn header(&mut self) -> Result<[u16; 6], &'static str> {
        let mut fields = [0; 6];
        for field in &mut fields {
            *field = self.u16()?;
        }
        Ok(fields)
    }

    fn question(&mut self) -> Result<Question, &'static str> {
        Ok(Question { name: self.name()?, kind: self.u16()?, class: self.u16()? })
    }

    fn record(&mut self) -> Result<Record, &'static str> {
        let (name, kind, _class) = (self.name()?, self.u16()?, self.u16()?);
        let ttl_s = u32::from_be_bytes(self.array()?);
        let length = usize::from(self.u16()?);
        let end = self.at + length;
        if end > self.bytes.len() {
            return Err("a record ends after the message");
        }
        let data = self.data(kind, end)?;
        if self.at > end {
            return Err("a record's content is longer than it says");
        }
        self.at = end;
        Ok(Record { name, ttl_s, data })
    }

    /// The content of a record that ends at `end`.
    fn data(&mut self, kind: u16, end: usize) -> Result<Data, &'static str> {
        Ok(match kind {
            kind::A => Data::A(Ipv4Addr::from(self.array::<4>()?)),
            kind::AAAA => Data::Aaaa(Ipv6Addr::from(self.array::<16>()?)),
            kind::PTR => Data::Ptr(self.name()?),
            kind::SRV => Data::Srv(Srv {
                priority: self.u16()?,
                weight: self.u16()?,
                port: self.u16()?,
                target: self.name()?,
            }),
            kind::TXT => {
                let mut text = Vec::with_capacity(end - self.at);
                while self.at < end {
                    let length = usize::from(self.array::<1>()?[0]);
                    text.extend_from_slice(self.take(length)?);
                }
                Data::Txt(text)
            }
            _ => Data::Other,
        })
    }

    /// A name, which may go on somewhere before.
    fn name(&mut self) -> Result<Name, &'static str> {
        let mut wire = Vec::with_capacity(64);
        let mut cursor = *self;
        let (mut end, mut limit) = (None, self.at);
        loop {
            let [length] = cursor.array()?;
            match length {
                0 => break,
                1..=63 => {
                    wire.push(length);
                    wire.extend_from_slice(cursor.take(usize::from(length))?);
                    if wire.len() > NAME_BYTES_MAX {
                        return Err("a name is longer than 255 bytes");
                    }
                }
                0xc0.. => {
                    let [low] = cursor.array()?;
                    end.get_or_insert(cursor.at);
                    let to = usize::from(u16::from_be_bytes([length & 0x3f, low]));
                    // Only ever further back: there is no going round in circles.
                    if to >= limit {
                        return Err("a name goes on where it began, or later");
                    }
                    (cursor.at, limit) = (to, to);
                }
                _ => return Err("a label is of no known type"),
            }
        }
        self.at = end.unwrap_or(cursor.at);
        Ok(Name::from_wire(&wire))
    }

    fn u16(&mut self) -> Result<u16, &'static str> {
        self.array().map(u16::from_be_bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], &'static str> {
        self.take(N)?.try_into().map_err(|_| "it is cut short")
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], &'static str> {
        let end = self.at + length;
        let taken = self.bytes.get(self.at..end).ok_or("it is cut short")?;
        self.at = end;
        Ok(taken)
    }
}
