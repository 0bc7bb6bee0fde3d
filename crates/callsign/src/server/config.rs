//! The choices a server can be given, with their bounds and the reasons for their defaults.

use std::time::Duration;

use crate::{Error, Result};

/// How a server leaves. All of it happens under one [`deadline`](Self::deadline), counted from the signal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrainConfig {
    deregister: Duration,
    propagation: Duration,
    quiet: Duration,
    streams: Option<Duration>,
    deadline: Duration,
}

/// What a server does when its first registration does not succeed within the register timeout.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnRegisterFailure {
    /// Serve, say so once in the log, and keep trying for ever.
    #[default]
    KeepTrying,
    /// Leave, with the error.
    Fail,
}

/// What a server lets its clients use up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    pub(crate) connections: u32,
    pub(crate) streams: u32,
    pub(crate) header_bytes: u32,
    pub(crate) header_timeout: Duration,
    pub(crate) keep_alive_interval: Duration,
    pub(crate) keep_alive_timeout: Duration,
}

// === impl DrainConfig ===

impl Default for DrainConfig {
    /// 2 s to deregister, then until no call has come for 1 s but at most 5 s, and 30 s for everything.
    fn default() -> Self {
        Self {
            deregister: Duration::from_secs(2),
            propagation: Duration::from_secs(5),
            quiet: Duration::from_secs(1),
            streams: None,
            deadline: Duration::from_secs(30),
        }
    }
}

impl DrainConfig {
    /// The longest wait for clients to have seen that the node left; everything is still accepted meanwhile.
    ///
    /// Clients that watch the registry know within milliseconds to a second. For clients that poll it, or that sit behind a
    /// cache, set this and [`with_quiet`](Self::with_quiet) to their period: a client that calls rarely gives no sign of
    /// what it believes.
    #[must_use]
    pub fn with_propagation(self, propagation: Duration) -> Self {
        Self { propagation, ..self }
    }

    /// How long no call must have come for the wait to end early. Health checks and reflection do not count as calls.
    #[must_use]
    pub fn with_quiet(self, quiet: Duration) -> Self {
        Self { quiet, ..self }
    }

    /// The longest wait for the registry to take the entry away. Past it, the entry goes with its time to live.
    #[must_use]
    pub fn with_deregister(self, deregister: Duration) -> Self {
        Self { deregister, ..self }
    }

    /// How long streams of replies may go on once no new calls are taken; until the deadline when not called. Those that are left
    /// then end with UNAVAILABLE and a pushback of zero, which tells their callers to begin again elsewhere at once.
    ///
    /// For streams without an end of their own, that their callers take up again: so a server need not wait for the deadline, and
    /// `run` does not count them as lost.
    #[must_use]
    pub fn with_streams(self, streams: Duration) -> Self {
        Self { streams: Some(streams), ..self }
    }

    /// When calls in flight are cut, from the signal on. Kubernetes kills after 30 s by default.
    #[must_use]
    pub fn with_deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    /// The longest wait for the registry to take the entry away.
    #[must_use]
    pub fn deregister(&self) -> Duration {
        self.deregister
    }

    /// The longest wait for clients to have seen that the node left.
    #[must_use]
    pub fn propagation(&self) -> Duration {
        self.propagation
    }

    /// How long no call must have come for that wait to end early.
    #[must_use]
    pub fn quiet(&self) -> Duration {
        self.quiet
    }

    /// How long streams of replies may go on once no new calls are taken, if not until the deadline.
    #[must_use]
    pub fn streams(&self) -> Option<Duration> {
        self.streams
    }

    /// When calls in flight are cut, from the signal on.
    #[must_use]
    pub fn deadline(&self) -> Duration {
        self.deadline
    }

    pub(crate) fn check(&self) -> Result<()> {
        let Self { deregister, propagation, quiet: _, streams: _, deadline } = self;
        if *deregister + *propagation > *deadline {
            return Err(Error::invalid(
                "configure drain",
                format!(
                    "deregistering ({deregister:?}) and propagation ({propagation:?}) may take longer than the \
                     deadline for everything ({deadline:?})"
                ),
            )
            .with_hint("raise the deadline or lower the others"));
        }
        Ok(())
    }
}

// === impl Limits ===

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            streams: 1024,
            header_bytes: 16 * 1024,
            header_timeout: Duration::from_secs(10),
            keep_alive_interval: Duration::from_secs(2 * 60 * 60),
            keep_alive_timeout: Duration::from_secs(20),
        }
    }
}

impl Limits {
    /// Most connections at a time; 10,000 by default. Further ones wait in the kernel's queue until one is closed.
    #[must_use]
    pub fn with_connections(self, connections: u32) -> Self {
        Self { connections, ..self }
    }

    /// Most calls in flight on one HTTP/2 connection; 1,024 by default. A client that nears it opens another connection.
    #[must_use]
    pub fn with_streams(self, streams: u32) -> Self {
        Self { streams, ..self }
    }

    /// Most bytes of a request's headers; 16 KiB by default.
    #[must_use]
    pub fn with_header_bytes(self, header_bytes: u32) -> Self {
        Self { header_bytes, ..self }
    }

    /// How long a client may take to say which protocol it speaks, and over HTTP/1 to send a request's headers; 10 s by
    /// default. What holds a connection open without speaking must not hold it for ever.
    #[must_use]
    pub fn with_header_timeout(self, header_timeout: Duration) -> Self {
        Self { header_timeout, ..self }
    }

    /// How often a silent HTTP/2 connection is tried with a ping, and how long the answer may take; 2 h and 20 s by default
    /// (gRFC A9). A client that vanished without a word is found out by it.
    #[must_use]
    pub fn with_keep_alive(self, interval: Duration, timeout: Duration) -> Self {
        Self { keep_alive_interval: interval, keep_alive_timeout: timeout, ..self }
    }

    pub(crate) fn check(&self) -> Result<()> {
        let Self {
            connections,
            streams,
            header_bytes,
            header_timeout,
            keep_alive_interval,
            keep_alive_timeout,
        } = self;
        let problem = if *connections == 0 {
            "0 connections".to_owned()
        } else if *streams == 0 {
            "0 streams a connection".to_owned()
        } else if *header_bytes < HEADER_BYTES_MIN {
            format!("{header_bytes} bytes of headers, and {HEADER_BYTES_MIN} is the least that calls fit in")
        } else if header_timeout.is_zero() || keep_alive_interval.is_zero() || keep_alive_timeout.is_zero() {
            "a time of zero".to_owned()
        } else {
            return Ok(());
        };
        Err(Error::invalid("configure limits", format!("no server can work with {problem}")))
    }
}

/// The headers of a plain gRPC call take a few hundred bytes; HTTP/1 needs a buffer of this size.
const HEADER_BYTES_MIN: u32 = 8 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid() {
        DrainConfig::default().check().unwrap();
        Limits::default().check().unwrap();
    }

    #[test]
    fn what_cannot_work_is_refused_by_name() {
        let second = Duration::from_secs(1);
        let error = DrainConfig::default().with_deadline(second).check().unwrap_err();
        assert!(error.to_string().contains("propagation (5s)"), "{error}");
        for (limits, said) in [
            (Limits::default().with_connections(0), "0 connections"),
            (Limits::default().with_streams(0), "0 streams"),
            (Limits::default().with_header_bytes(100), "100 bytes"),
            (Limits::default().with_header_timeout(Duration::ZERO), "zero"),
            (Limits::default().with_keep_alive(Duration::ZERO, second), "zero"),
        ] {
            let error = limits.check().unwrap_err();
            assert!(error.to_string().contains(said), "{error}");
        }
    }
}
