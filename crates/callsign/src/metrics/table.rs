//! All metrics, in the order they are shown in.

/// What one number, or one for each of its labels, means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metric {
    /// Its name, with the unit at the end.
    pub name: &'static str,
    /// Whether it only grows.
    pub kind: Kind,
    /// A sentence.
    pub help: &'static str,
}

/// What a metric's number does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// It only grows, from the start of the process.
    Counter,
    /// It is what it is at the moment.
    Gauge,
    /// How many of what it counts were no more than each of some bounds, and the sum of all: `_bucket`, `_count` and `_sum` behind
    /// the name. They only grow.
    Histogram,
}

macro_rules! metrics {
    ($($constant:ident = $kind:ident $name:literal $help:literal;)*) => {
        $(pub(super) const $constant: Metric =
            Metric { name: $name, kind: Kind::$kind, help: $help };)*
        /// All of them.
        pub(super) const ALL: [Metric; [$($name),*].len()] = [$($constant),*];
    };
}

metrics! {
    CALLS = Counter "callsign_client_calls_total" "Attempts that ended, but for those that never left.";
    FAILURES = Counter "callsign_client_failures_total"
        "Attempts that ended in a failure of the node, an overload or a missed deadline.";
    ATTEMPTS = Counter "callsign_client_attempts_total" "All attempts that ended, at nodes that are gone as well.";
    ATTEMPTS_FAILED = Counter "callsign_client_attempts_failed_total"
        "All attempts that ended in a failure, an overload or a missed deadline, at nodes that are gone as well.";
    INFLIGHT = Gauge "callsign_client_calls_in_flight" "Calls that are under way.";
    LATENCY = Gauge "callsign_client_latency_seconds" "Mean time to the head of the reply, over about sixteen good ones.";
    DURATION = Histogram "callsign_client_attempt_duration_seconds"
        "Time to the head of the reply, of attempts that reached the node and were not cancelled.";
    CONNECTIONS = Gauge "callsign_client_connections" "Open connections.";
    READY = Gauge "callsign_client_node_ready" "1 for a node that can be called, 0 for one that cannot.";
    EJECTED = Gauge "callsign_client_node_ejected" "1 for a node that is left alone, or on probation, since its calls failed.";
    EJECTIONS = Counter "callsign_client_ejections_total" "How often a node was ejected.";
    PANIC = Gauge "callsign_client_panic" "1 while so few nodes can be used that verdicts on their health are ignored.";
    RETRIES = Counter "callsign_client_retries_total" "Attempts that led to another one.";
    RETRY_BUDGET = Gauge "callsign_client_retry_budget" "Attempts that the retry budget would allow now, hedges included.";
    HEDGES = Counter "callsign_client_hedges_total" "Attempts that were begun beside others of the same call.";
    HEDGES_WON = Counter "callsign_client_hedges_won_total" "Those of them whose answer became the call's.";
    HELD_BACK = Counter "callsign_client_held_back_total" "Calls that were not sent, since the service refuses most of them.";
    HELD_BACK_RATIO = Gauge "callsign_client_held_back_ratio" "The chance that the next call is held back for that.";
    FALLBACKS = Counter "callsign_client_fallbacks_total"
        "Calls that went elsewhere than splits, preferences and zones asked for, since nobody there could be called.";
    SPILLS = Counter "callsign_client_spills_total"
        "Calls that went to a farther zone, since the nodes nearer by were far busier.";
    NODES = Gauge "callsign_client_nodes" "Nodes that the channel knows, whether or not they can be called.";
    VIEW_AGE = Gauge "callsign_client_view_age_seconds" "For how long the registry has not stood by the nodes; 0 while it does.";
    SERVER_CALLS = Counter "callsign_server_calls_total" "Calls that have come; health checks and reflection do not count.";
    SERVER_INFLIGHT = Gauge "callsign_server_calls_in_flight" "Calls that are under way.";
    LIMIT = Gauge "callsign_server_calls_limit" "How many calls are worked on at once before others are refused.";
    REFUSED = Counter "callsign_server_calls_refused_total" "Calls that were refused since there were too many.";
    EXPIRED = Counter "callsign_server_calls_expired_total" "Calls that were dropped since their deadline had passed.";
    UNBEGUN = Counter "callsign_server_calls_expired_unbegun_total" "Those of them whose handler had not begun.";
    ABANDONED = Counter "callsign_server_calls_abandoned_total" "Calls that were dropped since their caller was gone.";
    SERVING = Gauge "callsign_server_serving" "1 while the server takes part, 0 before that and while it leaves.";
    REGISTERED = Gauge "callsign_server_registered" "1 while the server's entry is in the registry.";
    REGISTRATIONS = Counter "callsign_server_registrations_total" "How often an entry was put in place.";
    REGISTRATIONS_LOST = Counter "callsign_server_registrations_lost_total" "How often an entry that was in place was lost.";
    REGISTRATIONS_FAILED = Counter "callsign_server_registrations_failed_total" "Attempts to put an entry in place that failed.";
}
