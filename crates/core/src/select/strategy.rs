//! The choice of a strategy, and its settings.

use std::{fmt, str::FromStr, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{CustomStrategy, Load, PrequalConfig, ReportConfig, cost::Model};
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
    /// The same with weights from what the nodes report of their load, renewed each second; those of a node that says nothing are
    /// the mean of the others', and the published ones where fewer than two nodes report. A published weight of zero still means no
    /// calls.
    LoadReports(ReportConfig),
    /// The one with the fewest calls in flight among `choices` drawn at random; fewer than 2 count as 2, more than 8 as 8.
    /// Weights are chances to be drawn, and divide the calls in flight.
    LeastRequest {
        /// How many nodes are compared.
        choices: u8,
    },
    /// The one with the least expected cost among a few drawn at random: calls in flight times recent latency, with failures
    /// charged. Weights are chances to be drawn.
    Adaptive(AdaptiveConfig),
    /// The one that has answered best to probes: the quickest of those without too many calls in flight. Whoever makes the picks must
    /// send the probes, and pass the answers on ([`Slate::probed`](super::Slate::probed)); without them, any node is taken.
    Prequal(PrequalConfig),
    /// The same key to the same node, by a ring of points: when nodes come and go, no key moves but from and to them. Weights are
    /// shares of the keys.
    RingHash(HashConfig),
    /// The same key to the same node, by a table: the quickest and the most even for many nodes; when one comes or goes, about
    /// one key in two hundred moves between the others; with the 651st node, nearly all do, to a larger table. Weights are shares of the keys.
    Maglev(HashConfig),
    /// The same key to the same node, by comparing all of them for each call: exact shares by weight and no key moved, for up
    /// to about 64 nodes.
    Rendezvous(HashConfig),
    /// A strategy of your own.
    Custom(Arc<dyn CustomStrategy>),
}

/// Settings of [`Strategy::Adaptive`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdaptiveConfig {
    pub(super) choices: Choices,
    pub(super) aperture: Aperture,
    pub(super) clients: Option<usize>,
    pub(super) model: Model,
}

/// Among how many nodes the adaptive strategy draws those that it compares.
///
/// Each client keeps to nodes of its own, drawn by chance. When one of them cannot be called, another takes its place.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Aperture {
    /// All, if there are up to twenty. Else from twelve to twenty, so that each is called often enough to be known, and more when
    /// this client has more calls in flight, or there are few clients ([`AdaptiveConfig::clients`]).
    #[default]
    ByFlow,
    /// All.
    All,
    /// As many as said; fewer than 2 count as 2.
    Fixed(u32),
}

/// Settings of [`Strategy::RingHash`], [`Strategy::Maglev`] and [`Strategy::Rendezvous`].
///
/// What a call is about is [`PickRequest::hash`](super::PickRequest::hash). A call without it goes to any node, by chance. A
/// node that cannot take a call is passed over for the key's next choice, which is the same in every process; it does not lose its
/// keys.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct HashConfig {
    pub(super) max_load: Option<f64>,
}

/// How many nodes the adaptive strategy compares for one pick.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Choices {
    /// Eight; four or two when each node is called so seldom by this client that what it remembers of them is worth little. Of
    /// three to eight nodes, all but one, any, so that no node gets all calls; that one is taken if it costs less than half.
    #[default]
    ByDensity,
    /// As many as said; fewer than 2 count as 2, more than 8 as 8.
    Fixed(u8),
}

// === impl Strategy ===

impl Strategy {
    /// What [`FromStr`] reads, in the order in which help texts should list them.
    pub const NAMES: [&'static str; 10] = [
        "adaptive",
        "least-request",
        "round-robin",
        "weighted-round-robin",
        "load-reports",
        "prequal",
        "random",
        "ring-hash",
        "maglev",
        "rendezvous",
    ];

    /// The most nodes that are compared for one pick.
    pub(super) const CHOICES_MAX: usize = 8;

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Random => "random",
            Self::RoundRobin => "round-robin",
            Self::WeightedRoundRobin => "weighted-round-robin",
            Self::LoadReports(_) => "load-reports",
            Self::Prequal(_) => "prequal",
            Self::LeastRequest { choices: _ } => "least-request",
            Self::Adaptive(_) => "adaptive",
            Self::RingHash(_) => "ring-hash",
            Self::Maglev(_) => "maglev",
            Self::Rendezvous(_) => "rendezvous",
            Self::Custom(custom) => custom.name(),
        }
    }

    /// Whether it sends the same key to the same node. Calls should then say what they are about.
    #[must_use]
    pub fn uses_key(&self) -> bool {
        matches!(self, Self::RingHash(_) | Self::Maglev(_) | Self::Rendezvous(_))
    }

    /// The same strategy with a bound on the calls in flight of one node, as [`HashConfig::max_load`] has it.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) for a bound that cannot work, and for a strategy that goes by no key.
    pub fn with_max_load(self, factor: f64) -> Result<Self> {
        Ok(match self {
            Self::RingHash(config) => Self::RingHash(config.max_load(factor)?),
            Self::Maglev(config) => Self::Maglev(config.max_load(factor)?),
            Self::Rendezvous(config) => Self::Rendezvous(config.max_load(factor)?),
            other => {
                let message = format!("the strategy {other} has no bound on the load of a node");
                return Err(Error::invalid("set up a strategy", message)
                    .with_hint("ring-hash, maglev and rendezvous have one"));
            }
        })
    }

    /// A load for a new node, with this strategy's settings for what is learnt from calls.
    #[must_use]
    pub fn new_load(&self) -> Load {
        self.load(None)
    }

    /// The same, with time counted from `origin` and not from when this process first looked. Nothing follows from it but how sums
    /// are rounded: it is for what must come out alike whenever it runs, such as a simulation. All loads of a slate must have the
    /// same.
    #[must_use]
    pub fn new_load_since(&self, origin: Instant) -> Load {
        self.load(Some(origin))
    }

    fn load(&self, origin: Option<Instant>) -> Load {
        let model = match self {
            Self::Adaptive(config) => config.model,
            _ => Model::DEFAULT,
        };
        Load::with_model(model, origin)
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
            "load-reports" => Ok(Self::LoadReports(ReportConfig::default())),
            "prequal" => Ok(Self::Prequal(PrequalConfig::default())),
            "least-request" => Ok(Self::LeastRequest { choices: 2 }),
            "adaptive" => Ok(Self::default()),
            "ring-hash" => Ok(Self::RingHash(HashConfig::default())),
            "maglev" => Ok(Self::Maglev(HashConfig::default())),
            "rendezvous" => Ok(Self::Rendezvous(HashConfig::default())),
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

    /// Among how many nodes they are drawn.
    #[must_use]
    pub fn aperture(self, aperture: Aperture) -> Self {
        Self { aperture, ..self }
    }

    /// About how many clients like this one there are, if that is known: their apertures then are wide enough together for every
    /// node to have six of them. Zero is taken for one.
    #[must_use]
    pub fn clients(self, clients: u32) -> Self {
        Self { clients: Some(clients.max(1) as usize), ..self }
    }

    /// How fast latency is forgotten: after this long, without a new sample, an estimate is down to 37 %. 10 s unless set.
    ///
    /// The estimate of a node that answers many calls follows them faster: it rises in a twentieth of this time, at most half a
    /// second, and falls in twice that.
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
        Self {
            choices: Choices::default(),
            aperture: Aperture::default(),
            clients: None,
            model: Model::DEFAULT,
        }
    }
}

// === impl HashConfig ===

impl HashConfig {
    /// Lets no node have more calls in flight than `factor` times its share of them; the others go to the key's next choices. 1.25
    /// is a good value where some keys are much hotter than others. Not bounded unless set.
    ///
    /// Each client counts its own calls only. Up to four calls in flight a node may have in any case.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) unless it is from 1 to 100.
    pub fn max_load(self, factor: f64) -> Result<Self> {
        if !(1.0..=100.0).contains(&factor) {
            let message = format!("a node's load can be bounded to 1 to 100 times its share, not {factor}");
            return Err(Error::invalid("set up a hash strategy", message).with_hint("1.25 is a good value"));
        }
        Ok(Self { max_load: Some(factor) })
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
        "orca" | "client-side-weighted-round-robin" => return Some("load-reports"),
        "p2c" | "least-loaded" | "least-conn" => return Some("least-request"),
        "ewma" | "peak-ewma" => return Some("adaptive"),
        "ring" | "ketama" | "consistent-hash" => return Some("ring-hash"),
        "hrw" => return Some("rendezvous"),
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
            ("ringhash", "\"ring-hash\""),
            ("magelv", "\"maglev\""),
            ("ketama", "\"ring-hash\""),
            ("xyz", "weighted-round-robin, load-reports, prequal, random, ring-hash, maglev, rendezvous"),
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
        for factor in [0.99, -1.0, 0.0, 101.0, f64::NAN, f64::INFINITY] {
            assert!(HashConfig::default().max_load(factor).is_err(), "{factor}");
        }
        assert!(HashConfig::default().max_load(1.0).is_ok());
        let error = Strategy::Random.with_max_load(1.5).unwrap_err();
        assert!(error.to_string().contains("random"), "{error}");
    }
}
