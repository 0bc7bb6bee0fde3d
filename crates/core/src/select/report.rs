//! Weights from what nodes say of their own load, after gRFC A58 and A114.
//!
//! A node reports how busy it is and how many calls it answers; calls per second at full use are its weight. A report that makes
//! no sense is worth as much as none. The time rules are [`Load`](super::Load)'s to keep: a node that has just begun to report is
//! not believed at once, and one that has long been silent not any more.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use crate::error::{Error, Result};

const OP: &str = "set up weights from load reports";

/// What a node says of its load.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LoadReport {
    /// Which part of its processors it uses, from zero to one, or more if it uses more than it is meant to.
    pub cpu: f64,
    /// Which part of what it can do it does, by its own measure, from zero to one or more. Where it is given, it counts instead of
    /// `cpu`.
    pub application: f64,
    /// Calls that it answers each second.
    pub calls_per_second: f64,
    /// Those of them that fail.
    pub failures_per_second: f64,
    /// Anything else by name, from zero to one or more.
    pub named: BTreeMap<String, f64>,
}

/// Settings of [`Strategy::LoadReports`](super::Strategy::LoadReports).
#[derive(Debug, Clone, PartialEq)]
pub struct ReportConfig {
    pub(super) blackout: Duration,
    pub(super) expiry: Duration,
    penalty: f64,
    metrics: Arc<[String]>,
}

// === impl ReportConfig ===

impl ReportConfig {
    /// For how long the first reports over a connection are not believed: a node that has just started is idle and says so. 10 s
    /// unless set.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) when it is above an hour.
    pub fn blackout(self, blackout: Duration) -> Result<Self> {
        let config = Self { blackout, ..self };
        config.check(blackout <= HOUR, || format!("the blackout is at most an hour, not {blackout:?}"))
    }

    /// For how long a report is believed if no other follows. 3 minutes unless set.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) unless it is from 1 s to a day.
    pub fn expiry(self, expiry: Duration) -> Result<Self> {
        let config = Self { expiry, ..self };
        config.check((Duration::from_secs(1)..=24 * HOUR).contains(&expiry), || {
            format!("a report is believed for 1 s to a day, not {expiry:?}")
        })
    }

    /// By how much a node that fails all of its calls counts as busier, in times of full use: 1 unless set, zero for not at all.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) unless it is from 0 to 100.
    pub fn error_penalty(self, penalty: f64) -> Result<Self> {
        let config = Self { penalty, ..self };
        config.check((0.0..=100.0).contains(&penalty), || {
            format!("the penalty for errors is from 0 to 100, not {penalty}")
        })
    }

    /// Goes by the greatest of these named parts of a report, where there is one, instead of by the application's word and the
    /// processors.
    #[must_use]
    pub fn metrics<M: Into<String>>(self, names: impl IntoIterator<Item = M>) -> Self {
        Self { metrics: names.into_iter().map(Into::into).collect(), ..self }
    }

    /// The weight that a report amounts to: calls per second if the node were fully used. `None` for a node that is idle, which
    /// tells nothing.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) for numbers that no honest node can mean: below zero, infinite, or none.
    pub fn weight(&self, report: &LoadReport) -> Result<Option<f64>> {
        let calls = honest("calls_per_second", report.calls_per_second)?;
        let failures = honest("failures_per_second", report.failures_per_second)?;
        let application = honest("application", report.application)?;
        let cpu = honest("cpu", report.cpu)?;
        let named = self.metrics.iter().filter_map(|name| report.named.get(name).copied());
        let named = named.filter(|value| value.is_finite()).fold(0.0, f64::max);
        let used = [named, application, cpu].into_iter().find(|used| *used > 0.0);
        let (Some(used), true) = (used, calls > 0.0) else { return Ok(None) };
        let weight = calls / (used + failures / calls * self.penalty);
        // Of two honest numbers, one can be so large that their quotient is none.
        match weight.is_normal() {
            true => Ok(Some(weight)),
            false => {
                Err(Error::invalid(READ, format!("{calls} calls a second at a use of {used} make no weight")))
            }
        }
    }

    fn check(self, fits: bool, problem: impl FnOnce() -> String) -> Result<Self> {
        if fits { Ok(self) } else { Err(Error::invalid(OP, problem())) }
    }
}

impl Default for ReportConfig {
    fn default() -> Self {
        Self {
            blackout: Duration::from_secs(10),
            expiry: Duration::from_secs(180),
            penalty: 1.0,
            metrics: Arc::default(),
        }
    }
}

const HOUR: Duration = Duration::from_secs(3600);
const READ: &str = "read a load report";

fn honest(name: &str, value: f64) -> Result<f64> {
    if value.is_finite() && value >= 0.0 {
        Ok(value)
    } else {
        Err(Error::invalid(READ, format!("{name} is {value}")))
    }
}

#[cfg(test)]
mod tests;
