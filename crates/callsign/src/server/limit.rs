//! How many calls a server works on at once, and which of them come first.

mod gate;
mod gradient;
#[cfg(test)]
mod tests;

use std::ops::RangeInclusive;

use http::{HeaderMap, HeaderName};

pub(crate) use self::gate::{Gate, Left, Place, Refused};
use crate::{Error, Result};

/// The header that says a call's [`Priority`].
static PRIORITY: HeaderName = HeaderName::from_static("callsign-priority");

/// How many calls a server works on at once. Calls over the limit are refused at once, with `RESOURCE_EXHAUSTED` and a time
/// after which to try again, so that those that are let in are answered in time.
///
/// The limit adapts: it stands at its most until calls take longer than they usually do, and comes down to what the server can
/// work on without their waiting for one another. A call counts while the server works on it: from its receipt to the head of
/// its reply, and not while the server waits for its caller to send more. So a stream of replies, however long it lasts, does not
/// count once it has begun. Health checks and reflection are never refused, and do not count.
///
/// ```
/// use callsign::server::ConcurrencyLimit;
///
/// // What a server does by itself.
/// let default = ConcurrencyLimit::adaptive();
/// // For thousands of calls that wait for something else than this server.
/// let wide = ConcurrencyLimit::adaptive().with_most(20_000);
/// // Always the same.
/// let fixed = ConcurrencyLimit::adaptive().with_least(64).with_most(64);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConcurrencyLimit {
    pub(crate) bounds: Option<RangeInclusive<u32>>,
    pub(crate) observe_only: bool,
}

/// How much a call matters when there are too many: a share of the limit up to which calls like it are let in.
///
/// A caller says it in the header `callsign-priority`, as `critical`, `default` or `sheddable`; a server may
/// [decide for itself](super::Builder::priority).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Priority {
    /// Let in up to the whole limit.
    Critical,
    /// Let in up to 90 % of the limit.
    #[default]
    Default,
    /// Let in up to 60 % of the limit: what can be done later, or not at all.
    Sheddable,
}

// === impl ConcurrencyLimit ===

impl Default for ConcurrencyLimit {
    /// [`adaptive`](Self::adaptive).
    fn default() -> Self {
        Self::adaptive()
    }
}

impl ConcurrencyLimit {
    /// Between 20 and 1,000 calls, beginning at the most.
    #[must_use]
    pub fn adaptive() -> Self {
        Self { bounds: Some(20..=1000), observe_only: false }
    }

    /// No limit.
    #[must_use]
    pub fn none() -> Self {
        Self { bounds: None, observe_only: false }
    }

    /// The least that the limit comes down to; 20 by default. Below what keeps the server busy it costs answers.
    #[must_use]
    pub fn with_least(self, calls: u32) -> Self {
        let bounds = self.bounds.map(|bounds| calls..=*bounds.end());
        Self { bounds, ..self }
    }

    /// The most that the limit grows to, and where it begins; 1,000 by default.
    #[must_use]
    pub fn with_most(self, calls: u32) -> Self {
        let bounds = self.bounds.map(|bounds| *bounds.start()..=calls);
        Self { bounds, ..self }
    }

    /// Refuses nothing, and counts what it would have refused: to see what a limit would do before it does so.
    #[must_use]
    pub fn observe_only(self) -> Self {
        Self { observe_only: true, ..self }
    }

    pub(crate) fn check(&self) -> Result<()> {
        match &self.bounds {
            Some(bounds) if *bounds.start() == 0 || bounds.is_empty() => Err(Error::invalid(
                "configure the concurrency limit",
                format!("no limit lies between {} and {} calls", bounds.start(), bounds.end()),
            )
            .with_hint("the least is 1, and the most is no less than the least; for no limit, use `none`")),
            _ => Ok(()),
        }
    }
}

// === impl Priority ===

impl Priority {
    /// What a request's headers say; [`Default`](Self::Default) if they say nothing, or what is no priority.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        match headers.get(&PRIORITY).map(http::HeaderValue::as_bytes) {
            Some(b"critical") => Self::Critical,
            Some(b"sheddable") => Self::Sheddable,
            _ => Self::Default,
        }
    }

    /// How many calls may be in flight for one like this to be let in; at least 1.
    fn share_of(self, limit: u32) -> u32 {
        let percent = match self {
            Self::Critical => 100,
            Self::Default => 90,
            Self::Sheddable => 60,
        };
        u32::try_from((u64::from(limit) * percent).div_ceil(100)).unwrap_or(limit).max(1)
    }
}
