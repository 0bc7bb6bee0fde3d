//! What cannot be known at once: with real files and kernel events, and a clock of the tests' own.

use std::fs::{self, File, OpenOptions};

use callsign_core::{Node, model::NodeKey};

use super::*;
use crate::local::{events, folder::Draft};

/// A folder, a scan of it that has seen everything, and the time.
struct Scene {
    folder: tempfile::TempDir,
    scan: Scan,
    now: Instant,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (queue, _ready) = events::open().unwrap();
        let now = Instant::now();
        let rescan = Duration::from_secs(3600);
        let path = Arc::new(Folder::new(folder.path().to_owned()));
        let scan = Scan::new(path, Arc::default(), Some(queue), rescan, now);
        let mut scene = Self { folder, scan, now };
        scene.scan.start_reading();
        assert!(scene.look().is_empty());
        scene
    }

    /// What a look brings to light, in few words.
    fn look(&mut self) -> Vec<String> {
        let batch = self.scan.sync(self.now);
        batch
            .events
            .iter()
            .map(|event| match event {
                WatchEvent::Upsert(node, _) => format!("{} came", node.id()),
                WatchEvent::Remove(key, removal, _) => format!("{} {removal:?}", key.id),
                other => format!("{other:?}"),
            })
            .collect()
    }

    /// Waits as long as the scan would by itself, and looks again.
    fn look_when_due(&mut self) -> Vec<String> {
        self.now = self.scan.next_look().max(self.now);
        self.look()
    }

    fn due_in(&self) -> Duration {
        self.scan.next_look().saturating_duration_since(self.now)
    }

    fn path(&self, id: &str) -> std::path::PathBuf {
        self.folder.path().join(name::file_name(&key(id)))
    }

    /// An entry whose owner holds it through a descriptor that the kernel says nothing about when it is closed.
    fn quiet_owner(&mut self, id: &str) -> File {
        fs::write(self.path(id), entry::encode(&node(id), 1)).unwrap();
        let owner = File::open(self.path(id)).unwrap();
        hold(&owner);
        assert_eq!(self.look(), [format!("{id} came")]);
        self.settle();
        owner
    }

    /// Sees to whatever is doubtful.
    fn settle(&mut self) {
        while self.due_in() < Duration::from_secs(60) {
            assert!(self.look_when_due().is_empty());
        }
    }

    /// Has the kernel say that somebody let go of the file.
    fn close(&self, id: &str) {
        drop(OpenOptions::new().write(true).open(self.path(id)).unwrap());
    }

    fn listed(&self) -> usize {
        self.scan.listing(&Domain::default(), None).unwrap().nodes.len()
    }
}

fn hold(file: &File) {
    rustix::fs::flock(file, rustix::fs::FlockOperation::NonBlockingLockExclusive).unwrap();
}

fn node(id: &str) -> Node {
    Node::builder("greeter", id, "127.0.0.1:4000").build().unwrap()
}

fn key(id: &str) -> NodeKey {
    node(id).key()
}

#[tokio::test]
async fn a_file_that_is_closed_before_its_lock_is_free_is_looked_at_again_soon() {
    let mut scene = Scene::new();
    let owner = scene.quiet_owner("n");
    scene.close("n");
    assert!(scene.look().is_empty(), "the lock is held still");
    assert_eq!(scene.due_in(), DOUBT_FIRST);
    drop(owner);
    assert_eq!(scene.look_when_due(), ["n Expired"]);
    assert!(!scene.path("n").exists());
    assert!(scene.due_in() > Duration::from_secs(60), "nothing is doubtful any more");
}

#[tokio::test]
async fn a_file_that_is_closed_but_stays_locked_has_a_living_owner() {
    let mut scene = Scene::new();
    let _owner = scene.quiet_owner("n");
    scene.close("n");
    let start = scene.now;
    let mut looks = 0;
    scene.look();
    while scene.due_in() < Duration::from_secs(60) {
        assert!(scene.look_when_due().is_empty());
        looks += 1;
    }
    assert_eq!(looks, DOUBT_LOOKS_MAX);
    assert!(scene.now - start < GRACE);
    assert_eq!(scene.listed(), 1);
}

#[tokio::test]
async fn a_dead_owner_whose_file_another_reader_removed_has_expired() {
    let mut scene = Scene::new();
    let owner = scene.quiet_owner("n");
    scene.close("n");
    drop(owner);
    fs::remove_file(scene.path("n")).unwrap();
    assert_eq!(scene.look(), ["n Expired"], "closed, then unlinked");

    let owner = scene.quiet_owner("m");
    scene.close("m");
    assert!(scene.look().is_empty());
    drop(owner);
    fs::remove_file(scene.path("m")).unwrap();
    assert_eq!(scene.look(), ["m Expired"], "closed at one look, unlinked at the next");
}

#[tokio::test]
async fn a_reader_beside_us_does_not_make_a_dead_owner_look_alive() {
    let mut scene = Scene::new();
    let owner = scene.quiet_owner("n");
    let reader = File::open(scene.path("n")).unwrap();
    drop(owner);
    rustix::fs::flock(&reader, rustix::fs::FlockOperation::NonBlockingLockShared).unwrap();
    scene.close("n");
    assert_eq!(scene.look(), ["n Expired"]);
    assert!(scene.path("n").exists(), "whoever looks last clears it away");
    drop(reader);
    scene.now += Duration::from_secs(3600);
    assert!(scene.look().is_empty());
    assert!(!scene.path("n").exists());
}

#[tokio::test]
async fn an_entry_that_a_stranger_unlinked_is_believed_until_the_grace_is_over() {
    let mut scene = Scene::new();
    let _owner = scene.quiet_owner("n");
    let since = scene.now;
    fs::remove_file(scene.path("n")).unwrap();
    assert!(scene.look().is_empty());
    let mut last = Vec::new();
    while last.is_empty() {
        assert_eq!(scene.listed(), 1);
        assert!(scene.due_in() > Duration::ZERO, "a wait between two looks");
        last = scene.look_when_due();
    }
    assert_eq!(last, ["n Unknown"]);
    assert_eq!(scene.now - since, GRACE);
}

#[tokio::test]
async fn an_entry_put_back_in_time_was_never_away() {
    let mut scene = Scene::new();
    let owner = scene.quiet_owner("n");
    let away = scene.folder.path().join(".away");
    fs::copy(scene.path("n"), &away).unwrap();
    fs::remove_file(scene.path("n")).unwrap();
    assert!(scene.look().is_empty());
    scene.now += GRACE / 2;
    drop(owner);
    let owner = File::open(&away).unwrap();
    hold(&owner);
    fs::rename(&away, scene.path("n")).unwrap();
    assert!(scene.look().is_empty());
    scene.now += GRACE;
    assert!(scene.look().is_empty());
    assert_eq!(scene.listed(), 1);
}

#[tokio::test]
async fn what_came_and_went_between_two_looks_is_told_by_its_end() {
    let mut scene = Scene::new();
    let folder = Folder::new(scene.folder.path().to_owned());
    let dir = folder.enter(OP).unwrap();
    let place = |id: &str| {
        let draft = Draft::write(OP, &dir, &entry::encode(&node(id), 1)).unwrap();
        match draft.place(OP, &dir, &name::file_name(&key(id))).unwrap() {
            crate::local::folder::Placing::Placed(placed) => placed,
            other => panic!("{other:?}"),
        }
    };
    let withdraw = |id: &str| dir.withdraw(OP, &name::file_name(&key(id))).unwrap();
    // Never seen: nothing to tell.
    drop((place("n"), withdraw("n")));
    assert!(scene.look().is_empty());
    // Gone and back with the same words: nothing to tell.
    let first = place("n");
    assert_eq!(scene.look(), ["n came"]);
    withdraw("n");
    let _again = place("n");
    drop(first);
    assert!(scene.look().is_empty());
    withdraw("n");
    assert_eq!(scene.look(), ["n Deregistered"]);
}

#[tokio::test]
async fn when_the_kernel_lost_count_everything_is_looked_at() {
    let mut scene = Scene::new();
    let most: usize =
        fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap().trim().parse().unwrap();
    // An event each, under two names in turn: the kernel counts equal ones in a row as one.
    for n in 0..=most {
        fs::write(scene.folder.path().join(format!("x{}", n % 2)), "").unwrap();
    }
    let owner = {
        fs::write(scene.path("n"), entry::encode(&node("n"), 1)).unwrap();
        let owner = File::open(scene.path("n")).unwrap();
        hold(&owner);
        owner
    };
    assert_eq!(scene.look(), ["n came"]);
    drop(owner);
}

#[tokio::test]
async fn until_somebody_asks_nothing_is_read() {
    let mut scene = Scene::new();
    scene.scan.reading = false;
    fs::write(scene.path("n"), "garbage").unwrap();
    assert!(scene.look().is_empty());
    let poisoned = |scene: &Scene| scene.scan.listing(&Domain::default(), None).unwrap().poisoned;
    assert_eq!(poisoned(&scene), 0);
    scene.scan.start_reading();
    scene.look();
    assert_eq!(poisoned(&scene), 1);
}
