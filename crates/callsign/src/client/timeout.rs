//! A call's time: from its request, its options and the channel, and said to people.

use std::{fmt, time::Duration};

use http::HeaderMap;
use tokio::time::Instant;

use super::{Code, channel::Settings, failure::Failure, names, options::CallOptions};
pub(crate) use crate::grpc_timeout::format;
use crate::grpc_timeout::{FORM, parse};

/// A call's time.
#[derive(Clone, Copy)]
pub(crate) struct Time {
    /// When the wait for the head of the response is over.
    pub(crate) head: Option<Instant>,
    /// Whether that is for the whole of it too, since the caller or the channel has set the time.
    asked: bool,
    pub(crate) timeout: Duration,
}

// === impl Time ===

impl Time {
    /// For a call that is not made.
    pub(crate) const NONE: Self = Self { head: None, asked: false, timeout: Duration::ZERO };

    /// When the whole of the response is over, if a time was set for it.
    pub(crate) fn whole(&self) -> Option<Instant> {
        self.head.filter(|_| self.asked)
    }

    /// What the request itself, its options and the channel say, the shortest of them.
    pub(crate) fn of(
        headers: &HeaderMap,
        options: &CallOptions,
        settings: &Settings,
        now: Instant,
    ) -> Result<Self, Failure> {
        let wire = match headers.get(&names::TIMEOUT) {
            None => None,
            Some(value) => Some(parse(value).ok_or_else(|| {
                Failure::new(Code::InvalidArgument, format!("grpc-timeout is {value:?}, not {FORM}"))
            })?),
        };
        let asked = match (wire, options.timeout.or(settings.timeout)) {
            (Some(wire), Some(own)) => Some(wire.min(own)),
            (wire, own) => wire.or(own),
        };
        Ok(match asked {
            Some(timeout) => {
                let deadline = now.checked_add(timeout);
                Self { head: deadline, asked: true, timeout }
            }
            None => {
                let head = settings.default_timeout.and_then(|timeout| now.checked_add(timeout));
                Self { head, asked: false, timeout: settings.default_timeout.unwrap_or_default() }
            }
        })
    }
}

/// A duration as a person writes it: `2 s`, `250 ms`, `1.5 s`.
pub(crate) struct Readable(pub(crate) Duration);

impl fmt::Display for Readable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        match millis {
            0 => write!(f, "{} µs", self.0.as_micros()),
            _ if millis < 1000 => write!(f, "{millis} ms"),
            _ if millis.is_multiple_of(1000) => write!(f, "{} s", millis / 1000),
            _ => write!(f, "{:.1} s", self.0.as_secs_f64()),
        }
    }
}
