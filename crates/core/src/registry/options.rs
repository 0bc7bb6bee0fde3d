//! What can be asked of a registry's methods.

use std::time::Duration;

use crate::model::{Domain, ServiceName};

/// How an entry is kept.
///
/// ```
/// use std::time::Duration;
/// use callsign_core::registry::RegisterOptions;
///
/// let options = RegisterOptions::default().with_ttl(Duration::from_secs(30));
/// assert_eq!(options.interval, Duration::from_secs(10));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RegisterOptions {
    /// How long the entry outlives an owner that stopped renewing it. Backends that see their owner die ignore it.
    pub ttl: Duration,
    /// How often the owner renews it.
    pub interval: Duration,
}

/// How one service is looked up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct GetOptions {
    /// The namespace, or all.
    pub domain: Domain,
}

/// How services are listed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListOptions {
    /// The namespace, or all.
    pub domain: Domain,
}

/// What is watched.
///
/// ```
/// use callsign_core::{Domain, registry::WatchOptions};
///
/// let everything = WatchOptions::in_domain(Domain::all());
/// let one = WatchOptions::default().of("greeter".parse()?);
/// assert!(everything.service.is_none() && one.service.is_some());
/// # Ok::<(), callsign_core::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WatchOptions {
    /// The namespace, or all.
    pub domain: Domain,
    /// One service, or all when `None`.
    pub service: Option<ServiceName>,
}

// === impl RegisterOptions ===

impl Default for RegisterOptions {
    fn default() -> Self {
        Self { ttl: Self::TTL_DEFAULT, interval: Self::TTL_DEFAULT / 3 }
    }
}

impl RegisterOptions {
    /// The time to live when none is given.
    pub const TTL_DEFAULT: Duration = Duration::from_secs(15);

    /// Sets the time to live, and the renewal interval to a third of it.
    #[must_use]
    pub fn with_ttl(self, ttl: Duration) -> Self {
        let Self { ttl: _, interval: _ } = self;
        Self { ttl, interval: ttl / 3 }
    }

    /// Sets the renewal interval alone.
    #[must_use]
    pub fn with_interval(self, interval: Duration) -> Self {
        Self { interval, ..self }
    }
}

// === impl GetOptions ===

impl GetOptions {
    /// Looks in `domain`.
    #[must_use]
    pub fn in_domain(domain: Domain) -> Self {
        Self { domain }
    }
}

// === impl ListOptions ===

impl ListOptions {
    /// Lists `domain`.
    #[must_use]
    pub fn in_domain(domain: Domain) -> Self {
        Self { domain }
    }
}

// === impl WatchOptions ===

impl WatchOptions {
    /// Watches `domain`.
    #[must_use]
    pub fn in_domain(domain: Domain) -> Self {
        Self { domain, service: None }
    }

    /// Watches one service only.
    #[must_use]
    pub fn of(self, service: ServiceName) -> Self {
        Self { service: Some(service), ..self }
    }
}
