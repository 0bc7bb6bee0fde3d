//! How much load retries may add. Two ways to bound it: a share of the calls of the last seconds, which is ours, or the tokens of
//! gRPC's service config, for teams that bring one.

use tokio::time::Instant;

use self::{tokens::Tokens, window::Window};
use crate::error::Result;

mod tokens;
mod window;

/// Bounds retries to a share of the calls of the last ten seconds, with a floor for thin traffic; or as gRPC's
/// [`tokens`](Self::tokens) do.
///
/// The floor is no addition, as it is in Finagle: with a fifth and ten a second, no flow of fifty calls a second or more is ever
/// made larger than 1.2 times what it is.
///
/// One is meant for each client and target service, shared by every call between them and kept over changes of membership.
///
/// ```
/// use callsign_core::retry::RetryBudget;
/// use tokio::time::Instant;
///
/// let budget = RetryBudget::new(0.2, 0)?;
/// let now = Instant::now();
/// for _ in 0..10 {
///     budget.deposit(now);
/// }
/// assert!(budget.withdraw(now) && budget.withdraw(now));
/// assert!(!budget.withdraw(now), "two retries for ten calls are a fifth");
/// # Ok::<(), callsign_core::Error>(())
/// ```
#[derive(Debug)]
pub struct RetryBudget(Rule);

#[derive(Debug)]
enum Rule {
    Window(Window),
    Tokens(Tokens),
}

// === impl RetryBudget ===

impl RetryBudget {
    /// Allows `ratio` retries per call, or `per_second` if that is more.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) unless the ratio is from 0 to 10 and the floor at most 1,000 a second.
    pub fn new(ratio: f64, per_second: u32) -> Result<Self> {
        Window::new(ratio, per_second).map(|window| Self(Rule::Window(window)))
    }

    /// gRPC's way (gRFC A6, `retryThrottling`): of `max` tokens each failure takes one, each success gives `ratio` of one back, and
    /// retries are allowed while more than half are there. It lets retries through until more than `ratio / (1 + ratio)` of the calls
    /// fail, and none from then on.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) unless there are 1 to 1,000 tokens, and the ratio is from 0.001 to 1,000.
    pub fn tokens(max: u32, ratio: f64) -> Result<Self> {
        Tokens::new(max, ratio).map(|tokens| Self(Rule::Tokens(tokens)))
    }

    /// Counts one call: the first attempt, not its retries.
    pub fn deposit(&self, now: Instant) {
        if let Rule::Window(window) = &self.0 {
            window.deposit(now);
        }
    }

    /// Takes one retry out of the budget, if there is one left.
    #[must_use = "a retry that was not granted must not be made"]
    pub fn withdraw(&self, now: Instant) -> bool {
        match &self.0 {
            Rule::Window(window) => window.withdraw(now),
            Rule::Tokens(tokens) => tokens.allow(),
        }
    }

    /// Whether [`succeeded`](Self::succeeded) and [`failed`](Self::failed) make a difference.
    #[must_use]
    pub fn counts_outcomes(&self) -> bool {
        matches!(self.0, Rule::Tokens(_))
    }

    /// Tells that an attempt was answered well, or badly in a way that no retry would mend. Of interest to tokens alone.
    pub fn succeeded(&self) {
        if let Rule::Tokens(tokens) = &self.0 {
            tokens.give();
        }
    }

    /// Tells that an attempt failed in a way that a retry might mend, or that the server wants no retry.
    pub fn failed(&self) {
        if let Rule::Tokens(tokens) = &self.0 {
            tokens.take();
        }
    }

    /// How many retries are left now. Of tokens, how many failures from now on are retried if nothing succeeds meanwhile.
    #[must_use]
    pub fn balance(&self, now: Instant) -> u64 {
        match &self.0 {
            Rule::Window(window) => window.balance(now),
            Rule::Tokens(tokens) => tokens.balance(),
        }
    }
}

impl Default for RetryBudget {
    /// A fifth of the calls, but at least ten a second.
    fn default() -> Self {
        Self(Rule::Window(Window::default()))
    }
}

#[cfg(test)]
mod tests;
