//! The time that a caller gives, as gRPC writes it in the header `grpc-timeout`: up to eight digits and a unit.

use std::time::Duration;

use http::HeaderValue;

/// What a timeout is, for those whose timeout is none.
pub(crate) const FORM: &str = "up to eight digits and one of the units n, u, m, S, M, H";

/// Most digits that gRPC allows in a timeout.
const DIGITS_MAX: usize = 8;

/// The smallest unit in which gRPC writes a timeout goes first, for precision.
const UNITS: [(char, u128); 6] = [
    ('n', 1),
    ('u', 1_000),
    ('m', 1_000_000),
    ('S', 1_000_000_000),
    ('M', 60_000_000_000),
    ('H', 3_600_000_000_000),
];

/// Reads a `grpc-timeout`: up to eight digits and a unit.
pub(crate) fn parse(value: &HeaderValue) -> Option<Duration> {
    let text = value.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > DIGITS_MAX || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    let (_, nanos) = UNITS.iter().find(|(name, _)| unit.starts_with(*name))?;
    let nanos = u128::from(number) * nanos;
    Some(Duration::new((nanos / 1_000_000_000) as u64, (nanos % 1_000_000_000) as u32))
}

/// Writes a `grpc-timeout`, rounded up, so that the node does not give up before we do.
pub(crate) fn format(timeout: Duration) -> HeaderValue {
    let nanos = timeout.as_nanos();
    let limit = 10_u128.pow(DIGITS_MAX as u32);
    let text = UNITS
        .iter()
        .map(|(name, unit)| (nanos.div_ceil(*unit), name))
        .find(|(number, _)| *number < limit)
        .map_or_else(|| format!("{}H", limit - 1), |(number, name)| format!("{number}{name}"));
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("0n"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn malformed_timeouts_are_told_from_good_ones() {
        for (text, timeout) in [
            ("5S", Some(Duration::from_secs(5))),
            ("250m", Some(Duration::from_millis(250))),
            ("1H", Some(Duration::from_secs(3600))),
            ("99999999n", Some(Duration::from_nanos(99_999_999))),
            ("999999999n", None),
            ("S", None),
            ("", None),
            ("5", None),
            ("-5S", None),
            ("+5S", None),
            ("5x", None),
            ("5 S", None),
        ] {
            assert_eq!(parse(&HeaderValue::from_static(text)), timeout, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_and_never_shorter(nanos in 0_u64..u64::MAX / 2) {
            let timeout = Duration::from_nanos(nanos);
            let read = parse(&format(timeout)).unwrap();
            prop_assert!(read >= timeout);
            prop_assert!(read <= timeout.mul_f64(1.0001) + Duration::from_nanos(1));
        }

        #[test]
        fn no_text_makes_it_panic(text in "[ -~]{0,12}") {
            let _ = parse(&HeaderValue::try_from(text).unwrap());
        }
    }
}
