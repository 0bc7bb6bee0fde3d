//! The conformance suite, on the loopback interface of a host of its own for each case.

use std::{
    any::Any,
    net::UdpSocket,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use callsign_core::{
    Domain, ServiceName,
    conformance::Harness,
    registry::{Lease, RegisterOptions, Registry},
};

use super::{super::*, host::Host};
use crate::mdns::{
    dns::{Data, Message, Names, RESPONSE, Record, Srv},
    names,
};

struct Link {
    host: Host,
    handles: Mutex<Vec<MdnsRegistry>>,
}

// === impl Link ===

impl Link {
    fn new() -> Self {
        let host = Host::new();
        host.enter();
        Self { host, handles: Mutex::default() }
    }
}

#[async_trait]
impl Harness for Link {
    async fn open(&self) -> Arc<dyn Registry> {
        let config =
            MdnsConfig::new().with_check(Duration::from_secs(1)).with_probe(Duration::from_millis(40));
        let registry = MdnsRegistry::open(config).unwrap();
        self.handles.lock().unwrap().push(registry.clone());
        Arc::new(registry)
    }

    async fn crash(&self, lease: Box<dyn Lease>) {
        let lease = (lease as Box<dyn Any>).downcast::<MdnsLease>().unwrap();
        let key = lease.registered.key.clone();
        lease.handle.requests().send(Request::Abandon { key }).await.unwrap();
        std::mem::forget(lease);
    }

    async fn poison(&self, service: &ServiceName) -> bool {
        let service = names::service(&Domain::default(), service);
        let instance = Name::of([&b"garbage"[..]]).unwrap().within(&service).unwrap();
        let srv = Srv { priority: 10, weight: 1, port: 1, target: instance.clone() };
        let record = |data| Record { name: instance.clone(), ttl_s: 120, data };
        let answers = [record(Data::Srv(srv)), record(Data::Txt(b"not hexadecimal".to_vec()))];
        let message = Message { id: 0, flags: RESPONSE, questions: &[], answers: &answers, authorities: &[] };
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.send_to(&message.write(Names::Full), "224.0.0.251:5353").unwrap();
        true
    }

    async fn set_away(&self, away: bool) -> bool {
        self.host.ip(if away { "link set lo down" } else { "link set lo up" });
        let handles = self.handles.lock().unwrap().clone();
        for handle in handles {
            handle.noticed(away).await;
        }
        true
    }

    fn registration_options(&self) -> RegisterOptions {
        RegisterOptions::default().with_ttl(Duration::from_secs(3))
    }

    fn settle(&self) -> Duration {
        Duration::from_secs(30)
    }
}

impl MdnsRegistry {
    /// Waits until the handle knows whether the link is away.
    async fn noticed(&self, away: bool) {
        let mut batches = self.0.batches.subscribe();
        let (reply, answer) = oneshot::channel();
        self.0.requests().send(Request::IsAway { reply }).await.unwrap();
        if answer.await.unwrap() == away {
            return;
        }
        loop {
            let batch = batches.recv().await.unwrap();
            let error = batch.events.iter().any(|e| matches!(e, callsign_core::WatchEvent::Error(_)));
            if if away { error } else { batch.recovered } {
                return;
            }
        }
    }
}

callsign_core::conformance_tests! {
    #[tokio::test]
    Link::new()
}
