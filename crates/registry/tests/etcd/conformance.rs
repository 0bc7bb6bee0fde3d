//! The suite that every backend passes.

use std::sync::Arc;

use async_trait::async_trait;
use callsign_core::{
    ServiceName,
    conformance::Harness,
    registry::{Lease, Registry},
};
use callsign_testbed::{Data, EtcdServer};
use tokio::sync::Mutex;

use super::open;

struct Etcd(Mutex<EtcdServer>);

#[async_trait]
impl Harness for Etcd {
    async fn open(&self) -> Arc<dyn Registry> {
        Arc::new(open(&*self.0.lock().await))
    }

    async fn crash(&self, lease: Box<dyn Lease>) {
        std::mem::forget(lease);
    }

    async fn poison(&self, service: &ServiceName) -> bool {
        let key = format!("/micro/registry/{service}/poison");
        self.0.lock().await.put(&key, "{\"name\":", 0).await;
        true
    }

    async fn set_away(&self, away: bool) -> bool {
        let mut server = self.0.lock().await;
        if away {
            server.kill().await
        } else {
            server.restart(Data::Kept).await
        }
        true
    }

    async fn wipe(&self) -> bool {
        let mut server = self.0.lock().await;
        server.kill().await;
        server.restart(Data::Lost).await;
        true
    }
}

callsign_core::conformance_tests! {
    #[tokio::test]
    Etcd(Mutex::new(EtcdServer::start().await))
}
