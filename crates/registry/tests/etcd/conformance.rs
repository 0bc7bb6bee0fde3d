//! The suite that every backend passes.

use std::sync::Arc;

use async_trait::async_trait;
use callsign_core::{
    ServiceName,
    conformance::Harness,
    registry::{Lease, Registry},
};

use super::server::Server;

struct Etcd(Server);

#[async_trait]
impl Harness for Etcd {
    async fn open(&self) -> Arc<dyn Registry> {
        Arc::new(self.0.open())
    }

    async fn crash(&self, lease: Box<dyn Lease>) {
        std::mem::forget(lease);
    }

    async fn poison(&self, service: &ServiceName) -> bool {
        self.0.etcdctl(&["put", &format!("/micro/registry/{service}/poison"), "{\"name\":"]);
        true
    }

    async fn set_away(&self, away: bool) -> bool {
        if away {
            self.0.kill();
        } else {
            self.0.run().await;
        }
        true
    }

    async fn wipe(&self) -> bool {
        self.0.kill();
        self.0.forget_data();
        self.0.run().await;
        true
    }
}

callsign_core::conformance_tests! {
    #[tokio::test]
    Etcd(Server::start().await)
}
