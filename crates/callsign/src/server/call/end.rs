//! What ends a call before its handler does: its caller's deadline, or the server's leaving.

use std::time::Duration;

use http::{Request, header::HeaderName};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tonic::{Status, metadata::MetadataValue};

use super::refusal::PUSHBACK;
use crate::{
    Deadline,
    client::Code,
    grpc_timeout::{self, FORM},
};

static TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// What can end a call early.
#[derive(Debug, Clone)]
pub(crate) struct End {
    time: Option<Time>,
    cut: CancellationToken,
}

/// The time that the caller gave.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Time {
    pub(crate) deadline: Deadline,
    pub(crate) given: Duration,
}

/// Why a call was ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// Its caller waits no longer.
    Expired(Duration),
    /// The server leaves, and its time to finish calls is over.
    Leaving,
}

// === impl End ===

impl End {
    pub(crate) fn new(time: Option<Time>, cut: CancellationToken) -> Self {
        Self { time, cut }
    }

    /// The same for the reply, which may be cut sooner than the handler.
    pub(crate) fn cut_by(self, cut: CancellationToken) -> Self {
        Self { cut, ..self }
    }

    /// Whether something has ended the call already.
    pub(crate) fn reached(&self) -> Option<Why> {
        match self.time {
            Some(time) if time.deadline.has_passed() => Some(Why::Expired(time.given)),
            _ => self.cut.is_cancelled().then_some(Why::Leaving),
        }
    }

    pub(crate) async fn wait(self) -> Why {
        let expired = async {
            match self.time {
                Some(Time { deadline, given }) => {
                    sleep_until(deadline.at()).await;
                    given
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            given = expired => Why::Expired(given),
            () = self.cut.cancelled() => Why::Leaving,
        }
    }
}

// === impl Time ===

impl Time {
    /// What a gRPC request received at `now` says. None when it says nothing, or more than the clock can hold.
    pub(crate) fn of<B>(request: &Request<B>, now: Instant) -> Result<Option<Self>, Status> {
        let Some(value) = request.headers().get(&TIMEOUT) else { return Ok(None) };
        let given = grpc_timeout::parse(value)
            .ok_or_else(|| Status::invalid_argument(format!("grpc-timeout is {value:?}, not {FORM}")))?;
        Ok(now.checked_add(given).map(|at| Self { deadline: Deadline::new(at), given }))
    }
}

// === impl Why ===

impl Why {
    /// The status that it comes to.
    pub(crate) fn code(self) -> Code {
        match self {
            Self::Expired(_) => Code::DeadlineExceeded,
            Self::Leaving => Code::Unavailable,
        }
    }

    /// What a caller is told whose handler had begun.
    pub(crate) fn status(self) -> Status {
        match self {
            Self::Expired(given) => Status::deadline_exceeded(format!(
                "the handler did not end within the {given:?} it was given"
            )),
            Self::Leaving => {
                let mut status =
                    Status::unavailable("the server is shutting down and its time to finish calls is over");
                // Again at once, somewhere else.
                status.metadata_mut().insert(PUSHBACK, MetadataValue::from_static("0"));
                status
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &'static str) -> Result<Option<Time>, Status> {
        Time::of(&Request::builder().header("grpc-timeout", text).body(()).unwrap(), Instant::now())
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_counts_from_the_request() {
        let deadline = time("5S").unwrap().unwrap().deadline;
        assert_eq!(deadline.remaining(), Duration::from_secs(5));
        assert!(Time::of(&Request::new(()), Instant::now()).unwrap().is_none());
        assert_eq!(time("0n").unwrap().unwrap().deadline.remaining(), Duration::ZERO);
    }

    #[test]
    fn a_time_that_is_none_is_an_invalid_argument() {
        let status = time("soon").unwrap_err();
        assert_eq!(status.code(), tonic::Code::InvalidArgument);
        assert!(status.message().starts_with("grpc-timeout is \"soon\", not up to eight digits"), "{status}");
    }

    #[tokio::test(start_paused = true)]
    async fn whichever_comes_first_ends_the_call() {
        let cut = CancellationToken::new();
        let end = End::new(time("5S").unwrap(), cut.clone());
        assert_eq!(end.reached(), None);
        assert_eq!(end.clone().wait().await, Why::Expired(Duration::from_secs(5)));
        assert_eq!(end.reached(), Some(Why::Expired(Duration::from_secs(5))));

        let end = End::new(time("5S").unwrap(), cut.clone());
        cut.cancel();
        assert_eq!(end.reached(), Some(Why::Leaving));
        assert_eq!(end.wait().await, Why::Leaving);
    }
}
