//! The machine against a model: whatever happens in whatever order, it ends up showing what the registry has, and on the
//! way it never takes away what it has no clear word about.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::prelude::*;

use super::*;

const SERVICES: [&str; 3] = ["greeter", "cart", "stock"];

/// What happens next in the world.
#[derive(Debug, Clone, Copy)]
enum Step {
    Register {
        service: usize,
        id: u8,
        port: u16,
    },
    Remove {
        service: usize,
        id: u8,
        removal: Removal,
    },
    Wipe,
    Away,
    Back,
    /// The watch starts again with a snapshot, for no reason that it tells.
    Resync,
    /// The watch delivers so many of the events that are on their way, the last of them twice if `twice`.
    Deliver {
        events: usize,
        twice: bool,
    },
    /// The registry works on the oldest reading: its answer is fixed now, and on its way.
    Read,
    /// The oldest answer on its way arrives.
    Answer,
    Ask {
        service: usize,
    },
    Forget {
        service: usize,
    },
    Refute {
        service: usize,
        id: u8,
    },
    Wait {
        millis: u64,
    },
}

/// A registry, what it has said, and the directory that hears it later.
struct World {
    rig: Rig,
    entries: BTreeMap<(usize, u8), u16>,
    revision: u64,
    is_away: bool,
    on_the_way: VecDeque<WatchEvent>,
    answers: VecDeque<(ServiceName, u64, Result<Listing>)>,
    followed: BTreeSet<usize>,
    /// Nodes that were taken away with a clear word: by name and id.
    dismissed: BTreeSet<(usize, u8)>,
}

fn step() -> impl Strategy<Value = Step> {
    let service = 0..SERVICES.len();
    let removal = prop_oneof![Just(Removal::Deregistered), Just(Removal::Expired), Just(Removal::Unknown)];
    prop_oneof![
        6 => (service.clone(), 0..6u8, 1..4u16)
            .prop_map(|(service, id, port)| Step::Register { service, id, port }),
        4 => (service.clone(), 0..6u8, removal)
            .prop_map(|(service, id, removal)| Step::Remove { service, id, removal }),
        1 => Just(Step::Wipe),
        1 => Just(Step::Away),
        2 => Just(Step::Back),
        1 => Just(Step::Resync),
        8 => (1..12usize, any::<bool>()).prop_map(|(events, twice)| Step::Deliver { events, twice }),
        4 => Just(Step::Read),
        4 => Just(Step::Answer),
        3 => service.clone().prop_map(|service| Step::Ask { service }),
        1 => service.clone().prop_map(|service| Step::Forget { service }),
        1 => (service, 0..6u8).prop_map(|(service, id)| Step::Refute { service, id }),
        4 => (0..8000u64).prop_map(|millis| Step::Wait { millis }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_view_ends_up_equal_to_the_registry_and_never_shrinks_while_it_is_away(
        steps in proptest::collection::vec(step(), 1..120)
    ) {
        let mut world = World::new();
        for step in steps {
            world.take(step);
        }
        world.come_to_rest();
        for service in world.followed.clone() {
            let shown = world.shown(service).map(|view| view.nodes().iter().map(|node| describe(node)).collect::<Vec<_>>());
            let has: Vec<_> = world.entries.iter()
                .filter(|((of, _), _)| *of == service)
                .map(|((_, id), port)| (format!("n{id}"), *port))
                .collect();
            prop_assert_eq!(shown.unwrap_or_default(), has, "{}", SERVICES[service]);
            if let Some(view) = world.shown(service) {
                prop_assert_eq!(view.suspects().len(), 0);
                prop_assert!(!view.freshness().is_stale());
            }
        }
        let names: BTreeSet<_> = world.rig.names.list().into_iter().collect();
        for (service, _) in world.entries.keys() {
            prop_assert!(names.contains(&name(*service)));
        }
    }
}

// === impl World ===

impl World {
    fn new() -> Self {
        let mut world = Self {
            rig: Rig::new(),
            entries: BTreeMap::new(),
            revision: 1,
            is_away: false,
            on_the_way: VecDeque::new(),
            answers: VecDeque::new(),
            followed: BTreeSet::new(),
            dismissed: BTreeSet::new(),
        };
        world.send_snapshot();
        world
    }

    fn take(&mut self, step: Step) {
        let before = self.nodes_shown();
        let was_away = self.rig.freshness.is_stale();
        self.dismissed.clear();
        self.happen(step);
        self.check_losses(&before, was_away);
    }

    fn happen(&mut self, step: Step) {
        match step {
            Step::Register { service, id, port } if !self.is_away => {
                self.entries.insert((service, id), port);
                self.revision += 1;
                self.send(WatchEvent::Upsert(entry(service, id, port), Revision(self.revision)));
            }
            Step::Remove { service, id, removal } if !self.is_away => {
                if self.entries.remove(&(service, id)).is_some() {
                    self.revision += 1;
                    let key = entry(service, id, 1).key();
                    self.send(WatchEvent::Remove(key, removal, Revision(self.revision)));
                }
            }
            Step::Wipe => {
                self.entries.clear();
                self.revision += 1;
                self.resync();
            }
            Step::Away if !self.is_away => {
                self.is_away = true;
                self.on_the_way.clear();
                self.on_the_way.push_back(WatchEvent::Error(away()));
            }
            Step::Back if self.is_away => {
                self.is_away = false;
                self.send_snapshot();
            }
            Step::Resync => self.resync(),
            Step::Deliver { events, twice } => self.deliver(events, twice),
            Step::Read => self.read(),
            Step::Answer => self.answer(),
            Step::Ask { service } => {
                self.followed.insert(service);
                self.rig.machine.ask(&name(service), self.rig.now);
                self.rig.settle();
            }
            Step::Forget { service } => {
                self.followed.remove(&service);
                self.rig.machine.forget(&name(service));
                self.rig.published.remove(&name(service));
            }
            Step::Refute { service, id } => {
                self.dismissed.insert((service, id));
                self.rig.machine.refute(entry(service, id, 1).key(), self.rig.now);
                self.rig.settle();
            }
            Step::Wait { millis: wait } => self.rig.advance(millis(wait)),
            Step::Register { .. } | Step::Remove { .. } | Step::Away | Step::Back => {}
        }
    }

    fn send(&mut self, event: WatchEvent) {
        self.on_the_way.push_back(event);
    }

    fn resync(&mut self) {
        if !self.is_away {
            self.on_the_way.clear();
            self.send_snapshot();
        }
    }

    fn send_snapshot(&mut self) {
        self.send(WatchEvent::SnapshotStart);
        for ((service, id), port) in self.entries.clone() {
            self.send(WatchEvent::Node(entry(service, id, port)));
        }
        self.send(WatchEvent::SnapshotDone(Revision(self.revision)));
    }

    fn deliver(&mut self, events: usize, twice: bool) {
        for _ in 0..events {
            let Some(event) = self.on_the_way.pop_front() else { return };
            let repeats = twice && matches!(event, WatchEvent::Upsert(..) | WatchEvent::Remove(..));
            for event in std::iter::once(event.clone()).chain(repeats.then_some(event)) {
                if let WatchEvent::Remove(key, ..) = &event {
                    self.dismissed.insert(read_key(key));
                }
                self.rig.event(event);
            }
        }
    }

    fn read(&mut self) {
        if self.rig.reads.is_empty() {
            return;
        }
        let (_, read, ticket) = self.rig.reads.remove(0);
        let nodes = self.entries.iter().map(|((service, id), port)| entry(*service, *id, *port));
        let nodes = nodes.filter(|node| *node.service() == read).collect();
        let listing = Listing { nodes, revision: Revision(self.revision), poisoned: 0 };
        self.answers.push_back((read, ticket, if self.is_away { Err(away()) } else { Ok(listing) }));
    }

    fn answer(&mut self) {
        if let Some((read, ticket, result)) = self.answers.pop_front() {
            self.rig.machine.on_listing(&read, ticket, result, self.rig.now);
            self.rig.settle();
        }
    }

    /// The registry stays, everything arrives, and enough time passes for every doubt to be settled.
    fn come_to_rest(&mut self) {
        self.take(Step::Back);
        for _ in 0..80 {
            self.take(Step::Deliver { events: usize::MAX, twice: false });
            self.take(Step::Read);
            self.take(Step::Answer);
            self.take(Step::Wait { millis: 5000 });
        }
    }

    fn shown(&self, service: usize) -> Option<Arc<View>> {
        let published = self.rig.published.get(&name(service))?;
        published.last()?.1.view().cloned()
    }

    fn nodes_shown(&self) -> BTreeMap<usize, Vec<u8>> {
        let shown = self.followed.iter().filter_map(|service| Some((*service, self.shown(*service)?)));
        shown
            .map(|(service, view)| (service, view.nodes().iter().map(|node| read_id(node.id())).collect()))
            .collect()
    }

    /// While the watch was not heard, nothing may have gone but what a caller refuted.
    fn check_losses(&self, before: &BTreeMap<usize, Vec<u8>>, was_away: bool) {
        if !was_away || !self.rig.freshness.is_stale() {
            return;
        }
        let after = self.nodes_shown();
        for (service, ids) in before {
            let Some(left) = after.get(service) else { continue };
            for id in ids {
                assert!(
                    left.contains(id) || self.dismissed.contains(&(*service, *id)),
                    "{} lost n{id} while the registry was away",
                    SERVICES[*service],
                );
            }
        }
    }
}

fn name(service: usize) -> ServiceName {
    ServiceName::new(SERVICES[service]).unwrap()
}

fn entry(service: usize, id: u8, port: u16) -> Arc<Node> {
    let address = format!("127.0.0.1:{port}");
    Arc::new(Node::builder(SERVICES[service], format!("n{id}"), address).build().unwrap())
}

fn describe(node: &Node) -> (String, u16) {
    (node.id().to_string(), node.dial_address().unwrap().port())
}

fn read_id(id: &crate::NodeId) -> u8 {
    id.as_str()[1..].parse().unwrap()
}

fn read_key(key: &NodeKey) -> (usize, u8) {
    (SERVICES.iter().position(|service| key.service == *service).unwrap(), read_id(&key.id))
}
