//! Asking nodes whether they serve, by gRPC's own health protocol (gRFC A17).
//!
//! A node that is asked is not called before it has said that it serves, and not while it says that it does not. That is the
//! node's own word and no verdict of ours: it counts at once, whatever other nodes say, and even when all say so. Calls that
//! are under way on the node go on.
//!
//! The asking is one stream on one of the node's connections, and ends with it. Where there is nobody to answer a stream
//! (`Watch`), the node is asked again and again (`Check`); where there is nobody to answer that, it is taken to serve.

use std::{pin::Pin, sync::Arc, time::Duration};

use callsign_core::{
    Error, Result,
    retry::{Backoff, Jitter},
};
use callsign_net::Connection;
use tokio::time::{sleep, timeout};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus as Status,
};

use super::{
    link::Link,
    side_call::{End, SideCall},
};

const WATCH: &str = "/grpc.health.v1.Health/Watch";
const CHECK: &str = "/grpc.health.v1.Health/Check";

/// How long a node may take for its first word.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// How often a node is asked that knows no `Watch`.
const INTERVAL: Duration = Duration::from_secs(5);

/// How nodes are asked whether they serve. They are not, unless a channel is told so.
///
/// ```
/// use callsign::client::HealthCheck;
///
/// let whole_server = HealthCheck::default();
/// let one_service = HealthCheck::of("greeter.Greeter");
/// assert_eq!(one_service.service(), "greeter.Greeter");
/// # assert_ne!(whole_server, one_service);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    service: String,
    interval: Duration,
}

/// What a node says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Word {
    /// It serves, or nobody asked.
    Serving,
    /// It has been asked and has not answered yet.
    Awaited,
    /// It does not, or does not say that it does: why.
    Not(String),
}

/// The asking of one node, on one of its connections.
pub(super) struct Asking<'a> {
    link: &'a Link,
    check: Option<&'a HealthCheck>,
    rng: fastrand::Rng,
    on: Option<(Arc<Connection>, Forever<'a>)>,
}

type Forever<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

// === impl HealthCheck ===

impl HealthCheck {
    /// Asks for one service of the nodes, as `healthCheckConfig` of a gRPC service config does. The default asks for all that a
    /// node has.
    pub fn of(service: impl Into<String>) -> Self {
        Self { service: service.into(), ..Self::default() }
    }

    /// How often a node is asked that cannot tell by itself when it changes. 5 s unless set.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](callsign_core::ErrorKind::InvalidInput) unless it is from 100 ms to an hour.
    pub fn interval(self, interval: Duration) -> Result<Self> {
        if !(Duration::from_millis(100)..=Duration::from_secs(3600)).contains(&interval) {
            let message = format!("nodes are asked every 100 ms to an hour, not every {interval:?}");
            return Err(Error::invalid("set up health checks", message));
        }
        Ok(Self { interval, ..self })
    }

    /// The service that is asked for; empty for the whole server.
    #[must_use]
    pub fn service(&self) -> &str {
        &self.service
    }

    fn request(&self) -> HealthCheckRequest {
        HealthCheckRequest { service: self.service.clone() }
    }
}

impl Default for HealthCheck {
    fn default() -> Self {
        Self { service: String::new(), interval: INTERVAL }
    }
}

// === impl Asking ===

impl<'a> Asking<'a> {
    pub(super) fn new(link: &'a Link, check: Option<&'a HealthCheck>, rng: fastrand::Rng) -> Self {
        Self { link, check, rng, on: None }
    }

    /// Asks on one of these connections; on the one that is in use, if it is among them.
    pub(super) fn keep_to(&mut self, open: &[Arc<Connection>]) {
        let Some(check) = self.check else { return };
        if self.on.as_ref().is_some_and(|(on, _)| open.iter().any(|connection| Arc::ptr_eq(on, connection))) {
            return;
        }
        let (link, rng) = (self.link, self.rng.fork());
        self.on = open.first().map(|connection| {
            let asking: Forever<'a> = Box::pin(ask(link, connection.clone(), check, rng));
            (connection.clone(), asking)
        });
    }

    /// Goes on for ever.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: it goes on where it was.
    pub(super) async fn proceed(&mut self) {
        if let Some((_, asking)) = &mut self.on {
            asking.await;
        }
        std::future::pending().await
    }
}

/// Asks for as long as it is polled, or until it turns out that there is nobody to answer.
async fn ask(link: &Link, connection: Arc<Connection>, check: &HealthCheck, mut rng: fastrand::Rng) {
    let mut pause = pauses();
    let mut method = WATCH;
    loop {
        let mut heard = false;
        let end = listen(link, &connection, method, check, &mut heard).await;
        if heard {
            pause.reset();
        }
        match end {
            End::UNIMPLEMENTED if method == WATCH => {
                method = CHECK;
                continue;
            }
            End::UNIMPLEMENTED => {
                tracing::debug!(node = %link.id, "the node knows no health checks: it is taken to serve");
                return link.hear(Word::Serving);
            }
            End::OK if heard && method == CHECK => {
                sleep(check.interval).await;
                continue;
            }
            // What it said last holds until there is room to ask again.
            End::NoRoom => {}
            End::NOT_FOUND => link.hear(Word::Not(unknown(check))),
            // A stream that ends after some words is taken up again; one without a word is no good.
            _ if heard => {}
            End::Status(code) => {
                link.hear(Word::Not(format!("it answers health checks with gRPC status {code}")));
            }
            End::Broken(why) => link.hear(Word::Not(format!("it does not answer health checks: {why}"))),
        }
        sleep(pause.next(&mut rng)).await;
    }
}

/// Passes on what the node says until it says no more.
async fn listen(
    link: &Link,
    connection: &Connection,
    method: &'static str,
    check: &HealthCheck,
    heard: &mut bool,
) -> End {
    let mut call = match SideCall::open(connection, link, method, &check.request()) {
        Ok(call) => call,
        Err(end) => return end,
    };
    loop {
        let message = call.message::<HealthCheckResponse>();
        // Once a node has spoken, the connection's own keep-alive tells whether it is still there.
        let message = if *heard && method == WATCH {
            message.await
        } else {
            let late = || Err(End::Broken(format!("no word within {ANSWER_WITHIN:?}")));
            timeout(ANSWER_WITHIN, message).await.unwrap_or_else(|_| late())
        };
        match message {
            Ok(response) => {
                *heard = true;
                link.hear(match response.status() {
                    Status::Serving => Word::Serving,
                    Status::NotServing => Word::Not("it says that it does not serve".to_owned()),
                    Status::ServiceUnknown => Word::Not(unknown(check)),
                    Status::Unknown => Word::Not("it does not know whether it serves".to_owned()),
                });
            }
            Err(end) => return end,
        }
    }
}

fn unknown(check: &HealthCheck) -> String {
    format!("it has no service {:?} to tell the health of", check.service)
}

fn pauses() -> Backoff {
    Backoff::new(Duration::from_millis(100), Duration::from_secs(30), 1.6, Jitter::Around(0.2))
        .unwrap_or_else(|_| Backoff::connections())
}
