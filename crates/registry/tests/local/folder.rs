//! The folder itself: whose it is, and what happens when it goes away.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt, symlink},
    sync::Arc,
};

use callsign_core::{
    ErrorKind, Registry, WatchEvent,
    registration::Registrar,
    registry::{RegisterOptions, Removal},
};
use callsign_registry::local::{LocalConfig, LocalRegistry};

use super::{files, ids, next, next_removal, next_upsert, node, open, process::Process, watch};

fn refused(config: LocalConfig) -> callsign_core::Error {
    let error = LocalRegistry::open(config).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{}", error.chain());
    assert!(error.hint().is_some());
    error
}

#[test]
fn the_folder_is_made_for_its_user_alone() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("deep/callsign");
    LocalRegistry::open(LocalConfig::new(&folder)).unwrap();
    assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn a_folder_in_which_others_can_write_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for mode in [0o777, 0o770, 0o702] {
        fs::set_permissions(folder.path(), Permissions::from_mode(mode)).unwrap();
        let error = refused(LocalConfig::new(folder.path()));
        assert!(error.to_string().contains(&format!("{mode:03o}")), "{error}");
        assert!(error.hint().unwrap().contains("chmod 700"));
    }
}

#[test]
fn a_symbolic_link_or_a_file_in_its_place_is_refused() {
    let parent = tempfile::tempdir().unwrap();
    let (real, link, file) =
        (parent.path().join("real"), parent.path().join("link"), parent.path().join("file"));
    fs::create_dir(&real).unwrap();
    symlink(&real, &link).unwrap();
    fs::write(&file, "").unwrap();
    refused(LocalConfig::new(link));
    refused(LocalConfig::new(file));
}

#[tokio::test]
async fn a_folder_that_becomes_writable_for_others_is_no_longer_believed() {
    let folder = tempfile::tempdir().unwrap();
    let registry = open(folder.path());
    let mut watch = watch(&registry).await;
    fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).unwrap();
    let error = registry.list(&Default::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(matches!(next(&mut watch).await, WatchEvent::Error(_)));
    let error = registry.register(&node("n"), &RegisterOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    fs::set_permissions(folder.path(), Permissions::from_mode(0o700)).unwrap();
    assert!(ids(&registry).await.is_empty());
    let _lease = registry.register(&node("n"), &RegisterOptions::default()).await.unwrap();
    assert_eq!(next_upsert(&mut watch).await.id(), "n");
}

#[tokio::test]
async fn a_watch_that_starts_while_the_folder_is_away_says_so_and_then_goes_on() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("callsign");
    let registry = open(&folder);
    fs::remove_dir(&folder).unwrap();
    fs::write(&folder, "in the way").unwrap();
    let mut watch = registry.watch(&Default::default()).await.unwrap();
    assert!(matches!(next(&mut watch).await, WatchEvent::Error(_)));
    fs::remove_file(&folder).unwrap();
    let other = open(&folder);
    let _lease = other.register(&node("n"), &RegisterOptions::default()).await.unwrap();
    // It is tried again every second; the snapshot is the next that is heard.
    assert!(matches!(next(&mut watch).await, WatchEvent::SnapshotStart));
    assert!(matches!(next(&mut watch).await, WatchEvent::Node(_)));
    assert!(matches!(next(&mut watch).await, WatchEvent::SnapshotDone(_)));
}

#[tokio::test]
async fn when_the_folder_is_deleted_its_owners_put_their_entries_back_and_no_watch_sees_one_missing() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("callsign");
    let registrar = Registrar::new(Arc::new(open(&folder)));
    let registrations: Vec<_> = (0..10)
        .map(|n| registrar.register(Arc::unwrap_or_clone(node(&format!("n{n}"))), RegisterOptions::default()))
        .collect();
    for registration in &registrations {
        registration.registered().await.unwrap();
    }
    let reader = open(&folder);
    let mut watch = watch(&reader).await;
    for round in 0..3 {
        // The owners cannot put anything back before it is gone: they share this thread.
        fs::remove_dir_all(&folder).unwrap();
        let (stranger, mut back) = (open(&folder), std::collections::BTreeSet::new());
        let mut putting_back = stranger.watch(&Default::default()).await.unwrap();
        while back.len() < registrations.len() {
            if let WatchEvent::Node(node) | WatchEvent::Upsert(node, _) = next(&mut putting_back).await {
                back.insert(node.id().clone());
            }
        }
        let id = format!("marker{round}");
        let marker = stranger.register(&node(&id), &RegisterOptions::default()).await.unwrap();
        assert_eq!(next_upsert(&mut watch).await.id().as_str(), id);
        marker.release().await.unwrap();
        assert_eq!(next_removal(&mut watch).await, (id, Removal::Deregistered));
        assert_eq!(ids(&reader).await.len(), registrations.len());
    }
}

#[tokio::test]
async fn an_entry_deleted_by_hand_is_put_back_before_anybody_misses_it() {
    let folder = tempfile::tempdir().unwrap();
    let registrar = Registrar::new(Arc::new(open(folder.path())));
    let registration = registrar.register(Arc::unwrap_or_clone(node("n")), RegisterOptions::default());
    registration.registered().await.unwrap();
    let reader = open(folder.path());
    let mut watch = watch(&reader).await;
    let mut states = registration.watch();
    states.mark_unchanged();
    fs::remove_file(folder.path().join("micro+greeter+n.json")).unwrap();
    states.changed().await.unwrap();
    registration.registered().await.unwrap();
    assert_eq!(ids(&reader).await, ["n"]);
    let _marker = open(folder.path()).register(&node("marker"), &RegisterOptions::default()).await.unwrap();
    assert_eq!(next_upsert(&mut watch).await.id(), "marker");
}

#[tokio::test]
async fn entries_that_nobody_puts_back_are_given_up_after_a_while() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("callsign");
    let sleeper = Process::node(&folder, "sleeper").await;
    let reader = open(&folder);
    let mut watch = watch(&reader).await;
    sleeper.signal(rustix::process::Signal::STOP);
    fs::remove_dir_all(&folder).unwrap();
    // Nobody knows at first: what was there is still believed.
    assert_eq!(ids(&reader).await, ["sleeper"]);
    assert_eq!(next_removal(&mut watch).await, ("sleeper".into(), Removal::Unknown));
    assert!(ids(&reader).await.is_empty());
}

#[tokio::test]
async fn a_folder_moved_away_is_made_anew_and_followed() {
    let parent = tempfile::tempdir().unwrap();
    let (folder, away) = (parent.path().join("callsign"), parent.path().join("away"));
    let registry = open(&folder);
    let mut watch = watch(&registry).await;
    fs::rename(&folder, &away).unwrap();
    let other = open(&folder);
    let _lease = other.register(&node("n"), &RegisterOptions::default()).await.unwrap();
    assert_eq!(next_upsert(&mut watch).await.id(), "n");
    assert_eq!(ids(&registry).await, ["n"]);
}

#[tokio::test]
async fn closing_the_handle_ends_its_watches_and_refuses_what_comes_after() {
    let folder = tempfile::tempdir().unwrap();
    let registry = open(folder.path());
    let mut watch = watch(&registry).await;
    let mut lease = registry.register(&node("n"), &RegisterOptions::default()).await.unwrap();
    next_upsert(&mut watch).await;
    registry.close().await;
    assert!(watch.next().await.is_none());
    assert_eq!(lease.hold().await.kind(), ErrorKind::Closed);
    assert_eq!(registry.list(&Default::default()).await.unwrap_err().kind(), ErrorKind::Closed);
    let error = registry.register(&node("m"), &RegisterOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    // The lease still removes its entry.
    lease.release().await.unwrap();
    assert!(files(folder.path()).is_empty());
}
