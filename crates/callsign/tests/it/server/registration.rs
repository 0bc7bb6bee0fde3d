//! When a server is registered, and what it does when it cannot be.

use std::{sync::Arc, time::Duration};

use callsign::{
    ErrorKind,
    core::{Registry as _, memory::MemoryRegistry, registry::ListOptions},
    server::{OnRegisterFailure, Phase},
};
use tokio::sync::oneshot;

use crate::support::{hello, run, soon};

async fn registered(registry: &MemoryRegistry) -> usize {
    registry.list(&ListOptions::default()).await.unwrap().nodes.len()
}

#[tokio::test]
async fn a_registry_that_is_away_at_the_start_does_not_keep_it_from_serving() {
    let registry = MemoryRegistry::new();
    registry.set_away(true);
    let running = run(&registry, |builder| builder.register_timeout(Duration::from_millis(100))).await;
    assert!(running.client().await.hello(hello("World")).await.is_ok());
    let state = soon("an error is shown", async {
        loop {
            if let Some(state) = running.handle.registration()
                && state.error().is_some()
            {
                return state;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(state.error().unwrap().kind(), ErrorKind::Unavailable);

    registry.set_away(false);
    let back = tokio::time::timeout(Duration::from_secs(2), running.handle.registered()).await;
    back.expect("registered within 2 s of the registry's return").unwrap();
    assert_eq!(registered(&registry).await, 1);
}

#[tokio::test]
async fn a_registry_that_was_emptied_has_it_back_within_two_seconds() {
    let registry = MemoryRegistry::new();
    let running = run(&registry, |builder| builder).await;
    soon("the registration", running.handle.registered()).await.unwrap();
    registry.wipe();
    let back = async {
        while registered(&registry).await == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(2), back).await.expect("registered again within 2 s");
}

#[tokio::test]
async fn where_registering_must_succeed_it_ends_with_the_reason() {
    let registry = MemoryRegistry::new();
    registry.set_away(true);
    let running = run(&registry, |builder| {
        builder.register_timeout(Duration::from_millis(200)).on_register_failure(OnRegisterFailure::Fail)
    })
    .await;
    let error = running.end().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("is not registered after 200ms"), "{error}");
    assert!(std::error::Error::source(&error).is_some(), "the registry's own word is the cause: {error:?}");
}

#[tokio::test]
async fn an_id_that_a_live_node_holds_is_named_as_the_cause() {
    let registry = MemoryRegistry::new();
    let first = run(&registry, |builder| builder.id("greeter-1")).await;
    soon("the registration", first.handle.registered()).await.unwrap();
    let second = run(&registry, |builder| {
        builder
            .registry(Arc::new(registry.peer()))
            .id("greeter-1")
            .register_timeout(Duration::from_millis(200))
            .on_register_failure(OnRegisterFailure::Fail)
    })
    .await;
    let error = second.end().await.unwrap_err();
    assert!(error.chain().contains("greeter-1"), "{}", error.chain());
    assert_eq!(registered(&registry).await, 1);
}

#[tokio::test]
async fn it_is_registered_only_once_it_is_ready() {
    let registry = MemoryRegistry::new();
    let (ready, is_ready) = oneshot::channel::<()>();
    let running = run(&registry, |builder| builder.ready(is_ready)).await;
    soon("it answers", async {
        let mut phases = running.handle.phases();
        phases.wait_for(|phase| *phase == Phase::NotReady).await.unwrap();
    })
    .await;
    assert!(running.client().await.hello(hello("World")).await.is_ok());
    assert!(running.handle.registration().is_none());
    assert_eq!(registered(&registry).await, 0);
    ready.send(()).unwrap();
    soon("the registration", running.handle.registered()).await.unwrap();
    assert_eq!(running.handle.phase(), Phase::Serving);
}

#[tokio::test]
async fn a_readiness_hook_that_fails_ends_it() {
    let registry = MemoryRegistry::new();
    let running = run(&registry, |builder| builder.ready(async { Err::<(), _>("no database") })).await;
    let error = running.end().await.unwrap_err();
    assert!(error.chain().ends_with("its readiness hook failed: no database"), "{}", error.chain());
}

#[tokio::test]
async fn unhealthy_at_the_start_it_waits_for_the_applications_word() {
    let registry = MemoryRegistry::new();
    let running = run(&registry, callsign::server::Builder::unhealthy_at_start).await;
    assert!(running.client().await.hello(hello("World")).await.is_ok());
    assert_eq!(registered(&registry).await, 0);
    running.handle.health().set_healthy(true);
    soon("the registration", running.handle.registered()).await.unwrap();
}

#[tokio::test]
async fn unregistered_it_serves_and_is_in_no_registry() {
    let registry = MemoryRegistry::new();
    let running = run(&registry, callsign::server::Builder::unregistered).await;
    assert!(running.client().await.hello(hello("World")).await.is_ok());
    assert_eq!(registered(&registry).await, 0);
    assert_eq!(running.handle.registered().await.unwrap_err().kind(), ErrorKind::Unsupported);
    running.handle.shutdown();
    running.end().await.unwrap();
}
