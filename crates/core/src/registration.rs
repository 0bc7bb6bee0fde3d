//! Keeping nodes registered, for as long as their guards live.
//!
//! A registry may be away when a service starts, lose its data, revoke a lease, or have an entry deleted by hand; the node
//! is there all the same and wants to be found. A [`Registrar`] therefore never fails to register: for each node it runs a
//! supervisor that tries for ever, holds the entry once it is in place, and begins again whenever it is lost. It waits
//! between attempts with full jitter and for 1.5 s at most ([`Backoff::registrations`]), so a node is back within two seconds
//! of the registry accepting writes.
//!
//! ```text
//! registering ──> registered ──> draining ──> gone
//!      ^              │              ^
//!      └──── lost <───┘──────────────┘   (closing is possible from every state)
//! ```
//!
//! What state a registration is in is a value ([`Registration::state`]), a channel ([`Registration::watch`]) and a log line
//! on each transition; a [`RegistrationMeter`] counts them. Dropping the guard removes the entry in the background; [`Registration::close`] does so and says
//! whether it worked.

mod meter;
mod supervisor;
#[cfg(test)]
mod tests;

use std::{
    collections::HashSet,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwap;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::Instant,
};
use tokio_util::sync::DropGuard;

pub use self::meter::RegistrationMeter;
use self::supervisor::{Command, Supervisor};
use crate::{
    error::{Error, ErrorKind, Result},
    model::{Node, NodeKey},
    registry::{RegisterOptions, Registry},
    retry::Backoff,
    tasks::Tasks,
};

/// Updates that may wait for a supervisor that is busy with the registry.
const COMMANDS_MAX: usize = 8;

/// Registers nodes in one registry, and owns the supervisors that keep them there. One per process is enough.
///
/// Clones are the same registrar. It lives as long as it or any of its registrations does.
///
/// ```
/// use std::sync::Arc;
/// use callsign_core::{Node, memory::MemoryRegistry, registration::Registrar, registry::RegistryExt};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> callsign_core::Result<()> {
/// let registry = MemoryRegistry::new();
/// let registrar = Registrar::new(Arc::new(registry.clone()));
/// let node = Node::builder("greeter", "greeter-1", "127.0.0.1:4000").build()?;
///
/// let registration = registrar.register(node, Default::default());
/// registration.registered().await?;
/// assert_eq!(registry.service("greeter").await?.nodes().len(), 1);
///
/// registration.close().await?;
/// assert!(registry.service("greeter").await.is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Registrar(Arc<Shared>);

/// A node that is kept registered. Made by [`Registrar::register`].
///
/// Dropping it removes the entry in the background. See [`Registrar`] for an example.
#[must_use = "dropping it removes the node from the registry"]
pub struct Registration {
    key: NodeKey,
    node: Arc<ArcSwap<Node>>,
    states: watch::Receiver<RegistrationState>,
    commands: mpsc::Sender<Command>,
    /// Whether the entry was removed in the end.
    ended: oneshot::Receiver<Result<()>>,
    /// Tells the supervisor to end.
    end: DropGuard,
    /// A registrar that is let go of must not take this node with it.
    registrar: Registrar,
}

/// Where a registration stands.
///
/// ```
/// use std::sync::Arc;
/// use callsign_core::{
///     Node, memory::MemoryRegistry, registration::{Registrar, RegistrationState},
/// };
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> callsign_core::Result<()> {
/// let registry = MemoryRegistry::new();
/// registry.set_away(true);
/// let registrar = Registrar::new(Arc::new(registry.clone()));
/// let node = Node::builder("greeter", "greeter-1", "127.0.0.1:4000").build()?;
/// let registration = registrar.register(node, Default::default());
///
/// let mut states = registration.watch();
/// let failed = states.wait_for(|state| state.error().is_some()).await.expect("not closed").clone();
/// assert!(matches!(failed, RegistrationState::Registering { attempt: 2, .. }));
///
/// registry.set_away(false);
/// registration.registered().await?;
/// assert_eq!(registration.state().to_string(), "registered");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum RegistrationState {
    /// The entry is not in place yet, or not any more, and this attempt to put it there is next or under way.
    Registering {
        /// Attempts since the entry was last in place, this one included: 1 for the first.
        attempt: u32,
        /// Why the attempt before failed.
        last_error: Option<Error>,
    },
    /// The entry is in place and being kept alive.
    Registered {
        /// Since when.
        since: Instant,
    },
    /// The entry was in place and is no longer; registering it again begins at once.
    Lost {
        /// How it was lost.
        error: Error,
    },
    /// The entry is being removed.
    Draining,
    /// The entry was removed, or left to expire if that was not possible. The last state.
    Gone,
}

struct Shared {
    registry: Arc<dyn Registry>,
    rng: Mutex<fastrand::Rng>,
    claims: Claims,
    meter: RegistrationMeter,
    tasks: Tasks,
}

/// The keys that registrations of this registrar hold or try to: two of them must not take turns with one entry.
#[derive(Clone, Default)]
struct Claims(Arc<Mutex<HashSet<NodeKey>>>);

/// A key claimed; freed when dropped.
struct Claim {
    claims: Claims,
    key: NodeKey,
}

// === impl Registrar ===

impl Registrar {
    /// A registrar for `registry`, with jitter of its own.
    #[must_use]
    pub fn new(registry: Arc<dyn Registry>) -> Self {
        Self::with_rng(registry, fastrand::Rng::new())
    }

    /// A registrar whose jitter comes from `rng`: for tests, and for simulations that must repeat.
    #[must_use]
    pub fn with_rng(registry: Arc<dyn Registry>, rng: fastrand::Rng) -> Self {
        Self(Arc::new(Shared {
            registry,
            rng: Mutex::new(rng),
            claims: Claims::default(),
            meter: RegistrationMeter::default(),
            tasks: Tasks::new(),
        }))
    }

    /// The registry that nodes are registered in.
    #[must_use]
    pub fn registry(&self) -> &Arc<dyn Registry> {
        &self.0.registry
    }

    /// Counts what happens to its registrations.
    #[must_use]
    pub fn meter(&self) -> RegistrationMeter {
        self.0.meter.clone()
    }

    /// Begins to register `node`, and keeps it registered until the guard is closed or dropped.
    ///
    /// This cannot fail: whatever the registry says, the supervisor tries again, and [`Registration::state`] shows why it
    /// has not worked yet. A second registration of the same node waits for the first to end.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn register(&self, node: Node, options: RegisterOptions) -> Registration {
        let Shared { registry, rng, claims, meter, tasks } = &*self.0;
        let key = node.key();
        let node = Arc::new(ArcSwap::from_pointee(node));
        let end = tasks.stopped().child_token();
        let (state, states) = watch::channel(RegistrationState::Registering { attempt: 1, last_error: None });
        let (commands, inbox) = mpsc::channel(COMMANDS_MAX);
        let (said, ended) = oneshot::channel();
        let rng = rng.lock().unwrap_or_else(PoisonError::into_inner).fork();
        let supervisor = Supervisor {
            registry: registry.clone(),
            options,
            key: key.clone(),
            node: node.clone(),
            claims: claims.clone(),
            meter: meter.clone(),
            state,
            inbox,
            end: end.clone(),
            backoff: Backoff::registrations(),
            at_once: true,
            left_behind: None,
            rng,
        };
        tasks.spawn_orderly("registration", async move {
            // The guard may be gone: then nobody wants to know.
            let _ = said.send(supervisor.run().await);
        });
        Registration { key, node, states, commands, ended, end: end.drop_guard(), registrar: self.clone() }
    }

    /// Removes every entry, waiting for that until `deadline` at most. Nothing can be registered afterwards.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing: the supervisors have been told, and go on.
    pub async fn close(&self, deadline: Instant) {
        let tasks = &self.0.tasks;
        if tokio::time::timeout_at(deadline, tasks.close()).await.is_err() {
            tracing::warn!(
                left = tasks.len(),
                "not every node could be deregistered in time; their entries will expire"
            );
        }
    }
}

impl fmt::Debug for Registrar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shared { registry, rng: _, claims: _, meter: _, tasks } = &*self.0;
        f.debug_struct("Registrar").field("registry", registry).field("registrations", &tasks.len()).finish()
    }
}

// === impl Registration ===

impl Registration {
    /// What the node says of itself now; after [`update`](Self::update), the new description.
    #[must_use]
    pub fn node(&self) -> Arc<Node> {
        self.node.load_full()
    }

    /// Where the registration stands.
    #[must_use]
    pub fn state(&self) -> RegistrationState {
        self.states.borrow().clone()
    }

    /// Follows where the registration stands. Short-lived states may be skipped.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<RegistrationState> {
        self.states.clone()
    }

    /// Waits until the entry is in place.
    ///
    /// This is as long as the registry takes, so for ever if need be: bound it, and look at [`state`](Self::state) for the
    /// reason if it takes too long.
    ///
    /// # Errors
    ///
    /// [`Closed`](ErrorKind::Closed) when the registrar was closed first.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn registered(&self) -> Result<()> {
        let mut states = self.states.clone();
        loop {
            match &*states.borrow_and_update() {
                RegistrationState::Registered { .. } => return Ok(()),
                RegistrationState::Draining | RegistrationState::Gone => {
                    return Err(self.closed("register node"));
                }
                RegistrationState::Registering { .. } | RegistrationState::Lost { .. } => {}
            }
            if states.changed().await.is_err() {
                return Err(self.closed("register node"));
            }
        }
    }

    /// Replaces what the node says of itself. Its domain, service and id must stay.
    ///
    /// While the entry is not in place the new description waits with it, and this returns at once.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput) when `node` is another node; nothing is changed then.
    /// [`Closed`](ErrorKind::Closed) when the registrar was closed. Otherwise why the registry did not take the new
    /// description now: it is kept, and registered as soon as the registry does take it.
    ///
    /// # Cancel safety
    ///
    /// Once polled, the update may happen although the future was dropped.
    pub async fn update(&self, node: Node) -> Result<()> {
        if node.key() != self.key {
            return Err(Error::invalid(
                "update registration",
                format!("{} is registered here, and {} is another node", self.key, node.key()),
            )
            .with_hint("register the other node by itself"));
        }
        let (reply, replied) = oneshot::channel();
        let command = Command::Update { node: Arc::new(node), reply };
        self.commands.send(command).await.map_err(|_| self.closed("update registration"))?;
        replied.await.map_err(|_| self.closed("update registration"))?
    }

    /// Removes the entry and says whether that worked.
    ///
    /// # Errors
    ///
    /// Why the entry could not be removed. The node is given up all the same: its entry expires.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the removal going on in the background.
    pub async fn close(self) -> Result<()> {
        let Self { key, node: _, states: _, commands: _, ended, end, registrar } = self;
        drop(end);
        let result = ended.await.unwrap_or_else(|_| Err(closed(&key, "deregister node")));
        drop(registrar);
        result
    }

    fn closed(&self, operation: &'static str) -> Error {
        closed(&self.key, operation)
    }
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration")
            .field("key", &self.key)
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

// === impl RegistrationState ===

impl RegistrationState {
    /// Whether the entry is in place.
    #[must_use]
    pub fn is_registered(&self) -> bool {
        matches!(self, Self::Registered { .. })
    }

    /// Why the entry is not in place, if it should be and something failed.
    #[must_use]
    pub fn error(&self) -> Option<&Error> {
        match self {
            Self::Registering { last_error, .. } => last_error.as_ref(),
            Self::Lost { error } => Some(error),
            Self::Registered { .. } | Self::Draining | Self::Gone => None,
        }
    }
}

/// The state in a word.
impl fmt::Display for RegistrationState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Registering { .. } => "registering",
            Self::Registered { .. } => "registered",
            Self::Lost { .. } => "lost",
            Self::Draining => "draining",
            Self::Gone => "gone",
        })
    }
}

// === impl Claims ===

impl Claims {
    fn claim(&self, key: &NodeKey) -> Result<Claim> {
        let free = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone());
        if free {
            return Ok(Claim { claims: self.clone(), key: key.clone() });
        }
        Err(Error::new(ErrorKind::Conflict, "register node", format!("this process registers {key} already"))
            .with_hint("give each node an id of its own, or close the other registration"))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.claims.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

fn closed(key: &NodeKey, operation: &'static str) -> Error {
    Error::new(ErrorKind::Closed, operation, format!("the registration of {key} was closed"))
}
