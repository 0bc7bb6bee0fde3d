//! What is done for the calls of one method: how often they are made, with which pauses, for which failures, and whether a slow one
//! gets a second attempt.

use std::time::Duration;

use callsign_core::{
    Result,
    retry::{Backoff, RetryBudget},
};

use super::{Code, code::Codes};

/// Attempts of a call, as gRFC A6 caps them whatever is asked for.
pub(crate) const ATTEMPTS_MAX: u32 = 5;
/// Attempts unless a policy says otherwise.
const ATTEMPTS: u32 = 3;
/// The quantile of a method's latency after which a call is hedged.
const QUANTILE: f64 = 0.95;

/// How often a call is made, and when it is made again.
///
/// It governs calls that may have been processed. A request that no node has looked at is sent elsewhere in any case. What
/// repetitions add to the load is held to the channel's budget ([`ChannelBuilder::retry_budget`](super::ChannelBuilder::retry_budget)).
///
/// ```
/// use std::time::Duration;
/// use callsign::client::{Code, RetryPolicy};
///
/// let patient = RetryPolicy::new()
///     .attempts(5)
///     .codes([Code::Unavailable, Code::Aborted])
///     .backoff(Duration::from_millis(100), Duration::from_secs(2))?;
/// # Ok::<(), callsign::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[must_use = "a policy does nothing until a channel or a call has it"]
pub struct RetryPolicy {
    pub(crate) attempts: u32,
    pub(crate) codes: Codes,
    pub(crate) refusals: Codes,
    pub(crate) backoff: Backoff,
    pub(crate) try_timeout: Option<Duration>,
}

/// When a call that is slow is made a second time, at another node, without waiting for the first to fail. The first good answer is
/// taken, and the other attempt cancelled.
///
/// For idempotent calls alone, whose request is there at once: one message, not a stream of them. What it adds to the load is bounded
/// twice, by a budget of its own and by that of retries.
///
/// ```
/// use callsign::client::HedgePolicy;
///
/// // After the time that 95 % of the method's calls take, for one call in twenty at most.
/// let hedge = HedgePolicy::new();
/// # let _ = hedge;
/// ```
#[derive(Debug, Clone, PartialEq)]
#[must_use = "a policy does nothing until a channel or a call has it"]
pub struct HedgePolicy {
    pub(crate) delay: Delay,
    pub(crate) attempts: u32,
    pub(crate) share: f64,
    pub(crate) not_fatal: Codes,
}

/// How long the next attempt is waited with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Delay {
    /// This quantile of what the method's calls take.
    Quantile(f64),
    Fixed(Duration),
}

/// What is done for the calls of one method or service. What it leaves open is the channel's.
///
/// ```
/// use callsign::client::{HedgePolicy, MethodPolicy};
///
/// let lookup = MethodPolicy::new().idempotent(true).hedge(HedgePolicy::new());
/// # let _ = lookup;
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
#[must_use = "a policy does nothing until a channel has it"]
pub struct MethodPolicy {
    pub(crate) idempotent: Option<bool>,
    pub(crate) retry: Option<RetryPolicy>,
    pub(crate) hedge: Option<HedgePolicy>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) wait_for_ready: Option<bool>,
}

// === impl RetryPolicy ===

impl RetryPolicy {
    /// Three attempts, on UNAVAILABLE, with pauses drawn from 25 ms that double up to 1 s.
    pub fn new() -> Self {
        Self {
            attempts: ATTEMPTS,
            codes: [Code::Unavailable].into_iter().collect(),
            refusals: Codes::default(),
            backoff: Backoff::calls(),
            try_timeout: None,
        }
    }

    /// One attempt: what may have been processed is never repeated.
    pub fn never() -> Self {
        Self::new().attempts(1)
    }

    /// Attempts in all, from 1 to 5; what is beyond counts as the nearest of these.
    pub fn attempts(self, attempts: u32) -> Self {
        Self { attempts: attempts.clamp(1, ATTEMPTS_MAX), ..self }
    }

    /// With which statuses an idempotent call is made again. A connection that breaks with the request in hand counts as
    /// UNAVAILABLE. RESOURCE_EXHAUSTED need not be named: it is one if the server says when to come back.
    pub fn codes(self, codes: impl IntoIterator<Item = Code>) -> Self {
        Self { codes: codes.into_iter().collect(), ..self }
    }

    /// Statuses with which this service refuses a request before it has done anything: with them, calls that are not idempotent
    /// are made again too.
    pub fn refusals(self, codes: impl IntoIterator<Item = Code>) -> Self {
        Self { refusals: codes.into_iter().collect(), ..self }
    }

    /// The pause before the second repetition and those after it: anything from nothing to `base`, doubled each time, up to `cap`. The first
    /// goes to another node at once.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](callsign_core::ErrorKind::InvalidInput) when `base` is zero or above `cap`.
    pub fn backoff(self, base: Duration, cap: Duration) -> Result<Self> {
        Ok(Self { backoff: Backoff::full_jitter(base, cap)?, ..self })
    }

    /// How long one attempt of an idempotent call waits for the head of its response before another node is tried. No limit but the
    /// call's own deadline unless set.
    pub fn try_timeout(self, timeout: Duration) -> Self {
        Self { try_timeout: Some(timeout), ..self }
    }

    /// Whether a call that ended with `code` may be made again.
    pub(crate) fn allows(&self, code: Code, idempotent: bool) -> bool {
        self.refusals.contains(code) || (idempotent && self.codes.contains(code))
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self::new()
    }
}

// === impl HedgePolicy ===

impl HedgePolicy {
    /// A second attempt once a call takes longer than 95 % of its method's calls do, for one call in twenty at most.
    pub fn new() -> Self {
        Self {
            delay: Delay::Quantile(QUANTILE),
            attempts: 2,
            share: 0.05,
            not_fatal: RetryPolicy::new().codes,
        }
    }

    /// The quantile of the method's latency, from 0.5 to 0.9999, after which the next attempt is made. It is that of the last
    /// half to one minute, and no call is hedged before there are a hundred samples.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](callsign_core::ErrorKind::InvalidInput) for other quantiles.
    pub fn quantile(self, quantile: f64) -> Result<Self> {
        callsign_core::retry::Latencies::new(quantile)?;
        Ok(Self { delay: Delay::Quantile(quantile), ..self })
    }

    /// A fixed delay in place of a quantile.
    pub fn delay(self, delay: Duration) -> Self {
        Self { delay: Delay::Fixed(delay), ..self }
    }

    /// Attempts in all, from 2 to 5; what is beyond counts as the nearest of these. Two unless set.
    pub fn attempts(self, attempts: u32) -> Self {
        Self { attempts: attempts.clamp(2, ATTEMPTS_MAX), ..self }
    }

    /// Further attempts, as a share of the method's calls over ten seconds. 0.05 unless set.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](callsign_core::ErrorKind::InvalidInput) unless it is from 0 to 10.
    pub fn share(self, share: f64) -> Result<Self> {
        RetryBudget::new(share, 0)?;
        Ok(Self { share, ..self })
    }

    /// With which statuses the next attempt begins at once, the others going on. Any other status is the call's answer.
    pub fn not_fatal(self, codes: impl IntoIterator<Item = Code>) -> Self {
        Self { not_fatal: codes.into_iter().collect(), ..self }
    }
}

impl Default for HedgePolicy {
    fn default() -> Self {
        Self::new()
    }
}

// === impl MethodPolicy ===

impl MethodPolicy {
    /// Nothing is said yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether calls may be repeated although they may have been processed.
    pub fn idempotent(self, idempotent: bool) -> Self {
        Self { idempotent: Some(idempotent), ..self }
    }

    /// When calls are made again.
    pub fn retry(self, policy: RetryPolicy) -> Self {
        Self { retry: Some(policy), ..self }
    }

    /// When slow calls get another attempt.
    pub fn hedge(self, policy: HedgePolicy) -> Self {
        Self { hedge: Some(policy), ..self }
    }

    /// The time that each call has unless it says less.
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout: Some(timeout), ..self }
    }

    /// Whether calls wait, up to their deadline, for a node to be ready.
    pub fn wait_for_ready(self, wait: bool) -> Self {
        Self { wait_for_ready: Some(wait), ..self }
    }
}
