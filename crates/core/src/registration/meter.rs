//! What became of registrations, in numbers that only grow: for metrics.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// Counts what happens to the registrations of one registrar. Clones show the same; it keeps nothing alive.
///
/// ```
/// use std::sync::Arc;
/// use callsign_core::{Node, memory::MemoryRegistry, registration::Registrar};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> callsign_core::Result<()> {
/// let registrar = Registrar::new(Arc::new(MemoryRegistry::new()));
/// let meter = registrar.meter();
/// let node = Node::builder("greeter", "greeter-1", "127.0.0.1:4000").build()?;
/// let registration = registrar.register(node, Default::default());
/// registration.registered().await?;
/// assert_eq!((meter.registered(), meter.lost(), meter.failed()), (1, 0, 0));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct RegistrationMeter(Arc<Counts>);

#[derive(Default)]
struct Counts {
    registered: AtomicU64,
    lost: AtomicU64,
    failed: AtomicU64,
}

// === impl RegistrationMeter ===

impl RegistrationMeter {
    /// How often an entry was put in place, each time again after a loss included.
    #[must_use]
    pub fn registered(&self) -> u64 {
        self.0.registered.load(Ordering::Relaxed)
    }

    /// How often an entry that was in place was lost.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.0.lost.load(Ordering::Relaxed)
    }

    /// How many attempts to put an entry in place failed.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.0.failed.load(Ordering::Relaxed)
    }

    pub(super) fn count_registered(&self) {
        self.0.registered.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_lost(&self) {
        self.0.lost.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_failed(&self) {
        self.0.failed.fetch_add(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for RegistrationMeter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistrationMeter")
            .field("registered", &self.registered())
            .field("lost", &self.lost())
            .field("failed", &self.failed())
            .finish()
    }
}
