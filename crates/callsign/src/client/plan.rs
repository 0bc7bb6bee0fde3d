//! What governs one call: its own options, what its method's policy and the channel say where they say nothing, and what the call that it
//! is made for leaves of its time.

use std::{
    pin::Pin,
    sync::{Arc, MutexGuard},
    time::Duration,
};

use callsign_core::select::Outcome;
use http::{Response, uri::PathAndQuery};
use tokio::time::{Instant, Sleep, sleep};

use super::{
    Code, RetryPolicy,
    attempt::Berth,
    channel::{Channel, Settings},
    decisions::{CallId, Fate, Lost, Record},
    failure::Failure,
    methods::{Hedging, Rule},
    options::CallOptions,
    timeout::Time,
};

/// What is kept back for the way back of a call's time, when another is made for it: this share, and at least the least.
const MARGIN_SHARE: f64 = 0.02;
const MARGIN_LEAST: Duration = Duration::from_millis(1);

/// What governs one call.
pub(super) struct Plan {
    pub(super) channel: Channel,
    pub(super) options: CallOptions,
    pub(super) path: PathAndQuery,
    /// When the call began.
    pub(super) since: Instant,
    pub(super) rule: Option<Arc<Rule>>,
    pub(super) time: Time,
    /// Which of the channel's calls it is.
    pub(super) call: CallId,
}

// === impl Plan ===

impl Plan {
    /// A plan, and why the call has failed before it begins, if it has.
    pub(super) fn new(
        channel: Channel,
        mut options: CallOptions,
        parts: &http::request::Parts,
        now: Instant,
    ) -> (Self, Option<Box<Failure>>) {
        let settings = channel.settings();
        let rule = settings.methods.of(parts.uri.path()).cloned();
        if let Some(rule) = &rule {
            obey(&mut options, rule);
        }
        options.method = channel.roster().paces.method(parts.uri.path());
        let time = fit_within(&mut options, settings, now)
            .and_then(|()| Time::of(&parts.headers, &options, settings, now))
            .and_then(|time| if time.head == Some(now) { Err(no_time()) } else { Ok(time) });
        let call = channel.roster().decisions.begin();
        let path = parts.uri.path_and_query().cloned();
        let path = path.unwrap_or_else(|| PathAndQuery::from_static("/"));
        let admitted = time.and_then(|time| admit(&channel, now).map(|()| time));
        let (time, failure) = match admitted {
            Ok(time) => (time, None),
            Err(failure) => (Time::NONE, Some(Box::new(failure))),
        };
        (Self { channel, options, path, since: now, rule, time, call }, failure)
    }

    /// The record of the call, if there is one that can be written to. It says what the call asks for.
    #[inline]
    pub(super) fn record(&self) -> Option<MutexGuard<'_, Record>> {
        let mut record = self.channel.roster().decisions.place_of(self.call)?;
        if record.id != Some(self.call) {
            record.begin(self.call, self.since, &self.path, &self.options);
        }
        Some(record)
    }

    /// Writes down what came of one of the call's choices.
    pub(super) fn settle(&self, choice: u32, fate: Fate) {
        if let Some(mut record) = self.record() {
            record.settle(choice, fate);
        }
    }

    /// Writes down that an attempt has not led to the call's answer.
    pub(super) fn lost(&self, berth: &Berth, outcome: Outcome, reason: &str) {
        if let Some(mut record) = self.record() {
            let lost = Lost { outcome, reason: reason.to_owned(), at: Instant::now() };
            record.settle(berth.choice, Fate::Lost(Box::new(lost)));
        }
    }

    /// Writes down how the call failed on our side.
    pub(super) fn fail(&self, failure: &Failure) {
        if let Some(mut record) = self.record() {
            record.fail(failure);
        }
    }

    pub(super) fn is_idempotent(&self) -> bool {
        self.options.idempotent == Some(true)
    }

    /// When the call is made again.
    pub(super) fn retry(&self) -> &RetryPolicy {
        let method = || self.rule.as_ref().and_then(|rule| rule.policy.retry.as_ref());
        self.options.retry_policy().or_else(method).unwrap_or(&self.channel.settings().retry)
    }

    /// How the call is hedged, if it is.
    pub(super) fn hedging(&self) -> Option<&Hedging> {
        let hedging = self.rule.as_ref()?.hedge.as_ref()?;
        (self.is_idempotent() && self.options.previous_attempts() == 0).then_some(hedging)
    }

    /// Whether there is still time for another attempt that begins after `pause` and takes as long as one usually does.
    pub(super) fn allows(&self, pause: Duration, now: Instant) -> bool {
        let Some(deadline) = self.time.head else { return true };
        now + pause + self.channel.roster().usual_latency() < deadline
    }

    /// Ends an attempt that may be repeated, if attempts have a time of their own.
    pub(super) fn try_timer(&self) -> Option<Pin<Box<Sleep>>> {
        let timeout = self.retry().try_timeout.filter(|_| self.is_idempotent())?;
        Some(Box::pin(sleep(timeout)))
    }

    /// Tells the throttle what came of the call.
    pub(super) fn learn<B>(&self, response: Option<&Response<B>>) {
        let Some(throttle) = &self.channel.settings().throttle else { return };
        let refused = |response: &Response<B>| {
            let overloaded = matches!(response.status().as_u16(), 429 | 503 | 504);
            let code = Code::of(response.headers());
            overloaded
                || matches!(code, Some(Code::ResourceExhausted | Code::Unavailable | Code::DeadlineExceeded))
        };
        if response.is_some_and(|response| !refused(response)) {
            throttle.accepted(Instant::now());
        }
    }
}

/// Fills in what the method's policy says; of two timeouts the shorter one counts.
fn obey(options: &mut CallOptions, rule: &Rule) {
    let policy = &rule.policy;
    options.idempotent = options.idempotent.or(policy.idempotent);
    options.wait_for_ready = options.wait_for_ready.or(policy.wait_for_ready);
    options.timeout = shorter(options.timeout, policy.timeout);
}

/// Keeps a call within the time of the one that it is made for.
fn fit_within(options: &mut CallOptions, settings: &Settings, now: Instant) -> Result<(), Failure> {
    let Some(deadline) = options.outer_deadline() else { return Ok(()) };
    let left = share_of(deadline.remaining_at(now));
    if left.is_zero() {
        let message = "nothing is left of the time of the call that this one is made for";
        return Err(Failure::new(Code::DeadlineExceeded, message));
    }
    options.timeout = shorter(options.timeout.or(settings.timeout), Some(left));
    Ok(())
}

/// What a call may take of the time that is left of another: a little is kept for the way back.
fn share_of(left: Duration) -> Duration {
    left.saturating_sub(left.mul_f64(MARGIN_SHARE).max(MARGIN_LEAST))
}

fn shorter(one: Option<Duration>, other: Option<Duration>) -> Option<Duration> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

fn no_time() -> Failure {
    Failure::new(Code::DeadlineExceeded, "the call had no time from the start: its timeout is zero")
}

fn admit(channel: &Channel, now: Instant) -> Result<(), Failure> {
    let Some(throttle) = &channel.settings().throttle else { return Ok(()) };
    let roster = channel.roster();
    if throttle.admit(now, &mut roster.rng()) {
        return Ok(());
    }
    roster.meter.count_held_back();
    let message = format!(
        "not sent: {} refused most calls of the last two minutes, and {:.0} % of them are held back here",
        roster.service,
        throttle.chance(now) * 100.0
    );
    Err(Failure { last: true, ..Failure::unavailable(message) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_margin_is_kept_back_and_nothing_is_left_of_little() {
        for (left, share) in [(0, 0), (1, 0), (2, 1), (50, 49), (100, 98), (10_000, 9800)] {
            assert_eq!(share_of(Duration::from_millis(left)), Duration::from_millis(share), "{left}");
        }
    }
}
