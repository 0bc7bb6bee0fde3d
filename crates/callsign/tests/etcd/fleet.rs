//! Two servers that register in etcd, and callers that find them there.

use std::{sync::Arc, time::Duration};

use callsign::{
    Channel, Server,
    core::{
        ServiceName,
        directory::{Directory, Freshness},
        registration::RegistrationState,
        registry::{GetOptions, RegisterOptions},
    },
    registry::etcd::{EtcdConfig, EtcdRegistry},
    server::{Handle, Phase},
};
use callsign_examples::greeter::{
    HelloReply, HelloRequest,
    greeter_server::{Greeter, GreeterServer},
};
use callsign_testbed::{Entry, EtcdServer};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tonic::{Request, Response, Status};

use super::{
    load::{Lateness, Load},
    log::log,
};

/// Longer than anything here takes, outages apart: a test that waits this long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// How soon a node is to be back.
pub(crate) const BACK: Duration = Duration::from_secs(2);
/// A time to live that a test can wait for. etcd grants none of less than 2 s.
pub(crate) const TTL: Duration = Duration::from_secs(3);

/// Where entries of the default domain's `greeter` are.
const PREFIX: &str = "/micro/registry/greeter/";

struct World;

#[tonic::async_trait]
impl Greeter for World {
    async fn hello(&self, request: Request<HelloRequest>) -> Result<Response<HelloReply>, Status> {
        Ok(Response::new(HelloReply { message: format!("Hello, {}!", request.into_inner().name) }))
    }
}

/// Servers, a channel, and calls that go on all the time.
pub(crate) struct Fleet {
    pub ids: [String; 2],
    pub handles: Vec<Handle>,
    pub channel: Channel,
    pub directory: Directory,
    servers: EtcdConfig,
    ttl: Duration,
    load: Load,
    lateness: Lateness,
    running: JoinSet<callsign::Result<()>>,
}

// === impl Fleet ===

impl Fleet {
    /// A fleet that is registered in `etcd` and found there.
    pub(crate) async fn in_etcd(etcd: &EtcdServer, ttl: Duration) -> Self {
        let config = EtcdConfig::new(&etcd.endpoint()).unwrap();
        Self::start(&config, &config, ttl).await
    }

    /// A fleet whose servers and whose callers reach etcd in their own ways.
    pub(crate) async fn start(servers: &EtcdConfig, callers: &EtcdConfig, ttl: Duration) -> Self {
        let mut fleet = Self::start_unregistered(servers, callers, ttl).await;
        for handle in &fleet.handles {
            soon("the servers are registered", handle.registered()).await.unwrap();
        }
        soon("the callers know both", async {
            while fleet.channel.nodes().len() < 2 {
                let _ = fleet.call().await;
            }
        })
        .await;
        fleet.load = Load::start(&fleet.channel);
        fleet
    }

    /// The same where registering may not work yet.
    pub(crate) async fn start_unregistered(
        servers: &EtcdConfig,
        callers: &EtcdConfig,
        ttl: Duration,
    ) -> Self {
        log();
        let number = fastrand::u32(..);
        let ids = ["a", "b"].map(|name| format!("{name}-{number:x}"));
        let (mut handles, mut running) = (Vec::new(), JoinSet::new());
        for id in &ids {
            handles.push(serve(id, servers, ttl, &mut running).await);
        }
        let directory = Directory::new(Arc::new(EtcdRegistry::open(callers.clone())), Default::default());
        let channel = Channel::builder("greeter").directory(directory.clone()).build().unwrap();
        let load = Load::idle();
        let (servers, lateness) = (servers.clone(), Lateness::watch());
        Self { ids, handles, channel, directory, servers, ttl, load, lateness, running }
    }

    /// Has one server leave in order, and then another one come in its place, by the same id.
    pub(crate) async fn restart(&mut self, index: usize) {
        self.handles[index].shutdown();
        soon("the server leaves", self.running.join_next()).await.unwrap().unwrap().unwrap();
        self.handles[index] = serve(&self.ids[index], &self.servers, self.ttl, &mut self.running).await;
        let address = self.handles[index].local_addr().to_string();
        soon("the callers know the new one", async {
            while !self.channel.nodes().iter().any(|status| status.node.address() == address) {
                sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }

    /// One call.
    pub(crate) async fn call(&self) -> Result<(), Status> {
        use callsign_examples::greeter::greeter_client::GreeterClient;
        GreeterClient::new(self.channel.clone()).hello(HelloRequest { name: "World".into() }).await.map(drop)
    }

    /// The key of the first node's entry.
    pub(crate) fn key(&self) -> String {
        format!("{PREFIX}{}", self.ids[0])
    }

    /// How each registration stands, once it has begun.
    pub(crate) fn states(&self) -> Vec<RegistrationState> {
        self.handles.iter().filter_map(Handle::registration).collect()
    }

    /// Whether both servers say why they are not registered.
    pub(crate) fn say_why(&self) -> bool {
        self.states().iter().filter(|state| state.error().is_some()).count() == 2
    }

    /// Lets time pass, in which calls are made and none fails.
    pub(crate) async fn carry_on(&self, time: Duration) {
        let made = self.load.made();
        sleep(time).await;
        soon("a hundred calls more", async {
            while self.load.made() < made + 100 {
                sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
        self.unharmed();
    }

    /// No call has failed, and no process was touched.
    pub(crate) fn unharmed(&self) {
        let failed = self.load.failed();
        assert!(failed.is_empty(), "{} of {} calls failed: {}", failed.len(), self.load.made(), failed[0]);
        for handle in &self.handles {
            assert_eq!(handle.phase(), Phase::Serving);
        }
    }

    /// Both servers have noticed that they are not registered, and say why.
    pub(crate) async fn lost(&self) {
        soon("the loss is noticed", async {
            while !self.say_why() {
                sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
        for (id, handle) in self.ids.iter().zip(&self.handles) {
            let meter = handle.registration_meter().unwrap();
            assert!(meter.lost() >= 1 && meter.failed() >= 1, "{meter:?}");
            assert!(!log().lines("registration lost", id).is_empty(), "nothing was logged of {id}");
        }
    }

    /// The callers say that what they know is old, and still know both.
    pub(crate) async fn stale(&self) {
        soon("the view is stale", async {
            while !self.directory.freshness().is_stale() {
                sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
        assert_eq!(self.channel.nodes().len(), 2, "the last good view is kept");
    }

    /// Waits until both nodes are in etcd, alive, and their servers say so; fails if that takes longer than it may from `since`.
    pub(crate) async fn back(&self, etcd: &EtcdServer, since: Instant) -> Duration {
        let late = self.lateness.so_far();
        soon("both are registered", async {
            while !self.is_registered(etcd).await {
                sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
        let (took, late) = (since.elapsed(), self.lateness.so_far() - late);
        println!("back after {took:?} on a machine that was {late:?} late");
        assert!(took <= BACK + late, "it took {took:?}, on a machine that was {late:?} late\n{}", etcd.log());
        self.unharmed();
        took
    }

    async fn is_registered(&self, etcd: &EtcdServer) -> bool {
        if self.states().iter().filter(|state| state.is_registered()).count() != 2 {
            return false;
        }
        let (leases, entries) = (etcd.leases().await, self.entries(etcd).await);
        entries.len() == 2 && entries.iter().all(|entry| leases.contains(&entry.lease))
    }

    /// The entries of these two.
    pub(crate) async fn entries(&self, etcd: &EtcdServer) -> Vec<Entry> {
        let mut entries = etcd.list(PREFIX).await;
        entries.retain(|entry| self.ids.iter().any(|id| entry.key.ends_with(id)));
        entries
    }

    /// All is as it should be, and stays so for longer than a lease lives that nobody renews; then it ends.
    pub(crate) async fn settled(self, etcd: &EtcdServer, ttl: Duration) {
        let before = self.entries(etcd).await;
        self.carry_on(ttl + Duration::from_secs(1)).await;
        assert_eq!(self.entries(etcd).await, before, "the entries stay as they are");
        self.end().await;
    }

    /// The callers see what is there, and no call has failed.
    pub(crate) async fn end(self) {
        soon("the view is fresh and whole", async {
            while self.directory.freshness().is_stale() || self.channel.nodes().len() != 2 {
                sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
        assert!(matches!(self.directory.freshness(), Freshness::Fresh));
        let stranger = GetOptions::default();
        let name = ServiceName::new("greeter").unwrap();
        assert_eq!(self.directory.registry().get(&name, &stranger).await.unwrap().nodes.len(), 2);
        self.carry_on(Duration::ZERO).await;
        drop(self.running);
    }
}

/// Runs a server that registers in etcd.
async fn serve(
    id: &str,
    etcd: &EtcdConfig,
    ttl: Duration,
    running: &mut JoinSet<callsign::Result<()>>,
) -> Handle {
    let server = Server::builder("greeter")
        .id(id)
        .bind("127.0.0.1:0")
        .registry(Arc::new(EtcdRegistry::open(etcd.clone())))
        .register(RegisterOptions::default().with_ttl(ttl))
        .add_service(GreeterServer::new(World))
        .build()
        .await
        .unwrap();
    let handle = server.handle();
    running.spawn(server.serve_until(std::future::pending()));
    handle
}

/// Awaits what must happen.
pub(crate) async fn soon<F: Future>(what: &str, future: F) -> F::Output {
    match timeout(PATIENCE, future).await {
        Ok(output) => output,
        Err(_) => panic!("this did not happen within {PATIENCE:?}: {what}"),
    }
}
