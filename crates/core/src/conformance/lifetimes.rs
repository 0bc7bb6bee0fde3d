//! Entries live exactly as long as their owners, and go in the right way.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::{Harness, scene::Scene};
use crate::{
    error::ErrorKind,
    model::Node,
    registration::Registrar,
    registry::{Registry, Removal},
};

fn node(scene: &Scene<'_>, weight: u16) -> Arc<Node> {
    Arc::new(scene.node("1").weight(weight).build().expect("a node"))
}

/// `Lease::release` removes the entry, and nobody takes that for a crash.
pub async fn a_released_node_is_gone(harness: &dyn Harness) {
    let scene = Scene::new(harness, "release");
    let (ours, theirs) = (harness.open().await, harness.open().await);
    let mut watch = scene.follow_service(&*theirs).await;
    let node = node(&scene, 1);
    let lease = scene.register(&*ours, &node).await;
    scene.shows(&*theirs, &mut watch, std::slice::from_ref(&node)).await;
    scene.ok("release", lease.release().await);
    scene.shows(&*theirs, &mut watch, &[]).await;
    let removals = watch.removals(&node.key());
    assert!(!removals.contains(&Removal::Expired), "release: it was said to have expired");
    scene.end().await;
}

/// Dropping a lease removes its entry without anybody waiting for it.
pub async fn a_dropped_lease_removes_its_entry(harness: &dyn Harness) {
    let scene = Scene::new(harness, "drop");
    let (ours, theirs) = (harness.open().await, harness.open().await);
    let mut watch = scene.follow_service(&*theirs).await;
    let node = node(&scene, 1);
    let lease = scene.register(&*ours, &node).await;
    scene.shows(&*theirs, &mut watch, std::slice::from_ref(&node)).await;
    drop(lease);
    watch.until("the dropped lease's entry is gone", BTreeMap::is_empty).await;
    scene.end().await;
}

/// Nothing to remove is nothing to complain of; and the neighbours stay.
pub async fn deregistering_what_is_not_there_is_no_error(harness: &dyn Harness) {
    let scene = Scene::new(harness, "absent");
    let registry = harness.open().await;
    let there = node(&scene, 1);
    let mut absent = there.key();
    scene.ok("deregister an unknown service", registry.deregister(&absent).await);
    scene.register_and_keep(&*registry, &there).await;
    absent.id = "2".parse().expect("an id");
    scene.ok("deregister an unknown id", registry.deregister(&absent).await);
    absent = there.key();
    absent.domain = scene.domain("elsewhere");
    scene.ok("deregister in an unknown domain", registry.deregister(&absent).await);
    let mut watch = scene.follow_service(&*registry).await;
    scene.shows(&*registry, &mut watch, &[there]).await;
    scene.end().await;
}

/// The entry of an owner that died without a word goes with its time to live at the latest.
pub async fn a_crashed_owner_leaves_nothing_for_long(harness: &dyn Harness) {
    let scene = Scene::brief(harness, "crash");
    let (ours, theirs) = (harness.open().await, harness.open().await);
    let mut watch = scene.follow_service(&*theirs).await;
    let node = node(&scene, 1);
    let lease = scene.register(&*ours, &node).await;
    scene.shows(&*theirs, &mut watch, std::slice::from_ref(&node)).await;
    harness.crash(lease).await;
    watch.until_within(scene.lifetime(), "the crashed owner's entry is gone", BTreeMap::is_empty).await;
    scene.shows(&*theirs, &mut watch, &[]).await;
    let removals = watch.removals(&node.key());
    assert!(!removals.contains(&Removal::Deregistered), "crash: it was said to have been removed on purpose");
    // The key is free again: for the same node restarted, for instance.
    scene.register_and_keep(&*theirs, &node).await;
    scene.shows(&*theirs, &mut watch, &[node]).await;
    scene.end().await;
}

/// As long as `hold` is polled, an entry stays, for longer than its time to live and without a gap.
pub async fn a_held_entry_outlives_its_time_to_live(harness: &dyn Harness) {
    let scene = Scene::brief(harness, "held");
    let registry = harness.open().await;
    let mut watch = scene.follow_service(&*registry).await;
    let held = node(&scene, 1);
    scene.register_and_keep(&*registry, &held).await;
    scene.shows(&*registry, &mut watch, std::slice::from_ref(&held)).await;
    watch.listen(scene.lifetime() * 2).await;
    assert!(watch.removals(&held.key()).is_empty(), "held: the entry went although it was held");
    scene.shows(&*registry, &mut watch, &[held]).await;
    scene.end().await;
}

/// An entry deleted behind its owner's back ends `Lease::hold`, with the reason.
pub async fn a_lease_notices_that_its_entry_was_removed(harness: &dyn Harness) {
    let scene = Scene::brief(harness, "removed");
    let (ours, theirs) = (harness.open().await, harness.open().await);
    let mut watch = scene.follow_service(&*theirs).await;
    let node = node(&scene, 1);
    let mut lease = scene.register(&*ours, &node).await;
    scene.shows(&*theirs, &mut watch, std::slice::from_ref(&node)).await;
    scene.ok("deregister", theirs.deregister(&node.key()).await);
    scene.soon("the owner noticing that its entry was removed", lease.hold()).await;
    drop(lease);
    scene.shows(&*theirs, &mut watch, &[]).await;
    // Nor does the lost lease stand in the way of the next.
    scene.register_and_keep(&*ours, &node).await;
    scene.shows(&*theirs, &mut watch, &[node]).await;
    scene.end().await;
}

/// A [`Registrar`] puts back what was deleted by hand, and shows that it was lost.
pub async fn a_registrar_brings_back_what_was_removed(harness: &dyn Harness) {
    let scene = Scene::brief(harness, "back");
    let (ours, theirs) = (harness.open().await, harness.open().await);
    let mut watch = scene.follow_service(&*theirs).await;
    let registrar = Registrar::with_rng(ours, fastrand::Rng::with_seed(1));
    let registration = registrar.register((*node(&scene, 1)).clone(), scene.options.clone());
    scene.soon("registering", registration.registered()).await.expect("a registrar that is open");
    let node = registration.node();
    let mut states = registration.watch();
    for round in 1..=3 {
        scene.shows(&*theirs, &mut watch, std::slice::from_ref(&node)).await;
        states.mark_unchanged();
        scene.ok("deregister", theirs.deregister(&node.key()).await);
        // A state that came and went between two looks is a change all the same.
        scene.soon("noticing the loss", states.changed()).await.expect("a registrar that is open");
        scene.soon("registering again", registration.registered()).await.expect("a registrar that is open");
        let back = Duration::from_secs(2);
        watch.until_within(back, "the node is back", |nodes| nodes.contains_key(&node.key())).await;
        let removals = watch.removals(&node.key()).len();
        assert!(removals <= round, "back: {removals} removals after {round} were made");
    }
    scene.ok("close", registration.close().await);
    scene.shows(&*theirs, &mut watch, &[]).await;
    scene.end().await;
}

/// Two nodes with one id: the second is refused for as long as the first lives, and changes nothing. They are at different
/// addresses: at the same one it might be the first come back, which a backend may let in at once if it cannot see its end.
pub async fn a_second_owner_is_refused_while_the_first_lives(harness: &dyn Harness) {
    let scene = Scene::new(harness, "conflict");
    let (ours, theirs) = (harness.open().await, harness.open().await);
    let mut watch = scene.follow_service(&*ours).await;
    let first = node(&scene, 1);
    let second = Node::builder(scene.service(), "1", "127.0.0.1:4001").build().expect("a node");
    let second = Arc::new(second);
    let lease = scene.register(&*ours, &first).await;
    for _ in 0..3 {
        match theirs.register(&second, &scene.options).await {
            Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict, "conflict: {}", error.chain()),
            Ok(_) => panic!("conflict: a second owner was let in"),
        }
        scene.shows(&*ours, &mut watch, std::slice::from_ref(&first)).await;
    }
    scene.ok("release", lease.release().await);
    scene.register_and_keep(&*theirs, &second).await;
    scene.shows(&*ours, &mut watch, &[second]).await;
    scene.end().await;
}

/// An owner that registers once more (after a call that was cut short, say) takes the place of what it had; the older
/// lease, whatever becomes of it, does the newer one no harm.
pub async fn the_same_owner_may_register_again(harness: &dyn Harness) {
    let scene = Scene::new(harness, "again");
    let (ours, theirs): (Arc<dyn Registry>, _) = (harness.open().await, harness.open().await);
    let mut watch = scene.follow_service(&*theirs).await;
    let old = scene.register(&*ours, &node(&scene, 1)).await;
    let mut new = scene.register(&*ours, &node(&scene, 2)).await;
    scene.shows(&*theirs, &mut watch, &[node(&scene, 2)]).await;
    scene.ok("release the older lease", old.release().await);
    scene.ok("update", new.update(&node(&scene, 3)).await);
    scene.shows(&*theirs, &mut watch, &[node(&scene, 3)]).await;
    let removals = watch.removals(&node(&scene, 3).key());
    assert!(removals.is_empty(), "again: the older lease removed the newer one's entry");
    let dropped = scene.register(&*ours, &node(&scene, 4)).await;
    drop(std::mem::replace(&mut new, dropped));
    scene.ok("update", new.update(&node(&scene, 5)).await);
    scene.shows(&*theirs, &mut watch, &[node(&scene, 5)]).await;
    scene.keep(node(&scene, 5).key(), new);
    scene.end().await;
}
