//! How a server leaves.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use callsign::{
    ErrorKind,
    core::{
        Error, Node, NodeKey, Registry, ServiceName, WatchEvent,
        memory::MemoryRegistry,
        registry::{GetOptions, Lease, ListOptions, Listing, RegisterOptions, Removal, Watch, WatchOptions},
    },
    server::{DrainConfig, Phase},
};
use tokio::{io::AsyncReadExt as _, net::TcpStream, sync::Notify};
use tonic::Code;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::support::{Connection, Running, hello, run, soon};

/// Quick, and long enough for every step to be seen.
fn quick() -> DrainConfig {
    DrainConfig::default().with_quiet(Duration::from_millis(300)).with_propagation(Duration::from_secs(2))
}

/// A registry that removes an entry only once it is allowed to.
#[derive(Debug, Clone)]
struct SlowToForget {
    registry: MemoryRegistry,
    allowed: Arc<Notify>,
}

#[derive(Debug)]
struct SlowLease(Box<dyn Lease>, Arc<Notify>);

impl std::fmt::Display for SlowToForget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("slow")
    }
}

#[async_trait]
impl Registry for SlowToForget {
    async fn register(
        &self,
        node: &Arc<Node>,
        options: &RegisterOptions,
    ) -> callsign::Result<Box<dyn Lease>> {
        let lease = self.registry.register(node, options).await?;
        Ok(Box::new(SlowLease(lease, self.allowed.clone())))
    }

    async fn deregister(&self, key: &NodeKey) -> callsign::Result<()> {
        self.registry.deregister(key).await
    }

    async fn get(&self, service: &ServiceName, options: &GetOptions) -> callsign::Result<Listing> {
        self.registry.get(service, options).await
    }

    async fn list(&self, options: &ListOptions) -> callsign::Result<Listing> {
        self.registry.list(options).await
    }

    async fn watch(&self, options: &WatchOptions) -> callsign::Result<Watch> {
        self.registry.watch(options).await
    }
}

#[async_trait]
impl Lease for SlowLease {
    async fn hold(&mut self) -> Error {
        self.0.hold().await
    }

    async fn update(&mut self, node: &Arc<Node>) -> callsign::Result<()> {
        self.0.update(node).await
    }

    async fn release(self: Box<Self>) -> callsign::Result<()> {
        self.1.notified().await;
        self.0.release().await
    }
}

/// A call that has arrived at its handler and waits there.
async fn slow_call(running: &Running) -> tokio::task::JoinHandle<Result<(), tonic::Status>> {
    let mut client = running.client().await;
    let call = tokio::spawn(async move { client.hello(hello("slow")).await.map(drop) });
    soon("the call arrives", running.greeter.arrived.notified()).await;
    call
}

/// How a connection without calls ends, as its client sees it.
async fn goaway(address: std::net::SocketAddr) -> tokio::task::JoinHandle<h2::Error> {
    let stream = TcpStream::connect(address).await.unwrap();
    let (requests, connection) = h2::client::handshake(stream).await.unwrap();
    let requests = requests.ready().await.unwrap();
    tokio::spawn(async move {
        let _ = connection.await;
        requests.ready().await.unwrap_err()
    })
}

async fn until(running: &Running, phase: Phase) {
    soon("a phase", running.handle.phases().wait_for(|current| *current >= phase)).await.unwrap();
}

#[tokio::test]
async fn it_says_so_then_deregisters_then_says_goaway_then_finishes() {
    let registry = MemoryRegistry::new();
    let slow = SlowToForget { registry: registry.clone(), allowed: Arc::default() };
    let running = run(&registry, |builder| builder.registry(Arc::new(slow.clone())).drain(quick())).await;
    let address = running.handle.local_addr();
    soon("the registration", running.handle.registered()).await.unwrap();
    let mut events = registry.watch(&WatchOptions::default()).await.unwrap();
    while !matches!(events.next().await.unwrap(), WatchEvent::SnapshotDone(_)) {}

    let mut health = HealthClient::new(Connection::open(address).await);
    let mut statuses = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(statuses.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    let call = slow_call(&running).await;
    let goaway = goaway(address).await;
    running.handle.shutdown();

    // Those connected hear of it while the registry still has the entry.
    let status = soon("NOT_SERVING", statuses.message()).await.unwrap().unwrap().status();
    assert_eq!(status, ServingStatus::NotServing);
    assert_eq!(registry.list(&ListOptions::default()).await.unwrap().nodes.len(), 1);
    assert_eq!(running.handle.phase(), Phase::Draining);

    // Then the entry goes; who has not heard of it yet is served.
    slow.allowed.notify_one();
    let event = soon("the entry goes", events.next()).await.unwrap();
    assert!(matches!(event, WatchEvent::Remove(_, Removal::Deregistered, _)), "{event:?}");
    assert_eq!(running.handle.phase(), Phase::Draining);
    assert!(!goaway.is_finished(), "GOAWAY must wait until clients have seen the node leave");
    assert!(running.client().await.hello(hello("late")).await.is_ok());

    // Then GOAWAY, and no new connection; what is in flight goes on.
    let error = soon("GOAWAY", goaway).await.unwrap();
    assert!(error.is_go_away() && error.is_remote(), "{error:?}");
    assert_eq!(running.handle.phase(), Phase::Finishing);
    soon("the port is closed", async { while TcpStream::connect(address).await.is_ok() {} }).await;
    assert_eq!(running.handle.calls_in_flight(), 1);
    assert!(!call.is_finished());

    running.greeter.go.notify_one();
    soon("the reply", call).await.unwrap().unwrap();
    running.end().await.unwrap();
}

#[tokio::test]
async fn calls_that_keep_coming_are_served_until_the_propagation_time_is_over() {
    let drain = quick().with_propagation(Duration::from_millis(900));
    let running = run(&MemoryRegistry::new(), |builder| builder.drain(drain)).await;
    soon("the registration", running.handle.registered()).await.unwrap();
    let mut client = running.client().await;
    running.handle.shutdown();
    let begun = tokio::time::Instant::now();
    while running.handle.phase() < Phase::Finishing {
        if running.handle.phase() == Phase::Draining {
            client.hello(hello("again")).await.unwrap();
        }
        tokio::task::yield_now().await;
    }
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(900) && took < Duration::from_secs(5), "{took:?}");
    running.end().await.unwrap();
}

#[tokio::test]
async fn what_is_in_flight_at_the_deadline_is_cut_with_a_status_that_says_why() {
    let drain =
        quick().with_deregister(Duration::from_millis(100)).with_propagation(Duration::from_millis(100));
    let running =
        run(&MemoryRegistry::new(), |builder| builder.drain(drain.with_deadline(Duration::from_millis(700))))
            .await;
    let call = slow_call(&running).await;
    let mut client = running.conversation().await;
    let mut replies = client.listen(hello("endless")).await.unwrap().into_inner();
    assert!(replies.message().await.unwrap().is_some());
    running.handle.shutdown();

    let status = soon("the call is cut", call).await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("shutting down"), "{status}");
    assert_eq!(status.metadata().get("grpc-retry-pushback-ms").unwrap(), "0");
    soon("the handler is dropped", running.greeter.dropped.notified()).await;
    let status = soon("the stream is cut", replies.message()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);

    let error = running.end().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    assert!(error.to_string().contains("2 calls in flight were cut"), "{error}");
}

#[tokio::test]
async fn streams_may_be_given_less_time_than_calls_and_end_so_that_their_callers_begin_again() {
    let drain = quick().with_streams(Duration::from_millis(100));
    let running = run(&MemoryRegistry::new(), |builder| builder.drain(drain)).await;
    let call = slow_call(&running).await;
    let mut client = running.conversation().await;
    let mut waiting = client.listen(hello("endless")).await.unwrap().into_inner();
    let mut talking = client.listen(hello("talkative")).await.unwrap().into_inner();
    assert!(waiting.message().await.unwrap().is_some());
    running.handle.shutdown();

    for replies in [&mut waiting, &mut talking] {
        let status = soon("the stream ends", async {
            loop {
                match replies.message().await {
                    Ok(reply) => assert!(reply.is_some(), "it has no end of its own"),
                    Err(status) => return status,
                }
            }
        })
        .await;
        assert_eq!(status.code(), Code::Unavailable);
        assert_eq!(status.metadata().get("grpc-retry-pushback-ms").unwrap(), "0");
    }
    soon("the handler's stream is dropped", running.greeter.dropped.notified()).await;
    assert!(!call.is_finished(), "a call that has not been answered yet is given all of the time");
    running.greeter.go.notify_one();
    soon("the reply", call).await.unwrap().unwrap();
    running.end().await.unwrap();
}

#[tokio::test]
async fn while_it_leaves_every_reply_says_so() {
    let registry = MemoryRegistry::new();
    let running = run(&registry, |builder| builder.drain(quick())).await;
    let mut connection = Connection::open(running.handle.local_addr()).await;
    let mut replies = async |path: &str, kind: &str| {
        let request = http::Request::post(path).header("content-type", kind);
        let request = request.body(tonic::body::Body::empty()).unwrap();
        let response = tower_service::Service::call(&mut connection, request).await.unwrap();
        response.headers().get("callsign-draining").cloned()
    };
    let asked = [
        ("/greeter.Greeter/Hello", "application/grpc"),
        ("/grpc.health.v1.Health/Check", "application/grpc"),
        ("/no.Such/Method", "application/grpc"),
        ("/", "text/plain"),
    ];
    for (path, kind) in asked {
        assert_eq!(replies(path, kind).await, None, "{path}");
    }
    let _call = slow_call(&running).await;
    running.handle.shutdown();
    until(&running, Phase::Draining).await;
    for (path, kind) in asked {
        assert_eq!(replies(path, kind).await.unwrap(), "1", "{path}");
    }
}

#[tokio::test]
async fn streams_that_listen_end_in_time_and_health_watches_do_not_hold_it() {
    let running = run(&MemoryRegistry::new(), |builder| builder.drain(quick())).await;
    let mut client = running.conversation().await;
    let mut replies = client.listen(hello("polite")).await.unwrap().into_inner();
    assert!(replies.message().await.unwrap().is_some());
    let mut health = HealthClient::new(Connection::open(running.handle.local_addr()).await);
    let mut statuses = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    running.handle.shutdown();
    assert!(soon("the stream ends", replies.message()).await.unwrap().is_none());
    let last = soon("the watch ends", async {
        loop {
            match statuses.message().await {
                Ok(Some(_)) => {}
                ended => return ended,
            }
        }
    })
    .await;
    assert_eq!(last.unwrap_err().code(), Code::Unavailable);
    running.end().await.unwrap();
}

#[tokio::test]
async fn told_to_stop_at_once_it_loses_what_is_in_flight_and_says_so() {
    let running = run(&MemoryRegistry::new(), |builder| builder).await;
    let call = slow_call(&running).await;
    running.handle.shutdown();
    until(&running, Phase::Draining).await;
    running.handle.stop_now();
    assert!(soon("the call ends", call).await.unwrap().is_err());
    soon("the handler is dropped", running.greeter.dropped.notified()).await;
    let error = running.end().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    assert!(error.to_string().contains("1 call in flight was lost"), "{error}");
}

#[tokio::test]
async fn dropping_the_future_that_runs_it_ends_it() {
    let registry = MemoryRegistry::new();
    let running = run(&registry, |builder| builder).await;
    soon("the registration", running.handle.registered()).await.unwrap();
    let call = slow_call(&running).await;
    running.ended.abort();
    until(&running, Phase::Stopped).await;
    assert!(soon("the call ends", call).await.unwrap().is_err());
    soon("the handler is dropped", running.greeter.dropped.notified()).await;
    soon("the port is closed", async {
        while TcpStream::connect(running.handle.local_addr()).await.is_ok() {}
    })
    .await;
    soon("the entry goes", async {
        while !registry.list(&ListOptions::default()).await.unwrap().nodes.is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_registry_that_is_away_does_not_keep_it_from_leaving() {
    let registry = MemoryRegistry::new();
    let running = run(&registry, |builder| builder.drain(quick())).await;
    soon("the registration", running.handle.registered()).await.unwrap();
    registry.set_away(true);
    running.handle.shutdown();
    running.end().await.unwrap();
}

#[tokio::test]
async fn a_client_that_does_not_speak_is_not_waited_for() {
    let running = run(&MemoryRegistry::new(), |builder| builder.drain(quick())).await;
    soon("the registration", running.handle.registered()).await.unwrap();
    // One that said nothing, and one that began HTTP/2 and never answers the ping that goes with GOAWAY.
    let mut silent = TcpStream::connect(running.handle.local_addr()).await.unwrap();
    let mut deaf = TcpStream::connect(running.handle.local_addr()).await.unwrap();
    let hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    tokio::io::AsyncWriteExt::write_all(&mut deaf, hello).await.unwrap();
    deaf.read_u8().await.unwrap();
    running.handle.shutdown();
    assert_eq!(soon("the silent one is let go", silent.read(&mut [0])).await.unwrap_or(0), 0);
    running.end().await.unwrap();
}
