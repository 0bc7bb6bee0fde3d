//! Durations as protobuf writes them in JSON: seconds with up to nine decimals and an `s`.

use std::time::Duration;

use callsign_core::Result;

use super::tree::Tree;

/// The longest that protobuf knows: about ten thousand years.
const SECONDS_MAX: u64 = 315_576_000_000;

/// A duration of zero or more.
pub(super) fn read(field: &Tree<'_>) -> Result<Duration> {
    let text = field.string()?;
    match parse(text.strip_prefix('-').unwrap_or(&text)) {
        None => Err(field.error(format!("must be a duration such as \"1.5s\", and is {text:?}"))),
        Some(duration) if text.starts_with('-') && !duration.is_zero() => {
            Err(field.error(format!("must not be negative, and is {text:?}")))
        }
        Some(duration) => Ok(duration),
    }
}

/// A duration above zero.
pub(super) fn positive(field: &Tree<'_>) -> Result<Duration> {
    match read(field)? {
        Duration::ZERO => Err(field.error("must be above zero")),
        duration => Ok(duration),
    }
}

fn parse(text: &str) -> Option<Duration> {
    let number = text.strip_suffix('s')?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || fraction.len() > 9 {
        return None;
    }
    let seconds: u64 = whole.parse().ok().filter(|seconds| *seconds <= SECONDS_MAX)?;
    let nanos: u32 = format!("{fraction:0<9}").parse().ok()?;
    Some(Duration::new(seconds, nanos))
}
