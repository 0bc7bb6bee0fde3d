//! Registries that break one promise each, and the case that must say so.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use async_trait::async_trait;
use futures_core::Stream;

use super::Memory;
use crate::{
    Error, Node, NodeKey, Result, ServiceName,
    conformance::{Harness, absences, cancelling, entries, lifetimes, watching},
    memory::MemoryRegistry,
    model::Domain,
    registry::{
        GetOptions, Lease, ListOptions, Listing, RegisterOptions, Registry, Revision, Watch, WatchEvent,
        WatchOptions,
    },
};

/// The promise that is broken.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    LosesMetadata,
    GivesADomainTheNodesOfAll,
    MixesUpLongNames,
    ListsNothing,
    GoesBackInGet,
    LetsEverybodyIn,
    RefusesItsOwner,
    NeverExpires,
    DoesNotRelease,
    NeverNoticesLoss,
    LosesTheLeaseWhenHoldIsDropped,
    FailsOnAbsent,
    MissesAnUpsert,
    MissesARemove,
    DoublesARemove,
    ShowsAnOldDescriptionAgain,
    DelaysRevisions,
    ForgetsTheSnapshot,
    SplitsTheSnapshot,
    WatchesEverything,
    ForgetsWhenCancelled,
    CountsNoPoison,
    SaysNotFoundWhenAway,
    WaitsForEverWhenAway,
    HidesAbsencesInWatches,
    EmptiesTheViewWhenAway,
    RefusesToWatchWhenAway,
}

/// A registry with a fault.
#[derive(Debug, Clone)]
struct Faulty {
    memory: MemoryRegistry,
    fault: Fault,
}

#[derive(Debug)]
struct FaultyLease {
    lease: Option<Box<dyn Lease>>,
    fault: Fault,
    held: bool,
}

struct FaultyWatch {
    watch: Watch,
    fault: Fault,
    /// How many changes were seen, of a kind that the fault cares for.
    count: usize,
    next: Option<WatchEvent>,
    old: Option<Arc<Node>>,
}

// === impl Faulty ===

impl Faulty {
    fn has(&self, fault: Fault) -> bool {
        self.fault == fault
    }
}

#[async_trait]
impl Harness for Faulty {
    async fn open(&self) -> Arc<dyn Registry> {
        let shared = matches!(self.fault, Fault::LetsEverybodyIn);
        let memory = if shared { self.memory.clone() } else { self.memory.peer() };
        Arc::new(Self { memory, fault: self.fault })
    }

    async fn crash(&self, lease: Box<dyn Lease>) {
        std::mem::forget(lease);
    }

    async fn set_away(&self, away: bool) -> bool {
        self.memory.set_away(away);
        true
    }

    async fn wipe(&self) -> bool {
        self.memory.wipe();
        true
    }

    async fn poison(&self, _: &ServiceName) -> bool {
        self.has(Fault::CountsNoPoison)
    }
}

#[async_trait]
impl Registry for Faulty {
    async fn register(&self, node: &Arc<Node>, options: &RegisterOptions) -> Result<Box<dyn Lease>> {
        let (mut node, mut options) = (node.clone(), options.clone());
        match self.fault {
            Fault::LosesMetadata if node.metadata().get("zone").is_some() => {
                let (service, id) = (node.service().to_string(), node.id().to_string());
                node = Arc::new(Node::builder(service, id, node.address()).build()?);
            }
            Fault::MixesUpLongNames if node.id().as_str().len() > 190 => {
                return Err(Error::invalid("register", "long"));
            }
            Fault::NeverExpires => options = options.with_ttl(Duration::ZERO),
            Fault::RefusesItsOwner => return self.memory.peer().register(&node, &options).await,
            Fault::ForgetsWhenCancelled => {
                // An entry is written, and whoever is cut off here can never have it again.
                let lease = self.memory.peer().register(&node, &options).await?;
                let lease = std::mem::ManuallyDrop::new(lease);
                tokio::task::yield_now().await;
                return Ok(std::mem::ManuallyDrop::into_inner(lease));
            }
            _ => {}
        }
        let lease = self.memory.register(&node, &options).await?;
        Ok(Box::new(FaultyLease { lease: Some(lease), fault: self.fault, held: false }))
    }

    async fn deregister(&self, key: &NodeKey) -> Result<()> {
        if self.has(Fault::FailsOnAbsent) {
            let options = GetOptions::in_domain(key.domain.clone());
            if self.memory.get(&key.service, &options).await?.nodes.is_empty() {
                return Err(Error::new(crate::ErrorKind::NotFound, "deregister", "nothing there"));
            }
        }
        self.memory.deregister(key).await
    }

    async fn get(&self, service: &ServiceName, options: &GetOptions) -> Result<Listing> {
        let everywhere = GetOptions::in_domain(Domain::all());
        let all = self.has(Fault::GivesADomainTheNodesOfAll);
        let mut listing = self.memory.get(service, if all { &everywhere } else { options }).await?;
        if self.has(Fault::GoesBackInGet) {
            listing.revision = Revision(listing.revision.0 / 2);
        }
        Ok(listing)
    }

    async fn list(&self, options: &ListOptions) -> Result<Listing> {
        let mut listing = match (self.memory.list(options).await, self.fault) {
            (Err(_), Fault::SaysNotFoundWhenAway) => {
                return Err(Error::new(crate::ErrorKind::NotFound, "list", "nothing"));
            }
            (Err(_), Fault::WaitsForEverWhenAway) => std::future::pending().await,
            (result, _) => result?,
        };
        if self.has(Fault::ListsNothing) {
            listing.nodes.clear();
        }
        Ok(listing)
    }

    async fn watch(&self, options: &WatchOptions) -> Result<Watch> {
        let all = WatchOptions::default();
        let options = if self.has(Fault::WatchesEverything) { &all } else { options };
        if self.has(Fault::RefusesToWatchWhenAway) {
            self.memory.list(&ListOptions::default()).await?;
        }
        let watch = self.memory.watch(options).await?;
        Ok(Watch::new(FaultyWatch { watch, fault: self.fault, count: 0, next: None, old: None }))
    }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "faulty ({:?})", self.fault)
    }
}

// === impl FaultyLease ===

#[async_trait]
impl Lease for FaultyLease {
    async fn hold(&mut self) -> Error {
        if std::mem::replace(&mut self.held, true) && self.fault == Fault::LosesTheLeaseWhenHoldIsDropped {
            return Error::new(crate::ErrorKind::Closed, "hold", "held before");
        }
        let error = self.lease.as_mut().unwrap().hold().await;
        if self.fault == Fault::NeverNoticesLoss {
            std::future::pending::<()>().await;
        }
        error
    }

    async fn update(&mut self, node: &Arc<Node>) -> Result<()> {
        self.lease.as_mut().unwrap().update(node).await
    }

    async fn release(mut self: Box<Self>) -> Result<()> {
        let lease = self.lease.take().unwrap();
        if self.fault == Fault::DoesNotRelease {
            std::mem::forget(lease);
            return Ok(());
        }
        lease.release().await
    }
}

// === impl FaultyWatch ===

impl FaultyWatch {
    /// What becomes of an event.
    fn change(&mut self, event: WatchEvent) -> Option<WatchEvent> {
        // Once is not enough: what was missed may be made good by the next change.
        let hit = |count: &mut usize| {
            *count += 1;
            count.is_multiple_of(5)
        };
        match (self.fault, event) {
            (Fault::MissesAnUpsert, WatchEvent::Upsert(..)) if hit(&mut self.count) => None,
            (Fault::MissesARemove, WatchEvent::Remove(..)) if hit(&mut self.count) => None,
            (Fault::DoublesARemove, event @ WatchEvent::Remove(..)) if hit(&mut self.count) => {
                self.next = Some(event.clone());
                Some(event)
            }
            (Fault::ShowsAnOldDescriptionAgain, WatchEvent::Upsert(node, revision)) => {
                if hit(&mut self.count) {
                    self.next = Some(WatchEvent::Upsert(node.clone(), revision));
                    return Some(WatchEvent::Upsert(self.old.clone()?, revision));
                }
                self.old = Some(node.clone());
                Some(WatchEvent::Upsert(node, revision))
            }
            (Fault::DelaysRevisions, WatchEvent::Upsert(node, revision)) => {
                Some(WatchEvent::Upsert(node, Revision(revision.0 + 20)))
            }
            (Fault::DelaysRevisions, WatchEvent::Remove(key, removal, revision)) => {
                Some(WatchEvent::Remove(key, removal, Revision(revision.0 + 20)))
            }
            (
                Fault::ForgetsTheSnapshot,
                WatchEvent::SnapshotStart | WatchEvent::Node(_) | WatchEvent::SnapshotDone(_),
            ) => None,
            (Fault::SplitsTheSnapshot, WatchEvent::Node(node)) => {
                self.next = Some(WatchEvent::Upsert(node, Revision(1_000_000)));
                Some(WatchEvent::SnapshotDone(Revision(0)))
            }
            (Fault::SplitsTheSnapshot, WatchEvent::SnapshotDone(_)) if self.count > 0 => None,
            (Fault::HidesAbsencesInWatches, WatchEvent::Error(_)) => None,
            (Fault::EmptiesTheViewWhenAway, WatchEvent::Error(error)) if self.old.is_some() => {
                let key = self.old.take()?.key();
                self.next = Some(WatchEvent::Error(error));
                Some(WatchEvent::Remove(key, crate::registry::Removal::Unknown, Revision(1_000_000)))
            }
            (Fault::EmptiesTheViewWhenAway, WatchEvent::Node(node)) => {
                self.old = Some(node.clone());
                Some(WatchEvent::Node(node))
            }
            (_, event) => Some(event),
        }
    }
}

impl Stream for FaultyWatch {
    type Item = WatchEvent;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<WatchEvent>> {
        let this = self.get_mut();
        loop {
            if let Some(event) = this.next.take() {
                return Poll::Ready(Some(event));
            }
            match std::task::ready!(Pin::new(&mut this.watch).poll_next(cx)) {
                Some(event) => {
                    if let Some(event) = this.change(event) {
                        return Poll::Ready(Some(event));
                    }
                }
                None => return Poll::Ready(None),
            }
        }
    }
}

/// What the case panics with, over a registry with the fault.
async fn noticed<C>(fault: Fault, case: impl FnOnce(&'static Faulty) -> C) -> String
where
    C: Future<Output = ()> + Send + 'static,
{
    let faulty: &'static Faulty = Box::leak(Box::new(Faulty { memory: MemoryRegistry::new(), fault }));
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(case(faulty));
    match tasks.join_next().await.unwrap() {
        Ok(()) => panic!("the case did not notice {fault:?}"),
        Err(error) => {
            let panic = error.into_panic();
            let text = panic.downcast_ref::<String>().cloned();
            text.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned())).unwrap_or_default()
        }
    }
}

macro_rules! notices {
    ($($fault:ident: $module:ident :: $case:ident says $said:literal,)*) => {
        #[tokio::test(start_paused = true)]
        async fn each_broken_promise_is_noticed_by_the_case_for_it() {
            $(
                let text = noticed(Fault::$fault, |faulty| $module::$case(faulty)).await;
                assert!(text.contains($said), "{:?}: {text}", Fault::$fault);
            )*
        }

        /// Without the fault the same wrapper passes: it is the fault that is noticed, not the wrapper.
        #[tokio::test(start_paused = true)]
        async fn the_same_cases_pass_where_no_promise_is_broken() {
            let memory = Memory(MemoryRegistry::new());
            $( $module::$case(&memory).await; )*
        }
    };
}

notices! {
    LosesMetadata: entries::everything_a_node_says_makes_the_round_trip says "exactly 2 nodes",
    GivesADomainTheNodesOfAll: entries::domains_do_not_see_each_other says "get in",
    MixesUpLongNames: entries::odd_names_are_kept_apart says "register",
    ListsNothing: entries::a_registered_node_is_found says "list differs",
    GoesBackInGet: entries::a_registered_node_is_found says "older than the watch's",
    LetsEverybodyIn: lifetimes::a_second_owner_is_refused_while_the_first_lives says "let in",
    RefusesItsOwner: lifetimes::the_same_owner_may_register_again says "register",
    NeverExpires: lifetimes::a_crashed_owner_leaves_nothing_for_long says "crashed owner's entry is gone",
    DoesNotRelease: lifetimes::a_released_node_is_gone says "exactly 0 nodes",
    NeverNoticesLoss: lifetimes::a_lease_notices_that_its_entry_was_removed says "took longer",
    NeverNoticesLoss: lifetimes::a_registrar_brings_back_what_was_removed says "took longer",
    LosesTheLeaseWhenHoldIsDropped: cancelling::a_cancelled_lease_call_leaves_the_lease_usable says "lost with",
    FailsOnAbsent: lifetimes::deregistering_what_is_not_there_is_no_error says "unknown service",
    MissesAnUpsert: watching::a_watch_under_churn_misses_and_doubles_nothing says "churn",
    MissesARemove: watching::a_watch_under_churn_misses_and_doubles_nothing says "churn",
    DoublesARemove: watching::a_watch_under_churn_misses_and_doubles_nothing says "although it was not there",
    ShowsAnOldDescriptionAgain: watching::a_watch_under_churn_misses_and_doubles_nothing says "was shown as",
    DelaysRevisions: watching::a_watch_under_churn_misses_and_doubles_nothing says "churn",
    ForgetsTheSnapshot: watching::a_watch_begins_with_a_snapshot says "empty snapshot is done",
    SplitsTheSnapshot: watching::a_watch_begins_with_a_snapshot says "snapshot",
    WatchesEverything: watching::a_watch_of_one_service_shows_no_other says "other",
    ForgetsWhenCancelled: cancelling::a_cancelled_call_leaves_nothing_that_the_next_does_not_put_right says "register",
    SaysNotFoundWhenAway: absences::an_absence_is_said_and_costs_nothing says "list failed as NotFound",
    WaitsForEverWhenAway: absences::an_absence_is_said_and_costs_nothing says "list waited",
    HidesAbsencesInWatches: absences::an_absence_is_said_and_costs_nothing says "did not say",
    EmptiesTheViewWhenAway: absences::an_absence_is_said_and_costs_nothing says "could not see",
    RefusesToWatchWhenAway: absences::a_watch_may_begin_while_the_registry_is_away says "watch failed",
    NeverNoticesLoss: absences::what_was_registered_comes_back_to_an_empty_registry says "noticing the loss",
    CountsNoPoison: entries::what_cannot_be_understood_spoils_nothing says "does not count",
}
