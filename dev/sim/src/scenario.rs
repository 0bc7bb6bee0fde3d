//! A scenario: fleet, load, faults and policies, as a file that a person writes.
//!
//! `dev/sim/scenarios` has them all; `dev/sim/README.md` says what may stand in one.

mod check;
mod registry;
mod span;

use callsign_core::retry::RetryBudget;
use serde::Deserialize;

pub(crate) use self::{
    registry::{Discovery, RegistryPlan, RegistryTrouble},
    span::Span,
};
use crate::measure::{Metric, Over};

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scenario {
    pub(crate) title: String,
    /// What is simulated, and what it shows.
    pub(crate) about: String,
    /// What others have published of it, and why ours differs if it does.
    #[serde(default)]
    pub(crate) published: String,
    /// Calls begin for this long.
    pub(crate) duration: Span,
    /// Calls that begin before this are not counted.
    #[serde(default)]
    pub(crate) warmup: Span,
    /// How often it is run, each time with another seed.
    #[serde(default = "Scenario::seeds_default")]
    pub(crate) seeds: u64,
    pub(crate) clients: Clients,
    pub(crate) network: Network,
    pub(crate) fleet: Fleet,
    pub(crate) work: Work,
    /// Where clients hear of the nodes, and what befalls it; without it they hear of each change in time.
    pub(crate) registry: Option<RegistryPlan>,
    #[serde(default)]
    pub(crate) fault: Vec<Fault>,
    #[serde(default)]
    pub(crate) change: Vec<Change>,
    pub(crate) policy: Vec<Policy>,
    pub(crate) sweep: Option<Sweep>,
    /// The columns of the table, or one table for each in a sweep.
    pub(crate) show: Vec<Metric>,
    /// An answer within this time is a good one, for the metric `within`.
    #[serde(default = "Scenario::goal_default")]
    pub(crate) goal: Span,
    #[serde(default)]
    pub(crate) plot: Vec<Plot>,
    #[serde(default)]
    pub(crate) expect: Vec<Expect>,
}

/// Who calls.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Clients {
    pub(crate) count: usize,
    /// Calls per second of all clients together.
    pub(crate) rate: Option<f64>,
    /// Instead: the work offered, as a share of what the fleet is meant to carry.
    pub(crate) load: Option<f64>,
    /// When a caller gives up.
    #[serde(default = "Clients::timeout_default")]
    pub(crate) timeout: Span,
    /// The zones they live in, dealt out in turn; without it all zones of the fleet.
    #[serde(default)]
    pub(crate) zones: Vec<usize>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Network {
    /// There and back.
    pub(crate) rtt: Span,
    /// At most so much more each way, evenly distributed.
    #[serde(default)]
    pub(crate) jitter: Span,
    /// Until all clients have heard of a change of membership, evenly distributed.
    #[serde(default)]
    pub(crate) propagation: Span,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fleet {
    pub(crate) count: usize,
    pub(crate) server: Server,
    /// Speeds of the machines, dealt out in turn.
    #[serde(default = "Fleet::speeds_default")]
    pub(crate) speeds: Vec<f64>,
    /// Weights that nodes publish, dealt out in turn.
    #[serde(default)]
    pub(crate) weights: Vec<u16>,
    /// Into so many zones the nodes are dealt out in turn.
    #[serde(default = "Fleet::zones_default")]
    pub(crate) zones: usize,
}

/// How a node works.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(tag = "model", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Server {
    /// Every call takes as long as its work, however many there are.
    Delay,
    /// So many calls at a time, the others wait in order.
    Queue {
        #[serde(default = "Server::workers_default")]
        workers: usize,
    },
    /// All calls at once, none on more than one core, beside a neighbour that takes cores away and gives them back.
    Shared {
        /// The cores that it is meant to have.
        cores: f64,
        /// What it has while the neighbour is quiet, as a multiple of that.
        #[serde(default = "Server::all")]
        free: f64,
        /// What it has while the neighbour is busy.
        #[serde(default = "Server::all")]
        contended: f64,
        /// How much of the time the neighbour is busy.
        #[serde(default)]
        contended_share: f64,
        /// How long the neighbour stays as it is, on average over both states.
        #[serde(default = "Server::dwell_default")]
        dwell: Span,
    },
}

/// What a call costs a node of speed one.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Work {
    pub(crate) law: Law,
    pub(crate) mean: Span,
    /// Of the normal distribution; without it that which makes it Prequal's: as large as the mean before cutting at zero.
    pub(crate) deviation: Option<Span>,
    /// Some calls are this much longer; the mean stays.
    pub(crate) long: Option<Long>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Long {
    pub(crate) share: f64,
    pub(crate) times: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Law {
    Constant,
    Exponential,
    /// Cut at zero by drawing again.
    Normal,
}

/// Something that befalls nodes for a while.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fault {
    /// Which nodes, by number.
    #[serde(default)]
    pub(crate) nodes: Vec<usize>,
    /// Or all nodes of a zone.
    pub(crate) zone: Option<usize>,
    pub(crate) from: Span,
    pub(crate) to: Span,
    pub(crate) what: Trouble,
    /// How many of the calls it befalls.
    #[serde(default = "Fault::share_default")]
    pub(crate) share: f64,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Trouble {
    /// Answers take this long.
    Delay(Span),
    /// Calls fail after this long.
    Fail(Span),
    /// Everything takes so many times as long.
    Slow(f64),
    /// Calls are taken and never answered.
    Hang,
    /// The node cannot be reached; clients notice after this long, from their connections.
    Gone(Span),
}

/// Nodes that come or go.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Change {
    pub(crate) at: Span,
    #[serde(default)]
    pub(crate) add: usize,
    /// Nodes that leave in good order, by number.
    #[serde(default)]
    pub(crate) remove: Vec<usize>,
    /// How many times slower added nodes are at first.
    #[serde(default = "Server::all")]
    pub(crate) cold: f64,
    /// For how long.
    #[serde(default)]
    pub(crate) cold_for: Span,
}

/// How nodes are chosen: a strategy of Callsign, or one of a peer.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Policy {
    #[serde(rename = "use")]
    pub(crate) name: String,
    label: Option<String>,
    /// How many nodes are compared for a pick.
    pub(crate) choices: Option<u8>,
    /// What a failed call counts as at least.
    pub(crate) error_charge: Option<Span>,
    /// How fast latency is forgotten.
    pub(crate) decay: Option<Span>,
    /// Each client keeps to so many of the nodes, chosen by its seed; Adaptive to as many as its flow of calls is enough for,
    /// unless this is said.
    pub(crate) aperture: Option<usize>,
    /// How long a new node gets less than its share; Callsign's default without it.
    pub(crate) slow_start: Option<Span>,
    /// Whether nodes whose calls fail are left alone, by Callsign's default rules.
    #[serde(default)]
    pub(crate) ejection: bool,
    /// Whether failed calls are repeated, within the default budget.
    #[serde(default)]
    pub(crate) retries: bool,
    /// Whether long calls are a method of their own.
    #[serde(default)]
    pub(crate) methods: bool,
    /// Whether they are, and have a channel of their own too.
    #[serde(default)]
    pub(crate) apart: bool,
    /// Whether clients prefer the nodes of the zone they live in.
    #[serde(default)]
    pub(crate) near: bool,
    /// Repeats per call that are allowed, in place of the default budget.
    budget: Option<f64>,
    /// Where the scenario has a registry: what its clients believe of it.
    #[serde(default)]
    pub(crate) discovery: Discovery,
    /// Probes per call, of Prequal.
    pub(crate) probes: Option<f64>,
    /// Above which quantile of calls in flight a node counts as hot, of Prequal.
    pub(crate) hot: Option<f64>,
}

/// One setting that is varied.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sweep {
    pub(crate) by: Variable,
    pub(crate) values: Vec<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Variable {
    Load,
    Rate,
    Clients,
    Nodes,
    Aperture,
    Choices,
    Probes,
    Hot,
}

/// A picture.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Plot {
    /// Over the seconds of the run.
    Time {
        show: Over,
        #[serde(default)]
        log: bool,
        /// Only these policies, by label; all without it.
        #[serde(default)]
        policies: Vec<String>,
    },
    /// Over the values of the sweep.
    Sweep {
        show: Metric,
        #[serde(default)]
        log: bool,
    },
    /// A bar for each policy.
    Bars {
        show: Metric,
        #[serde(default)]
        log: bool,
    },
}

/// What a result must be for the run to have passed.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expect {
    /// By label.
    pub(crate) policy: String,
    pub(crate) metric: Metric,
    /// At one value of the sweep; at all without it.
    pub(crate) at: Option<f64>,
    pub(crate) least: Option<f64>,
    pub(crate) most: Option<f64>,
    /// Instead of limits: near this value.
    pub(crate) near: Option<f64>,
    /// How near, as a share.
    #[serde(default = "Expect::within_default")]
    pub(crate) within: f64,
    /// The limits are multiples of what this policy has.
    pub(crate) times: Option<String>,
    /// Too noisy for the short runs of the tests.
    #[serde(default)]
    pub(crate) thorough: bool,
}

// === impl Scenario ===

impl Scenario {
    /// Reads and checks a scenario.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        let scenario: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        scenario.check()?;
        Ok(scenario)
    }

    /// The values of the sweep, or one that means nothing.
    pub(crate) fn points(&self) -> Vec<f64> {
        self.sweep.as_ref().map_or_else(|| vec![f64::NAN], |sweep| sweep.values.clone())
    }

    /// As it is at one value of its sweep, for one policy.
    pub(crate) fn at(&self, value: f64, policy: &Policy) -> Self {
        let mut this = Self { policy: vec![policy.clone()], ..self.clone() };
        let policy = &mut this.policy[0];
        match self.sweep.as_ref().map(|sweep| sweep.by) {
            None => {}
            Some(Variable::Load) => this.clients.load = Some(value),
            Some(Variable::Rate) => this.clients.rate = Some(value),
            Some(Variable::Clients) => this.clients.count = value as usize,
            Some(Variable::Nodes) => this.fleet.count = value as usize,
            Some(Variable::Aperture) => policy.aperture = Some(value as usize),
            Some(Variable::Choices) => policy.choices = Some(value as u8),
            Some(Variable::Probes) => policy.probes = Some(value),
            Some(Variable::Hot) => policy.hot = Some(value),
        }
        this
    }

    /// Whether anything is asked for that depends on when it happened.
    pub(crate) fn wants_time(&self) -> bool {
        let plotted = self.plot.iter().any(|plot| matches!(plot, Plot::Time { .. }));
        plotted || self.show.iter().any(|metric| matches!(metric, Metric::Peak | Metric::Settled))
    }

    /// Calls per second of all clients together.
    pub(crate) fn rate(&self) -> f64 {
        match (self.clients.rate, self.clients.load) {
            (Some(rate), _) => rate,
            (None, load) => load.unwrap_or_default() * self.fleet.capacity() / self.work.mean.seconds(),
        }
    }

    fn seeds_default() -> u64 {
        10
    }

    fn goal_default() -> Span {
        Span::from_seconds(1.0)
    }
}

// === impl Clients ===

impl Clients {
    /// The zone that a client lives in.
    pub(crate) fn home(&self, client: usize, fleet: &Fleet) -> usize {
        if self.zones.is_empty() { client % fleet.zones } else { self.zones[client % self.zones.len()] }
    }

    fn timeout_default() -> Span {
        Span::from_seconds(5.0)
    }
}

// === impl Fleet ===

impl Fleet {
    /// The work that the fleet is meant to do per second.
    pub(crate) fn capacity(&self) -> f64 {
        let cores = match self.server {
            Server::Delay => 0.0,
            Server::Queue { workers } => workers as f64,
            Server::Shared { cores, .. } => cores,
        };
        (0..self.count).map(|node| cores * self.speed(node)).sum()
    }

    pub(crate) fn speed(&self, node: usize) -> f64 {
        self.speeds[node % self.speeds.len()]
    }

    fn speeds_default() -> Vec<f64> {
        vec![1.0]
    }

    fn zones_default() -> usize {
        1
    }
}

// === impl Server ===

impl Server {
    fn workers_default() -> usize {
        1
    }

    fn all() -> f64 {
        1.0
    }

    fn dwell_default() -> Span {
        Span::from_seconds(10.0)
    }
}

// === impl Fault ===

impl Fault {
    /// The nodes it befalls.
    pub(crate) fn nodes(&self, fleet: &Fleet) -> Vec<usize> {
        match self.zone {
            Some(zone) => (0..fleet.count).filter(|node| node % fleet.zones == zone).collect(),
            None => self.nodes.clone(),
        }
    }

    fn share_default() -> f64 {
        1.0
    }
}

// === impl Policy ===

impl Policy {
    pub(crate) fn label(&self) -> &str {
        self.label.as_deref().unwrap_or(&self.name)
    }

    /// What one client may repeat.
    pub(crate) fn budget(&self) -> Result<RetryBudget, String> {
        let asked = self.budget.map(|ratio| RetryBudget::new(ratio, 0));
        asked.transpose().map(Option::unwrap_or_default).map_err(|error| error.to_string())
    }
}

// === impl Variable ===

impl Variable {
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::Rate => "calls per second",
            Self::Clients => "clients",
            Self::Nodes => "nodes",
            Self::Aperture => "nodes known to a client",
            Self::Choices => "choices",
            Self::Probes => "probes a call",
            Self::Hot => "hot above the quantile",
        }
    }
}

// === impl Expect ===

impl Expect {
    fn within_default() -> f64 {
        0.02
    }
}

#[cfg(test)]
mod tests;
