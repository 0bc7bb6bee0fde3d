use std::sync::Barrier;

use callsign_core::{NodeId, select::Outcome};
use http::uri::PathAndQuery;
use tokio::time::Instant;

use super::*;
use crate::client::options::CallOptions;

/// A call that has taken its place.
fn begin(ring: &Decisions) -> Option<CallId> {
    let id = ring.begin();
    let mut record = ring.place_of(id)?;
    open(&mut record, id, None);
    Some(id)
}

fn open(record: &mut Record, id: CallId, hash: Option<u64>) {
    let mut options = CallOptions::new();
    options.hash = hash;
    record.begin(id, Instant::now(), &PathAndQuery::from_static("/"), &options);
}

fn end(ring: &Decisions, id: CallId) -> Option<()> {
    let mut record = ring.place_of(id)?;
    record.end(Outcome::Success, None, Instant::now());
    Some(())
}

/// Adds a choice that is known by its state.
fn add(record: &mut Record, state: u64, node: Option<&str>) -> u32 {
    let (number, choice) = record.add();
    let taken = node.map(|id| Taken { id: NodeId::new(id).unwrap(), inflight: 1 });
    *choice = Choice { state, taken, ..Choice::default() };
    number
}

fn ends(ring: &Decisions, call: CallRef) -> Option<bool> {
    ring.read(call).map(|record| record.end.is_some())
}

#[test]
fn only_the_last_calls_are_remembered() {
    let ring = Decisions::new(4);
    let ids: Vec<_> = (0..6).map(|_| begin(&ring).unwrap()).collect();
    let known = ids.iter().map(|id| ring.read(CallRef::Id(*id)).is_some());
    assert_eq!(known.collect::<Vec<_>>(), [false, false, true, true, true, true]);
    assert_eq!(ring.read(CallRef::Last).unwrap().id, ids.last().copied());

    // One that is remembered no more writes into nobody else's place.
    assert_eq!(end(&ring, ids[0]), None);
    assert_eq!((ends(&ring, CallRef::Id(ids[4])), ring.missed()), (Some(false), 1));
    end(&ring, ids[4]).unwrap();
    assert_eq!(ends(&ring, CallRef::Id(ids[4])), Some(true));
}

#[test]
fn without_a_ring_nothing_is_remembered() {
    let ring = Decisions::new(0);
    assert_eq!((ring.remembers(), begin(&ring)), (false, None));
    assert!(ring.read(CallRef::Last).is_none() && ring.read(CallRef::Id(CallId::new(1).unwrap())).is_none());
}

#[test]
fn no_call_waits_for_one_who_reads() {
    let ring = Decisions::new(1);
    let id = begin(&ring).unwrap();
    let reading = ring.places[0].0.lock().unwrap();
    assert_eq!((end(&ring, id), ring.missed()), (None, 1));
    drop(reading);
    assert_eq!((end(&ring, id), ring.missed()), (Some(()), 1));
}

#[test]
fn calls_on_many_threads_have_ids_of_their_own_and_tear_no_record() {
    const THREADS: u64 = 4;
    const CALLS: u64 = 500;
    let (ring, start) = (Decisions::new(8), Barrier::new(THREADS as usize));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                start.wait();
                for _ in 0..CALLS {
                    let id = ring.begin();
                    if let Some(mut record) = ring.place_of(id) {
                        open(&mut record, id, Some(id.0.get()));
                    }
                    if let Some(record) = ring.place_of(id) {
                        assert_eq!(record.asked.hash, record.id.map(|id| id.0.get()));
                    }
                }
            });
        }
    });
    assert_eq!(ring.last.0.load(Relaxed), THREADS * CALLS);
}

#[test]
fn an_id_is_read_as_it_is_written() {
    let id = CallId::new(42).unwrap();
    assert_eq!(id.to_string().parse::<CallId>().unwrap(), id);
    assert!("0".parse::<CallId>().is_err() && "x".parse::<CallId>().unwrap_err().hint().is_some());
}

#[test]
fn a_call_is_told_of_from_its_first_word_on() {
    let ring = Decisions::new(4);
    let first = begin(&ring).unwrap();
    let second = ring.begin();
    assert_eq!(ring.read(CallRef::Last).unwrap().id, Some(first), "the second has nothing to tell yet");
    open(&mut ring.place_of(second).unwrap(), second, Some(7));
    let record = ring.read(CallRef::Last).unwrap();
    assert_eq!((record.id, record.asked.hash), (Some(second), Some(7)));
}

#[test]
fn of_many_choices_the_last_ones_are_kept_with_their_fates() {
    let mut record = Record::default();
    let states = |record: &Record| record.choices().map(|choice| choice.state).collect::<Vec<_>>();
    assert_eq!((states(&record), record.forgotten()), (vec![], 0));

    // Of those that found nobody the last one is kept, until somebody is found.
    let numbers = [(1, None), (2, None), (3, Some("a")), (4, Some("b"))];
    let numbers = numbers.map(|(state, node)| add(&mut record, state, node));
    assert_eq!((numbers, states(&record)), ([1, 1, 1, 2], vec![3, 4]));

    let numbers: Vec<_> = (5..12).map(|state| add(&mut record, state, Some("c"))).collect();
    assert_eq!((numbers, states(&record)), ((3..=9).collect(), (4..12).collect()));
    assert_eq!(record.forgotten(), 1);

    // The forgotten one, the first and the last that are kept, one twice, and one that there is not.
    for (number, why) in [(1, "first"), (2, "second"), (9, "ninth"), (9, "again"), (0, "none"), (10, "tenth")]
    {
        record.settle(number, Fate::Unused(why));
    }
    let fates: Vec<_> = record.choices().map(|choice| choice.fate.clone()).collect();
    assert!(matches!(fates[0], Fate::Unused("second")) && matches!(fates[7], Fate::Unused("ninth")));
    assert!(fates[1..7].iter().all(|fate| matches!(fate, Fate::UnderWay)), "{fates:?}");

    // Another call begins with none of them.
    open(&mut record, CallId::new(1).unwrap(), None);
    assert_eq!((states(&record), record.forgotten()), (vec![], 0));
    assert_eq!((add(&mut record, 12, Some("d")), states(&record)), (1, vec![12]));
}

#[test]
fn an_id_is_on_a_response_as_its_digits_and_takes_the_place_of_what_came_over_the_wire() {
    for number in [1, 10, 1_234_567_890, u64::MAX] {
        let id = CallId::new(number).unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(&names::CALL_ID, HeaderValue::from_static("7"));
        id.sign(&mut headers);
        let values: Vec<_> = headers.get_all(&names::CALL_ID).iter().collect();
        assert_eq!(values, [number.to_string().as_str()]);
        assert_eq!(CallId::of(&headers), Some(id));
    }
}
