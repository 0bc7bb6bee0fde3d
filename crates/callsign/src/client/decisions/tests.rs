use std::sync::Barrier;

use callsign_core::select::Outcome;
use tokio::time::Instant;

use super::*;

fn ends(ring: &Decisions, call: CallRef) -> Option<bool> {
    ring.read(call).map(|record| record.end.is_some())
}

#[test]
fn only_the_last_calls_are_remembered() {
    let ring = Decisions::new(4);
    let ids: Vec<_> = (0..6).map(|_| ring.begin(|_| {}).unwrap()).collect();
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
    assert_eq!(ring.begin(|_| {}), None);
    assert!(ring.read(CallRef::Last).is_none() && ring.read(CallRef::Id(CallId::new(1).unwrap())).is_none());
}

#[test]
fn no_call_waits_for_one_who_reads() {
    let ring = Decisions::new(1);
    let id = ring.begin(|_| {});
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
                    let id = ring.begin(|record| record.asked.hash = record.id.map(|id| id.0.get()));
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
