//! A call's way through as many nodes as it takes: which attempt leads to another one, and which does not.

use std::{future::poll_fn, pin::Pin, time::Duration};

use bytes::Bytes;
use callsign_core::{NodeId, retry::Backoff, select::Outcome};
use callsign_net::ErrorKind;
use http::Response;
use http_body::Body;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{
    Code,
    attempt::{Answer, Aside, Berth, Fault, Head, Told},
    decisions::CallId,
    failure::Failure,
    link::describe,
    names,
    options::{CallReport, Tried},
    plan::Plan,
    repeat::{Refusal, said},
    replay::Replay,
    response::{self, ResponseBody},
    roster::Roster,
};
use crate::BoxError;

/// Failed attempts that are remembered, the last ones.
const TRIED_MAX: usize = 8;

pub(super) struct Journey {
    pub(super) phase: Phase,
    /// The attempt under way.
    pub(super) berth: Option<Berth>,
    pub(super) attempts: u32,
    /// Apart, since hardly any call has one and it would make the future of every call larger.
    past: Option<Box<Past>>,
}

/// What a call has behind it that did not go well at once.
#[derive(Default)]
pub(super) struct Past {
    /// Nodes that are not to be taken again while there are others.
    pub(super) exclude: Vec<NodeId>,
    pub(super) tried: Vec<Tried>,
    /// How many more there were before those.
    pub(super) forgotten: u32,
    /// Attempts that may have been processed.
    pub(super) repeats: u32,
    /// Made with the first pause.
    pub(super) backoff: Option<Backoff>,
    /// The last status that a node gave and that was not handed on.
    pub(super) last_said: Option<Failure>,
}

/// What a call is waiting for.
pub(super) enum Phase {
    Node(String),
    /// For another call on the node to end.
    Room,
    Reply,
    /// Several attempts at once.
    Race,
    Pause,
}

/// An attempt that does not end the call, or ends it badly.
struct Lost {
    outcome: Outcome,
    reason: String,
    again: Result<Duration, Refusal>,
}

// === impl Journey ===

impl Journey {
    pub(super) fn new() -> Self {
        Self { phase: Phase::Node(String::new()), berth: None, attempts: 0, past: None }
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

    /// Attempts that may have been processed, but for the last.
    pub(super) fn repeats(&self) -> u32 {
        self.past().map_or(0, |past| past.repeats)
    }

    /// Goes from node to node until one answers or there is no sense in going on.
    ///
    /// # Cancel safety
    ///
    /// Dropped at the deadline; what is known by then is in `self`.
    pub(super) async fn travel<B>(
        &mut self,
        plan: &Plan,
        head: &mut Head,
        body: &mut Replay<B>,
    ) -> Result<Answer, Failure>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: Into<BoxError>,
    {
        if self.attempts == 0 {
            plan.channel.settings().budget.deposit(plan.since);
        }
        loop {
            let (connection, slot) = self.board(plan).await?;
            head.previous_attempts = self.repeats() + plan.options.previous_attempts();
            let Some(berth) = self.berth.as_mut() else { continue };
            self.phase = Phase::Reply;
            self.attempts += 1;
            berth.show(plan, self.attempts, false);
            let lost = match berth.send(connection, slot, head, body, plan).await {
                Ok(mut answer) => match self.weigh(&mut answer.response, plan, body) {
                    None => return Ok(answer),
                    Some(pause) => Lost::answered(&answer, pause),
                },
                Err(Fault::Net(error)) if matches!(error.kind(), ErrorKind::Body | ErrorKind::Request) => {
                    return Err(Failure::new(Code::Internal, describe(&error)));
                }
                Err(fault) => Lost::failed(&fault, self.try_again(fault.disposition(), plan, body)),
            };
            let pause = self.lose(plan, lost)?;
            plan.channel.roster().meter.count_retry();
            if !pause.is_zero() {
                self.phase = Phase::Pause;
                // Boxed: hardly any call waits here, and in place it would make the future of every call larger.
                Box::pin(sleep(pause)).await;
            }
        }
    }

    /// Takes leave of the node. After the pause there is another attempt.
    fn lose(&mut self, plan: &Plan, lost: Lost) -> Result<Duration, Failure> {
        let Some(berth) = self.berth.take() else { return Ok(Duration::ZERO) };
        berth.mark(lost.outcome);
        plan.lost(&berth, lost.outcome, &lost.reason);
        match lost.again {
            Ok(pause) => {
                self.leave(plan, &berth, lost.reason);
                Ok(pause)
            }
            Err(why) => Err(self.given_up(&berth.link, lost.outcome, &lost.reason, &why)),
        }
    }

    fn leave(&mut self, plan: &Plan, berth: &Berth, reason: String) {
        let exclude = &mut self.past_mut().exclude;
        if !exclude.contains(&berth.link.id) {
            exclude.push(berth.link.id.clone());
        }
        self.note(plan, berth, reason);
    }

    /// Remembers an attempt that led to another one.
    pub(super) fn note(&mut self, plan: &Plan, berth: &Berth, reason: String) {
        tracing::debug!(node = %berth.link.id, reason, attempt = self.attempts, "attempt failed");
        let after = plan.since.elapsed();
        let past = self.past_mut();
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
        plan: Plan,
        grpc: bool,
        answer: Answer,
        mut body: Replay<B>,
    ) -> Response<ResponseBody>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<BoxError>,
    {
        let Answer { response, mut outgoing, at } = answer;
        let Plan { channel, since: began, time, call, .. } = plan;
        let id = channel.roster().decisions.known(call);
        let Some(mut berth) = self.berth.take() else { return Response::new(ResponseBody::empty()) };
        body.commit();
        let sending = (!outgoing.is_done()).then(|| {
            let stop = CancellationToken::new();
            let guard = stop.clone().drop_guard();
            channel.tasks().spawn("request body", async move {
                let send = poll_fn(|cx| outgoing.poll_send(cx, Pin::new(&mut body)));
                if let Some(Err(error)) = stop.run_until_cancelled(send).await {
                    tracing::debug!(%error, "the request's body ended early");
                }
            });
            guard
        });
        let Aside { told, span } = berth.aside.take().map(|aside| *aside).unwrap_or_default();
        let report = told.map(|told| self.report(channel.roster(), id, told, &berth, at - began));
        let (mut parts, stream) = response.into_parts();
        let outcome = response::outcome_of_head(parts.status, &parts.headers);
        if let Some(span) = &span {
            span.hear(&parts.headers);
        }
        if let Some(report) = report {
            parts.extensions.insert(report);
        }
        let said = outcome.and_then(|_| response::said_in(&parts.headers));
        // Without a ring a header of that name is not ours either.
        match id {
            Some(id) => id.sign(&mut parts.headers),
            None => drop(parts.headers.remove(&names::CALL_ID)),
        }
        let Berth { aside: _, link, ticket, method, since, choice, connection } = berth;
        let call = response::Call {
            link,
            connection,
            ticket,
            method,
            latency: at - since,
            at,
            deadline: time.whole(),
            timeout: time.timeout,
            timer: None,
            outcome,
            trace: response::Trace { id, choice, said },
            span,
            _sending: sending,
            channel,
        };
        Response::from_parts(parts, ResponseBody::new(stream, grpc, call))
    }

    fn report(
        &mut self,
        roster: &Roster,
        id: Option<CallId>,
        told: Told,
        berth: &Berth,
        elapsed: Duration,
    ) -> CallReport {
        CallReport {
            id,
            node: told.node,
            address: berth.link.address.to_string(),
            strategy: roster.strategy.name().into(),
            instead: told.instead,
            attempts: self.attempts,
            tried: self.past.take().map(|past| past.tried).unwrap_or_default(),
            elapsed,
        }
    }
}

// === impl Lost ===

impl Lost {
    fn answered(answer: &Answer, pause: Duration) -> Self {
        let response = &answer.response;
        Self {
            outcome: response::outcome_of(response).unwrap_or(Outcome::Failure),
            reason: said(response.headers()),
            again: Ok(pause),
        }
    }

    fn failed(fault: &Fault, again: Result<Duration, Refusal>) -> Self {
        Self { outcome: fault.outcome(), reason: fault.to_string(), again }
    }
}
