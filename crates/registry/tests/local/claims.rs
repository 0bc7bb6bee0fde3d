//! Who owns a name, and what others see of it meanwhile.

use std::sync::Arc;

use callsign_core::{
    ErrorKind, Node, Registry, WatchEvent,
    registry::{GetOptions, RegisterOptions},
};

use super::{files, ids, next, next_upsert, node, open, process::Process, watch};

fn numbered(number: u64) -> Arc<Node> {
    let node = Node::builder("greeter", "changing", "127.0.0.1:4000").metadata("number", number.to_string());
    Arc::new(node.build().unwrap())
}

fn number(node: &Node) -> u64 {
    node.metadata().get("number").unwrap().parse().unwrap()
}

#[tokio::test]
async fn two_nodes_with_one_id_are_a_conflict_that_names_the_other_process() {
    let folder = tempfile::tempdir().unwrap();
    let other = Process::node(folder.path(), "twin").await;
    let registry = open(folder.path());
    let error = registry.register(&node("twin"), &RegisterOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains(&format!("process {}", other.pid())), "{error}");
    assert!(error.hint().unwrap().contains(&format!("kill {}", other.pid())));
    // The refusal leaves nothing behind, and the other where it was.
    assert_eq!(files(folder.path()), ["micro+greeter+twin.json"]);
    assert_eq!(std::fs::read_dir(folder.path().join(".tmp")).unwrap().count(), 0);
    other.kill().await;
    registry.register(&node("twin"), &RegisterOptions::default()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_who_want_one_name_exactly_one_gets_it() {
    let folder = tempfile::tempdir().unwrap();
    let handles: Vec<_> = (0..8).map(|_| open(folder.path())).collect();
    let watcher = open(folder.path());
    let _watch = watch(&watcher).await;
    for round in 0..20 {
        let tries: Vec<_> = handles
            .iter()
            .cloned()
            .map(|handle| {
                tokio::task::spawn_blocking(move || {
                    let runtime = tokio::runtime::Handle::current();
                    runtime.block_on(handle.register(&node("wanted"), &RegisterOptions::default()))
                })
            })
            .collect();
        let mut won = Vec::new();
        for one in tries {
            match one.await.unwrap() {
                Ok(lease) => won.push(lease),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict, "{}", error.chain()),
            }
        }
        assert_eq!(won.len(), 1, "round {round}");
        assert_eq!(ids(&watcher).await, ["wanted"]);
        for lease in won {
            lease.release().await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_entry_that_is_replaced_again_and_again_is_never_seen_missing_or_going_back() {
    let folder = tempfile::tempdir().unwrap();
    let owner = open(folder.path());
    let mut lease = owner.register(&numbered(0), &RegisterOptions::default()).await.unwrap();
    let done = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let (folder, done) = (folder.path().to_owned(), done.clone());
            tokio::task::spawn_blocking(move || {
                let runtime = tokio::runtime::Handle::current();
                runtime.block_on(async {
                    let (mut last, mut looks) = (0, 0);
                    let reader = open(&folder);
                    while !done.load(std::sync::atomic::Ordering::Relaxed) {
                        // Every fourth look is a stranger's, who knows nothing yet.
                        let fresh = open(&folder);
                        let reader = if looks % 4 == 0 { &fresh } else { &reader };
                        let found = reader.get(node("x").service(), &GetOptions::default()).await.unwrap();
                        assert_eq!((found.nodes.len(), found.poisoned), (1, 0));
                        assert!(number(&found.nodes[0]) >= last);
                        (last, looks) = (number(&found.nodes[0]), looks + 1);
                    }
                    looks
                })
            })
        })
        .collect();
    for number in 1..=2000 {
        lease.update(&numbered(number)).await.unwrap();
    }
    done.store(true, std::sync::atomic::Ordering::Relaxed);
    for reader in readers {
        assert!(reader.await.unwrap() > 0);
    }
}

#[tokio::test]
async fn a_watch_sees_the_last_of_many_changes_and_none_twice() {
    let folder = tempfile::tempdir().unwrap();
    let (owner, reader) = (open(folder.path()), open(folder.path()));
    let mut watch = watch(&reader).await;
    let mut lease = owner.register(&numbered(0), &RegisterOptions::default()).await.unwrap();
    for number in 1..=200 {
        lease.update(&numbered(number)).await.unwrap();
    }
    let mut last = None;
    while last != Some(200) {
        let seen = Some(number(&*next_upsert(&mut watch).await));
        assert!(seen > last, "{seen:?} after {last:?}");
        last = seen;
    }
}

#[tokio::test]
async fn who_registers_a_node_again_replaces_it_and_the_older_lease_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let registry = open(folder.path());
    let mut watch = watch(&registry).await;
    let mut older = registry.register(&numbered(1), &RegisterOptions::default()).await.unwrap();
    assert_eq!(number(&*next_upsert(&mut watch).await), 1);
    let newer = registry.register(&numbered(2), &RegisterOptions::default()).await.unwrap();
    assert_eq!(number(&*next_upsert(&mut watch).await), 2);
    assert_eq!(older.hold().await.kind(), ErrorKind::Conflict);
    older.release().await.unwrap();
    assert_eq!(ids(&registry).await, ["changing"]);
    newer.release().await.unwrap();
    assert!(matches!(next(&mut watch).await, WatchEvent::Remove(..)));
}

#[tokio::test]
async fn an_entry_that_others_removed_is_lost_to_its_owner_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let (owner, other) = (open(folder.path()), open(folder.path()));
    let mut lease = owner.register(&node("gone"), &RegisterOptions::default()).await.unwrap();
    other.deregister(&node("gone").key()).await.unwrap();
    assert_eq!(lease.hold().await.kind(), ErrorKind::NotFound);
    assert_eq!(lease.update(&node("gone")).await.unwrap_err().kind(), ErrorKind::NotFound);
    // Somebody else's entry is not touched by the late lease.
    let _other = other.register(&node("gone"), &RegisterOptions::default()).await.unwrap();
    lease.release().await.unwrap();
    assert_eq!(ids(&owner).await, ["gone"]);
}

#[tokio::test]
async fn what_another_process_registered_is_in_the_next_answer() {
    let folder = tempfile::tempdir().unwrap();
    let registry = open(folder.path());
    assert!(ids(&registry).await.is_empty());
    let mut other = Process::start("node", folder.path());
    for n in 0..100 {
        other.ask(&format!("register {n:03}"), &format!("registered {n:03}")).await;
        assert_eq!(ids(&registry).await.len(), n + 1);
    }
    for n in 0..100 {
        other.ask(&format!("release {n:03}"), &format!("released {n:03}")).await;
        assert_eq!(ids(&registry).await.len(), 99 - n);
    }
}
