//! The `traceparent` header: which trace, which span of it, and a few flags.
//!
//! W3C Trace Context, level 1, section 3.2. A version to come is read as far as this one goes, by its rules for that; what cannot be read
//! is taken for no header at all.

use std::fmt;

/// Whether the caller records the trace.
const SAMPLED: u8 = 1;
/// The length of `00-<32>-<16>-<2>`.
const LENGTH: usize = 55;

/// What the header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Parent {
    /// Never zero.
    pub(crate) trace: u128,
    /// Never zero.
    pub(crate) span: u64,
    pub(crate) flags: u8,
}

// === impl Parent ===

impl Parent {
    pub(crate) fn parse(value: &[u8]) -> Option<Self> {
        let (known, rest) = value.split_at_checked(LENGTH)?;
        if [known[2], known[35], known[52]] != [b'-'; 3] {
            return None;
        }
        let flags = hex(&known[53..])? as u8;
        let flags = match hex(&known[..2])? {
            0xff => return None,
            0 if rest.is_empty() => flags,
            0 => return None,
            // Of a later version only what this one knows.
            _ if rest.first().is_none_or(|next| *next == b'-') => flags & SAMPLED,
            _ => return None,
        };
        let (trace, span) = (hex(&known[3..35])?, hex(&known[36..52])? as u64);
        (trace != 0 && span != 0).then_some(Self { trace, span, flags })
    }

    pub(crate) fn is_sampled(self) -> bool {
        self.flags & SAMPLED != 0
    }
}

impl fmt::Display for Parent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { trace, span, flags } = self;
        write!(f, "00-{trace:032x}-{span:016x}-{flags:02x}")
    }
}

/// Up to 32 digits, small ones alone: the header knows no others.
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn ids() -> impl Strategy<Value = Parent> {
        (1_u128.., 1_u64.., any::<u8>()).prop_map(|(trace, span, flags)| Parent { trace, span, flags })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(parent in ids()) {
            prop_assert_eq!(Parent::parse(parent.to_string().as_bytes()), Some(parent));
        }

        #[test]
        fn no_bytes_make_it_panic_and_what_it_reads_it_writes(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Some(parent) = Parent::parse(&bytes) {
                prop_assert_eq!(Parent::parse(parent.to_string().as_bytes()), Some(parent));
            }
        }

        #[test]
        fn one_byte_changed_is_another_context_or_none(parent in ids(), at in 0_usize..LENGTH, byte in any::<u8>()) {
            let mut text = parent.to_string().into_bytes();
            let same = text[at] == byte;
            text[at] = byte;
            let read = Parent::parse(&text);
            // Of a later version, the flags beyond the first are dropped.
            let later = Parent { flags: parent.flags & SAMPLED, ..parent };
            prop_assert!(same == (read == Some(parent)) || (at < 2 && read == Some(later)), "{:?}", read);
        }

        #[test]
        fn a_later_version_is_read_as_far_as_this_one_goes(parent in ids(), version in 1_u8..0xff, more in "(-[ -~]*)?") {
            let text = format!("{version:02x}{}{more}", &parent.to_string()[2..]);
            let read = Parent::parse(text.as_bytes());
            prop_assert_eq!(read, Some(Parent { flags: parent.flags & SAMPLED, ..parent }));
        }
    }

    #[test]
    fn the_example_of_the_specification_is_read() {
        let parent = Parent::parse(GOOD.as_bytes()).unwrap();
        assert_eq!(parent.trace, 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736);
        assert_eq!((parent.span, parent.is_sampled()), (0x00f0_67aa_0ba9_02b7, true));
    }

    #[test]
    fn what_the_specification_forbids_is_no_context() {
        let upper = GOOD.to_uppercase();
        for bad in [
            "",
            "00",
            upper.as_str(),
            &GOOD.replacen("00", "ff", 1),
            &GOOD[..54],
            &format!("{GOOD}-"),
            &format!("{GOOD}-00"),
            &format!("{}x", GOOD.replacen("00", "01", 1)),
            &format!(" {GOOD}"),
            &GOOD.replace('-', "_"),
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0g",
        ] {
            assert_eq!(Parent::parse(bad.as_bytes()), None, "{bad:?}");
        }
    }
}
