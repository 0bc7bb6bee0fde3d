//! The suite over the registry that is always there; and that the suite notices what it is there to notice.

mod faulty;

use std::sync::Arc;

use async_trait::async_trait;

use super::Harness;
use crate::{
    memory::MemoryRegistry,
    registry::{Lease, Registry},
};

struct Memory(MemoryRegistry);

#[async_trait]
impl Harness for Memory {
    async fn open(&self) -> Arc<dyn Registry> {
        Arc::new(self.0.peer())
    }

    async fn crash(&self, lease: Box<dyn Lease>) {
        std::mem::forget(lease);
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
