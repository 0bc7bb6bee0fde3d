//! A call's time: from its request, its options and the channel, and said to people.

use std::{fmt, time::Duration};

use http::HeaderMap;
use tokio::time::Instant;

use super::{
    channel::Settings,
    failure::{Code, Failure},
    names,
    options::CallOptions,
};
pub(crate) use crate::grpc_timeout::format;
use crate::grpc_timeout::{FORM, parse};

/// A call's time.
#[derive(Clone, Copy)]
pub(crate) struct Time {
    /// When the wait for the head of the response is over.
    pub(crate) head: Option<Instant>,
    /// The same for the whole of it, if the caller has set a time.
    pub(crate) whole: Option<Instant>,
    pub(crate) timeout: Duration,
}

// === impl Time ===

impl Time {
    /// What the request itself, its options and the channel say, the shortest of them.
    pub(crate) fn of(
        headers: &HeaderMap,
        options: &CallOptions,
        settings: &Settings,
        now: Instant,
    ) -> Result<Self, Failure> {
        let wire = match headers.get(&names::TIMEOUT) {
            None => None,
            Some(value) => Some(parse(value).ok_or_else(|| Failure {
                code: Code::InvalidArgument,
                message: format!("grpc-timeout is {value:?}, not {FORM}"),
            })?),
        };
        let asked = match (wire, options.timeout.or(settings.timeout)) {
            (Some(wire), Some(own)) => Some(wire.min(own)),
            (wire, own) => wire.or(own),
        };
        Ok(match asked {
            Some(timeout) => {
                let deadline = now.checked_add(timeout);
                Self { head: deadline, whole: deadline, timeout }
            }
            None => {
                let head = settings.default_timeout.and_then(|timeout| now.checked_add(timeout));
                Self { head, whole: None, timeout: settings.default_timeout.unwrap_or_default() }
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
