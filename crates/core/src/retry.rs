//! Trying again: how long to wait, how often it is allowed, and when a second attempt is due before the first has failed.
//!
//! These are the only backoff and the only retry budget of the workspace. A [`Backoff`] spreads the attempts of many clients
//! over time, so that what has just recovered is not knocked down again. A [`RetryBudget`] bounds how much load retries may
//! add to that of the calls themselves: a fixed number of attempts per call does not, since when everything fails, three
//! attempts are three times the load, at the worst moment.
//!
//! [`Latencies`] know after which time a call is among the slow ones, and [`Surge`] whether all are. A [`Throttle`] keeps calls from a
//! service that would refuse them.
//!
//! None of them reads a clock or a random source: both are passed in. None of them locks.

mod backoff;
mod budget;
mod latencies;
mod surge;
mod throttle;

pub use self::backoff::{Backoff, Jitter};
pub use self::budget::RetryBudget;
pub use self::latencies::Latencies;
pub use self::surge::Surge;
pub use self::throttle::Throttle;
