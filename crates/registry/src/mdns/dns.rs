//! Messages of the Domain Name System (RFC 1035), as far as multicast DNS needs them.
//!
//! Reading takes any bytes: it never panics, follows compression only backwards, and gives up at limits that no honest
//! message comes near. Writing puts every byte where go-micro's responder does.

mod name;
mod read;
#[cfg(test)]
mod tests;
mod write;

use std::net::{Ipv4Addr, Ipv6Addr};

pub(super) use self::name::Name;
pub(super) use self::read::read;
pub(super) use self::write::{Message, Names};

/// The types of records and questions.
pub(super) mod kind {
    pub(in crate::mdns) const A: u16 = 1;
    pub(in crate::mdns) const PTR: u16 = 12;
    pub(in crate::mdns) const TXT: u16 = 16;
    pub(in crate::mdns) const AAAA: u16 = 28;
    pub(in crate::mdns) const SRV: u16 = 33;
    /// Questions alone: whatever there is.
    pub(in crate::mdns) const ANY: u16 = 255;
}

/// The class of everything on the Internet.
pub(super) const CLASS_IN: u16 = 1;
/// The top bit of a question's class: the answer is wanted by unicast. Of a record's class: older ones are void.
pub(super) const CLASS_TOP: u16 = 0x8000;

/// The flag of a response.
pub(super) const RESPONSE: u16 = 0x8000;
/// The flag of an answer by who knows.
pub(super) const AUTHORITATIVE: u16 = 0x0400;

/// A message that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Read {
    pub(super) id: u16,
    pub(super) flags: u16,
    pub(super) questions: Vec<Question>,
    /// Answers and additional records, which nobody tells apart here.
    pub(super) answers: Vec<Record>,
    pub(super) authorities: Vec<Record>,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) name: Name,
    pub(super) kind: u16,
    pub(super) class: u16,
}

/// What is known of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) name: Name,
    pub(super) ttl_s: u32,
    pub(super) data: Data,
}

/// The content of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Data {
    A(Ipv4Addr),
    Aaaa(Ipv6Addr),
    Ptr(Name),
    Srv(Srv),
    /// The character strings, joined.
    Txt(Vec<u8>),
    /// Of a type that is of no interest here.
    Other,
}

/// Where a service can be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Srv {
    pub(super) priority: u16,
    pub(super) weight: u16,
    pub(super) port: u16,
    pub(super) target: Name,
}

// === impl Read ===

impl Read {
    pub(super) fn is_response(&self) -> bool {
        self.flags & RESPONSE != 0
    }
}

// === impl Question ===

impl Question {
    /// An ordinary question.
    pub(super) fn new(name: Name, kind: u16) -> Self {
        Self { name, kind, class: CLASS_IN }
    }

    /// Whether it asks for records of this type.
    pub(super) fn wants(&self, kind: u16) -> bool {
        let class = self.class & !CLASS_TOP;
        (self.kind == kind || self.kind == kind::ANY) && (class == CLASS_IN || class == kind::ANY)
    }
}
