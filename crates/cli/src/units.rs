//! Durations and numbers, as people write and read them.

use std::time::Duration;

/// Reads `500ms`, `2s`, `1m30s`, `1.5h`: what Go reads too, so that its settings mean the same here.
///
/// # Errors
///
/// What is wrong with it, as a sentence.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let problem =
        |what: &str| Err(format!("{text:?} is not a duration: {what}; write it like 500ms, 2s or 1m30s"));
    let mut rest = text.trim();
    if rest.is_empty() {
        return problem("it is empty");
    }
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let unit_end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let Ok(number) = number.parse::<f64>() else {
            return problem("there is no number before the unit");
        };
        let scale = match unit {
            "ns" => 1e-9,
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            "" => return problem("the unit is missing"),
            _ => return problem(&format!("{unit:?} is no unit")),
        };
        seconds += number * scale;
        rest = tail;
    }
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        Ok(_) => problem("it must be longer than nothing"),
        Err(_) => problem("it is too long"),
    }
}

/// Three digits and a unit: `842 µs`, `1.24 ms`, `12.0 s`.
pub(crate) fn short(duration: Duration) -> String {
    let micros = duration.as_secs_f64() * 1e6;
    let (value, unit) = match micros {
        _ if micros < 999.5 => (micros, "µs"),
        _ if micros < 999_500.0 => (micros / 1e3, "ms"),
        _ => (micros / 1e6, "s"),
    };
    match value {
        _ if unit == "µs" => format!("{value:.0} {unit}"),
        _ if value < 9.995 => format!("{value:.2} {unit}"),
        _ if value < 99.95 => format!("{value:.1} {unit}"),
        _ => format!("{value:.0} {unit}"),
    }
}

/// How long ago, roughly: `12s`, `5m`, `3h`, `9d`.
pub(crate) fn age(duration: Duration) -> String {
    match duration.as_secs() {
        seconds @ 0..=119 => format!("{seconds}s"),
        seconds @ 120..=7199 => format!("{}m", seconds / 60),
        seconds @ 7200..=172_799 => format!("{}h", seconds / 3600),
        seconds => format!("{}d", seconds / 86400),
    }
}

/// `12,345`.
pub(crate) fn thousands(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 node`, `2 nodes`.
pub(crate) fn count(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{} {what}s", thousands(count as u64)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        for (text, millis) in
            [("500ms", 500), ("2s", 2000), ("1m30s", 90_000), ("1.5h", 5_400_000), ("1000us", 1)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for (text, said) in [
            ("", "empty"),
            ("5", "unit is missing"),
            ("s", "no number"),
            ("5 parsecs", "no unit"),
            ("0s", "longer than nothing"),
            ("-1s", "no number"),
            ("1e99h", "no unit"),
            ("99999999999999999999h", "too long"),
            ("1.2.3s", "no number"),
        ] {
            let error = parse_duration(text).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_is_too_odd_to_be_read_as_a_duration(text in ".{0,12}", number in 0_u32..10_000, unit in "ns|us|ms|s|m|h|[a-z]") {
            let _ = parse_duration(&text);
            let read = parse_duration(&format!("{number}{unit}"));
            proptest::prop_assert_eq!(read.is_ok(), number > 0 && !unit.is_empty() && ["ns", "us", "ms", "s", "m", "h"].contains(&&*unit));
        }
    }

    #[test]
    fn durations_are_written_with_three_digits() {
        for (nanos, text) in [
            (400, "0 µs"),
            (842_000, "842 µs"),
            (999_700, "1.00 ms"),
            (1_240_000, "1.24 ms"),
            (99_960_000, "100 ms"),
            (12_000_000_000, "12.0 s"),
        ] {
            assert_eq!(short(Duration::from_nanos(nanos)), text);
        }
    }

    #[test]
    fn counts_are_grouped() {
        assert_eq!([0, 999, 1000, 1_234_567].map(thousands), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(count(1, "node"), "1 node");
        assert_eq!(count(0, "node"), "0 nodes");
    }
}
