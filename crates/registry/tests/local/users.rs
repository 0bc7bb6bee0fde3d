//! Other users. Needs to be root to become one; otherwise these tests say that they were skipped.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt, chown},
};

use callsign_core::{ErrorKind, Registry, registry::RegisterOptions};
use callsign_registry::local::{LocalConfig, LocalRegistry};

use super::{
    ids, node, open,
    process::{Process, as_nobody, command},
};

const NOBODY: u32 = 65534;

fn root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("skipped: only root can act for another user");
    }
    root
}

#[test]
fn each_user_has_a_folder_of_its_own() {
    let temp = std::path::Path::new("/tmp");
    assert_ne!(LocalConfig::default_dir(None, temp, 1000), LocalConfig::default_dir(None, temp, 1001));
}

#[test]
fn a_folder_of_another_user_is_refused() {
    if !root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    chown(folder.path(), Some(NOBODY), None).unwrap();
    let error = LocalRegistry::open(LocalConfig::new(folder.path())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(error.to_string().contains("belongs to the user 65534"), "{error}");
}

#[tokio::test]
async fn another_user_neither_sees_nor_disturbs_our_entries() {
    if !root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o700)).unwrap();
    let registry = open(folder.path());
    let _lease = registry.register(&node("ours"), &RegisterOptions::default()).await.unwrap();
    let mut stranger = Process::run(as_nobody(command("node", folder.path())));
    let refusal = stranger.heard().await.unwrap();
    assert!(refusal.starts_with("PermissionDenied; cannot open local registry"), "{refusal}");
    assert_eq!(ids(&registry).await, ["ours"]);
}

#[tokio::test]
async fn an_entry_of_another_user_in_our_folder_is_not_believed() {
    if !root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let registry = open(folder.path());
    let _lease = registry.register(&node("ours"), &RegisterOptions::default()).await.unwrap();
    let theirs = folder.path().join("micro+greeter+theirs.json");
    fs::copy(folder.path().join("micro+greeter+ours.json"), &theirs).unwrap();
    chown(&theirs, Some(NOBODY), None).unwrap();
    let listing = open(folder.path()).list(&Default::default()).await.unwrap();
    assert_eq!((listing.nodes.len(), listing.poisoned), (1, 1));
}
