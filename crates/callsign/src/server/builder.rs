//! What a server can be told before it exists; all of it is checked at once, by `build`.

use std::{collections::BTreeMap, convert::Infallible, fmt, future::Future, sync::Arc, time::Duration};

use axum::Router;
use bytes::Bytes;
use callsign_core::{Registry, model::keys, registry::RegisterOptions};
use http::{Request, Response, request::Parts};
use tonic::{body::Body, server::NamedService};
use tower_service::Service;

use super::{
    call::Prioritise,
    config::{DrainConfig, Limits, OnRegisterFailure},
    lifecycle::Ready,
    limit::{ConcurrencyLimit, Priority},
    load_reports::LoadReporter,
    mount::Mounts,
    operators::Operators,
    tls::ServerTls,
};

/// Where a server listens when it is not told: on this machine only, on any free port.
const BIND_DEFAULT: &str = "127.0.0.1:0";

/// How long the first registration may take before something is said or done about it.
const REGISTER_TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);

/// Collects what a [`Server`](super::Server) is. Made by [`Server::builder`](super::Server::builder).
#[must_use = "a builder does nothing until `build` is called"]
pub struct Builder {
    pub(super) name: String,
    pub(super) id: Option<String>,
    pub(super) domain: Option<String>,
    pub(super) version: Option<String>,
    pub(super) metadata: BTreeMap<String, String>,
    pub(super) bind: String,
    pub(super) advertise: Option<String>,
    pub(super) registry: RegistryChoice,
    pub(super) register: RegisterOptions,
    pub(super) register_timeout: Duration,
    pub(super) on_register_failure: OnRegisterFailure,
    pub(super) drain: DrainConfig,
    pub(super) limits: Limits,
    pub(super) tls: Option<ServerTls>,
    pub(super) concurrency: ConcurrencyLimit,
    pub(super) prioritise: Option<Prioritise>,
    pub(super) operators: Option<Operators>,
    pub(super) healthy: bool,
    pub(super) ready: Option<Ready>,
    pub(super) mounts: Mounts,
    pub(super) twice: Vec<&'static str>,
    pub(super) descriptors: Vec<&'static [u8]>,
    pub(super) reflection: bool,
}

/// Where to register.
#[derive(Debug, Clone)]
pub(super) enum RegistryChoice {
    /// The one of this user on this machine.
    Default,
    /// Nowhere.
    None,
    /// There.
    Given(Arc<dyn Registry>),
}

// === impl Builder ===

impl Builder {
    pub(super) fn new(name: String) -> Self {
        Self {
            mounts: Mounts::new(name.as_str()),
            name,
            id: None,
            domain: None,
            version: None,
            metadata: BTreeMap::new(),
            bind: BIND_DEFAULT.to_owned(),
            advertise: None,
            registry: RegistryChoice::Default,
            register: RegisterOptions::default(),
            register_timeout: REGISTER_TIMEOUT_DEFAULT,
            on_register_failure: OnRegisterFailure::default(),
            drain: DrainConfig::default(),
            limits: Limits::default(),
            tls: None,
            concurrency: ConcurrencyLimit::default(),
            prioritise: None,
            operators: None,
            healthy: true,
            ready: None,
            twice: Vec::new(),
            descriptors: Vec::new(),
            reflection: true,
        }
    }

    /// The version it runs; go-micro's `latest` when not called.
    pub fn version(self, version: impl Into<String>) -> Self {
        Self { version: Some(version.into()), ..self }
    }

    /// The node's id, unique among the nodes of the service; the service's name and a random UUID when not called.
    pub fn id(self, id: impl Into<String>) -> Self {
        Self { id: Some(id.into()), ..self }
    }

    /// The namespace of the service; [`Domain::DEFAULT`](callsign_core::Domain::DEFAULT) when not called.
    pub fn domain(self, domain: impl Into<String>) -> Self {
        Self { domain: Some(domain.into()), ..self }
    }

    /// One pair of metadata, which clients can filter by.
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.insert(key.into(), value.into());
        self
    }

    /// Relative share of calls; 0 means none. As much as the others when not called.
    pub fn weight(self, weight: u16) -> Self {
        self.metadata(keys::WEIGHT, weight.to_string())
    }

    /// A named subset of the service's nodes.
    pub fn group(self, group: impl Into<String>) -> Self {
        self.metadata(keys::GROUP, group)
    }

    /// Where the node runs.
    pub fn zone(self, zone: impl Into<String>) -> Self {
        self.metadata(keys::ZONE, zone)
    }

    /// Where to listen: `host:port`, `host:first-last` for the first free port of a range, port 0 for any.
    ///
    /// `127.0.0.1:0` when not called: what other machines reach is opened on purpose. A host left out means all interfaces.
    pub fn bind(self, address: impl Into<String>) -> Self {
        Self { bind: address.into(), ..self }
    }

    /// The address to register, where it is not the one to listen on: `host:port`, or a host alone for the bound port.
    ///
    /// When not called: the address listened on; for all interfaces, the first private one of this machine.
    pub fn advertise(self, address: impl Into<String>) -> Self {
        Self { advertise: Some(address.into()), ..self }
    }

    /// Where to register. When not called: in the registry that the environment names
    /// ([`from_env`](callsign_registry::from_env)), or else in `local`, that of this user on this machine.
    pub fn registry(self, registry: Arc<dyn Registry>) -> Self {
        Self { registry: RegistryChoice::Given(registry), ..self }
    }

    /// Registers nowhere: for clients that are given the address.
    pub fn unregistered(self) -> Self {
        Self { registry: RegistryChoice::None, ..self }
    }

    /// How the entry is kept: its time to live and how often it is renewed.
    pub fn register(self, options: RegisterOptions) -> Self {
        Self { register: options, ..self }
    }

    /// How long the first registration may take before [`on_register_failure`](Self::on_register_failure) has its say; 5 s
    /// when not called.
    pub fn register_timeout(self, timeout: Duration) -> Self {
        Self { register_timeout: timeout, ..self }
    }

    /// What to do when the first registration takes longer; to serve and keep trying when not called.
    pub fn on_register_failure(self, choice: OnRegisterFailure) -> Self {
        Self { on_register_failure: choice, ..self }
    }

    /// How to leave.
    pub fn drain(self, drain: DrainConfig) -> Self {
        Self { drain, ..self }
    }

    /// What clients may use up.
    pub fn limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Speaks TLS on all connections, and publishes that the node does (`secure=true`), so that clients speak TLS to it. Clients that
    /// speak plaintext are told so. The caller's certificate is in [`ConnectionInfo`](super::ConnectionInfo).
    #[cfg(feature = "tls")]
    pub fn tls(self, tls: ServerTls) -> Self {
        Self { tls: Some(tls), ..self }
    }

    /// How many calls to work on at once; [`ConcurrencyLimit::adaptive`] when not called.
    pub fn concurrency_limit(self, limit: ConcurrencyLimit) -> Self {
        Self { concurrency: limit, ..self }
    }

    /// How much a call matters when there are too many, by the head of its request; what its caller says when not called.
    ///
    /// Where callers are not to be believed, decide by what you know of them:
    ///
    /// ```
    /// use callsign::server::{Builder, Priority};
    ///
    /// fn prioritised(builder: Builder) -> Builder {
    ///     builder.priority(|request| match request.uri.path() {
    ///         "/shop.Orders/Pay" => Priority::Critical,
    ///         "/shop.Orders/Export" => Priority::Sheddable,
    ///         _ => Priority::Default,
    ///     })
    /// }
    /// ```
    pub fn priority(self, priority: impl Fn(&Parts) -> Priority + Send + Sync + 'static) -> Self {
        Self { prioritise: Some(Box::new(priority)), ..self }
    }

    /// Takes the word of these operators, who may [drain](crate::Operator::drain) the node and take that back without ending it, as
    /// `callsign drain` does. Nobody may when not called.
    pub fn operators(self, operators: Operators) -> Self {
        Self { operators: Some(operators), ..self }
    }

    /// What must have happened before the server counts as healthy: caches filled, migrations run. It answers meanwhile, but
    /// is not registered. An error ends the server.
    pub fn ready<E>(self, ready: impl Future<Output = Result<(), E>> + Send + 'static) -> Self
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let ready: Ready = Box::pin(async move { ready.await.map_err(Into::into) });
        Self { ready: Some(ready), ..self }
    }

    /// Starts out unhealthy, and so unregistered, until [`Health::set_healthy`](super::Health::set_healthy) says otherwise.
    pub fn unhealthy_at_start(self) -> Self {
        Self { healthy: false, ..self }
    }

    /// Adds a gRPC service: a generated server, with interceptors and layers if need be.
    pub fn add_service<S, B>(mut self, service: S) -> Self
    where
        S: Service<Request<Body>, Response = Response<B>, Error = Infallible>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        if !self.mounts.add(service) {
            self.twice.push(S::NAME);
        }
        self
    }

    /// Ends each gRPC call with a report of how busy the server is, for clients that weigh nodes by it
    /// ([`Strategy::LoadReports`](callsign_core::select::Strategy::LoadReports), and gRPC's own of gRFC A58).
    pub fn load_reports(mut self, reporter: &LoadReporter) -> Self {
        self.mounts.report_by(reporter.clone());
        self
    }

    /// Adds HTTP routes on the same port. Requests with a gRPC content type go to the gRPC services first.
    ///
    /// # Panics
    ///
    /// When called twice with overlapping routes, as [`Router::merge`] does.
    pub fn routes(mut self, routes: Router) -> Self {
        self.mounts.add_routes(routes);
        self
    }

    /// Describes the services: reflection answers from it, and the registry's entry shows the methods.
    ///
    /// It is the `FILE_DESCRIPTOR_SET` of a module made by `callsign-build`.
    pub fn descriptors(mut self, file_descriptor_set: &'static [u8]) -> Self {
        self.descriptors.push(file_descriptor_set);
        self
    }

    /// Whether the server answers reflection; yes when not called.
    pub fn reflection(self, reflection: bool) -> Self {
        Self { reflection, ..self }
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("name", &self.name)
            .field("id", &self.id)
            .field("bind", &self.bind)
            .field("advertise", &self.advertise)
            .field("registry", &self.registry)
            .field("mounts", &self.mounts)
            .finish_non_exhaustive()
    }
}
