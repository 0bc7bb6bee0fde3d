//! A future may be dropped at any await, and nothing is left that the next call does not put right.

use std::{collections::BTreeMap, future::Future, pin::pin, sync::Arc, task::Poll};

use super::{Harness, scene::Scene};
use crate::{model::Node, registry::Registry};

/// Calls that are still not done after so many polls are not cut at every one of them.
const POLLS_MAX: usize = 32;

fn node(scene: &Scene<'_>, weight: u16) -> Arc<Node> {
    Arc::new(scene.node("1").weight(weight).build().expect("a node"))
}

/// `register`, `get`, `list`, `watch` and `deregister`, each dropped after one poll, two polls, and so on until it ends by
/// itself: the same call made again does its work.
pub async fn a_cancelled_call_leaves_nothing_that_the_next_does_not_put_right(harness: &dyn Harness) {
    let scene = Scene::new(harness, "cancelled");
    let (ours, theirs) = (harness.open().await, harness.open().await);
    let mut watch = scene.follow_service(&*theirs).await;
    let (service, mut weight) = (scene.service(), 0);
    for polls in 1..=POLLS_MAX {
        let mut whole = true;
        weight += 1;
        whole &= cut(polls, ours.register(&node(&scene, weight), &scene.options)).await.is_some();
        weight += 1;
        let wanted = node(&scene, weight);
        let lease = scene.register(&*ours, &wanted).await;
        scene.shows(&*theirs, &mut watch, std::slice::from_ref(&wanted)).await;

        whole &= cut(polls, theirs.get(&service, &Default::default())).await.is_some();
        whole &= cut(polls, theirs.list(&Default::default())).await.is_some();
        whole &= cut(polls, theirs.watch(&Default::default())).await.is_some();
        scene.shows(&*theirs, &mut watch, std::slice::from_ref(&wanted)).await;

        whole &= cut(polls, theirs.deregister(&wanted.key())).await.is_some();
        scene.ok("deregister", theirs.deregister(&wanted.key()).await);
        scene.shows(&*theirs, &mut watch, &[]).await;
        drop(lease);
        if whole {
            break;
        }
    }
    scene.end().await;
}

/// `hold` and `update` may be dropped and called again; `release` dropped is the lease dropped, and its entry goes.
pub async fn a_cancelled_lease_call_leaves_the_lease_usable(harness: &dyn Harness) {
    let scene = Scene::new(harness, "lease-cancelled");
    let (ours, theirs) = (harness.open().await, harness.open().await);
    let mut watch = scene.follow_service(&*theirs).await;
    let mut weight = 0;
    for polls in 1..=POLLS_MAX {
        let mut lease = scene.register(&*ours, &node(&scene, weight)).await;
        let mut whole = true;
        for _ in 0..3 {
            let lost = cut(1, lease.hold()).await;
            assert!(lost.is_none(), "lease-cancelled: lost with {lost:?}");
            weight += 1;
            whole &= cut(polls, lease.update(&node(&scene, weight))).await.is_some();
        }
        weight += 1;
        scene.ok("update", lease.update(&node(&scene, weight)).await);
        scene.shows(&*theirs, &mut watch, &[node(&scene, weight)]).await;

        whole &= cut(polls, lease.release()).await.is_some();
        watch.until_within(scene.lifetime(), "the entry is gone", BTreeMap::is_empty).await;
        if whole {
            break;
        }
    }
    scene.end().await;
}

/// A wait for the next event that is given up each time it has to wait, and begun anew, sees the same as one that is not.
pub async fn a_cancelled_wait_loses_no_event(harness: &dyn Harness) {
    let scene = Scene::new(harness, "wait-cancelled");
    let (ours, theirs): (Arc<dyn Registry>, _) = (harness.open().await, harness.open().await);
    let mut watch = scene.follow_service(&*theirs).await;
    for round in 0..50 {
        let lease = scene.register(&*ours, &node(&scene, round)).await;
        while cut(1, watch.step()).await.is_some() {}
        watch.until("the node is there", |nodes| nodes.len() == 1).await;
        scene.ok("release", lease.release().await);
        while cut(1, watch.step()).await.is_some() {}
        watch.until("the node is gone", BTreeMap::is_empty).await;
    }
    assert_eq!(watch.removals(&node(&scene, 0).key()).len(), 50, "wait-cancelled: removals");
    scene.end().await;
}

/// Polls `work` so often at most, and drops it where it then stands.
async fn cut<W: Future>(polls: usize, work: W) -> Option<W::Output> {
    let (mut work, mut left) = (pin!(work), polls);
    std::future::poll_fn(move |cx| {
        left -= 1;
        match work.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}
