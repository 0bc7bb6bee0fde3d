//! A registry that is away, or has lost its memory, is lived through.

use std::{sync::Arc, time::Duration};

use super::{Harness, Replica, scene::Scene};
use crate::{
    error::{ErrorKind, Result},
    model::Node,
    registration::{Registrar, Registration},
};

/// The longest that a call may take to find out that nobody answers.
const CALL_MAX: Duration = Duration::from_secs(15);

/// How soon after a registry accepts writes again a [`Registrar`] has its node back.
const BACK_MAX: Duration = Duration::from_secs(2);

/// While the registry is away every call fails, soon and by the right name; a watch says so, takes nothing away, and goes on
/// by itself when the registry is back.
pub async fn an_absence_is_said_and_costs_nothing(harness: &dyn Harness) {
    let scene = Scene::brief(harness, "absence");
    let registry = harness.open().await;
    let mut watch = scene.follow_service(&*registry).await;
    let registration = registered(&scene, "1").await;
    let node = registration.node();
    scene.shows(&*registry, &mut watch, std::slice::from_ref(&node)).await;
    if !harness.set_away(true).await {
        return scene.end().await;
    }

    let options = &scene.options;
    let other = Arc::new(scene.node("2").build().expect("a node"));
    fails(&scene, "register", registry.register(&other, options)).await;
    fails(&scene, "deregister", registry.deregister(&node.key())).await;
    fails(&scene, "get", registry.get(&scene.service(), &Default::default())).await;
    fails(&scene, "list", registry.list(&Default::default())).await;
    says_so(&scene, &mut watch).await;
    assert_eq!(watch.nodes().len(), 1, "absence: the watch took away what it could not see");

    harness.set_away(false).await;
    let second = registered(&scene, "2").await;
    let nodes = [node, second.node()];
    watch
        .until_within(BACK_MAX, "both nodes are there again", |seen| {
            seen.len() == 2 && nodes.iter().all(|node| seen.get(&node.key()) == Some(node))
        })
        .await;
    scene.ok("close", registration.close().await);
    watch.until("the first node is gone", |seen| seen.len() == 1).await;
    scene.ok("close", second.close().await);
    scene.end().await;
}

/// Watching a registry that is away is no error: the watch says so first, and begins when the registry is back.
pub async fn a_watch_may_begin_while_the_registry_is_away(harness: &dyn Harness) {
    let scene = Scene::brief(harness, "away-first");
    let registry = harness.open().await;
    if !harness.set_away(true).await {
        return scene.end().await;
    }
    let mut watch = scene.follow_service(&*registry).await;
    says_so(&scene, &mut watch).await;
    assert!(!watch.is_synced(), "away-first: a snapshot of what cannot be seen");
    harness.set_away(false).await;
    let registration = registered(&scene, "1").await;
    scene.shows(&*registry, &mut watch, &[registration.node()]).await;
    scene.ok("close", registration.close().await);
    scene.end().await;
}

/// A registry that has lost every entry has them back from those who are still there, within 2 s of noticing, each time.
pub async fn what_was_registered_comes_back_to_an_empty_registry(harness: &dyn Harness) {
    let scene = Scene::brief(harness, "wiped");
    let registry = harness.open().await;
    let mut watch = scene.follow_service(&*registry).await;
    let registration = registered(&scene, "1").await;
    for _ in 0..3 {
        scene.shows(&*registry, &mut watch, &[registration.node()]).await;
        let mut states = registration.watch();
        states.mark_unchanged();
        if !harness.wipe().await {
            break;
        }
        // A state that came and went between two looks is a change all the same.
        scene.soon("noticing the loss", states.changed()).await.expect("a registrar that is open");
        let back = tokio::time::timeout(BACK_MAX, registration.registered()).await;
        back.expect("wiped: not back within 2 s").expect("a registrar that is open");
    }
    scene.ok("close", registration.close().await);
    scene.shows(&*registry, &mut watch, &[]).await;
    scene.end().await;
}

/// A node of the case's service, kept by a registrar with a handle of its own.
async fn registered(scene: &Scene<'_>, id: &str) -> Registration {
    let registrar = Registrar::with_rng(scene.harness.open().await, fastrand::Rng::with_seed(1));
    let node: Node = scene.node(id).build().expect("a node");
    let registration = registrar.register(node, scene.options.clone());
    scene.soon("registering", registration.registered()).await.expect("a registrar that is open");
    registration
}

async fn fails<T>(scene: &Scene<'_>, what: &str, call: impl Future<Output = Result<T>>) {
    let case = scene.case;
    match tokio::time::timeout(CALL_MAX, call).await {
        Ok(Err(error)) => {
            let kind = error.kind();
            assert!(
                matches!(kind, ErrorKind::Unavailable | ErrorKind::DeadlineExceeded),
                "{case}: {what} failed as {kind:?}: {}",
                error.chain()
            );
        }
        Ok(Ok(_)) => panic!("{case}: {what} worked with a registry that is away"),
        Err(_) => panic!("{case}: {what} waited for more than {CALL_MAX:?}"),
    }
}

async fn says_so(scene: &Scene<'_>, watch: &mut Replica) {
    let told = async {
        while watch.errors() == 0 {
            watch.step().await;
        }
    };
    if tokio::time::timeout(CALL_MAX, told).await.is_err() {
        panic!("{}: the watch did not say that the registry is away", scene.case);
    }
}
