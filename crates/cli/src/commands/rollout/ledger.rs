//! What has become of each node that was there at the start. It is shown who is there, again and again, and reads no clock.

use std::time::Duration;

use serde::Serialize;

/// One process under one entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Instance {
    pub(super) id: String,
    pub(super) address: String,
    pub(super) version: String,
    /// When it says that it started.
    #[serde(skip)]
    pub(super) started: Option<Duration>,
}

/// Somebody who is there now.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) instance: Instance,
    /// It says, by weight, health or on its replies, that it wants no calls.
    pub(super) draining: bool,
    /// It can be called.
    pub(super) ready: bool,
}

/// A node that was there at the start, and who took its place.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) old: Instance,
    pub(super) drained: Option<Duration>,
    pub(super) left: Option<Duration>,
    pub(super) new: Option<Instance>,
    pub(super) back: Option<Duration>,
}

/// Something that happened to a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    Drained,
    Left,
    /// It is there again: the same process.
    Returned,
    Back,
}

/// All places, and those who came and have none yet.
#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) places: Vec<Place>,
}

// === impl Ledger ===

impl Ledger {
    /// Those who are to be replaced.
    pub(super) fn new(old: impl IntoIterator<Item = Instance>) -> Self {
        let place = |old| Place { old, drained: None, left: None, new: None, back: None };
        Self { places: old.into_iter().map(place).collect() }
    }

    /// Takes in who is there `at` this time. Gives what is new, with the place.
    pub(super) fn observe(&mut self, at: Duration, seen: &[Seen]) -> Vec<(usize, Event)> {
        let mut events = Vec::new();
        for (index, place) in self.places.iter_mut().enumerate() {
            let there = seen.iter().find(|seen| seen.instance == place.old);
            match there {
                Some(old) if place.left.is_some() && place.new.is_none() => {
                    (place.left, place.drained) = (None, old.draining.then_some(at));
                    events.push((index, Event::Returned));
                }
                Some(old) if old.draining && place.drained.is_none() => {
                    place.drained = Some(at);
                    events.push((index, Event::Drained));
                }
                None if place.left.is_none() => {
                    place.left = Some(at);
                    events.push((index, Event::Left));
                }
                _ => {}
            }
        }
        self.seat(seen);
        for (index, place) in self.places.iter_mut().enumerate() {
            let ready = |new: &Instance| seen.iter().any(|seen| seen.instance == *new && seen.ready);
            if place.back.is_none() && place.new.as_ref().is_some_and(ready) {
                place.back = Some(at);
                events.push((index, Event::Back));
            }
        }
        events
    }

    /// Whether every place has somebody new who can be called.
    pub(super) fn is_complete(&self) -> bool {
        self.places.iter().all(|place| place.back.is_some())
    }

    /// How many have.
    pub(super) fn replaced(&self) -> usize {
        self.places.iter().filter(|place| place.back.is_some()).count()
    }

    /// Gives those who came the places of those who left: of the same id, of the same address, then in their order.
    fn seat(&mut self, seen: &[Seen]) {
        for place in &mut self.places {
            // Who came and went again before it could be called has not taken the place.
            let gone = |new: &Instance| seen.iter().all(|seen| seen.instance != *new);
            if place.back.is_none() && place.new.as_ref().is_some_and(gone) {
                place.new = None;
            }
        }
        let likeness: [fn(&Instance, &Instance) -> bool; 3] =
            [|old, new| old.id == new.id, |old, new| old.address == new.address, |_, _| true];
        for alike in likeness {
            for at in 0..self.places.len() {
                if self.places[at].left.is_none() || self.places[at].new.is_some() {
                    continue;
                }
                let is_new = |seen: &&Seen| {
                    self.places
                        .iter()
                        .all(|place| place.old != seen.instance && place.new.as_ref() != Some(&seen.instance))
                };
                let old = &self.places[at].old;
                let newcomer = seen.iter().filter(is_new).find(|seen| alike(old, &seen.instance));
                self.places[at].new = newcomer.map(|seen| seen.instance.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(id: &str, port: u16, started: u64) -> Instance {
        Instance {
            id: id.to_owned(),
            address: format!("127.0.0.1:{port}"),
            version: "1".to_owned(),
            started: Some(Duration::from_secs(started)),
        }
    }

    fn seen(instance: &Instance, draining: bool, ready: bool) -> Seen {
        Seen { instance: instance.clone(), draining, ready }
    }

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_restart_under_the_same_id_is_followed_from_the_drain_to_the_return() {
        let (a, b, again) = (instance("a", 1, 1), instance("b", 2, 1), instance("a", 3, 9));
        let mut ledger = Ledger::new([a.clone(), b.clone()]);
        let other = seen(&b, false, true);
        assert_eq!(ledger.observe(at(1), &[seen(&a, false, true), other.clone()]), []);
        assert_eq!(ledger.observe(at(2), &[seen(&a, true, true), other.clone()]), [(0, Event::Drained)]);
        assert_eq!(ledger.observe(at(3), std::slice::from_ref(&other)), [(0, Event::Left)]);
        assert_eq!(ledger.observe(at(4), &[seen(&again, false, false), other.clone()]), []);
        assert_eq!(ledger.observe(at(5), &[seen(&again, false, true), other]), [(0, Event::Back)]);
        let place = &ledger.places[0];
        assert_eq!((place.drained, place.left, place.back), (Some(at(2)), Some(at(3)), Some(at(5))));
        assert_eq!((place.new.as_ref(), ledger.replaced(), ledger.is_complete()), (Some(&again), 1, false));
    }

    #[test]
    fn one_who_comes_first_takes_the_place_of_the_next_who_leaves() {
        let (a, b, new) = (instance("a", 1, 1), instance("b", 2, 1), instance("c", 3, 9));
        let mut ledger = Ledger::new([a.clone(), b.clone()]);
        let all = [seen(&a, false, true), seen(&b, false, true), seen(&new, false, true)];
        assert_eq!(ledger.observe(at(1), &all), []);
        assert_eq!(
            ledger.observe(at(2), &[all[0].clone(), all[2].clone()]),
            [(1, Event::Left), (1, Event::Back)]
        );
        assert_eq!(ledger.places[1].new, Some(new));
        assert_eq!(ledger.places[0].new, None);
    }

    #[test]
    fn ids_and_addresses_say_whose_place_it_is() {
        let (a, b) = (instance("a", 1, 1), instance("b", 2, 1));
        let (at_b, as_a) = (instance("c", 2, 9), instance("a", 7, 9));
        let mut ledger = Ledger::new([a, b]);
        ledger.observe(at(1), &[]);
        ledger.observe(at(2), &[seen(&at_b, false, true), seen(&as_a, false, true)]);
        assert_eq!((&ledger.places[0].new, &ledger.places[1].new), (&Some(as_a), &Some(at_b)));
        assert!(ledger.is_complete());
    }

    #[test]
    fn the_same_process_is_nobody_new() {
        let a = instance("a", 1, 1);
        let mut ledger = Ledger::new([a.clone()]);
        ledger.observe(at(1), &[]);
        assert_eq!(ledger.observe(at(2), &[seen(&a, false, true)]), [(0, Event::Returned)]);
        assert!(!ledger.is_complete() && ledger.places[0].left.is_none());
    }

    #[test]
    fn one_who_falls_before_it_can_be_called_leaves_the_place_free() {
        let (a, fallen, new) = (instance("a", 1, 1), instance("b", 2, 9), instance("c", 3, 10));
        let mut ledger = Ledger::new([a]);
        ledger.observe(at(1), &[seen(&fallen, false, false)]);
        ledger.observe(at(2), &[]);
        assert_eq!(ledger.observe(at(3), &[seen(&new, false, true)]), [(0, Event::Back)]);
        assert_eq!(ledger.places[0].new, Some(new));
    }
}
