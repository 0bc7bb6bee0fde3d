//! The choice of a strategy, and its settings.

use std::{fmt, str::FromStr, sync::Arc, time::Duration};

use super::{CustomStrategy, Load, cost::Model};
use crate::error::{Error, Result};

/// How a node is chosen among those that may take a call.
///
/// Every strategy leaves out nodes that are not ready and nodes whose weight is zero.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Strategy {
    /// Any node, with chances in proportion to the weights.
    Random,
    /// Each in turn, from a random start in a random order; weights other than zero play no part.
    RoundRobin,
    /// Each in turn as often as its weight says, evenly spread, by the static stride of gRPC. No node counts for more than ten
    /// times the mean, nor for less than a hundredth of it.
    WeightedRoundRobin,
    /// The one with the fewest calls in flight among `choices` drawn at random; fewer than 2 count as 2, more than 8 as 8.
    /// Weights are chances to be drawn, and divide the calls in flight.
    LeastRequest {
        /// How many nodes are compared.
        choices: u8,
    },
    /// The one with the least expected cost among a few drawn at random: calls in flight times recent latency, with failures
    /// charged. Weights are chances to be drawn.
    Adaptive(AdaptiveConfig),
    /// A strategy of your own.
    Custom(Arc<dyn CustomStrategy>),
}

/// Settings of [`Strategy::Adaptive`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdaptiveConfig {
    pub(super) choices: Choices,
    pub(super) model: Model,
}

/// How many nodes the adaptive strategy compares for one pick.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Choices {
    /// Eight; four or two when each node is called so seldom by this client that what it remembers of them is worth little.
    #[default]
    ByDensity,
    /// As many as said; fewer than 2 count as 2, more than 8 as 8.
    Fixed(u8),
}

// === impl Strategy ===

impl Strategy {
    /// What [`FromStr`] reads, in the order in which help texts should list them.
    pub const NAMES: [&'static str; 5] =
        ["adaptive", "least-request", "round-robin", "weighted-round-robin", "random"];

    /// The most nodes that are compared for one pick.
    pub(super) const CHOICES_MAX: usize = 8;

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Random => "random",
            Self::RoundRobin => "round-robin",
            Self::WeightedRoundRobin => "weighted-round-robin",
            Self::LeastRequest { choices: _ } => "least-request",
            Self::Adaptive(_) => "adaptive",
            Self::Custom(custom) => custom.name(),
        }
    }

    /// A load for a new node, with this strategy's settings for what is learnt from calls.
    #[must_use]
    pub fn new_load(&self) -> Load {
        match self {
            Self::Adaptive(config) => Load::with_model(config.model),
            _ => Load::new(),
        }
    }
}

impl Default for Strategy {
    fn default() -> Self {
        Self::Adaptive(AdaptiveConfig::default())
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Strategy {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "random" => Ok(Self::Random),
            "round-robin" => Ok(Self::RoundRobin),
            "weighted-round-robin" => Ok(Self::WeightedRoundRobin),
            "least-request" => Ok(Self::LeastRequest { choices: 2 }),
            "adaptive" => Ok(Self::default()),
            _ => {
                let error = Error::invalid("read strategy", format!("there is no strategy {name:?}"));
                Err(match meant(name) {
                    Some(near) => error.with_hint(format!("did you mean {near:?}?")),
                    None => error.with_hint(format!("choose one of {}", Self::NAMES.join(", "))),
                })
            }
        }
    }
}

// === impl AdaptiveConfig ===

impl AdaptiveConfig {
    /// How many nodes are compared for one pick.
    #[must_use]
    pub fn choices(self, choices: Choices) -> Self {
        Self { choices, ..self }
    }

    /// How fast latency is forgotten: after this long, without a new sample, an estimate is down to 37 %. 10 s unless set.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) unless it is from 10 ms to an hour.
    pub fn decay(mut self, decay: Duration) -> Result<Self> {
        self.model.decay = within("decay", decay, Duration::from_millis(10), Duration::from_secs(3600))?;
        Ok(self)
    }

    /// What a failed call counts as at least, so that a node that fails fast does not look fast. 5 s unless set; zero charges
    /// nothing, and then such a node draws the traffic of all others.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) when it is above 5 minutes.
    pub fn error_charge(mut self, charge: Duration) -> Result<Self> {
        self.model.error_charge = within("error charge", charge, Duration::ZERO, Duration::from_secs(300))?;
        Ok(self)
    }

    /// The latency below which nodes count as equally fast, so that differences which nobody notices do not unbalance the load.
    /// 1 ms unless set.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) unless it is from 1 µs to 10 s.
    pub fn floor(mut self, floor: Duration) -> Result<Self> {
        self.model.floor = within("floor", floor, Duration::from_micros(1), Duration::from_secs(10))?;
        Ok(self)
    }
}

impl Default for AdaptiveConfig {
    fn default() -> Self {
        Self { choices: Choices::default(), model: Model::DEFAULT }
    }
}

fn within(what: &str, value: Duration, least: Duration, most: Duration) -> Result<f64> {
    if value < least || value > most {
        let message = format!("the {what} must be from {least:?} to {most:?}: {value:?}");
        return Err(Error::invalid("set up the adaptive strategy", message));
    }
    Ok(value.as_secs_f64())
}

/// The strategy that a misspelt or differently known name stands for.
fn meant(name: &str) -> Option<&'static str> {
    let name = name.to_lowercase().replace(['_', ' '], "-");
    match &*name {
        "rr" => return Some("round-robin"),
        "wrr" => return Some("weighted-round-robin"),
        "p2c" | "least-loaded" | "least-conn" => return Some("least-request"),
        "ewma" | "peak-ewma" => return Some("adaptive"),
        _ => {}
    }
    let near = Strategy::NAMES
        .into_iter()
        .map(|known| (strsim::normalized_damerau_levenshtein(&name, known), known));
    near.filter(|(likeness, _)| *likeness >= 0.6).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written_back() {
        for name in Strategy::NAMES {
            assert_eq!(name.parse::<Strategy>().unwrap().to_string(), name);
        }
        assert_eq!(Strategy::default().name(), "adaptive");
    }

    #[test]
    fn a_near_miss_is_told_the_name_and_anything_else_all_of_them() {
        for (said, meant) in [
            ("roundrobin", "\"round-robin\""),
            ("Round_Robin", "\"round-robin\""),
            ("wrr", "\"weighted-round-robin\""),
            ("p2c", "\"least-request\""),
            ("adptive", "\"adaptive\""),
            ("Random", "\"random\""),
            ("xyz", "adaptive, least-request, round-robin, weighted-round-robin, random"),
            ("", "choose one of"),
        ] {
            let error = said.parse::<Strategy>().unwrap_err();
            assert!(error.hint().unwrap().contains(meant), "{said}: {:?}", error.hint());
        }
    }

    #[test]
    fn settings_that_cannot_work_are_refused_by_name() {
        let config = AdaptiveConfig::default();
        assert!(config.decay(Duration::ZERO).unwrap_err().to_string().contains("decay"));
        assert!(
            config.error_charge(Duration::from_secs(301)).unwrap_err().to_string().contains("error charge")
        );
        assert!(config.floor(Duration::ZERO).unwrap_err().to_string().contains("floor"));
        assert_eq!(config.floor(Duration::from_millis(1)).unwrap(), config);
    }
}
