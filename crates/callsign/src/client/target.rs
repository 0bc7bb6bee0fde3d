//! What to call, as one line of text.
//!
//! ```text
//! greeter                                           the name in the default registry
//! registry://greeter?group=blue&version=1.2         the same, with conditions
//! registry://greeter?split=version:2@10&prefer=group:blue,group:green&near=eu-1a,eu-1b
//! registry://greeter?strategy=maglev&hash=header:x-user&max_load=1.25
//! registry://greeter?subset=20&slow_start=30s&health.consecutive=3
//! local:///greeter         local:///run/shop/greeter
//! etcd:///greeter          etcd://10.0.0.1:2379,10.0.0.2:2379/greeter?domain=shop
//! mdns:///greeter          a registry, then the name
//! static://127.0.0.1:4000,127.0.0.1:4001?weight=1,3
//! registry://greeter?tls=on&ca=/etc/shop/ca.pem&cert=/etc/shop/me.pem&key=/etc/shop/me.key&server_name=greeter
//! ```
//!
//! Scheme, authority and path up to the last slash say which registry, as in a `RegistryUrl`; what follows the last slash is
//! the service, and the query says which of its nodes and how. Names are percent-encoded where they hold what has a meaning here (`/`, `?`, `&`, `%`).
//!
//! `place` reads what stands before the `?`. What follows are `options`, each with its own reader: `conditions` on the nodes,
//! `policy` for choosing among them, `health` for leaving some alone, `tls` for how to speak to them.

mod conditions;
mod health;
mod options;
mod place;
mod policy;
mod tls;

use std::{fmt, path::PathBuf, str::FromStr, time::Duration};

use callsign_core::{
    Domain, Error, Result, ServiceName,
    health::HealthConfig,
    select::{Filters, Shape, Strategy},
};
use callsign_registry::RegistryUrl;

use self::options::Options;
pub(super) use self::place::Origin;
use super::{HashBy, HealthCheck};

/// What a channel is to call: a name, where it is looked up, and on which conditions.
///
/// ```
/// use callsign::client::Target;
///
/// let target: Target = "registry://greeter?group=blue&strategy=round-robin".parse()?;
/// assert_eq!(target.service(), "greeter");
///
/// let error = "registry://greeter?gruop=blue".parse::<Target>().unwrap_err();
/// assert!(error.hint().is_some_and(|hint| hint.contains("`group`")));
/// # Ok::<(), callsign::Error>(())
/// ```
///
/// # Options
///
/// | Option | What it says | In code |
/// |---|---|---|
/// | `domain=shop` | the namespace in which the name is looked up | [`domain`](super::ChannelBuilder::domain) |
/// | `group=` `version=` `zone=` `endpoint=` `label.KEY=` | only nodes that have this | [`filter`](super::ChannelBuilder::filter) |
/// | `split=version:2@10` `prefer=group:blue,none` `near=eu-1a` | which nodes calls should go to | [`Shape`] |
/// | `subset=20` | connect to no more nodes than this | [`subset`](super::ChannelBuilder::subset) |
/// | `strategy=maglev` | how a node is chosen | [`Strategy`] |
/// | `hash=header:x-user` `hash=method` | what calls are about | [`HashBy`] |
/// | `max_load=1.25` | a bound on the load of one node, where there is a hash | [`HashConfig::max_load`](callsign_core::select::HashConfig::max_load) |
/// | `choices=3` | how many nodes are compared, from 2 to 8 | [`Choices`](callsign_core::select::Choices) |
/// | `aperture=12` `aperture=all` `clients=300` | among how many nodes `adaptive` draws | [`Aperture`](callsign_core::select::Aperture) |
/// | `decay=10s` `error_charge=5s` `floor=1ms` | what `adaptive` makes of latencies | [`AdaptiveConfig`](callsign_core::select::AdaptiveConfig) |
/// | `blackout=10s` `expiry=3m` `error_penalty=1` `metrics=gpu` | what `load-reports` makes of reports | [`ReportConfig`](callsign_core::select::ReportConfig) |
/// | `probes=3` `hot=0.84` | how often `prequal` asks, and which nodes it leaves alone | [`PrequalConfig`](callsign_core::select::PrequalConfig) |
/// | `slow_start=30s` `slow_start=off` | how long a new node gets less than its share | [`slow_start`](super::ChannelBuilder::slow_start) |
/// | `health=off` | leave no node alone for failing | [`HealthConfig::off`] |
/// | `health.consecutive=5` `health.deviations=1.9` `health.failed_percent=85` | when a node is left alone | [`HealthConfig`] |
/// | `health.interval=10s` `health.ejection=30s,5m` `health.ejected_percent_max=10` | for how long, and how many | [`HealthConfig`] |
/// | `health.check=grpc` `health.check=grpc:greeter.Greeter` | ask nodes whether they serve | [`HealthCheck`] |
/// | `tls=on` `tls=published` | TLS to all nodes, or to those that publish it (feature `tls`) | `ChannelBuilder::tls` |
/// | `ca=FILE` `cert=FILE` `key=FILE` `server_name=greeter` | whom to trust, what to show, which name nodes must prove; alone they mean `tls=on` | `TlsConfig` |
/// | `service_config=FILE` | gRPC's service config, as JSON; what else the target says counts more | [`service_config`](super::ChannelBuilder::service_config) |
/// | `timeout=250ms` `wait_for_ready=true` | how long calls have, and whether they wait for a node | [`timeout`](super::ChannelBuilder::timeout) |
/// | `weight=1,3` `name=greeter` | with `static://` only: the addresses' weights, the service's name | |
#[derive(Debug, Clone)]
pub struct Target {
    pub(super) service: ServiceName,
    pub(super) origin: Origin,
    pub(super) domain: Option<Domain>,
    pub(super) filters: Filters,
    pub(super) shape: Shape,
    pub(super) subset: Option<usize>,
    pub(super) strategy: Option<Strategy>,
    pub(super) hash_by: Option<HashBy>,
    pub(super) slow_start: Option<Duration>,
    pub(super) health: Option<HealthConfig>,
    pub(super) check: Option<HealthCheck>,
    pub(super) tls: Option<tls::Tls>,
    pub(super) service_config: Option<PathBuf>,
    pub(super) timeout: Option<Duration>,
    pub(super) wait_for_ready: bool,
}

// === impl Target ===

impl Target {
    /// The service to call.
    #[must_use]
    pub fn service(&self) -> &ServiceName {
        &self.service
    }

    /// The registry that the target names, unless it leaves that to the program or lists addresses.
    #[must_use]
    pub fn registry(&self) -> Option<&RegistryUrl> {
        match &self.origin {
            Origin::Registry(url) => Some(url),
            Origin::Default | Origin::Nodes(_) => None,
        }
    }
}

impl FromStr for Target {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (place, query) = text.split_once('?').unwrap_or((text, ""));
        let mut options = Options::read(text, query)?;
        let (service, origin) = place::read(place, &mut options)?;
        let target = Self {
            service,
            origin,
            domain: options.take("domain").map(|value| Domain::new(value.text()?)).transpose()?,
            filters: conditions::filters(&mut options)?,
            shape: conditions::shape(&mut options)?,
            subset: options.take("subset").map(|value| value.count(1..=u32::MAX)).transpose()?,
            strategy: policy::strategy(&mut options)?,
            hash_by: options.take("hash").map(|value| value.text()?.parse()).transpose()?,
            slow_start: policy::slow_start(&mut options)?,
            health: health::config(&mut options)?,
            check: health::check(&mut options)?,
            tls: tls::read(&mut options)?,
            service_config: options
                .take("service_config")
                .map(|value| value.text().map(PathBuf::from))
                .transpose()?,
            timeout: options.take("timeout").map(|value| value.duration()).transpose()?,
            wait_for_ready: options.take("wait_for_ready").map_or(Ok(false), |value| value.flag())?,
        };
        options.expect_none_left();
        Ok(target)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.service.fmt(f)
    }
}

#[cfg(test)]
mod tests;
