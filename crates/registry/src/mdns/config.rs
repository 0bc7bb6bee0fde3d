//! How a registry on mDNS is set up.

use std::{collections::BTreeSet, time::Duration};

use super::machine::Timing;

/// The port of multicast DNS (RFC 6762).
const PORT: u16 = 5353;

/// Which interfaces an [`MdnsRegistry`](super::MdnsRegistry) uses, and how patient it is.
///
/// ```
/// use std::time::Duration;
/// use callsign_registry::mdns::MdnsConfig;
///
/// let config = MdnsConfig::new().with_interfaces(["eth0", "lo"]).with_lookup(Duration::from_millis(250));
/// # let _ = config;
/// ```
#[derive(Debug, Clone)]
pub struct MdnsConfig {
    pub(super) port: u16,
    pub(super) interfaces: BTreeSet<String>,
    pub(super) ipv4: bool,
    pub(super) ipv6: bool,
    pub(super) rescan: Duration,
    pub(super) timing: Timing,
    pub(super) seed: Option<u64>,
}

// === impl MdnsConfig ===

impl MdnsConfig {
    /// How long a look-up waits for a first answer.
    pub const LOOKUP_DEFAULT: Duration = Duration::from_millis(500);
    /// How long a look-up waits for more nodes once it has one.
    pub const SETTLE_DEFAULT: Duration = Duration::from_millis(30);
    /// How often the nodes that somebody wants to know of are looked after.
    pub const CHECK_DEFAULT: Duration = Duration::from_secs(10);
    /// How long a new node waits for an objection to its name, three times.
    pub const PROBE_DEFAULT: Duration = Duration::from_millis(100);
    /// How often it is looked for interfaces that came or went.
    const RESCAN_DEFAULT: Duration = Duration::from_secs(1);
    /// The shortest of all these times.
    const SHORTEST: Duration = Duration::from_millis(5);

    /// All interfaces that are up, IPv4 and IPv6, at the usual pace.
    #[must_use]
    pub fn new() -> Self {
        Self {
            port: PORT,
            interfaces: BTreeSet::new(),
            ipv4: true,
            ipv6: true,
            rescan: Self::RESCAN_DEFAULT,
            timing: Timing {
                lookup: Self::LOOKUP_DEFAULT,
                settle: Self::SETTLE_DEFAULT,
                check: Self::CHECK_DEFAULT,
                probe: Self::PROBE_DEFAULT,
            },
            seed: None,
        }
    }

    /// Uses these interfaces alone, by their names. They may come later; none at all means all there are.
    #[must_use]
    pub fn with_interfaces(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.interfaces = names.into_iter().map(Into::into).collect();
        self
    }

    /// Does without IPv6.
    #[must_use]
    pub fn ipv4_only(self) -> Self {
        Self { ipv4: true, ipv6: false, ..self }
    }

    /// Does without IPv4.
    #[must_use]
    pub fn ipv6_only(self) -> Self {
        Self { ipv4: false, ipv6: true, ..self }
    }

    /// Sets how long a look-up of a service that is not known yet waits for a first answer. go-micro's clients wait 100 ms.
    #[must_use]
    pub fn with_lookup(mut self, lookup: Duration) -> Self {
        self.timing.lookup = lookup.max(Self::SHORTEST);
        self
    }

    /// Sets how long such a look-up waits for more nodes once it has one.
    #[must_use]
    pub fn with_settle(mut self, settle: Duration) -> Self {
        self.timing.settle = settle;
        self
    }

    /// Sets how often nodes are looked after: one that crashed is gone after this and four seconds more.
    #[must_use]
    pub fn with_check(mut self, check: Duration) -> Self {
        self.timing.check = check.max(Self::SHORTEST);
        self
    }

    /// Sets how long a new node waits for an objection to its name, three times.
    #[must_use]
    pub fn with_probe(mut self, probe: Duration) -> Self {
        self.timing.probe = probe.max(Self::SHORTEST);
        self
    }

    /// Uses another port than 5353, on which go-micro does not see it: for tests.
    #[must_use]
    pub fn with_port(self, port: u16) -> Self {
        Self { port, ..self }
    }

    /// Draws from this seed: for tests. Each handle needs one of its own, as it is what tells them apart.
    #[must_use]
    pub fn with_seed(self, seed: u64) -> Self {
        Self { seed: Some(seed), ..self }
    }
}

impl Default for MdnsConfig {
    fn default() -> Self {
        Self::new()
    }
}
