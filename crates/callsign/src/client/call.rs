//! The call: from a request to a response, through as many nodes as it takes, within one deadline.

use std::{
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use callsign_core::{
    Error, NodeId,
    retry::Backoff,
    select::{NoPick, PickRequest},
};
use callsign_net::{Disposition, ErrorKind};
use http::{HeaderMap, Request, Response, header::CONTENT_TYPE};
use http_body::Body;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{
    attempt::{Answer, Berth, Head},
    channel::{Channel, Settings},
    explain,
    failure::{Code, Failure},
    link::{Link, Way, describe},
    options::{CallOptions, CallReport, Place, Tried},
    replay::Replay,
    response::{self, ResponseBody},
    roster::Roster,
    timeout::{Readable, Time},
};
use crate::BoxError;

/// Most attempts of a call whose earlier ones may have been processed (gRFC A6).
const ATTEMPTS_MAX: u32 = 3;
/// Attempts that never reached an application are made at once and for free up to this many; after that with a pause in
/// between, and out of the retry budget.
const PROMPT_ATTEMPTS_MAX: u32 = 4;
/// Nodes at their stream limit that are passed over before the call queues at one.
const FULL_MAX: usize = 3;
/// Failed attempts that are remembered, the last ones.
const TRIED_MAX: usize = 8;

/// Why a request is not sent again.
const BODY_GONE: &str = "too much of its body was sent to be sent again";
const NO_BUDGET: &str = "the retry budget is used up";

/// What is known of a call on its way: for the message, if it fails.
struct Journey {
    since: Instant,
    phase: Phase,
    /// The attempt under way.
    berth: Option<Berth>,
    attempts: u32,
    /// Nodes that are not to be taken again while there are others.
    exclude: Vec<NodeId>,
    tried: Vec<Tried>,
    /// How many more there were before those.
    forgotten: u32,
    /// Attempts that may have been processed.
    repeats: u32,
    pause: Backoff,
}

/// What a call is waiting for.
enum Phase {
    Node(String),
    /// For another call on the node to end.
    Room,
    Reply,
    Pause,
}

/// Makes one call. The error is for requests that are not gRPC; gRPC gets its status.
pub(crate) async fn call<B>(channel: Channel, request: Request<B>) -> Result<Response<ResponseBody>, Error>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    let (mut parts, body) = request.into_parts();
    let options = parts.extensions.remove::<CallOptions>().unwrap_or_default();
    let grpc = is_grpc(&parts.headers);
    let mut journey = Journey::new();
    let time = match Time::of(&parts.headers, &options, channel.settings(), journey.since) {
        Ok(time) => time,
        Err(failure) => return refuse(grpc, failure),
    };
    let head = Head::new(parts, time.whole);
    let mut body = Replay::new(body);
    let made = {
        let travel = pin!(journey.travel(&channel, &options, &head, &mut body));
        tokio::select! {
            biased;
            made = travel => Some(made),
            () = at(time.head) => None,
        }
    };
    match made {
        Some(Ok(answer)) => Ok(journey.arrive(&channel, options.report, time, grpc, answer, body)),
        Some(Err(failure)) => refuse(grpc, failure),
        None => refuse(grpc, journey.expire(channel.roster(), time.timeout)),
    }
}

// === impl Journey ===

impl Journey {
    fn new() -> Self {
        Self {
            since: Instant::now(),
            phase: Phase::Node(String::new()),
            berth: None,
            attempts: 0,
            exclude: Vec::new(),
            tried: Vec::new(),
            forgotten: 0,
            repeats: 0,
            pause: Backoff::calls(),
        }
    }

    /// Goes from node to node until one answers or there is no sense in going on.
    ///
    /// # Cancel safety
    ///
    /// Dropped at the deadline; what is known by then is in `self`.
    async fn travel<B>(
        &mut self,
        channel: &Channel,
        options: &CallOptions,
        head: &Head,
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
            berth.connection = Some(connection.clone());
            self.phase = Phase::Reply;
            self.attempts += 1;
            let (disposition, reason, again) = match berth.send(&connection, slot, head, body).await {
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
            if self.attempts > PROMPT_ATTEMPTS_MAX || self.repeats > 1 {
                self.phase = Phase::Pause;
                sleep(self.pause.next(&mut channel.roster().rng())).await;
            }
        }
    }

    /// Finds a node with room for a stream, waiting for one if that may help.
    async fn board(
        &mut self,
        channel: &Channel,
        options: &CallOptions,
    ) -> Result<(Arc<callsign_net::Connection>, callsign_net::Slot), Failure> {
        let roster = channel.roster();
        let failed = self.exclude.len();
        let mut full = 0;
        let mut published = None;
        loop {
            // Each time: the links may have been told to rest while we waited.
            roster.stir();
            match self.pick(roster, options) {
                Ok(berth) => {
                    match berth.link.way() {
                        Way::Open(connection, slot) => {
                            self.exclude.truncate(failed);
                            self.berth = Some(berth);
                            return Ok((connection, slot));
                        }
                        Way::Closed => continue,
                        Way::Full if full < FULL_MAX && options.place.is_none() => {
                            full += 1;
                            self.exclude.push(berth.link.id.clone());
                            continue;
                        }
                        Way::Full if self.exclude.len() > failed => {
                            // One that is full is better than one that has failed.
                            self.exclude.truncate(failed);
                            continue;
                        }
                        Way::Full => {
                            self.phase = Phase::Room;
                            let link = berth.link.clone();
                            self.berth = Some(berth);
                            let found = link.room().await;
                            let (Some(found), Some(berth)) = (found, &mut self.berth) else { continue };
                            berth.since = Instant::now();
                            return Ok(found);
                        }
                    }
                }
                Err(shortage) => {
                    if channel.tasks().stopped().is_cancelled() {
                        return Err(self.closed(roster));
                    }
                    let waits = options.wait_for_ready.unwrap_or(channel.settings().wait_for_ready);
                    if !shortage.hopeful && !waits {
                        return Err(Failure::unavailable(self.with_history(shortage.message)));
                    }
                    self.phase = Phase::Node(shortage.message);
                }
            }
            // Subscribe first, look again, and only then wait: nothing published in between is missed.
            match &mut published {
                None => published = Some(roster.published()),
                Some(published) => {
                    let stopped = channel.tasks().stopped();
                    let _ = stopped.run_until_cancelled(published.changed()).await;
                }
            }
        }
    }

    fn pick(&self, roster: &Roster, options: &CallOptions) -> Result<Berth, explain::Shortage> {
        let state = roster.state();
        let found = match &options.place {
            None => {
                let request = PickRequest {
                    filters: Some(&options.filters),
                    exclude: &self.exclude,
                    hash: options.hash,
                };
                state
                    .slate
                    .pick(&request, &mut roster.rng())
                    .map(|picked| (picked.member.node.clone(), picked.member.handle.clone(), picked.ticket))
            }
            Some(Place::Node(id)) => {
                match state.slate.members().iter().find(|member| member.node.id() == id) {
                    Some(member) if member.load.is_ready() => {
                        Ok((member.node.clone(), member.handle.clone(), member.load.ticket()))
                    }
                    Some(member) => return Err(unready(&member.handle)),
                    None if state.slate.members().is_empty() => Err(NoPick::Empty),
                    None => {
                        return Err(explain::Shortage {
                            hopeful: false,
                            message: format!("{} has no node {id}", roster.service),
                        });
                    }
                }
            }
            Some(Place::Address(address)) => match roster.pin(address) {
                Some((node, link)) if link.load.is_ready() => {
                    let ticket = link.load.ticket();
                    Ok((node, link, ticket))
                }
                Some((_, link)) => return Err(unready(&link)),
                None => Err(NoPick::Empty),
            },
        };
        match found {
            Ok((node, link, ticket)) => {
                Ok(Berth { node, link, ticket, since: Instant::now(), connection: None })
            }
            Err(why) => Err(explain::shortage(roster, &state, &options.filters, &why)),
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
        if self.repeats + 1 >= ATTEMPTS_MAX {
            return Err(not_again(&format!("{ATTEMPTS_MAX} attempts are the most")));
        }
        if !body.is_whole() {
            return Err(not_again(BODY_GONE));
        }
        if !settings.budget.withdraw(Instant::now()) {
            return Err(not_again(NO_BUDGET));
        }
        self.repeats += 1;
        body.rewind();
        Ok(())
    }

    fn leave(&mut self, berth: &Berth, reason: String) {
        tracing::debug!(node = %berth.link.id, reason, attempt = self.attempts, "attempt failed");
        if !self.exclude.contains(&berth.link.id) {
            self.exclude.push(berth.link.id.clone());
        }
        if self.tried.len() == TRIED_MAX {
            self.tried.remove(0);
            self.forgotten += 1;
        }
        self.tried.push(Tried {
            node: berth.link.id.clone(),
            address: berth.link.address.to_string(),
            reason,
            after: self.since.elapsed(),
        });
    }

    /// The response has begun.
    fn arrive<B>(
        mut self,
        channel: &Channel,
        report: bool,
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
        let report = report.then(|| self.report(channel.roster(), &berth, at));
        let (mut parts, stream) = response.into_parts();
        let outcome = response::outcome_of_head(parts.status, &parts.headers);
        if let Some(report) = report {
            parts.extensions.insert(report);
        }
        let Berth { node: _, link, ticket, since, connection } = berth;
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
            _channel: channel.clone(),
        };
        Response::from_parts(parts, ResponseBody::new(stream, grpc, call))
    }

    fn report(&mut self, roster: &Roster, berth: &Berth, at: Instant) -> CallReport {
        CallReport {
            node: berth.node.clone(),
            address: berth.link.address.to_string(),
            strategy: roster.strategy.name().into(),
            attempts: self.attempts,
            tried: std::mem::take(&mut self.tried),
            elapsed: at - self.since,
        }
    }

    /// The call's time is over.
    fn expire(mut self, roster: &Roster, timeout: Duration) -> Failure {
        let waited_for = match (&self.phase, self.berth.take()) {
            (Phase::Reply, Some(berth)) => {
                berth.expired();
                format!("waiting for the reply of {}", berth.link)
            }
            (Phase::Room, Some(berth)) => {
                format!(
                    "waiting for other calls to {} to end: it allows no more at the same time",
                    berth.link
                )
            }
            (Phase::Pause, _) => "waiting to try another node".to_owned(),
            (Phase::Node(why), _) if why.is_empty() => "picking a node".to_owned(),
            (Phase::Node(why), _) => format!("waiting for a node: {why}"),
            (Phase::Reply | Phase::Room, None) => "between two attempts".to_owned(),
        };
        let service = &roster.service;
        let message = format!("no answer from {service} within {}, {waited_for}", Readable(timeout));
        Failure { code: Code::DeadlineExceeded, message: self.with_history(message) }
    }

    fn given_up(&self, link: &Link, disposition: Disposition, reason: &str, why: &str) -> Failure {
        let what = match disposition {
            Disposition::Unsent | Disposition::Refused => "did not take the request",
            Disposition::Unknown => "failed with the request in hand",
        };
        Failure::unavailable(self.with_history(format!("{link} {what}: {reason}; {why}")))
    }

    fn closed(&self, roster: &Roster) -> Failure {
        Failure::unavailable(self.with_history(format!("the channel to {} was closed", roster.service)))
    }

    /// Lists the attempts that led to further ones.
    fn with_history(&self, mut message: String) -> String {
        for tried in self.tried.iter().rev() {
            message.push_str(&format!("; before that {} ({}): {}", tried.node, tried.address, tried.reason));
        }
        if self.forgotten > 0 {
            message.push_str(&format!("; and {} attempts before", self.forgotten));
        }
        message
    }
}

fn unready(link: &Link) -> explain::Shortage {
    match link.error() {
        Some(error) => explain::Shortage {
            hopeful: false,
            message: format!("{link} cannot be reached: {}", describe(&error)),
        },
        None => explain::Shortage { hopeful: true, message: format!("{link} is being connected") },
    }
}

fn not_again(why: &str) -> String {
    format!("it was not tried again, since {why}")
}

fn refuse(grpc: bool, failure: Failure) -> Result<Response<ResponseBody>, Error> {
    if grpc { Ok(failure.into_response()) } else { Err(failure.into_error()) }
}

fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

/// Whether the head of a response alone says that the node is not available.
fn is_unavailable(headers: &HeaderMap) -> bool {
    headers.get("grpc-status").is_some_and(|status| status.as_bytes() == b"14")
}

fn said(headers: &HeaderMap) -> String {
    let message = headers.get("grpc-message").map(|message| message.as_bytes()).unwrap_or_default();
    format!("it answered UNAVAILABLE: {}", percent_encoding::percent_decode(message).decode_utf8_lossy())
}

async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
