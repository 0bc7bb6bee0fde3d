use std::sync::Barrier;

use callsign_core::select::Outcome;
use tokio::time::Instant;

use super::*;

/// A call that has taken its place.
fn begin(ring: &Decisions) -> Option<CallId> {
    let id = ring.begin();
    ring.open(id, |_| {}, |_| {});
    id
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
    assert_eq!(ring.write(Some(ids[0]), |record| record.end(Outcome::Success, None, Instant::now())), None);
    assert_eq!((ends(&ring, CallRef::Id(ids[4])), ring.missed()), (Some(false), 1));
    ring.write(Some(ids[4]), |record| record.end(Outcome::Success, None, Instant::now())).unwrap();
    assert_eq!(ends(&ring, CallRef::Id(ids[4])), Some(true));
}

#[test]
fn without_a_ring_calls_have_no_ids() {
    let ring = Decisions::new(0);
    assert_eq!((ring.begin(), begin(&ring)), (None, None));
    assert!(ring.read(CallRef::Last).is_none() && ring.read(CallRef::Id(CallId::new(1).unwrap())).is_none());
}

#[test]
fn no_call_waits_for_one_who_reads() {
    let ring = Decisions::new(1);
    let id = begin(&ring);
    let reading = ring.places[0].lock().unwrap();
    assert_eq!((ring.write(id, |_| ()), ring.missed()), (None, 1));
    drop(reading);
    assert_eq!((ring.write(id, |_| ()), ring.missed()), (Some(()), 1));
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
                    ring.open(id, |record| record.asked.hash = record.id.map(|id| id.0.get()), |_| {});
                    ring.write(id, |record| assert_eq!(record.asked.hash, record.id.map(|id| id.0.get())));
                }
            });
        }
    });
    assert_eq!(ring.last.load(Relaxed), THREADS * CALLS);
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
    ring.open(second, |record| record.asked.hash = Some(7), |record| record.forgotten = 1);
    // It is opened once.
    ring.open(second, |record| record.asked.hash = None, |record| record.forgotten += 1);
    let record = ring.read(CallRef::Last).unwrap();
    assert_eq!((record.id, record.asked.hash, record.forgotten), (second, Some(7), 2));
}
