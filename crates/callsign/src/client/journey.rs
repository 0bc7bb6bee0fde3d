//! A call's way through as many nodes as it takes: which attempt leads to another one, and which does not.

use std::{pin::Pin, sync::Arc};

use bytes::Bytes;
use callsign_core::{Node, NodeId, retry::Backoff};
use callsign_net::{Disposition, ErrorKind};
use http::{HeaderMap, Response};
use http_body::Body;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::{
    attempt::{Answer, Berth, Head},
    channel::{Channel, Settings},
    failure::{Code, Failure},
    link::describe,
    names,
    options::{CallOptions, CallReport, Tried},
    replay::Replay,
    response::{self, ResponseBody},
    roster::Roster,
    timeout::Time,
};
use crate::BoxError;

/// Most attempts of a call whose earlier ones may have been processed (gRFC A6).
const ATTEMPTS_MAX: u32 = 3;
/// Attempts that never reached an application are made at once and for free up to this many; after that with a pause in
/// between, and out of the retry budget.
const PROMPT_ATTEMPTS_MAX: u32 = 4;
/// Failed attempts that are remembered, the last ones.
const TRIED_MAX: usize = 8;

/// Why a request is not sent again.
const BODY_GONE: &str = "too much of its body was sent to be sent again";
const NO_BUDGET: &str = "the retry budget is used up";

pub(super) struct Journey {
    pub(super) since: Instant,
    pub(super) phase: Phase,
    /// The attempt under way.
    pub(super) berth: Option<Berth>,
    pub(super) attempts: u32,
    /// Apart, since hardly any call has one and it would make the future of every call larger.
    past: Option<Box<Past>>,
}

/// What a call has behind it that did not go well at once.
pub(super) struct Past {
    /// Nodes that are not to be taken again while there are others.
    pub(super) exclude: Vec<NodeId>,
    pub(super) tried: Vec<Tried>,
    /// How many more there were before those.
    pub(super) forgotten: u32,
    /// Attempts that may have been processed.
    repeats: u32,
    pause: Backoff,
}

/// What a call is waiting for.
pub(super) enum Phase {
    Node(String),
    /// For another call on the node to end.
    Room,
    Reply,
    Pause,
}

// === impl Journey ===

impl Journey {
    pub(super) fn new() -> Self {
        Self {
            since: Instant::now(),
            phase: Phase::Node(String::new()),
            berth: None,
            attempts: 0,
            past: None,
        }
    }

    pub(super) fn past(&self) -> Option<&Past> {
        self.past.as_deref()
    }

    pub(super) fn past_mut(&mut self) -> &mut Past {
        self.past.get_or_insert_default()
    }

    /// Nodes that are not to be taken again while there are others.
    pub(super) fn exclude(&self) -> &[NodeId] {
        self.past().map_or(&[], |past| &past.exclude)
    }

    /// Goes from node to node until one answers or there is no sense in going on.
    ///
    /// # Cancel safety
    ///
    /// Dropped at the deadline; what is known by then is in `self`.
    pub(super) async fn travel<B>(
        &mut self,
        channel: &Channel,
        options: &CallOptions,
        head: &mut Head,
        body: &mut Replay<B>,
    ) -> Result<Answer, Failure>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: Into<BoxError>,
    {
        let settings = channel.settings();
        settings.budget.deposit(self.since);
        loop {
            let (connection, slot) = self.board(channel, options).await?;
            let Some(berth) = self.berth.as_mut() else { continue };
            self.phase = Phase::Reply;
            self.attempts += 1;
            let (disposition, reason, again) = match berth.send(connection, slot, head, body).await {
                Ok(answer) if !(options.idempotent && is_unavailable(answer.response.headers())) => {
                    return Ok(answer);
                }
                Ok(answer) => match self.repeat(settings, body) {
                    Ok(()) => (Disposition::Unknown, said(answer.response.headers()), Ok(())),
                    // The node's own words are the best there are.
                    Err(_) => return Ok(answer),
                },
                Err(error) if matches!(error.kind(), ErrorKind::Body | ErrorKind::Request) => {
                    return Err(Failure { code: Code::Internal, message: describe(&error) });
                }
                Err(error) => {
                    let again = self.try_again(error.disposition(), options, settings, body);
                    (error.disposition(), describe(&error), again)
                }
            };
            let Some(berth) = self.berth.take() else { continue };
            berth.failed(disposition);
            if let Err(why) = again {
                return Err(self.given_up(&berth.link, disposition, &reason, &why));
            }
            self.leave(&berth, reason);
            let prompt = self.attempts <= PROMPT_ATTEMPTS_MAX;
            let past = self.past_mut();
            if !prompt || past.repeats > 1 {
                let pause = past.pause.next(&mut channel.roster().rng());
                self.phase = Phase::Pause;
                Box::pin(sleep(pause)).await;
            }
        }
    }

    /// Decides whether the request is sent once more after an attempt that failed. The error says why not.
    fn try_again<B>(
        &mut self,
        disposition: Disposition,
        options: &CallOptions,
        settings: &Settings,
        body: &mut Replay<B>,
    ) -> Result<(), String> {
        match disposition {
            Disposition::Unknown if !options.idempotent => Err("it may have been processed, so it was not \
                repeated (declare the call idempotent to have it repeated)"
                .to_owned()),
            Disposition::Unknown => self.repeat(settings, body),
            Disposition::Unsent | Disposition::Refused if !body.rewind() => Err(not_again(BODY_GONE)),
            Disposition::Unsent | Disposition::Refused => {
                let free = self.attempts <= PROMPT_ATTEMPTS_MAX;
                if free || settings.budget.withdraw(Instant::now()) {
                    Ok(())
                } else {
                    Err(not_again(NO_BUDGET))
                }
            }
        }
    }

    /// The same for a request that may have been processed and may be repeated.
    fn repeat<B>(&mut self, settings: &Settings, body: &mut Replay<B>) -> Result<(), String> {
        if self.past().map_or(0, |past| past.repeats) + 1 >= ATTEMPTS_MAX {
            return Err(not_again(&format!("{ATTEMPTS_MAX} attempts are the most")));
        }
        if !body.is_whole() {
            return Err(not_again(BODY_GONE));
        }
        if !settings.budget.withdraw(Instant::now()) {
            return Err(not_again(NO_BUDGET));
        }
        self.past_mut().repeats += 1;
        body.rewind();
        Ok(())
    }

    fn leave(&mut self, berth: &Berth, reason: String) {
        tracing::debug!(node = %berth.link.id, reason, attempt = self.attempts, "attempt failed");
        let after = self.since.elapsed();
        let past = self.past_mut();
        if !past.exclude.contains(&berth.link.id) {
            past.exclude.push(berth.link.id.clone());
        }
        if past.tried.len() == TRIED_MAX {
            past.tried.remove(0);
            past.forgotten += 1;
        }
        past.tried.push(Tried {
            node: berth.link.id.clone(),
            address: berth.link.address.to_string(),
            reason,
            after,
        });
    }

    /// The response has begun.
    pub(super) fn arrive<B>(
        mut self,
        channel: Channel,
        time: Time,
        grpc: bool,
        answer: Answer,
        mut body: Replay<B>,
    ) -> Response<ResponseBody>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<BoxError>,
    {
        let Answer { response, mut outgoing, at } = answer;
        let Some(berth) = self.berth.take() else { return Response::new(ResponseBody::empty()) };
        body.commit();
        let sending = (!outgoing.is_done()).then(|| {
            let stop = CancellationToken::new();
            let guard = stop.clone().drop_guard();
            channel.tasks().spawn("request body", async move {
                let send = std::future::poll_fn(|cx| outgoing.poll_send(cx, Pin::new(&mut body)));
                if let Some(Err(error)) = stop.run_until_cancelled(send).await {
                    tracing::debug!(%error, "the request's body ended early");
                }
            });
            guard
        });
        let report = berth.node.clone().map(|node| self.report(channel.roster(), node, &berth, at));
        let (mut parts, stream) = response.into_parts();
        let outcome = response::outcome_of_head(parts.status, &parts.headers);
        if let Some(report) = report {
            parts.extensions.insert(report);
        }
        let Berth { node: _, link, ticket, instead: _, since, connection } = berth;
        let call = response::Call {
            link,
            connection,
            ticket,
            latency: at - since,
            at,
            deadline: time.whole,
            timeout: time.timeout,
            timer: None,
            outcome,
            _sending: sending,
            _channel: channel,
        };
        Response::from_parts(parts, ResponseBody::new(stream, grpc, call))
    }

    fn report(&mut self, roster: &Roster, node: Arc<Node>, berth: &Berth, at: Instant) -> CallReport {
        CallReport {
            node,
            address: berth.link.address.to_string(),
            strategy: roster.strategy.name().into(),
            instead: berth.instead.clone(),
            attempts: self.attempts,
            tried: self.past.take().map(|past| past.tried).unwrap_or_default(),
            elapsed: at - self.since,
        }
    }
}

// === impl Past ===

impl Default for Past {
    fn default() -> Self {
        Self { exclude: Vec::new(), tried: Vec::new(), forgotten: 0, repeats: 0, pause: Backoff::calls() }
    }
}

fn not_again(why: &str) -> String {
    format!("it was not tried again, since {why}")
}

/// Whether the head of a response alone says that the node is not available.
fn is_unavailable(headers: &HeaderMap) -> bool {
    headers.get(&names::STATUS).is_some_and(|status| status.as_bytes() == b"14")
}

fn said(headers: &HeaderMap) -> String {
    let message = headers.get(&names::MESSAGE).map(|message| message.as_bytes()).unwrap_or_default();
    format!("it answered UNAVAILABLE: {}", percent_encoding::percent_decode(message).decode_utf8_lossy())
}
