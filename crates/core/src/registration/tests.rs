use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use async_trait::async_trait;
use tokio::time::timeout;

use super::*;
use crate::{
    ServiceName,
    memory::MemoryRegistry,
    registry::{GetOptions, Lease, ListOptions, Listing, Watch, WatchOptions},
};

/// What is odd about a registry.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Oddity {
    /// Every entry is taken away as soon as it is there.
    Thief,
    /// Registering takes a second before the entry is written, and another after.
    Slow,
    /// Registering never ends.
    Silent,
    /// An update never ends.
    Stuck,
    /// Only the eleventh and the thirteenth attempt succeed.
    Fickle,
}

/// A memory registry with an oddity.
#[derive(Debug)]
struct Odd {
    memory: MemoryRegistry,
    oddity: Oddity,
    tried: AtomicU32,
}

/// A lease whose entry cannot be changed.
#[derive(Debug)]
struct StuckLease(Box<dyn Lease>);

#[async_trait]
impl Lease for StuckLease {
    async fn hold(&mut self) -> Error {
        self.0.hold().await
    }

    async fn update(&mut self, _: &Arc<Node>) -> Result<()> {
        std::future::pending().await
    }

    async fn release(self: Box<Self>) -> Result<()> {
        self.0.release().await
    }
}

impl Odd {
    fn new(oddity: Oddity) -> Arc<Self> {
        Arc::new(Self { memory: MemoryRegistry::new(), oddity, tried: AtomicU32::new(0) })
    }
}

#[async_trait]
impl Registry for Odd {
    async fn register(&self, node: &Arc<Node>, options: &RegisterOptions) -> Result<Box<dyn Lease>> {
        let tried = self.tried.fetch_add(1, Ordering::Relaxed) + 1;
        let second = || tokio::time::sleep(Duration::from_secs(1));
        match self.oddity {
            Oddity::Thief => {
                let lease = self.memory.register(node, options).await?;
                self.memory.deregister(&node.key()).await?;
                Ok(lease)
            }
            Oddity::Slow => {
                second().await;
                // Cut off from here on, the entry has no owner who could remove it.
                let lease = std::mem::ManuallyDrop::new(self.memory.register(node, options).await?);
                second().await;
                Ok(std::mem::ManuallyDrop::into_inner(lease))
            }
            Oddity::Silent => std::future::pending().await,
            Oddity::Stuck => Ok(Box::new(StuckLease(self.memory.register(node, options).await?))),
            Oddity::Fickle if [11, 13].contains(&tried) => self.memory.register(node, options).await,
            Oddity::Fickle => Err(Error::new(ErrorKind::Unavailable, "register node", "not this time")),
        }
    }

    async fn deregister(&self, key: &NodeKey) -> Result<()> {
        self.memory.deregister(key).await
    }

    async fn get(&self, service: &ServiceName, options: &GetOptions) -> Result<Listing> {
        self.memory.get(service, options).await
    }

    async fn list(&self, options: &ListOptions) -> Result<Listing> {
        self.memory.list(options).await
    }

    async fn watch(&self, options: &WatchOptions) -> Result<Watch> {
        self.memory.watch(options).await
    }
}

impl fmt::Display for Odd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "odd ({:?})", self.oddity)
    }
}

fn node(id: &str) -> Node {
    Node::builder("greeter", id, "127.0.0.1:4000").build().unwrap()
}

fn registrar(registry: &MemoryRegistry) -> Registrar {
    Registrar::with_rng(Arc::new(registry.clone()), fastrand::Rng::with_seed(7))
}

async fn listed(registry: &MemoryRegistry) -> Vec<Arc<Node>> {
    registry.list(&ListOptions::default()).await.unwrap().nodes
}

async fn until(
    registration: &Registration,
    wanted: impl FnMut(&RegistrationState) -> bool,
) -> RegistrationState {
    let mut states = registration.watch();
    timeout(Duration::from_secs(60), states.wait_for(wanted)).await.unwrap().unwrap().clone()
}

#[tokio::test(start_paused = true)]
async fn a_node_is_registered_held_and_removed() {
    let registry = MemoryRegistry::new();
    let registration = registrar(&registry).register(node("1"), RegisterOptions::default());
    registration.registered().await.unwrap();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(listed(&registry).await, [registration.node()]);
    registration.close().await.unwrap();
    assert!(listed(&registry).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_is_away_at_the_start_is_tried_until_it_is_there_and_has_the_node_within_two_seconds()
{
    for seed in 0..50 {
        let registry = MemoryRegistry::new();
        registry.set_away(true);
        let registrar = Registrar::with_rng(Arc::new(registry.clone()), fastrand::Rng::with_seed(seed));
        let registration = registrar.register(node("1"), RegisterOptions::default());
        let state = until(&registration, |state| {
            matches!(state, RegistrationState::Registering { attempt: 20, last_error: Some(_) })
        });
        assert_eq!(state.await.error().unwrap().kind(), ErrorKind::Unavailable);
        registry.set_away(false);
        timeout(Duration::from_secs(2), registration.registered()).await.unwrap().unwrap();
        assert_eq!(listed(&registry).await.len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_registry_restarted_empty_has_the_node_back_within_two_seconds_of_accepting_writes() {
    let registry = MemoryRegistry::new();
    let registration = registrar(&registry).register(node("1"), RegisterOptions::default());
    registration.registered().await.unwrap();
    for away in [0, 1, 8, 30, 120] {
        registry.set_away(true);
        registry.wipe();
        tokio::time::sleep(Duration::from_secs(away)).await;
        registry.set_away(false);
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(listed(&registry).await.len(), 1, "after {away} s");
        assert!(registration.state().is_registered());
    }
}

#[tokio::test(start_paused = true)]
async fn an_entry_deleted_by_hand_is_put_back_at_once_and_the_loss_is_shown() {
    let registry = MemoryRegistry::new();
    let registration = registrar(&registry).register(node("1"), RegisterOptions::default());
    registration.registered().await.unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    let mut states = registration.watch();
    states.mark_unchanged();
    registry.deregister(&node("1").key()).await.unwrap();
    let start = Instant::now();
    states.changed().await.unwrap();
    until(&registration, RegistrationState::is_registered).await;
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(listed(&registry).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn losses_and_failures_are_counted_over_all_registrations() {
    let registry = MemoryRegistry::new();
    let registrar = registrar(&registry);
    let meter = registrar.meter();
    let [one, two] = ["1", "2"].map(|id| registrar.register(node(id), RegisterOptions::default()));
    one.registered().await.unwrap();
    two.registered().await.unwrap();
    assert_eq!((meter.registered(), meter.lost(), meter.failed()), (2, 0, 0));

    registry.set_away(true);
    registry.wipe();
    let tried =
        |state: &RegistrationState| matches!(state, RegistrationState::Registering { attempt: 4, .. });
    tokio::join!(until(&one, tried), until(&two, tried));
    let failed = meter.failed();
    assert!(failed >= 6, "three attempts each: {failed}");
    assert_eq!((meter.registered(), meter.lost()), (2, 2));

    registry.set_away(false);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!((meter.registered(), meter.lost()), (4, 2));
}

#[tokio::test(start_paused = true)]
async fn an_entry_that_is_lost_again_and_again_is_not_registered_in_a_tight_loop() {
    let registry = Odd::new(Oddity::Thief);
    let registrar = Registrar::with_rng(registry.clone(), fastrand::Rng::with_seed(7));
    let _registration = registrar.register(node("1"), RegisterOptions::default());
    tokio::time::sleep(Duration::from_secs(60)).await;
    let tried = registry.tried.load(Ordering::Relaxed);
    assert!((40..160).contains(&tried), "{tried} attempts in a minute");
}

#[tokio::test(start_paused = true)]
async fn an_entry_held_for_a_while_makes_up_for_the_failures_before_it() {
    let registry = Odd::new(Oddity::Fickle);
    let registrar = Registrar::with_rng(registry.clone(), fastrand::Rng::with_seed(7));
    let registration = registrar.register(node("1"), RegisterOptions::default());
    registration.registered().await.unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    registry.memory.deregister(&node("1").key()).await.unwrap();
    let start = Instant::now();
    until(&registration, |state| !state.is_registered()).await;
    registration.registered().await.unwrap();
    assert!(start.elapsed() <= Duration::from_millis(50), "{:?}", start.elapsed());
    assert_eq!(registry.tried.load(Ordering::Relaxed), 13);
}

#[tokio::test(start_paused = true)]
async fn closing_while_an_attempt_is_under_way_leaves_no_entry_behind() {
    let registry = Odd::new(Oddity::Slow);
    for wait in [0, 500, 1500, 2500] {
        let registrar = Registrar::with_rng(registry.clone(), fastrand::Rng::with_seed(7));
        let registration = registrar.register(node("1"), RegisterOptions::default());
        tokio::time::sleep(Duration::from_millis(wait)).await;
        timeout(Duration::from_secs(6), registration.close()).await.unwrap().unwrap();
        assert!(listed(&registry.memory).await.is_empty(), "closed after {wait} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn closing_does_not_wait_for_an_update_that_hangs() {
    let registry = Odd::new(Oddity::Stuck);
    let registrar = Registrar::with_rng(registry.clone(), fastrand::Rng::with_seed(7));
    let registration = registrar.register(node("1"), RegisterOptions::default());
    registration.registered().await.unwrap();
    let heavier = node("1").to_builder().weight(9).build().unwrap();
    let hanging = timeout(Duration::from_secs(1), registration.update(heavier)).await;
    assert!(hanging.is_err(), "{hanging:?}");
    timeout(Duration::from_millis(1), registration.close()).await.unwrap().unwrap();
    assert!(listed(&registry.memory).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_update_during_an_attempt_is_what_ends_up_in_the_registry() {
    let registry = Odd::new(Oddity::Slow);
    let registrar = Registrar::with_rng(registry.clone(), fastrand::Rng::with_seed(7));
    let registration = registrar.register(node("1"), RegisterOptions::default());
    tokio::time::sleep(Duration::from_millis(500)).await;
    let heavier = node("1").to_builder().weight(9).build().unwrap();
    timeout(Duration::from_millis(1), registration.update(heavier.clone())).await.unwrap().unwrap();
    registration.registered().await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(*listed(&registry.memory).await[0], heavier);
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_does_not_answer_holds_nobody_up_for_ever() {
    let registrar = Registrar::with_rng(Odd::new(Oddity::Silent), fastrand::Rng::with_seed(7));
    let registration = registrar.register(node("1"), RegisterOptions::default());
    let state = until(&registration, |state| state.error().is_some()).await;
    assert_eq!(state.error().unwrap().kind(), ErrorKind::DeadlineExceeded);
    let error = timeout(Duration::from_secs(6), registration.close()).await.unwrap().unwrap_err();
    assert!(error.to_string().contains("may have left an entry"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn closing_the_registrar_waits_no_longer_than_it_was_told() {
    let registrar = Registrar::with_rng(Odd::new(Oddity::Silent), fastrand::Rng::with_seed(7));
    let _registration = registrar.register(node("1"), RegisterOptions::default());
    tokio::time::sleep(Duration::from_millis(1)).await;
    let deadline = Instant::now() + Duration::from_secs(1);
    registrar.close(deadline).await;
    assert_eq!(Instant::now(), deadline);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_guard_deregisters_in_the_background() {
    let registry = MemoryRegistry::new();
    let registrar = registrar(&registry);
    let registration = registrar.register(node("1"), RegisterOptions::default());
    registration.registered().await.unwrap();
    let mut states = registration.watch();
    drop(registration);
    timeout(Duration::from_secs(1), states.wait_for(|state| matches!(state, RegistrationState::Gone)))
        .await
        .unwrap()
        .unwrap();
    assert!(listed(&registry).await.is_empty());
    assert!(registrar.0.claims.0.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_registration_outlives_the_registrar_that_made_it() {
    let registry = MemoryRegistry::new();
    let registrar = registrar(&registry);
    let registration = registrar.register(node("1"), RegisterOptions::default());
    drop(registrar);
    registration.registered().await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(listed(&registry).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn closing_says_that_a_registry_that_is_away_still_holds_the_entry() {
    let registry = MemoryRegistry::new();
    let registration = registrar(&registry).register(node("1"), RegisterOptions::default());
    registration.registered().await.unwrap();
    registry.set_away(true);
    assert_eq!(registration.close().await.unwrap_err().kind(), ErrorKind::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn closing_what_was_never_registered_is_quick_and_no_failure() {
    let registry = MemoryRegistry::new();
    registry.set_away(true);
    let registration = registrar(&registry).register(node("1"), RegisterOptions::default());
    until(&registration, |state| state.error().is_some()).await;
    timeout(Duration::from_millis(10), registration.close()).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_update_is_in_the_registry_when_it_returns() {
    let registry = MemoryRegistry::new();
    let registration = registrar(&registry).register(node("1"), RegisterOptions::default());
    registration.registered().await.unwrap();
    let heavier = node("1").to_builder().weight(9).build().unwrap();
    registration.update(heavier.clone()).await.unwrap();
    assert_eq!(*listed(&registry).await[0], heavier);
    assert_eq!(*registration.node(), heavier);
    let error = registration.update(node("2")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(*registration.node(), heavier);
}

#[tokio::test(start_paused = true)]
async fn an_update_while_the_registry_is_away_is_registered_when_it_is_back() {
    let registry = MemoryRegistry::new();
    let registration = registrar(&registry).register(node("1"), RegisterOptions::default());
    registration.registered().await.unwrap();
    registry.set_away(true);
    let heavier = node("1").to_builder().weight(9).build().unwrap();
    assert_eq!(registration.update(heavier).await.unwrap_err().kind(), ErrorKind::Unavailable);
    let heaviest = node("1").to_builder().weight(10).build().unwrap();
    until(&registration, |state| !state.is_registered()).await;
    registration.update(heaviest.clone()).await.unwrap();
    registry.set_away(false);
    registration.registered().await.unwrap();
    assert_eq!(*listed(&registry).await[0], heaviest);
}

#[tokio::test(start_paused = true)]
async fn two_registrations_of_one_node_do_not_take_turns() {
    let registry = MemoryRegistry::new();
    let registrar = registrar(&registry);
    let first = registrar.register(node("1"), RegisterOptions::default());
    first.registered().await.unwrap();
    let second = registrar.register(node("1"), RegisterOptions::default());
    let (mut firsts, mut seconds) = (first.watch(), second.watch());
    firsts.mark_unchanged();
    let refused =
        |state: &RegistrationState| matches!(state, RegistrationState::Registering { attempt: 20, .. });
    let state = timeout(Duration::from_secs(60), seconds.wait_for(refused)).await.unwrap().unwrap().clone();
    assert_eq!(state.error().unwrap().kind(), ErrorKind::Conflict);
    assert!(!firsts.has_changed().unwrap(), "{:?}", first.state());
    drop(first);
    timeout(Duration::from_secs(2), second.registered()).await.unwrap().unwrap();
    assert_eq!(listed(&registry).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_node_of_another_process_keeps_its_entry_and_is_followed_when_it_goes() {
    let registry = MemoryRegistry::new();
    let theirs = registrar(&registry.peer()).register(node("1"), RegisterOptions::default());
    theirs.registered().await.unwrap();
    let ours = registrar(&registry).register(node("1"), RegisterOptions::default());
    let state = until(&ours, |state| state.error().is_some()).await;
    assert_eq!(state.error().unwrap().kind(), ErrorKind::Conflict);
    theirs.close().await.unwrap();
    timeout(Duration::from_secs(2), ours.registered()).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn closing_the_registrar_removes_every_entry_and_ends_every_registration() {
    let registry = MemoryRegistry::new();
    let registrar = registrar(&registry);
    let nodes: Vec<_> =
        (0..20).map(|n| registrar.register(node(&format!("{n}")), RegisterOptions::default())).collect();
    for registration in &nodes {
        registration.registered().await.unwrap();
    }
    registrar.close(Instant::now() + Duration::from_secs(5)).await;
    assert!(listed(&registry).await.is_empty());
    for registration in nodes {
        assert!(matches!(registration.state(), RegistrationState::Gone));
        assert_eq!(registration.registered().await.unwrap_err().kind(), ErrorKind::Closed);
        assert_eq!(
            registration.update(registration.node().as_ref().clone()).await.unwrap_err().kind(),
            ErrorKind::Closed
        );
        registration.close().await.unwrap();
    }
    let late = registrar.register(node("late"), RegisterOptions::default());
    assert_eq!(late.registered().await.unwrap_err().kind(), ErrorKind::Closed);
    assert!(listed(&registry).await.is_empty());
}
