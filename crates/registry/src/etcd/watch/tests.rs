use callsign_core::registry::Registry as _;
use tokio::time::advance;

use super::*;
use crate::etcd::{
    EtcdConfig, EtcdRegistry,
    client::api::{Event, KeyValue, event::EventType},
    entry,
};

/// A watch of a handle that reaches nobody.
fn watch(scope: Scope) -> Following {
    let registry = EtcdRegistry::open(EtcdConfig::new("127.0.0.1:1").unwrap());
    Following {
        handle: registry.0.clone(),
        scope,
        state: State::Behind,
        backoff: Backoff::calls(),
        shown: Revision::default(),
        queue: VecDeque::new(),
    }
}

fn all() -> Scope {
    Scope { domain: Default::default(), service: None }
}

fn node(service: &str, address: &str) -> Node {
    Node::builder(service, "1", address).build().unwrap()
}

fn kv(node: &Node, version: i64) -> KeyValue {
    let value = entry::encode("test", node).unwrap().into();
    let key = keys::key(&node.key());
    KeyValue { key, value, version, mod_revision: 10 + version, lease: 7, ..Default::default() }
}

fn event(kind: EventType, kv: KeyValue, prev_kv: Option<KeyValue>) -> Event {
    Event { r#type: kind.into(), kv: Some(kv), prev_kv }
}

fn changes(moment: Moment) -> Changes {
    Changes {
        feeds: Vec::new(),
        come_to: vec![moment.etcd],
        moment,
        witness: None,
        since: Instant::now(),
        has_strays: false,
    }
}

fn broken() -> End {
    End::Failed(Fault::Ended { endpoint: "a:1".into() })
}

#[tokio::test]
async fn a_put_says_who_is_there_now_and_who_no_longer() {
    let watch = watch(all());
    let put = |now: KeyValue, before| watch.understand(event(EventType::Put, now, before));
    let (old, new, other) = (node("a/b", "x:1"), node("a/b", "x:2"), node("a-b", "x:1"));
    let garbage = |of: &Node| KeyValue { value: "garbage".into(), ..kv(of, 3) };
    // What was there, what comes, and who is then shown and who gone.
    for (before, now, gone, there) in [
        (None, kv(&old, 1), None, Some(&old)),
        (Some(kv(&old, 1)), kv(&new, 2), Some(&old), Some(&new)),
        (Some(kv(&old, 1)), kv(&other, 2), Some(&old), Some(&other)),
        (Some(kv(&old, 1)), garbage(&old), Some(&old), None),
        (Some(garbage(&old)), kv(&old, 4), None, Some(&old)),
    ] {
        let Some(Change::Put { before, now, .. }) = put(now, before) else { panic!("not a put") };
        assert_eq!(before, gone.map(Node::key).into_iter().collect::<Vec<_>>());
        assert!(now.iter().map(|node| &**node).eq(there));
    }
    assert!(put(kv(&old, 2), Some(kv(&old, 1))).is_none(), "the same once more");
    assert!(put(garbage(&old), Some(KeyValue { value: "{".into(), ..kv(&old, 2) })).is_none());
    assert!(matches!(put(kv(&old, 2), None), Some(Change::Unclear)), "its predecessor was compacted");
}

#[tokio::test]
async fn a_deletion_says_who_left_and_by_which_lease_it_lived() {
    let watch = watch(all());
    let delete = |key: &Node, before| {
        let tombstone = KeyValue { value: Default::default(), version: 0, ..kv(key, 9) };
        watch.understand(event(EventType::Delete, tombstone, before))
    };
    let node = node("greeter", "x:1");
    match delete(&node, Some(kv(&node, 3))) {
        Some(Change::Gone { before, lease, at }) => {
            assert_eq!((before, lease, at), (vec![node.key()], 7, 19))
        }
        _ => panic!("not a deletion"),
    }
    assert!(matches!(delete(&node, None), Some(Change::Unclear)));
    assert!(delete(&node, Some(KeyValue { value: "garbage".into(), ..kv(&node, 3) })).is_none());
}

#[tokio::test]
async fn what_is_out_of_scope_is_not_seen() {
    let service = Some("greeter".parse().unwrap());
    let one = watch(Scope { service, ..all() });
    let shop = watch(Scope { domain: "shop".parse().unwrap(), service: None });
    let (greeter, other) = (node("greeter", "x:1"), node("other", "x:1"));
    let seen =
        |watch: &Following, node: &Node| watch.understand(event(EventType::Put, kv(node, 1), None)).is_some();
    assert!(seen(&one, &greeter) && !seen(&one, &other) && !seen(&shop, &greeter));
    assert!(seen(&shop, &other.to_builder().domain("shop").build().unwrap()));
}

#[tokio::test(start_paused = true)]
async fn a_break_is_mended_in_silence_once_and_then_said() {
    let mut watch = watch(all());
    let moment = watch.handle.clock.moment(watch.handle.clock.mark(), 5).unwrap();
    watch.state = State::Changes(changes(moment));
    watch.end(broken());
    assert!(matches!(watch.state, State::Broken(..)) && watch.queue.is_empty());

    watch.state = State::Changes(changes(moment));
    watch.end(broken());
    assert!(matches!(watch.state, State::Resting(_)));
    assert!(matches!(watch.queue.pop_front(), Some(WatchEvent::Error(_))));

    // After it has gone well for a while, one is mended again.
    watch.state = State::Changes(changes(moment));
    advance(STEADY_AFTER).await;
    watch.end(broken());
    assert!(matches!(watch.state, State::Broken(..)));

    // To fall behind is no failure, but needs a list.
    for end in [End::Lagged, End::Compacted] {
        watch.state = State::Changes(changes(moment));
        watch.end(end);
        assert!(matches!(watch.state, State::Resting(_)) && watch.queue.is_empty());
    }
}

#[tokio::test]
async fn the_last_writing_is_the_witness_until_it_is_deleted() {
    let watch = watch(all());
    let mut changes = changes(watch.handle.clock.moment(watch.handle.clock.mark(), 5).unwrap());
    let (first, second) = (node("first", "x:1"), node("second", "x:1"));
    let mut note = |events: Vec<Event>, revision| {
        changes.note(0, &Batch::new(events, revision));
        (changes.come_to[0], changes.witness.clone().map(|witness| witness.key))
    };
    let put = |node: &Node| event(EventType::Put, kv(node, 1), None);
    let delete = |node: &Node| event(EventType::Delete, kv(node, 1), Some(kv(node, 1)));
    let key = |node: &Node| Some(keys::key(&node.key()));
    assert_eq!(note(vec![put(&first), put(&second)], 11), (11, key(&second)));
    assert_eq!(note(vec![delete(&first)], 12), (12, key(&second)));
    assert_eq!(note(vec![], 40), (40, key(&second)));
    assert_eq!(note(vec![delete(&second)], 41), (41, None));
}

#[tokio::test(start_paused = true)]
async fn a_watch_of_an_etcd_that_is_away_says_so_and_tries_on() {
    let registry = EtcdRegistry::open(EtcdConfig::new("127.0.0.1:1").unwrap());
    let mut watch = registry.watch(&Default::default()).await.unwrap();
    for _ in 0..5 {
        assert!(matches!(watch.next().await, Some(WatchEvent::Error(error)) if error.is_retryable()));
    }
    registry.close().await;
    assert!(watch.next().await.is_none());
}
