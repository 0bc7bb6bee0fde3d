//! Owners that die, stop, or leave without a word.

use callsign_core::{
    Registry, WatchEvent,
    registry::{RegisterOptions, Removal},
};
use callsign_registry::local::{LocalConfig, LocalRegistry};
use rustix::process::Signal;

use super::{files, ids, next, next_removal, next_upsert, node, open, process::Process, watch};

#[tokio::test]
async fn a_killed_node_is_seen_at_once_by_every_watcher_in_every_process() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (open(folder.path()), open(folder.path()));
    let (mut first, mut second) = (watch(&one).await, watch(&two).await);
    let mut elsewhere = Process::start("watch", folder.path());
    assert_eq!(elsewhere.heard().await.as_deref(), Some("ready"));

    let victim = Process::node(folder.path(), "victim").await;
    assert_eq!(next_upsert(&mut first).await.id(), "victim");
    assert_eq!(next_upsert(&mut second).await.id(), "victim");
    assert_eq!(elsewhere.heard().await.as_deref(), Some("came victim"));

    // No rescan is due within the hour: only the kernel can have told them.
    victim.signal(Signal::KILL);
    assert_eq!(next_removal(&mut first).await, ("victim".into(), Removal::Expired));
    assert_eq!(next_removal(&mut second).await, ("victim".into(), Removal::Expired));
    assert_eq!(elsewhere.heard().await.as_deref(), Some("went victim Expired"));
    assert!(files(folder.path()).is_empty());
}

#[tokio::test]
async fn every_node_of_a_killed_process_expires() {
    let folder = tempfile::tempdir().unwrap();
    let registry = open(folder.path());
    let mut watch = watch(&registry).await;
    let mut process = Process::start("node", folder.path());
    for n in 0..50 {
        process.ask(&format!("register n{n}"), &format!("registered n{n}")).await;
    }
    assert_eq!(ids(&registry).await.len(), 50);
    process.kill().await;
    for _ in 0..50 {
        while matches!(next(&mut watch).await, WatchEvent::Upsert(..)) {}
    }
    assert!(ids(&registry).await.is_empty());
}

#[tokio::test]
async fn whoever_lists_after_a_kill_does_not_see_the_node() {
    let folder = tempfile::tempdir().unwrap();
    let registry = open(folder.path());
    let stays = registry.register(&node("stays"), &RegisterOptions::default()).await.unwrap();
    for _ in 0..20 {
        let victim = Process::node(folder.path(), "victim").await;
        assert_eq!(ids(&registry).await, ["stays", "victim"]);
        victim.kill().await;
        assert_eq!(ids(&registry).await, ["stays"]);
        assert_eq!(ids(&open(folder.path())).await, ["stays"]);
    }
    stays.release().await.unwrap();
}

#[tokio::test]
async fn a_node_that_leaves_by_itself_is_deregistered_not_expired() {
    let folder = tempfile::tempdir().unwrap();
    let registry = open(folder.path());
    let mut watch = watch(&registry).await;
    let mut process = Process::node(folder.path(), "polite").await;
    next_upsert(&mut watch).await;
    process.ask("release polite", "released polite").await;
    assert_eq!(next_removal(&mut watch).await, ("polite".into(), Removal::Deregistered));

    let lease = registry.register(&node("dropped"), &RegisterOptions::default()).await.unwrap();
    next_upsert(&mut watch).await;
    drop(lease);
    assert_eq!(next_removal(&mut watch).await, ("dropped".into(), Removal::Deregistered));
    assert!(files(folder.path()).is_empty());
}

#[tokio::test]
async fn a_stopped_node_stays_registered_and_keeps_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let registry = open(folder.path());
    let sleeper = Process::node(folder.path(), "sleeper").await;
    sleeper.signal(Signal::STOP);
    assert_eq!(ids(&registry).await, ["sleeper"]);
    assert_eq!(ids(&open(folder.path())).await, ["sleeper"]);
    let error = registry.register(&node("sleeper"), &RegisterOptions::default()).await.unwrap_err();
    assert!(error.to_string().contains(&sleeper.pid().to_string()), "{error}");
    sleeper.signal(Signal::CONT);
    assert_eq!(ids(&registry).await, ["sleeper"]);
}

#[tokio::test]
async fn a_program_that_a_node_started_does_not_keep_its_entry_alive() {
    let folder = tempfile::tempdir().unwrap();
    let registry = open(folder.path());
    let mut watch = watch(&registry).await;
    let mut parent = Process::node(folder.path(), "parent").await;
    next_upsert(&mut watch).await;
    parent.tell("spawn sleep").await;
    let orphan = parent.heard().await.unwrap().parse().unwrap();
    parent.kill().await;
    // The kernel lets a parent go on a moment before its child has closed what it does not inherit.
    let removed = next_removal(&mut watch).await;
    rustix::process::kill_process(rustix::process::Pid::from_raw(orphan).unwrap(), Signal::KILL).unwrap();
    assert_eq!(removed, ("parent".into(), Removal::Expired));
}

#[tokio::test]
async fn a_killed_node_can_come_back_under_its_id_at_once_while_everybody_looks() {
    let folder = tempfile::tempdir().unwrap();
    let readers: Vec<_> = (0..4).map(|_| open(folder.path())).collect();
    let mut watches = Vec::new();
    for reader in &readers {
        watches.push(watch(reader).await);
    }
    for _ in 0..20 {
        // The kill and the claim race with four readers who find the body.
        let node = Process::node(folder.path(), "phoenix").await;
        node.kill().await;
    }
    let _last = Process::node(folder.path(), "phoenix").await;
    for reader in &readers {
        assert_eq!(ids(reader).await, ["phoenix"]);
    }
}

#[tokio::test]
async fn without_kernel_events_a_look_through_the_folder_finds_everything() {
    let folder = tempfile::tempdir().unwrap();
    let config = LocalConfig::new(folder.path()).without_kernel_events();
    let registry = LocalRegistry::open(config.with_rescan(std::time::Duration::from_millis(10))).unwrap();
    let mut watch = watch(&registry).await;
    let victim = Process::node(folder.path(), "victim").await;
    assert_eq!(next_upsert(&mut watch).await.id(), "victim");
    victim.kill().await;
    assert_eq!(next_removal(&mut watch).await, ("victim".into(), Removal::Expired));
    // A question never waits for the next look.
    let slow = LocalRegistry::open(LocalConfig::new(folder.path()).without_kernel_events()).unwrap();
    assert!(ids(&slow).await.is_empty());
    let _lease = registry.register(&node("new"), &RegisterOptions::default()).await.unwrap();
    assert_eq!(ids(&slow).await, ["new"]);
}
