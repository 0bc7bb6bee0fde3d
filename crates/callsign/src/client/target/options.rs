//! What stands behind the `?`, as `key=value`, each key once.

use std::{borrow::Cow, ops::RangeInclusive, str::FromStr, time::Duration};

use callsign_core::{Error, Result};
use percent_encoding::percent_decode_str;

const OP: &str = "read target";

/// The options that there are; `label.` is followed by the label's key.
pub(super) const KEYS: [&str; 44] = [
    "aperture",
    "blackout",
    "ca",
    "cert",
    "choices",
    "clients",
    "decay",
    "domain",
    "endpoint",
    "error_charge",
    "error_penalty",
    "expiry",
    "floor",
    "group",
    "hash",
    "health",
    "health.check",
    "health.consecutive",
    "health.deviations",
    "health.ejected_percent_max",
    "health.ejection",
    "health.failed_percent",
    "health.interval",
    "hot",
    "key",
    "label.",
    "max_load",
    "metrics",
    "name",
    "near",
    "prefer",
    "probes",
    "server_name",
    "service_config",
    "slow_start",
    "split",
    "strategy",
    "subset",
    "timeout",
    "tls",
    "version",
    "wait_for_ready",
    "weight",
    "zone",
];

/// The options that nobody has taken yet.
pub(super) struct Options<'a> {
    /// The whole target, for messages.
    target: &'a str,
    left: Vec<Value<'a>>,
}

/// What one option is set to.
#[derive(Clone, Copy)]
pub(super) struct Value<'a> {
    target: &'a str,
    key: &'a str,
    encoded: &'a str,
}

// === impl Options ===

impl<'a> Options<'a> {
    pub(super) fn read(target: &'a str, query: &'a str) -> Result<Self> {
        let mut left: Vec<Value<'_>> = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let Some((key, encoded)) = pair.split_once('=') else {
                return Err(malformed(target, &format!("the option {pair:?} has no value")));
            };
            if left.iter().any(|known| known.key == key) {
                return Err(malformed(target, &format!("the option {key} is given twice")));
            }
            let is_label = key.strip_prefix("label.").map(|label| !label.is_empty());
            if !is_label.unwrap_or_else(|| KEYS.contains(&key)) {
                return Err(unknown(target, key));
            }
            left.push(Value { target, key, encoded });
        }
        Ok(Self { target, left })
    }

    /// The value of one of [`KEYS`], if it is given.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Value<'a>> {
        debug_assert!(KEYS.contains(&key), "{key} is an option that nobody can give");
        let at = self.left.iter().position(|value| value.key == key)?;
        Some(self.left.swap_remove(at))
    }

    pub(super) fn has(&self, key: &'static str) -> bool {
        self.left.iter().any(|value| value.key == key)
    }

    /// All labels, each with its value, in the order given.
    pub(super) fn take_labels(&mut self) -> Result<Vec<(String, String)>> {
        let target = self.target;
        let (labels, left) = std::mem::take(&mut self.left)
            .into_iter()
            .partition::<Vec<_>, _>(|value| value.key.starts_with("label."));
        self.left = left;
        labels
            .into_iter()
            .map(|value| Ok((decode(target, &value.key["label.".len()..])?, value.text()?)))
            .collect()
    }

    /// What is read of the target must have been all of it.
    pub(super) fn expect_none_left(self) {
        let left: Vec<_> = self.left.iter().map(|value| value.key).collect();
        debug_assert!(left.is_empty(), "nobody reads {left:?}");
    }

    /// An error about the target as a whole.
    pub(super) fn malformed(&self, problem: &str) -> Error {
        malformed(self.target, problem)
    }

    /// Text of the target without its percent signs.
    pub(super) fn decode(&self, part: &str) -> Result<String> {
        decode(self.target, part)
    }
}

// === impl Value ===

impl Value<'_> {
    pub(super) fn text(&self) -> Result<String> {
        decode(self.target, self.encoded)
    }

    /// A number as in `1.25`. Whoever asks for it has bounds for it; that it is one, is all that is checked here.
    pub(super) fn number(&self) -> Result<f64> {
        self.parse("a number such as 1.25")
    }

    /// A whole number.
    pub(super) fn count<N: TryFrom<u32>>(&self, range: RangeInclusive<u32>) -> Result<N> {
        let expected = match (range.start(), range.end()) {
            (least, &u32::MAX) => format!("a whole number from {least}"),
            (least, most) => format!("a whole number from {least} to {most}"),
        };
        let number: u32 = self.parse(&expected)?;
        match N::try_from(number) {
            Ok(number_fits) if range.contains(&number) => Ok(number_fits),
            _ => Err(self.wrong(&expected)),
        }
    }

    /// `250ms`, `2s`, `1.5s`, `1m`, `1h`; never zero.
    pub(super) fn duration(&self) -> Result<Duration> {
        let text = self.text()?;
        duration(&text).ok_or_else(|| {
            malformed(self.target, &format!("the {} {text:?} is not like 250ms, 2s or 1m", self.key))
        })
    }

    /// Two durations with a comma between them.
    pub(super) fn durations(&self) -> Result<(Duration, Duration)> {
        let text = self.text()?;
        let both = text.split_once(',').and_then(|(one, two)| Some((duration(one)?, duration(two)?)));
        both.ok_or_else(|| self.wrong("two times like 30s,5m"))
    }

    pub(super) fn flag(&self) -> Result<bool> {
        self.parse("true or false")
    }

    /// Says that the value is not what it should be.
    pub(super) fn wrong(&self, expected: &str) -> Error {
        let text = self.text().unwrap_or_else(|_| self.encoded.to_owned());
        malformed(self.target, &format!("{} is {text:?}, not {expected}", self.key))
    }

    /// Says that the option does not go with the rest of the target.
    pub(super) fn idle(&self, why: &str) -> Error {
        malformed(self.target, &format!("the option {} {why}", self.key))
    }

    fn parse<T: FromStr>(&self, expected: &str) -> Result<T> {
        self.text()?.parse().map_err(|_| self.wrong(expected))
    }
}

fn decode(target: &str, part: &str) -> Result<String> {
    percent_decode_str(part)
        .decode_utf8()
        .map(Cow::into_owned)
        .map_err(|_| malformed(target, "what its percent signs stand for is not UTF-8"))
}

fn duration(text: &str) -> Option<Duration> {
    let at = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(at);
    let number: f64 = number.parse().ok()?;
    let seconds = match unit {
        "ms" => number / 1000.0,
        "s" => number,
        "m" => number * 60.0,
        "h" => number * 3600.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(seconds).ok().filter(|duration| !duration.is_zero())
}

fn malformed(target: &str, problem: &str) -> Error {
    Error::invalid(OP, format!("{:?} is malformed: {problem}", without_user(target)))
}

/// The text without what stands between the scheme and an `@`: it may be a password, and errors are shown to everybody.
fn without_user(target: &str) -> Cow<'_, str> {
    match (target.split_once("://"), target.rsplit_once('@')) {
        (Some((scheme, _)), Some((before, after))) if before.len() > scheme.len() => {
            format!("{scheme}://...@{after}").into()
        }
        _ => target.into(),
    }
}

fn unknown(target: &str, key: &str) -> Error {
    let near = KEYS.iter().min_by_key(|known| strsim::damerau_levenshtein(key, known));
    let hint = match near {
        Some(known) if strsim::damerau_levenshtein(key, known) <= 2 => format!("did you mean `{known}`?"),
        _ => format!("known are {}", KEYS.join(", ")),
    };
    malformed(target, &format!("there is no option {key:?}")).with_hint(hint)
}
