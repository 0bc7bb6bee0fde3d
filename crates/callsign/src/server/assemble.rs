//! From what was asked for to a server that holds its port: the checks, and the putting together.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use callsign_core::{
    Endpoint, Node, NodeId, Registry, ServiceName, Tasks, model::keys, registration::Registrar,
};
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::sync::CancellationToken;

use super::{
    Server, advertise,
    bind::BindAddress,
    builder::{Builder, RegistryChoice},
    call::Calls,
    connection::Acceptor,
    endpoints::Schema,
    handle::Handle,
    health::Health,
    identity::random_node_id,
    lifecycle::{Lifecycle, Registering},
    limit::Gate,
    mount::Mounts,
    notice::Notice,
    operators::Desk,
    orders::Orders,
    strays::Said,
};
use crate::{Error, ErrorKind, Result};

/// What a node of ours speaks, under the keys that go-micro's servers say it.
const SPEAKS: [&str; 3] = [keys::PROTOCOL, "transport", "server"];
/// Where the name of the registry goes.
const REGISTRY_KEY: &str = "registry";

/// What a server registers as, but for its address.
struct Identity {
    name: String,
    id: String,
    domain: Option<String>,
    version: Option<String>,
    metadata: BTreeMap<String, String>,
    secure: bool,
    endpoints: Arc<[Endpoint]>,
}

// === impl Builder ===

impl Builder {
    /// Checks everything and listens. Connections queue up from here on, and are served once the server runs.
    ///
    /// # Errors
    ///
    /// What was given and cannot work, by name; or why the address cannot be listened on, or the default registry not opened.
    pub async fn build(mut self) -> Result<Server> {
        self.check()?;
        let bind: BindAddress = self.bind.parse()?;
        let schema = Schema::decode(&self.descriptors)?;
        let services: Vec<&'static str> = self.mounts.names().collect();
        for service in services.iter().filter(|service| !schema.describes(service)) {
            tracing::info!(service, "no descriptors given: its methods are not shown in the registry");
        }
        let identity = Identity {
            id: self.id.take().unwrap_or_else(|| random_node_id(&self.name)),
            name: self.name.clone(),
            domain: self.domain.take(),
            version: self.version.take(),
            metadata: std::mem::take(&mut self.metadata),
            secure: self.tls.is_some(),
            endpoints: schema.endpoints(services.iter().copied()).into(),
        };
        // What is wrong with the names is found before a port is taken.
        identity.node("127.0.0.1:1", None)?;
        let registry = registry(&self.registry)?;

        let listener = bind.listen().await?;
        let local_addr = listener.local_addr().map_err(|error| {
            Error::new(ErrorKind::Internal, "bind", "the socket does not tell its address").with_source(error)
        })?;
        let address = advertise::address(self.advertise.as_deref(), local_addr, advertise::interfaces)?;
        let node = identity.node(&address, registry.as_deref())?;
        tracing::info!(service = %node.service(), node = %node.id(), %local_addr, address = node.address(), "bound");
        self.assemble(listener, local_addr, node, registry, &services)
    }

    fn check(&self) -> Result<()> {
        ServiceName::new(&self.name)?;
        self.id.as_ref().map(NodeId::new).transpose()?;
        self.drain.check()?;
        self.limits.check()?;
        self.concurrency.check()?;
        let fail = |message: String| Err(Error::invalid("build the server", message));
        if let Some(service) = self.twice.first() {
            return fail(format!("the service {service} was added twice"));
        }
        if let Some(ours) = self.mounts.names().find(|name| super::call::is_ours(name)) {
            return fail(format!("the service {ours} is added by the server itself"));
        }
        if self.mounts.names().next().is_none() && !self.mounts.has_routes() {
            return Err(Error::invalid("build the server", "there is nothing to serve")
                .with_hint("add a service with `add_service` or HTTP routes with `routes`"));
        }
        // Without TLS of our own, there may be somebody in front of us who speaks it.
        let secure = self.tls.is_some().then_some(&keys::SECURE);
        let ours = SPEAKS.iter().chain(&[REGISTRY_KEY, keys::STARTED]).chain(secure);
        if let Some(key) = ours.into_iter().find(|key| self.metadata.contains_key(**key)) {
            return fail(format!("the metadata key {key} is written by the server itself"));
        }
        let (ttl, interval) = (self.register.ttl, self.register.interval);
        if interval.is_zero() || interval >= ttl {
            return fail(format!(
                "an entry that lives {ttl:?} is not kept alive by renewing it every {interval:?}"
            ));
        }
        if self.register_timeout.is_zero() {
            return fail("no registration succeeds in no time: the register timeout is zero".to_owned());
        }
        Ok(())
    }

    fn assemble(
        mut self,
        listener: TcpListener,
        local_addr: SocketAddr,
        node: Node,
        registry: Option<Arc<dyn Registry>>,
        services: &[&'static str],
    ) -> Result<Server> {
        let health = Health::new(self.healthy, services.iter().map(|&service| service.to_owned()));
        self.mounts.add(health.service());
        if self.reflection {
            add_reflection(&mut self.mounts, &self.descriptors, services)?;
        }
        let gate = Gate::new(&self.concurrency, fastrand::u64(..));
        let orders = Orders::new();
        let desk =
            self.operators.map(|operators| Desk::new(operators, node.id().to_string(), orders.clone()));
        let calls = Calls::new(self.mounts, gate, self.prioritise, desk);
        let tasks = Tasks::new();
        let acceptor = Acceptor {
            listener,
            room: Arc::new(Semaphore::new(self.limits.connections as usize)),
            limits: self.limits,
            tls: self.tls,
            strays: Said::default(),
            calls: calls.clone(),
            tasks: tasks.clone(),
            notice: Notice::new(),
            closing: CancellationToken::new(),
        };
        let registrar = registry.map(Registrar::new);
        let meter = registrar.as_ref().map(Registrar::meter);
        let handle = Handle::new(local_addr, Arc::new(node), health, calls.clone(), meter, orders);
        let registering = registrar.map(|registrar| Registering {
            registrar,
            options: self.register,
            timeout: self.register_timeout,
            on_failure: self.on_register_failure,
        });
        Ok(Server {
            lifecycle: Lifecycle {
                handle,
                registering,
                ready: self.ready,
                drain: self.drain,
                calls,
                acceptor,
                tasks,
            },
        })
    }
}

// === impl Identity ===

impl Identity {
    fn node(&self, address: &str, registry: Option<&dyn Registry>) -> Result<Node> {
        let mut node = Node::builder(&self.name, &self.id, address)
            .endpoints(self.endpoints.clone())
            .started(since_epoch());
        for (key, value) in &self.metadata {
            node = node.metadata(key, value);
        }
        for key in SPEAKS {
            node = node.metadata(key, "grpc");
        }
        if self.secure {
            node = node.metadata(keys::SECURE, "true");
        }
        if let Some(registry) = registry {
            node = node.metadata(REGISTRY_KEY, scheme(&registry.to_string()));
        }
        if let Some(version) = &self.version {
            node = node.version(version);
        }
        if let Some(domain) = &self.domain {
            node = node.domain(domain);
        }
        node.build()
    }
}

fn registry(choice: &RegistryChoice) -> Result<Option<Arc<dyn Registry>>> {
    match choice {
        RegistryChoice::None => Ok(None),
        RegistryChoice::Given(registry) => Ok(Some(registry.clone())),
        RegistryChoice::Default => callsign_registry::from_env().map(Some),
    }
}

/// What kind of registry it is: its text up to what tells it from others of its kind.
fn scheme(registry: &str) -> &str {
    registry.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default()
}

#[expect(
    clippy::disallowed_methods,
    reason = "a label for people and slow start; nothing here is decided by it"
)]
fn since_epoch() -> Duration {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default()
}

/// Reflection in both of its versions, because clients still ask for the older one.
fn add_reflection(
    mounts: &mut Mounts,
    descriptors: &[&'static [u8]],
    services: &[&'static str],
) -> Result<()> {
    let fail = |error| {
        Error::new(ErrorKind::InvalidInput, "read descriptors", "reflection cannot be made of them")
            .with_hint("pass the FILE_DESCRIPTOR_SET of a module made by callsign-build")
            .with_source(error)
    };
    let builder = || {
        let mut builder = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .with_service_name("grpc.health.v1.Health");
        for set in descriptors {
            builder = builder.register_encoded_file_descriptor_set(set);
        }
        for service in services {
            builder = builder.with_service_name(*service);
        }
        builder
    };
    let v1 = builder().with_service_name("grpc.reflection.v1.ServerReflection");
    mounts.add(v1.build_v1().map_err(fail)?);
    let v1alpha = builder().with_service_name("grpc.reflection.v1alpha.ServerReflection");
    mounts.add(v1alpha.build_v1alpha().map_err(fail)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registrys_kind_is_its_first_word() {
        for (text, kind) in
            [("memory", "memory"), ("local:///run/user/1000/callsign", "local"), ("etcd (3 hosts)", "etcd")]
        {
            assert_eq!(scheme(text), kind);
        }
    }
}
