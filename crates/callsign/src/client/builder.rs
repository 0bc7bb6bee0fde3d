//! What a channel is told when it is made.

use std::{collections::HashMap, sync::Arc, time::Duration};

use callsign_core::{
    Domain, Error, Node, NodeKey, Registry, Result, ServiceName,
    directory::{Directory, DirectoryConfig},
    health::HealthConfig,
    retry::{RetryBudget, Throttle},
    select::{Filter, Filters, Load, Shape, Strategy},
};

#[cfg(feature = "tls")]
use callsign_net::tls::TlsConfig;

use super::{
    Channel, HashBy, HealthCheck, MethodPolicy, RetryPolicy, ServiceConfig, Target,
    channel::Settings,
    methods::{Methods, Scope},
    pool::Pool,
    roster::Parts,
    source::Source,
    speech::{Speech, Wish},
    target::Origin,
};

/// The time until the head of a response where neither caller nor channel has set one.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
/// A channel that nobody calls for this long lets go of its connections, as gRPC's do.
const IDLE_AFTER: Duration = Duration::from_secs(30 * 60);
/// Calls that can be asked about.
const REMEMBERED: usize = 512;
/// More would be a log.
const REMEMBERED_MAX: usize = 1 << 16;

/// Collects how a [`Channel`] is to behave. Made by [`Channel::builder`].
#[derive(Debug)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct ChannelBuilder {
    name: String,
    from: Option<From>,
    domain: Option<Domain>,
    strategy: Strategy,
    filters: Filters,
    shape: Shape,
    timeout: Option<Duration>,
    default_timeout: Option<Duration>,
    wait_for_ready: bool,
    connection: callsign_net::Config,
    tls: Wish,
    idle_after: Duration,
    hash_by: Option<HashBy>,
    health: HealthConfig,
    check: Option<HealthCheck>,
    slow_start: Duration,
    subset: Option<usize>,
    budget: RetryBudget,
    retry: RetryPolicy,
    methods: Vec<(Scope, MethodPolicy)>,
    idempotent: Vec<Box<str>>,
    throttle: Option<Throttle>,
    remembered: usize,
    seed: Option<u64>,
}

#[derive(Debug)]
enum From {
    Registry(Arc<dyn Registry>),
    Directory(Directory),
    Nodes(Arc<[Arc<Node>]>),
}

// === impl ChannelBuilder ===

impl ChannelBuilder {
    pub(super) fn new(name: String) -> Self {
        Self {
            name,
            from: None,
            domain: None,
            strategy: Strategy::default(),
            filters: Filters::default(),
            shape: Shape::default(),
            timeout: None,
            default_timeout: Some(TIMEOUT_DEFAULT),
            wait_for_ready: false,
            connection: callsign_net::Config::default(),
            tls: Wish::default(),
            idle_after: IDLE_AFTER,
            hash_by: None,
            health: HealthConfig::default(),
            check: None,
            slow_start: Load::RAMP,
            subset: None,
            budget: RetryBudget::default(),
            retry: RetryPolicy::new(),
            methods: Vec::new(),
            idempotent: Vec::new(),
            throttle: None,
            remembered: REMEMBERED,
            seed: None,
        }
    }

    /// Starts from what a target says; what is set afterwards wins.
    ///
    /// # Errors
    ///
    /// Why the target's registry cannot be opened, or what is wrong with the files of its TLS or with its service config.
    pub fn for_target(target: Target) -> Result<Self> {
        let Target {
            service,
            origin,
            domain,
            filters,
            shape,
            subset,
            strategy,
            hash_by,
            slow_start,
            health,
            check,
            tls,
            service_config,
            timeout,
            wait_for_ready,
        } = target;
        let mut builder = Self::new(service.to_string());
        if let Some(file) = service_config {
            builder = builder.service_config(ServiceConfig::from_file(file)?);
        }
        builder.from = match origin {
            Origin::Default => None,
            Origin::Registry(url) => Some(From::Registry(callsign_registry::open(&url)?)),
            Origin::Nodes(nodes) => Some(From::Nodes(nodes)),
        };
        builder.domain = domain;
        builder.filters = filters;
        builder.shape = shape;
        builder.strategy = strategy.unwrap_or(builder.strategy);
        builder.subset = subset;
        builder.hash_by = hash_by;
        builder.slow_start = slow_start.unwrap_or(builder.slow_start);
        builder.health = health.unwrap_or_default();
        builder.check = check.or(builder.check);
        builder.tls = tls.map(|tls| tls.load()).transpose()?.unwrap_or_default();
        builder.timeout = timeout;
        builder.wait_for_ready = wait_for_ready;
        Ok(builder)
    }

    /// Finds the nodes in this registry. Without it, in the one that the environment names
    /// ([`from_env`](callsign_registry::from_env)), which is `local` if it names none.
    pub fn registry(mut self, registry: Arc<dyn Registry>) -> Self {
        self.from = Some(From::Registry(registry));
        self
    }

    /// Finds the nodes through a directory that other channels share; its domain is then the channel's.
    pub fn directory(mut self, directory: Directory) -> Self {
        self.from = Some(From::Directory(directory));
        self
    }

    /// Calls these nodes, whatever any registry says.
    pub fn nodes(mut self, nodes: impl IntoIterator<Item = Node>) -> Self {
        self.from = Some(From::Nodes(nodes.into_iter().map(Arc::new).collect()));
        self
    }

    /// The namespace in which the name is looked up.
    pub fn domain(mut self, domain: Domain) -> Self {
        self.domain = Some(domain);
        self
    }

    /// How a node is chosen. [`Strategy::Adaptive`] when not called.
    pub fn strategy(mut self, strategy: Strategy) -> Self {
        self.strategy = strategy;
        self
    }

    /// Where calls that have no key of their own get one, for strategies that send the same to the same node. A call without a
    /// key goes to any node, by chance.
    pub fn hash_by(mut self, hash_by: HashBy) -> Self {
        self.hash_by = Some(hash_by);
        self
    }

    /// Only nodes that meet this condition; may be called several times.
    pub fn filter(mut self, filter: Filter) -> Self {
        self.filters = self.filters.and(filter);
        self
    }

    /// Which nodes calls should go to, among those that pass the filters: a share to a new version, one group rather than another,
    /// the nearest zone.
    pub fn shape(mut self, shape: Shape) -> Self {
        self.shape = shape;
        self
    }

    /// The time that each call has unless it says less, reply stream included. It goes over the wire.
    ///
    /// Without it, a call waits up to 30 s for the head of its response, and a reply stream may last for as long as its
    /// connection is alive.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Lets calls that set no time of their own wait for ever.
    pub fn no_default_timeout(mut self) -> Self {
        self.default_timeout = None;
        self
    }

    /// Whether calls wait, up to their deadline, for a node to be ready, instead of failing at once.
    pub fn wait_for_ready(mut self, wait: bool) -> Self {
        self.wait_for_ready = wait;
        self
    }

    /// Speaks TLS to every node, and plaintext to none, whatever they publish.
    ///
    /// A node's certificate must hold the server name set in `tls`, or else the host name or the address that the node is
    /// registered with.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: TlsConfig) -> Self {
        self.tls = Wish::Always(tls);
        self
    }

    /// Speaks TLS to nodes that publish `secure=true`, as servers with TLS do, and plaintext to others: for a service that is on its
    /// way from one to the other. Whoever can write to the registry can then turn TLS off; with [`tls`](Self::tls) nobody can.
    ///
    /// It is what a channel does that is told nothing of TLS, with the platform's authorities.
    #[cfg(feature = "tls")]
    pub fn tls_as_published(mut self, tls: TlsConfig) -> Self {
        self.tls = Wish::Published(tls);
        self
    }

    /// How connections are made and kept. Its TLS is that of [`tls`](Self::tls), if it has any and nothing else is said.
    pub fn connection(mut self, config: callsign_net::Config) -> Self {
        self.connection = config;
        self
    }

    /// How long without calls until connections are let go. 30 minutes when not called.
    pub fn idle_after(mut self, idle_after: Duration) -> Self {
        self.idle_after = idle_after;
        self
    }

    /// When a node is left alone for a while because calls to it fail. [`HealthConfig::off`] for never.
    pub fn health(mut self, config: HealthConfig) -> Self {
        self.health = config;
        self
    }

    /// Asks each node whether it serves, and calls none that does not say so. Not asked unless set.
    pub fn health_check(mut self, check: HealthCheck) -> Self {
        self.check = Some(check);
        self
    }

    /// How long a node that has just started, by its own word or because it was not there before, gets less than its share of
    /// calls, from a tenth to all of it. 5 s when not called; zero for not at all. Strategies that go by a key do not wait.
    pub fn slow_start(mut self, window: Duration) -> Self {
        self.slow_start = window;
        self
    }

    /// Connects to no more nodes than this, to `size` of those that pass the channel's filters: fewer connections where many clients
    /// face many nodes. Which these are follows from the channel's [seed](Self::seed), and changes by one when one comes or goes.
    ///
    /// Zero is taken for one. Fewer than twelve leave little when some of them fail.
    pub fn subset(mut self, size: usize) -> Self {
        self.subset = Some(size.max(1));
        self
    }

    /// What repeated requests may add to the load.
    pub fn retry_budget(mut self, budget: RetryBudget) -> Self {
        self.budget = budget;
        self
    }

    /// When calls are made again whose method says nothing else; it governs idempotent calls, unless it names codes that refuse.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// What is done for the calls of `scope`: one method (`package.Service/Method`), all of one service (`package.Service`), or all (`*`).
    /// The most exact one counts, and of two for the same the later.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](callsign_core::ErrorKind::InvalidInput) if `scope` is none of these.
    pub fn method(mut self, scope: &str, policy: MethodPolicy) -> Result<Self> {
        self.methods.push((Scope::parse(scope)?, policy));
        Ok(self)
    }

    /// Methods whose calls may be repeated, by the paths of their requests: the `IDEMPOTENT_METHODS` of a module made by
    /// `callsign-build`. A policy that says otherwise of a method itself counts more.
    pub fn idempotent_methods<'a>(mut self, paths: impl IntoIterator<Item = &'a &'a str>) -> Self {
        self.idempotent.extend(paths.into_iter().map(|path| Box::from(*path)));
        self
    }

    /// Takes over what a [`ServiceConfig`] says; what is set afterwards wins.
    pub fn service_config(mut self, config: ServiceConfig) -> Self {
        let ServiceConfig { methods, strategy, budget, health_check } = config;
        self.methods.extend(methods);
        self.strategy = strategy.unwrap_or(self.strategy);
        self.budget = budget.unwrap_or(self.budget);
        self.check = health_check.or(self.check);
        self
    }

    /// Refuses calls, here and at once, while the service refuses most of them. Not done unless asked for: a service that is protected
    /// by limits of its own has less need of it.
    pub fn throttle(mut self, throttle: Throttle) -> Self {
        self.throttle = Some(throttle);
        self
    }

    /// How many of the last calls [`Channel::explain_call`] can say something of: 512 when not called, 65,536 at most, and none with
    /// zero, when replies have no ids either. Each takes about half a kilobyte.
    pub fn remembered_calls(mut self, calls: usize) -> Self {
        self.remembered = calls.min(REMEMBERED_MAX);
        self
    }

    /// Makes every random choice of the channel follow from `seed`.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Starts the channel. It does not wait for anything: the first calls do, as far as they must.
    ///
    /// # Errors
    ///
    /// What is wrong with the name or contradicts itself, or why the default registry cannot be opened.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn build(self) -> Result<Channel> {
        self.check()?;
        let Self {
            name,
            from,
            domain,
            strategy,
            filters,
            shape,
            timeout,
            default_timeout,
            wait_for_ready,
            connection,
            tls,
            idle_after,
            hash_by,
            health,
            check,
            slow_start,
            subset,
            budget,
            retry,
            methods,
            idempotent,
            throttle,
            remembered,
            seed,
        } = self;
        let service = ServiceName::new(name)?;
        let from = match from {
            Some(from) => from,
            None => From::Registry(callsign_registry::from_env()?),
        };
        let origin = match &from {
            From::Registry(registry) => registry.to_string(),
            From::Directory(directory) => directory.registry().to_string(),
            From::Nodes(_) => "a fixed list".to_owned(),
        };
        let parts = Parts {
            service: service.clone(),
            origin,
            strategy,
            filters,
            shape,
            speech: Speech::new(connection, tls),
            idle_after,
            check,
            health,
            slow_start,
            subset,
            remembered,
            seed: seed.unwrap_or_else(|| fastrand::u64(..)),
        };
        let methods = Methods::new(methods, idempotent)?;
        let settings = Settings {
            timeout,
            default_timeout,
            wait_for_ready,
            hash_by,
            budget,
            retry,
            methods,
            pool: Pool::new(),
            throttle,
        };
        Ok(Channel::start(parts, settings, move || match from {
            From::Registry(registry) => {
                let config = DirectoryConfig::in_domain(domain.unwrap_or_default());
                Source::followed(Directory::new(registry, config), &service)
            }
            From::Directory(directory) => Source::followed(directory, &service),
            From::Nodes(nodes) => Source::Fixed(nodes),
        }))
    }

    /// Whether what was set goes together.
    fn check(&self) -> Result<()> {
        let Self { from, domain, strategy, filters, shape, hash_by, .. } = self;
        if let (Some(From::Directory(_)), Some(domain)) = (from, domain) {
            return Err(Error::invalid(
                "make a channel",
                format!("a directory was given, and the domain {domain} too: the directory's own counts"),
            ));
        }
        shape.check_within(filters)?;
        let uses_key = strategy.uses_key() || shape.uses_key() || matches!(strategy, Strategy::Custom(_));
        if let Some(by) = hash_by.as_ref().filter(|_| !uses_key) {
            let message = format!(
                "calls are to be told apart by {by}, but the strategy {strategy} does not look at that"
            );
            return Err(Error::invalid("make a channel", message)
                .with_hint("choose ring-hash, maglev or rendezvous, or leave out the hash"));
        }
        match from {
            Some(From::Nodes(nodes)) => refuse_twins(nodes),
            _ => Ok(()),
        }
    }
}

/// Each of two nodes of one id would be taken for the other.
fn refuse_twins(nodes: &[Arc<Node>]) -> Result<()> {
    let mut seen: HashMap<NodeKey, &Node> = HashMap::new();
    for node in nodes {
        if let Some(other) = seen.insert(node.key(), node) {
            let (id, one, two) = (node.id(), other.address(), node.address());
            return Err(Error::invalid(
                "make a channel",
                format!("two nodes have the id {id}: at {one} and at {two}"),
            )
            .with_hint("an id is one running instance: give each its own"));
        }
    }
    Ok(())
}
