//! The suite over the registry that is always there; and that the suite notices what it is there to notice.

mod faulty;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;

use super::Harness;
use crate::{
    memory::MemoryRegistry,
    registry::{Lease, RegisterOptions, Registry},
};

struct Memory(MemoryRegistry);

/// The same under the real clock, which several threads share.
struct Quick(Memory);

#[async_trait]
impl Harness for Quick {
    async fn open(&self) -> Arc<dyn Registry> {
        self.0.open().await
    }

    async fn crash(&self, lease: Box<dyn Lease>) {
        self.0.crash(lease).await;
    }

    async fn set_away(&self, away: bool) -> bool {
        self.0.set_away(away).await
    }

    async fn wipe(&self) -> bool {
        self.0.wipe().await
    }

    fn registration_options(&self) -> RegisterOptions {
        RegisterOptions::default().with_ttl(Duration::from_secs(1))
    }
}

#[async_trait]
impl Harness for Memory {
    async fn open(&self) -> Arc<dyn Registry> {
        Arc::new(self.0.peer())
    }

    async fn crash(&self, lease: Box<dyn Lease>) {
        std::mem::forget(lease);
    }

    async fn set_away(&self, away: bool) -> bool {
        self.0.set_away(away);
        true
    }

    async fn wipe(&self) -> bool {
        self.0.wipe();
        true
    }
}

mod memory {
    use super::*;

    crate::conformance_tests! {
        #[tokio::test(start_paused = true)]
        Memory(MemoryRegistry::new())
    }

    #[tokio::test(start_paused = true)]
    async fn all_cases_may_share_one_store() {
        crate::conformance::run(&Memory(MemoryRegistry::new())).await;
    }
}

mod memory_on_threads {
    use super::*;

    crate::conformance_tests! {
        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        Quick(Memory(MemoryRegistry::new()))
    }
}
