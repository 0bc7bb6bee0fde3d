//! gRPC's status codes, by number and by name.

use std::{fmt, str::FromStr};

use callsign_core::{Error, Result};
use http::HeaderMap;

use super::names;

/// A gRPC status code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
#[allow(missing_docs, reason = "gRPC's own names, which its documentation explains")]
pub enum Code {
    Ok = 0,
    Cancelled = 1,
    Unknown = 2,
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
    AlreadyExists = 6,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    FailedPrecondition = 9,
    Aborted = 10,
    OutOfRange = 11,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
    DataLoss = 15,
    Unauthenticated = 16,
}

/// Some status codes.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Codes(u32);

/// In the order of their numbers.
const NAMES: [(Code, &str); 17] = [
    (Code::Ok, "OK"),
    (Code::Cancelled, "CANCELLED"),
    (Code::Unknown, "UNKNOWN"),
    (Code::InvalidArgument, "INVALID_ARGUMENT"),
    (Code::DeadlineExceeded, "DEADLINE_EXCEEDED"),
    (Code::NotFound, "NOT_FOUND"),
    (Code::AlreadyExists, "ALREADY_EXISTS"),
    (Code::PermissionDenied, "PERMISSION_DENIED"),
    (Code::ResourceExhausted, "RESOURCE_EXHAUSTED"),
    (Code::FailedPrecondition, "FAILED_PRECONDITION"),
    (Code::Aborted, "ABORTED"),
    (Code::OutOfRange, "OUT_OF_RANGE"),
    (Code::Unimplemented, "UNIMPLEMENTED"),
    (Code::Internal, "INTERNAL"),
    (Code::Unavailable, "UNAVAILABLE"),
    (Code::DataLoss, "DATA_LOSS"),
    (Code::Unauthenticated, "UNAUTHENTICATED"),
];

// === impl Code ===

impl Code {
    /// The code of this number, from 0 to 16.
    #[must_use]
    pub fn from_number(number: u64) -> Option<Self> {
        let index = usize::try_from(number).ok()?;
        NAMES.get(index).map(|(code, _)| *code)
    }

    /// What a response's head or trailers say, if they do. A number that gRPC has no name for counts as
    /// [`Unknown`](Self::Unknown), as gRPC has it.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let number = headers.get(&names::STATUS)?.to_str().ok()?.parse().ok()?;
        Some(Self::from_number(number).unwrap_or(Self::Unknown))
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAMES[*self as usize].1)
    }
}

impl FromStr for Code {
    type Err = Error;

    /// Reads gRPC's name in capitals: `UNAVAILABLE`.
    fn from_str(name: &str) -> Result<Self> {
        let known = NAMES.iter().find(|(_, known)| *known == name);
        known.map(|(code, _)| *code).ok_or_else(|| {
            let error = Error::invalid("read status code", format!("gRPC has no status code {name:?}"));
            let near = NAMES
                .iter()
                .map(|(_, known)| *known)
                .min_by_key(|known| strsim::damerau_levenshtein(known, &name.to_ascii_uppercase()));
            match near {
                Some(near) => error.with_hint(format!("did you mean {near}?")),
                None => error,
            }
        })
    }
}

// === impl Codes ===

impl Codes {
    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn contains(self, code: Code) -> bool {
        self.0 & (1 << code as u32) != 0
    }
}

impl FromIterator<Code> for Codes {
    fn from_iter<I: IntoIterator<Item = Code>>(codes: I) -> Self {
        Self(codes.into_iter().fold(0, |set, code| set | 1 << code as u32))
    }
}

impl fmt::Debug for Codes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let codes = NAMES.iter().filter(|(code, _)| self.contains(*code));
        f.debug_set().entries(codes.map(|(code, _)| code)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_go_both_ways() {
        for (number, (code, name)) in NAMES.iter().enumerate() {
            assert_eq!((*code as usize, code.to_string().as_str()), (number, *name));
            assert_eq!(
                (name.parse::<Code>().unwrap(), Code::from_number(number as u64)),
                (*code, Some(*code))
            );
        }
        assert_eq!((Code::from_number(17), Code::from_number(u64::MAX)), (None, None));
    }

    #[test]
    fn a_wrong_name_gets_the_one_that_was_meant() {
        let error = "unavailable".parse::<Code>().unwrap_err();
        assert!(error.hint().unwrap().contains("UNAVAILABLE"));
    }

    #[test]
    fn a_status_that_is_no_number_says_nothing() {
        let of =
            |text: &str| Code::of(&HeaderMap::from_iter([(names::STATUS.clone(), text.parse().unwrap())]));
        assert_eq!(
            (of("14"), of("99"), of("x"), of("")),
            (Some(Code::Unavailable), Some(Code::Unknown), None, None)
        );
    }
}
