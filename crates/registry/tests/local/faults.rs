//! Things in the folder that nobody of ours put there, and a file system that refuses.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    process::Command,
};

use callsign_core::{
    ErrorKind, Registry,
    registry::{GetOptions, ListOptions, RegisterOptions},
};

use super::{
    ids, node, open,
    process::{Process, as_nobody, command, command_after},
};

/// How many entries of the default domain, and of the greeter in it, cannot be understood.
async fn poisoned(registry: &dyn Registry) -> (usize, usize) {
    let all = registry.list(&ListOptions::default()).await.unwrap();
    let greeter = registry.get(node("x").service(), &GetOptions::default()).await.unwrap();
    assert_eq!(all.nodes.len(), 1);
    assert_eq!(greeter.nodes.len(), 1);
    (all.poisoned, greeter.poisoned)
}

#[tokio::test]
async fn what_is_no_entry_is_skipped_counted_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let registry = open(folder.path());
    let _lease = registry.register(&node("good"), &RegisterOptions::default()).await.unwrap();
    let good = fs::read(at("micro+greeter+good.json")).unwrap();
    assert_eq!(poisoned(&registry).await, (0, 0));

    // Not called like an entry: none of our business.
    fs::write(at("README"), "hello").unwrap();
    fs::write(at("note.json"), "{}").unwrap();
    fs::write(at(".hidden"), "").unwrap();
    fs::create_dir(at("folder")).unwrap();
    assert_eq!(poisoned(&registry).await, (0, 0));

    fs::write(at("micro+greeter+empty.json"), "").unwrap();
    fs::write(at("micro+greeter+garbage.json"), [0xff, 0x00, 0x7b]).unwrap();
    fs::write(at("micro+greeter+half.json"), &good[..good.len() / 2]).unwrap();
    fs::write(at("micro+greeter+borrowed.json"), &good).unwrap();
    symlink(at("micro+greeter+good.json"), at("micro+greeter+link.json")).unwrap();
    symlink("/dev/zero", at("micro+greeter+device.json")).unwrap();
    fs::create_dir(at("micro+greeter+directory.json")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, at("micro+greeter+pipe.json"), rustix::fs::Mode::RUSR).unwrap();
    fs::File::create(at("micro+greeter+huge.json")).unwrap().set_len(1 << 40).unwrap();
    fs::write(at("micro+greeter+shared.json"), &good).unwrap();
    fs::set_permissions(at("micro+greeter+shared.json"), Permissions::from_mode(0o666)).unwrap();
    fs::write(at("micro+shop+other.json"), "x").unwrap();
    assert_eq!(poisoned(&registry).await, (11, 10));
    assert_eq!(poisoned(&open(folder.path())).await, (11, 10));
    assert_eq!(ids(&registry).await, ["good"]);
    assert!(at("micro+greeter+garbage.json").exists() && at("README").exists());
}

#[tokio::test]
async fn what_is_in_the_way_of_an_entry_is_named_or_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let at = |id: &str| folder.path().join(format!("micro+greeter+{id}.json"));
    let registry = open(folder.path());
    let options = RegisterOptions::default();
    // A file that nobody holds makes room.
    fs::write(at("half"), "half an ent").unwrap();
    let _lease = registry.register(&node("half"), &options).await.unwrap();
    // What only a person can have made does not.
    let precious = folder.path().join("precious");
    fs::write(&precious, "data").unwrap();
    symlink(&precious, at("link")).unwrap();
    fs::create_dir(at("directory")).unwrap();
    for id in ["link", "directory"] {
        let error = registry.register(&node(id), &options).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{}", error.chain());
        assert!(error.to_string().contains(&at(id).display().to_string()), "{error}");
    }
    assert_eq!(fs::read_to_string(&precious).unwrap(), "data");
    assert_eq!(ids(&registry).await, ["half"]);
}

#[tokio::test]
async fn what_crashed_processes_left_unfinished_is_cleared_away() {
    let folder = tempfile::tempdir().unwrap();
    let registry = open(folder.path());
    let _lease = registry.register(&node("n"), &RegisterOptions::default()).await.unwrap();
    let left = folder.path().join(".tmp/1-0123456789abcdef");
    fs::write(&left, "half").unwrap();
    let held = fs::File::create(folder.path().join(".tmp/2-0123456789abcdef")).unwrap();
    rustix::fs::flock(&held, rustix::fs::FlockOperation::LockExclusive).unwrap();
    assert_eq!(ids(&open(folder.path())).await, ["n"]);
    assert!(!left.exists());
    assert!(folder.path().join(".tmp/2-0123456789abcdef").exists(), "somebody is still writing this one");
}

/// The error that a process gets which tries to register, until one fails.
async fn first_error(process: &mut Process) -> String {
    for n in 0..10_000 {
        process.tell(&format!("register n{n}")).await;
        let said = process.heard().await.expect("a child that lives on");
        if !said.starts_with("registered") {
            return said;
        }
    }
    panic!("10,000 nodes and no error")
}

#[tokio::test]
async fn a_full_disk_is_said_and_harms_nobody_who_is_registered() {
    let folder = tempfile::tempdir().unwrap();
    let mount = format!("mount -t tmpfs -o size=64k,mode=700 tmpfs {}", folder.path().display());
    // In a mount namespace of its own; as a mere user in a user namespace too.
    let flags = if rustix::process::geteuid().is_root() { "-m" } else { "-rm" };
    if !Command::new("unshare")
        .args([flags, "sh", "-c", &mount])
        .status()
        .is_ok_and(|status| status.success())
    {
        eprintln!("skipped: a small file system cannot be mounted here");
        return;
    }
    let inner = command_after(&mount, "node", folder.path());
    let mut outer = Command::new("unshare");
    outer.arg(flags).arg(inner.get_program()).args(inner.get_args());
    outer.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut process = Process::run(outer);
    let error = first_error(&mut process).await;
    assert!(error.starts_with("ResourceExhausted; cannot register node: there is no room left"), "{error}");
    assert!(error.contains("free some space"), "{error}");
    process.tell("list").await;
    let listed = process.heard().await.unwrap();
    assert!(listed.contains("n0"), "{listed}");
    // Room for one more as soon as one leaves.
    process.ask("release n0", "released n0").await;
    process.ask("register again", "registered again").await;
}

#[tokio::test]
async fn a_process_out_of_file_descriptors_is_told_so_and_keeps_what_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = Process::run(command_after("ulimit -n 40", "node", folder.path()));
    let error = first_error(&mut process).await;
    assert!(error.starts_with("ResourceExhausted; "), "{error}");
    assert!(error.contains("ulimit -n"), "{error}");
    let here = ids(&open(folder.path())).await;
    assert!(here.len() > 5 && here.len() < 40, "{here:?}");
    process.ask("release n0", "released n0").await;
    process.ask("release n1", "released n1").await;
    process.ask("register again", "registered again").await;
}

/// A folder of the user that [`as_nobody`] runs as.
fn give_to_nobody(folder: &Path) {
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(folder, Some(65534), Some(65534)).unwrap();
    }
}

#[tokio::test]
async fn a_read_only_folder_can_be_read_and_says_why_it_cannot_be_written() {
    let folder = tempfile::tempdir().unwrap();
    give_to_nobody(folder.path());
    let mut writer = Process::run(as_nobody(command("node", folder.path())));
    writer.ask("register before", "registered before").await;
    fs::set_permissions(folder.path().join(".tmp"), Permissions::from_mode(0o500)).unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o500)).unwrap();

    let mut reader = Process::run(as_nobody(command("node", folder.path())));
    reader.ask("list", "before").await;
    reader.tell("register after").await;
    let error = reader.heard().await.unwrap();
    assert!(error.starts_with("PermissionDenied; cannot register node"), "{error}");
    assert!(error.contains("CALLSIGN_LOCAL_DIR"), "{error}");
    // The dead are seen although they cannot be cleared away.
    writer.kill().await;
    reader.ask("list", "").await;
    fs::set_permissions(folder.path(), Permissions::from_mode(0o700)).unwrap();
}
