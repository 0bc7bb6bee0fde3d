//! Durations as people write them: `250ms`, `1.5s`, `10m`.

use std::{str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer, de};

use crate::clock::{self, Nanos};

#[derive(Debug, Clone, Copy, Default, PartialEq, PartialOrd)]
pub(crate) struct Span(Duration);

const UNITS: [(&str, f64); 6] =
    [("ns", 1e-9), ("us", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];

// === impl Span ===

impl Span {
    pub(crate) fn from_seconds(seconds: f64) -> Self {
        Self(Duration::from_secs_f64(seconds))
    }

    pub(crate) fn seconds(self) -> f64 {
        self.0.as_secs_f64()
    }

    pub(crate) fn nanos(self) -> Nanos {
        clock::nanos(self.seconds())
    }

    pub(crate) fn duration(self) -> Duration {
        self.0
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!("{text:?} is no duration: write a number and one of ns, us, ms, s, m, h, as in \"250ms\"")
        };
        let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = &text[number.len()..];
        let (_, seconds) = UNITS.into_iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        let number: f64 = number.parse().map_err(|_| wrong())?;
        Duration::try_from_secs_f64(number * seconds).map(Self).map_err(|_| wrong())
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}
