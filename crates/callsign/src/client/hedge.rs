//! A call that is sent again while it is slow, rather than once it has failed. Everything about it is apart from calls that are not
//! hedged, and boxed, since those are nearly all.
//!
//! Another attempt needs: another node that is ready, most of the nodes usable, a request that is there as a whole, time until the
//! deadline, its share of the method's calls, and the retry budget; and not so many slow calls that their node is not the reason.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use callsign_core::select::Outcome;
use callsign_net::{Connection, Disposition, ErrorKind, Slot};
use http_body::Body;
use tokio::time::{Instant, sleep};

use super::{
    Code,
    attempt::{Answer, Berth, Fault, Head},
    decisions::{Fate, Why},
    failure::Failure,
    frames::Frames,
    journey::{Journey, Phase},
    link::{Way, describe},
    methods::Hedging,
    plan::Plan,
    policy::Delay,
    pushback::Pushback,
    race::{Arrival, Course, Due, race},
    repeat::said,
    replay::Replay,
    response,
};
use crate::BoxError;

/// The least that a quantile makes a call wait (Finagle's): below it, timers are not to be relied upon.
const DELAY_MIN: Duration = Duration::from_millis(1);

/// The attempts of one call beside each other.
struct Field<'a> {
    journey: &'a mut Journey,
    plan: &'a Plan,
    hedging: &'a Hedging,
    head: &'a Head,
    frames: Frames,
    lost: Lost,
}

/// What has become of attempts that did not win.
#[derive(Default)]
struct Lost {
    /// The last status that a node gave, which is told if there is nothing better.
    answer: Option<Answered>,
    /// The last attempt that had no answer.
    fault: Option<(Berth, Fault)>,
    /// An error that any further attempt would meet too.
    fatal: Option<Failure>,
    /// The last attempt ended unread, so that another is free.
    unread: bool,
}

/// An attempt that was answered.
struct Answered {
    berth: Berth,
    answer: Answer,
    /// Frames of the request that it has taken.
    taken: u32,
}

type Runner<'a> = Pin<Box<dyn Future<Output = Result<Answered, (Berth, Fault)>> + Send + 'a>>;

/// A berth whose attempt may be dropped at any time: its node then hears that it was cancelled, or that the call's time was over.
struct Watched<'a> {
    berth: Option<Berth>,
    plan: &'a Plan,
}

// === impl Journey ===

impl Journey {
    /// As [`travel`](Self::travel), with further attempts beside the first.
    ///
    /// # Cancel safety
    ///
    /// Dropped at the deadline; what is known by then is in `self`.
    pub(super) async fn hedge<B>(
        &mut self,
        plan: &Plan,
        hedging: &Hedging,
        head: &mut Head,
        body: &mut Replay<B>,
    ) -> Result<Answer, Failure>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: Into<BoxError>,
    {
        let now = plan.since;
        hedging.budget.deposit(now);
        hedging.surge.call(now);
        let latencies = hedging.latencies(plan.path.path());
        let delay = match hedging.policy.delay {
            Delay::Fixed(delay) => Some(delay),
            Delay::Quantile(_) => latencies
                .as_ref()
                .and_then(|latencies| latencies.quantile(now))
                .map(|delay| delay.max(DELAY_MIN)),
        };
        // Whoever runs into the deadline first has no use for another attempt.
        let delay = delay.filter(|delay| plan.time.head.is_none_or(|deadline| now + *delay < deadline));
        let frames = match delay {
            Some(_) => poll_fn(|cx| Poll::Ready(body.gather(cx))).await.map_err(broken)?,
            None => None,
        };
        let made = match delay.zip(frames) {
            Some((delay, frames)) => self.run(plan, hedging, head, body, delay, frames).await,
            None => self.travel(plan, head, body).await,
        };
        if let (Some(latencies), Ok(answer)) = (latencies, &made)
            && Code::of(answer.response.headers()).is_none_or(|code| code == Code::Ok)
        {
            latencies.record(answer.at - plan.since, answer.at);
        }
        made
    }

    async fn run<B>(
        &mut self,
        plan: &Plan,
        hedging: &Hedging,
        head: &mut Head,
        body: &mut Replay<B>,
        delay: Duration,
        frames: Frames,
    ) -> Result<Answer, Failure>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: Into<BoxError>,
    {
        plan.channel.settings().budget.deposit(plan.since);
        let (connection, slot) = self.board(plan).await?;
        let Some(berth) = self.berth.take() else { return self.travel(plan, head, body).await };
        self.phase = Phase::Race;
        let attempts = hedging.policy.attempts;
        let mut field = Field { journey: self, plan, hedging, head, frames, lost: Lost::default() };
        let first_node = berth.link.id.clone();
        let first = field.send(berth, connection, slot);
        let won = race(&mut field, first, delay, attempts).await;
        // No two of them go to one node.
        if won.as_ref().is_some_and(|won| won.berth.link.id != first_node) {
            plan.channel.meter().count_hedge_won();
        }
        let Lost { answer, fault, fatal, unread: _ } = field.lost;
        if let (Some(_), Some(lost)) = (&won, &answer) {
            lost.mark(plan);
        }
        if let (None, Some(failure)) = (&won, fatal) {
            return Err(failure);
        }
        if let Some(Answered { berth, answer, taken }) = won.or(answer) {
            self.berth = Some(berth);
            body.resume(taken);
            return Ok(answer);
        }
        let Some((berth, fault)) = fault else { return self.travel(plan, head, body).await };
        match self.try_again(fault.disposition(), plan, body) {
            Ok(pause) => {
                sleep(pause).await;
                self.travel(plan, head, body).await
            }
            Err(why) => Err(self.given_up(&berth.link, fault.outcome(), &fault.to_string(), &why)),
        }
    }
}

fn broken(error: impl Into<BoxError>) -> Failure {
    let error: BoxError = error.into();
    Failure::new(Code::Internal, format!("the request's body failed: {}", describe(&*error)))
}

// === impl Field ===

impl<'a> Field<'a> {
    fn send(&mut self, mut berth: Berth, connection: Arc<Connection>, slot: Slot) -> Runner<'a> {
        let plan = self.plan;
        let journey = &mut *self.journey;
        let mut head = self.head.another(journey.attempts + self.plan.options.previous_attempts());
        berth.show(plan, journey.attempts + 1, journey.attempts > 0);
        journey.attempts += 1;
        journey.past_mut().exclude.push(berth.link.id.clone());
        let mut body = Replay::new(self.frames.clone());
        let mut watched = Watched { berth: Some(berth), plan };
        Box::pin(async move {
            // It is there: it was put in a line ago.
            let Some(berth) = watched.berth.as_mut() else { std::future::pending().await };
            let sent = berth.send(connection, slot, &mut head, &mut body, plan).await;
            let Some(berth) = watched.berth.take() else { std::future::pending().await };
            match sent {
                Ok(answer) => Ok({
                    berth.hear(answer.response.headers());
                    Answered { berth, answer, taken: body.given() }
                }),
                Err(fault) => Err((berth, fault)),
            }
        })
    }

    /// Whether what a further attempt costs is granted.
    fn is_granted(&self, why: Due, now: Instant) -> bool {
        let Self { plan, hedging, lost, .. } = self;
        let (settings, roster) = (plan.channel.settings(), plan.channel.roster());
        if why == Due::Slow && hedging.surge.slow(now) {
            return false;
        }
        let state = roster.state();
        let ready = state.slate.members().iter().filter(|member| member.load.is_ready());
        let held_back = settings.throttle.as_ref().is_some_and(|throttle| throttle.chance(now) > 0.0);
        if ready.take(2).count() < 2 || state.slate.is_in_panic() || held_back {
            return false;
        }
        lost.unread || (hedging.budget.withdraw(now) && settings.budget.withdraw(now))
    }

    /// What an answer means for the others: gRFC A6 has fatal ones end the call, and a node's pushback decide on further attempts.
    fn hear(&mut self, answered: Answered) -> Arrival<Answered> {
        let headers = answered.answer.response.headers();
        let budget = &self.plan.channel.settings().budget;
        let Some(code) = Code::of(headers).filter(|code| *code != Code::Ok) else {
            budget.succeeded();
            return Arrival::Won(answered);
        };
        let (passing, pushback) = (self.hedging.policy.not_fatal.contains(code), Pushback::of(headers));
        match passing || pushback == Pushback::Never {
            true => budget.failed(),
            false => budget.succeeded(),
        }
        if !passing {
            return Arrival::Won(answered);
        }
        self.lost.unread = false;
        self.journey.note(self.plan, &answered.berth, said(headers));
        self.journey.past_mut().last_said = Some(Failure::said(code, headers));
        if let Some(before) = self.lost.answer.replace(answered) {
            before.mark(self.plan);
        }
        match pushback {
            Pushback::Unsaid => Arrival::Failed,
            Pushback::After(pause) if self.plan.allows(pause, Instant::now()) => Arrival::Paused(pause),
            Pushback::After(_) | Pushback::Never => Arrival::Last,
        }
    }
}

impl<'a> Course for Field<'a> {
    type Runner = Runner<'a>;
    type Won = Answered;

    fn start(&mut self, why: Due) -> Option<Runner<'a>> {
        let now = Instant::now();
        if self.lost.fatal.is_some() {
            return None;
        }
        let plan = self.plan;
        let berth = self.journey.pick(plan, now, plan.channel.roster().draw_seed(), Why::Hedge).ok()?;
        let unused = |why| plan.settle(berth.choice, Fate::Unused(why));
        if self.journey.exclude().contains(&berth.link.id) {
            unused("it has the request already");
            return None;
        }
        let Way::Open(connection, slot) = berth.link.way() else {
            unused("it had no room for another call");
            return None;
        };
        // Asked last: what is granted is spent.
        if !self.is_granted(why, now) {
            unused("another attempt was not granted");
            return None;
        }
        self.lost.unread = false;
        plan.channel.roster().meter.count_hedge();
        Some(self.send(berth, connection, slot))
    }

    fn arrive(&mut self, end: Result<Answered, (Berth, Fault)>) -> Arrival<Answered> {
        match end {
            Ok(answered) => self.hear(answered),
            Err((_, Fault::Net(error))) if matches!(error.kind(), ErrorKind::Body | ErrorKind::Request) => {
                self.lost.fatal = Some(Failure::new(Code::Internal, describe(&error)));
                Arrival::Failed
            }
            Err((berth, fault)) => {
                berth.mark(fault.outcome());
                self.plan.lost(&berth, fault.outcome(), &fault.to_string());
                self.journey.note(self.plan, &berth, fault.to_string());
                self.lost.unread = fault.disposition() != Disposition::Unknown;
                if !self.lost.unread {
                    self.plan.channel.settings().budget.failed();
                }
                self.lost.fault = Some((berth, fault));
                Arrival::Failed
            }
        }
    }
}

// === impl Answered ===

impl Answered {
    /// It is not the call's answer.
    fn mark(&self, plan: &Plan) {
        let response = &self.answer.response;
        let outcome = response::outcome_of(response).unwrap_or(Outcome::Failure);
        self.berth.mark(outcome);
        plan.lost(&self.berth, outcome, &said(response.headers()));
    }
}

// === impl Watched ===

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        let Some(berth) = self.berth.take() else { return };
        let late = self.plan.time.head.is_some_and(|deadline| Instant::now() >= deadline);
        let (outcome, reason) = match late {
            true => (Outcome::DeadlineExceeded, "it did not answer in the time of the call"),
            false => (Outcome::Cancelled, "it was called off"),
        };
        berth.mark(outcome);
        self.plan.lost(&berth, outcome, reason);
    }
}
