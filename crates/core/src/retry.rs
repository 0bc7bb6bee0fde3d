//! Trying again: how long to wait, and how often it is allowed.
//!
//! These are the only backoff and the only retry budget of the workspace. A [`Backoff`] spreads the attempts of many clients
//! over time, so that what has just recovered is not knocked down again. A [`RetryBudget`] bounds how much load retries may
//! add to that of the calls themselves: a fixed number of attempts per call does not, since when everything fails, three
//! attempts are three times the load, at the worst moment.
//!
//! Neither reads a clock or a random source: both are passed in.

mod backoff;
mod budget;

pub use self::backoff::{Backoff, Jitter};
pub use self::budget::RetryBudget;
