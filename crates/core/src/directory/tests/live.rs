//! The whole directory over a registry, on a paused clock.

use std::sync::atomic::Ordering;

use tokio::time::{sleep, timeout};

use super::scripted::{Fault, Played, Scripted};
use super::*;
use crate::{
    directory::{Directory, Subscription},
    registry::{Lease, RegisterOptions, Registry},
};

const ALWAYS: RegisterOptions = RegisterOptions { ttl: Duration::ZERO, interval: Duration::ZERO };
const FREE: usize = 1_000_000;

async fn register(registry: &Scripted, service: &str, id: &str) -> Box<dyn Lease> {
    registry.register(&node_of(service, id), &ALWAYS).await.unwrap()
}

fn directory(registry: &Arc<Scripted>) -> Directory {
    with_config(registry, DirectoryConfig::default())
}

fn with_config(registry: &Arc<Scripted>, config: DirectoryConfig) -> Directory {
    Directory::with_rng(registry.clone(), config, fastrand::Rng::with_seed(7))
}

fn name(text: &str) -> ServiceName {
    ServiceName::new(text).unwrap()
}

/// What the subscription shows once it shows what `is` wants.
async fn until(subscription: &mut Subscription, is: impl Fn(&Answer) -> bool) -> Answer {
    let waits = async {
        while !is(&subscription.answer()) {
            subscription.changed().await.unwrap();
        }
    };
    if timeout(secs(3600), waits).await.is_err() {
        panic!("still {:?}", subscription.answer());
    }
    subscription.answer()
}

fn count(answer: &Answer) -> Option<usize> {
    answer.view().map(|view| view.nodes().len())
}

#[tokio::test(start_paused = true)]
async fn any_number_of_callers_on_a_cold_name_make_one_reading() {
    let registry = Scripted::new(0);
    let _lease = register(&registry, "greeter", "a").await;
    // Without a watch nothing but the reading can answer.
    registry.watch_ends.store(true, Ordering::Relaxed);
    let directory = directory(&registry);
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let directory = directory.clone();
        callers.spawn(async move { directory.resolve(&greeter()).await });
    }
    sleep(millis(1)).await;
    assert!(directory.answer(&greeter()).is_pending());
    registry.gate.add_permits(1);
    while let Some(answer) = callers.join_next().await {
        assert_eq!(count(&answer.unwrap()), Some(1));
    }
    assert_eq!(registry.gets(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_cold_names_are_read_a_few_at_a_time() {
    let registry = Scripted::new(0);
    registry.watch_ends.store(true, Ordering::Relaxed);
    let directory = directory(&registry);
    let names: Vec<_> = (0..1000).map(|n| name(&format!("s{n}"))).collect();
    for name in &names {
        assert!(directory.answer(name).is_pending());
    }
    sleep(millis(1)).await;
    assert_eq!(registry.under_way.load(Ordering::Relaxed), 32);
    registry.gate.add_permits(FREE);
    for name in &names {
        assert!(matches!(directory.resolve(name).await, Answer::Absent));
    }
    assert_eq!((registry.gets(), registry.under_way_max.load(Ordering::Relaxed)), (1000, 32));
}

#[tokio::test(start_paused = true)]
async fn many_names_share_one_watch() {
    let registry = Scripted::new(FREE);
    let directory = directory(&registry);
    let mut subscriptions: Vec<_> = (0..50).map(|n| directory.subscribe(&name(&format!("s{n}")))).collect();
    let mut leases = Vec::new();
    for (n, subscription) in subscriptions.iter_mut().enumerate() {
        until(subscription, |answer| matches!(answer, Answer::Absent)).await;
        leases.push(register(&registry, &format!("s{n}"), "a").await);
        until(subscription, |answer| count(answer) == Some(1)).await;
    }
    assert_eq!(registry.watches.lock().unwrap().len(), 1);
    assert_eq!(directory.names().len(), 50);
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_sees_nodes_come_and_go() {
    let registry = Scripted::new(FREE);
    let directory = directory(&registry);
    let mut greeter = directory.subscribe(&greeter());
    until(&mut greeter, |answer| matches!(answer, Answer::Absent)).await;
    let a = register(&registry, "greeter", "a").await;
    until(&mut greeter, |answer| count(answer) == Some(1)).await;
    let _b = register(&registry, "greeter", "b").await;
    until(&mut greeter, |answer| count(answer) == Some(2)).await;
    a.release().await.unwrap();
    let answer = until(&mut greeter, |answer| count(answer) == Some(1)).await;
    assert_eq!(ids(answer.view().unwrap()), ["b"]);
}

#[tokio::test(start_paused = true)]
async fn subscribers_are_told_once_per_publication() {
    let registry = Scripted::new(FREE);
    let _leases = [register(&registry, "greeter", "a").await];
    let directory = directory(&registry);
    let mut greeter = directory.subscribe(&greeter());
    until(&mut greeter, |answer| count(answer) == Some(1)).await;
    sleep(secs(1)).await;
    let mut leases = Vec::new();
    for n in 0..20 {
        leases.push(register(&registry, "greeter", &format!("n{n}")).await);
        sleep(millis(1)).await;
    }
    let mut told = 0;
    while timeout(secs(1), greeter.changed()).await.is_ok() {
        told += 1;
    }
    assert_eq!((told, count(&greeter.answer())), (2, Some(21)));
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_is_away_takes_nothing_and_is_followed_again_when_it_is_back() {
    let registry = Scripted::new(FREE);
    let _a = register(&registry, "greeter", "a").await;
    let b = register(&registry, "greeter", "b").await;
    let directory = directory(&registry);
    let mut greeter = directory.subscribe(&greeter());
    until(&mut greeter, |answer| count(answer) == Some(2)).await;
    registry.memory.set_away(true);
    let stale = until(&mut greeter, |answer| answer.view().unwrap().freshness().is_stale()).await;
    assert_eq!(count(&stale), Some(2));
    assert!(directory.freshness().is_stale());
    assert!(matches!(directory.resolve(&name("cold")).await, Answer::Failed(_)));
    sleep(secs(3600)).await;
    assert_eq!(count(&greeter.answer()), Some(2));
    registry.memory.set_away(false);
    until(&mut greeter, |answer| !answer.view().unwrap().freshness().is_stale()).await;
    assert!(matches!(directory.resolve(&name("cold")).await, Answer::Absent));
    b.release().await.unwrap();
    until(&mut greeter, |answer| count(answer) == Some(1)).await;
    assert!(!directory.freshness().is_stale());
}

#[tokio::test(start_paused = true)]
async fn a_registry_wiped_and_filled_again_within_5_seconds_costs_no_node() {
    let registry = Scripted::new(FREE);
    for id in ["a", "b", "c"] {
        let _lease = register(&registry, "greeter", id).await;
        std::mem::forget(_lease);
    }
    let directory = directory(&registry);
    let mut greeter = directory.subscribe(&greeter());
    until(&mut greeter, |answer| count(answer) == Some(3)).await;
    registry.memory.wipe();
    let answer = until(&mut greeter, |answer| answer.view().unwrap().suspects().len() == 3).await;
    assert_eq!(count(&answer), Some(3));
    sleep(secs(2)).await;
    let mut leases = Vec::new();
    for id in ["a", "b", "c"] {
        leases.push(register(&registry, "greeter", id).await);
        assert_eq!(count(&greeter.answer()), Some(3));
    }
    until(&mut greeter, |answer| answer.view().unwrap().suspects().len() == 0).await;
    sleep(secs(3600)).await;
    assert_eq!(count(&greeter.answer()), Some(3));
}

#[tokio::test(start_paused = true)]
async fn a_registry_wiped_for_good_is_believed_after_5_seconds() {
    let registry = Scripted::new(FREE);
    let _lease = register(&registry, "greeter", "a").await;
    let directory = directory(&registry);
    let mut greeter = directory.subscribe(&greeter());
    until(&mut greeter, |answer| count(answer) == Some(1)).await;
    registry.memory.wipe();
    let wiped = Instant::now();
    until(&mut greeter, |answer| count(answer) == Some(0)).await;
    assert!((secs(5)..=secs(7)).contains(&wiped.elapsed()), "{:?}", wiped.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_suspect_refuted_by_a_caller_is_gone() {
    let registry = Scripted::new(FREE);
    let dead = RegisterOptions::default().with_ttl(secs(3));
    let _lease = registry.register(&node("a"), &dead).await.unwrap();
    let directory = directory(&registry);
    let mut greeter = directory.subscribe(&greeter());
    until(&mut greeter, |answer| answer.view().is_some_and(|view| view.suspects().len() == 1)).await;
    directory.refute(node("a").key());
    until(&mut greeter, |answer| count(answer) == Some(0)).await;
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_panics_or_hangs_in_a_reading_fails_the_name_and_nothing_else() {
    for (fault, kind) in [(Fault::Panic, ErrorKind::Internal), (Fault::Hang, ErrorKind::DeadlineExceeded)] {
        let registry = Scripted::new(FREE);
        registry.watch_ends.store(true, Ordering::Relaxed);
        *registry.fault.lock().unwrap() = Some(fault);
        let directory = directory(&registry);
        let Answer::Failed(error) = directory.resolve(&greeter()).await else { panic!("answered") };
        assert_eq!(error.kind(), kind);
        *registry.fault.lock().unwrap() = None;
        let mut greeter = directory.subscribe(&greeter());
        until(&mut greeter, |answer| matches!(answer, Answer::Absent)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_ends_is_opened_again_with_growing_waits() {
    let registry = Scripted::new(FREE);
    registry.watch_ends.store(true, Ordering::Relaxed);
    let directory = directory(&registry);
    sleep(secs(600)).await;
    let watches = registry.watches.lock().unwrap().len();
    assert!((10..=20).contains(&watches), "{watches} in ten minutes");
    assert!(directory.freshness().is_stale());
    registry.watch_ends.store(false, Ordering::Relaxed);
    sleep(secs(145)).await;
    assert!(!directory.freshness().is_stale());
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_had_shown_something_is_opened_again_soon() {
    let registry = Scripted::new(FREE);
    let mut script: Vec<_> = (0..10).map(|_| Played::default()).collect();
    script.push(Played::default().snapshot(&["a"], 3));
    script.push(Played::default().snapshot(&["a"], 3).then_silence());
    registry.script.lock().unwrap().extend(script);
    let _directory = directory(&registry);
    sleep(secs(1000)).await;
    let opened = registry.watches.lock().unwrap().clone();
    assert_eq!(opened.len(), 12);
    assert!(opened[10] - opened[9] > secs(50), "{opened:?}");
    assert!(opened[11] - opened[10] < secs(2), "{opened:?}");
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_shows_an_outdated_snapshot_is_opened_again() {
    let registry = Scripted::new(FREE);
    let lagging = Played::default().snapshot(&["a", "b"], 10).snapshot(&["a"], 4).then_silence();
    let caught_up = Played::default().snapshot(&["a", "b", "c"], 11).then_silence();
    registry.script.lock().unwrap().extend([lagging, caught_up]);
    let directory = directory(&registry);
    let mut greeter = directory.subscribe(&greeter());
    let answer = until(&mut greeter, |answer| count(answer) == Some(3)).await;
    assert_eq!(answer.view().unwrap().suspects().len(), 0);
    assert_eq!(registry.watches.lock().unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn names_let_go_before_their_reading_began_are_not_read() {
    let registry = Scripted::new(0);
    registry.watch_ends.store(true, Ordering::Relaxed);
    let directory = with_config(&registry, DirectoryConfig::default().with_capacity(10));
    for n in 0..500 {
        assert!(directory.answer(&name(&format!("s{n}"))).is_pending());
        tokio::task::yield_now().await;
    }
    sleep(millis(1)).await;
    assert_eq!(registry.gets(), 32);
    registry.gate.add_permits(FREE);
    sleep(secs(1)).await;
    assert!(registry.gets() <= 42, "{}", registry.gets());
}

#[tokio::test(start_paused = true)]
async fn a_name_that_nobody_asks_for_is_let_go_and_read_again_when_somebody_does() {
    let registry = Scripted::new(FREE);
    let directory = with_config(&registry, DirectoryConfig::default().with_evict_after(secs(100)));
    let (asked, left, kept) = (name("asked"), name("left"), name("kept"));
    let _kept = directory.subscribe(&kept);
    directory.resolve(&left).await;
    for _ in 0..100 {
        let _ = directory.answer(&asked);
        sleep(secs(10)).await;
    }
    assert!(!directory.answer(&asked).is_pending());
    assert!(!directory.answer(&kept).is_pending());
    assert_eq!(registry.gets(), 3, "each was read once");
    assert!(directory.answer(&left).is_pending(), "it was let go");
    sleep(secs(1)).await;
    assert!(!directory.answer(&left).is_pending());
}

#[tokio::test(start_paused = true)]
async fn a_name_is_not_let_go_before_its_time() {
    let registry = Scripted::new(FREE);
    let directory = with_config(&registry, DirectoryConfig::default().with_evict_after(secs(100)));
    let left = name("left");
    directory.resolve(&left).await;
    sleep(secs(99)).await;
    assert!(!directory.answer(&left).is_pending());
    sleep(secs(127)).await;
    assert!(directory.answer(&left).is_pending());
}

#[tokio::test(start_paused = true)]
async fn a_full_directory_lets_go_of_the_name_asked_for_longest_ago() {
    let registry = Scripted::new(FREE);
    let config = DirectoryConfig::default().with_capacity(3).with_evict_after(secs(400));
    let directory = with_config(&registry, config);
    for text in ["a", "b", "c"] {
        directory.resolve(&name(text)).await;
    }
    sleep(secs(150)).await;
    for text in ["a", "c", "d"] {
        directory.resolve(&name(text)).await;
    }
    let gets = registry.gets();
    for text in ["a", "c", "d"] {
        assert!(!directory.answer(&name(text)).is_pending(), "{text}");
    }
    directory.resolve(&name("b")).await;
    assert_eq!(registry.gets(), gets + 1, "b was let go");
}

#[tokio::test(start_paused = true)]
async fn a_directory_full_of_subscribed_names_says_so() {
    let registry = Scripted::new(FREE);
    let directory = with_config(&registry, DirectoryConfig::default().with_capacity(2));
    let (_a, b) = (directory.subscribe(&name("a")), directory.subscribe(&name("b")));
    let mut full = directory.subscribe(&name("c"));
    let Answer::Failed(error) = full.answer() else { panic!("{:?}", full.answer()) };
    assert_eq!(error.kind(), ErrorKind::ResourceExhausted);
    assert!(error.to_string().contains("holds 2 names"), "{error}");
    assert_eq!(full.changed().await.unwrap_err().kind(), ErrorKind::ResourceExhausted);
    drop(b);
    assert!(matches!(directory.resolve(&name("c")).await, Answer::Absent));
}

#[tokio::test(start_paused = true)]
async fn closing_ends_everything_keeps_answers_and_fails_who_waits() {
    let registry = Scripted::new(0);
    let _lease = register(&registry, "greeter", "a").await;
    let directory = directory(&registry);
    let mut known = directory.subscribe(&greeter());
    until(&mut known, |answer| count(answer) == Some(1)).await;
    let waits = tokio::task::JoinSet::from_iter([{
        let directory = directory.clone();
        async move { directory.resolve(&name("cold")).await }
    }]);
    sleep(millis(1)).await;
    directory.close().await;
    let [Answer::Failed(error)] = &waits.join_all().await[..] else { panic!("answered") };
    assert_eq!(error.kind(), ErrorKind::Closed);
    assert_eq!(known.changed().await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(count(&directory.answer(&greeter())), Some(1));
    assert!(matches!(directory.answer(&name("new")), Answer::Failed(_)));
    directory.close().await;
}

#[tokio::test(start_paused = true)]
async fn dropping_the_last_directory_ends_its_tasks_and_lets_go_of_the_registry() {
    let registry = Scripted::new(0);
    registry.watch_ends.store(true, Ordering::Relaxed);
    let directory = directory(&registry);
    let mut subscription = directory.subscribe(&greeter());
    drop(directory.clone());
    for text in ["a", "b"] {
        assert!(directory.answer(&name(text)).is_pending());
    }
    sleep(millis(1)).await;
    assert!(Arc::strong_count(&registry) > 2, "readings are under way");
    drop(directory);
    assert_eq!(subscription.changed().await.unwrap_err().kind(), ErrorKind::Closed);
    sleep(millis(1)).await;
    assert_eq!(Arc::strong_count(&registry), 1);
    assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), 0);
}

#[tokio::test(start_paused = true)]
async fn churn_of_names_leaves_nothing_behind() {
    let registry = Scripted::new(FREE);
    let directory = with_config(&registry, DirectoryConfig::default().with_capacity(10));
    for n in 0..2000 {
        let name = name(&format!("s{n}"));
        if n % 3 == 0 {
            drop(directory.subscribe(&name));
        }
        drop(tokio::time::timeout(Duration::ZERO, directory.resolve(&name)).await);
        assert!(directory.0.slots.table().len() <= 10);
    }
    sleep(secs(1)).await;
    assert!(registry.gets() <= 2000);
    assert_eq!(registry.under_way.load(Ordering::Relaxed), 0);
    assert_eq!(directory.0.tasks.len(), 1);
    assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_resolve_that_is_given_up_leaves_the_name_unsubscribed_and_its_reading_going() {
    let registry = Scripted::new(0);
    registry.watch_ends.store(true, Ordering::Relaxed);
    let directory = directory(&registry);
    assert!(timeout(millis(10), directory.resolve(&greeter())).await.is_err());
    registry.gate.add_permits(1);
    assert!(matches!(directory.resolve(&greeter()).await, Answer::Absent));
    assert_eq!(registry.gets(), 1);
}

#[tokio::test(start_paused = true)]
async fn whatever_a_registry_goes_through_the_views_end_up_equal_to_it() {
    for seed in 0..100 {
        let registry = Scripted::new(FREE);
        let directory =
            Directory::with_rng(registry.clone(), DirectoryConfig::default(), fastrand::Rng::with_seed(seed));
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut leases: HashMap<String, Box<dyn Lease>> = HashMap::new();
        let names: Vec<_> = (0..4).map(|n| name(&format!("s{n}"))).collect();
        let held = directory.subscribe(&names[0]);
        for _ in 0..150 {
            let (service, id) = (format!("s{}", rng.u8(..4)), format!("n{}", rng.u8(..8)));
            match rng.u8(..20) {
                0..8 => {
                    let ttl = if rng.bool() { Duration::ZERO } else { secs(rng.u64(1..20)) };
                    let options = RegisterOptions::default().with_ttl(ttl);
                    if let Ok(lease) = registry.register(&node_of(&service, &id), &options).await {
                        leases.insert(format!("{service}/{id}"), lease);
                    }
                }
                8..12 => {
                    let _ = registry.deregister(&node_of(&service, &id).key()).await;
                }
                12 => registry.memory.set_away(true),
                13..15 => registry.memory.set_away(false),
                15 => registry.memory.wipe(),
                16 => drop(timeout(millis(5), directory.resolve(&name(&service))).await),
                17 => drop(directory.answer(&name(&service))),
                _ => sleep(millis(rng.u64(..3000))).await,
            }
        }
        registry.memory.set_away(false);
        sleep(secs(1000)).await;
        for name in &names {
            let has = registry.memory.get(name, &Default::default()).await.unwrap().nodes;
            let shown = directory.resolve(name).await;
            let shown = shown.view().map_or_else(Vec::new, |view| view.nodes().to_vec());
            assert_eq!(shown, has, "seed {seed}, {name}");
        }
        drop(held);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_on_many_threads_and_churn_do_not_get_in_each_other_s_way() {
    let registry = Scripted::new(FREE);
    let directory = with_config(&registry, DirectoryConfig::default().with_capacity(6));
    let mut readers = tokio::task::JoinSet::new();
    for reader in 0..4 {
        let directory = directory.clone();
        readers.spawn(async move {
            let mut rng = fastrand::Rng::with_seed(reader);
            for _ in 0..2000 {
                let name = name(&format!("s{}", rng.u8(..12)));
                match rng.u8(..4) {
                    0 => drop(directory.answer(&name)),
                    1 => drop(directory.subscribe(&name)),
                    2 => drop(directory.resolve(&name).await),
                    _ => {
                        let mut subscription = directory.subscribe(&name);
                        drop(timeout(Duration::ZERO, subscription.changed()).await);
                    }
                }
            }
        });
    }
    let mut leases = Vec::new();
    for round in 0..200 {
        leases.push(register(&registry, &format!("s{}", round % 12), &format!("n{round}")).await);
        tokio::task::yield_now().await;
    }
    readers.join_all().await;
    for n in 0..12 {
        let mut subscription = directory.subscribe(&name(&format!("s{n}")));
        let has = 200 / 12 + usize::from(n < 200 % 12);
        until(&mut subscription, |answer| count(answer) == Some(has)).await;
        assert!(directory.0.slots.table().len() <= 6);
    }
}
