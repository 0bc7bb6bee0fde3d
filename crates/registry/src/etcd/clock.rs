//! etcd's revisions as ours: numbers that only grow, for as long as the handle lives.
//!
//! etcd's own only grow too, until it is restarted empty or from a backup: then it counts anew. A linearizable answer shows a
//! revision at least as high as any that was seen when it was asked for; so one that shows less is from a store that counts
//! anew. From there on our numbers are etcd's and the highest that was shown before.

use std::sync::{Mutex, PoisonError};

use callsign_core::registry::Revision;

/// What is known of etcd's count.
#[derive(Debug, Default)]
pub(super) struct Clock(Mutex<Era>);

#[derive(Debug, Clone, Copy, Default)]
struct Era {
    /// How often etcd began anew.
    number: u64,
    /// What is added to etcd's revisions.
    offset: u64,
    /// The highest that was seen of this era.
    highest: i64,
}

/// When a question was asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark(Era);

/// A state of the store, as etcd and as we number it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    pub(super) era: u64,
    pub(super) etcd: i64,
    pub(super) ours: Revision,
}

// === impl Clock ===

impl Clock {
    /// To be taken before a question is asked.
    pub(super) fn mark(&self) -> Mark {
        Mark(*self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The moment of a linearizable answer to a question asked at `mark`; `None` when it cannot be told, because etcd was found
    /// to have begun anew meanwhile: then the question is to be asked again.
    pub(super) fn moment(&self, mark: Mark, etcd: i64) -> Option<Moment> {
        let mut era = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if mark.0.number != era.number {
            return None;
        }
        if etcd < mark.0.highest {
            tracing::warn!(
                revision = etcd,
                before = era.highest,
                "etcd counts its revisions anew: it was restarted empty, or from a backup"
            );
            let offset = era.offset + era.highest.unsigned_abs();
            *era = Era { number: era.number + 1, offset, highest: etcd };
        }
        era.highest = era.highest.max(etcd);
        Some(Moment { era: era.number, etcd, ours: Revision(era.offset + etcd.unsigned_abs()) })
    }

    /// A later revision of the moment's era was seen; gives our number for it.
    pub(super) fn saw(&self, moment: &Moment, etcd: i64) -> Revision {
        let mut era = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if era.number == moment.era {
            era.highest = era.highest.max(etcd);
        }
        moment.later(etcd)
    }

    /// Whether the moment's era goes on.
    pub(super) fn is_current(&self, moment: &Moment) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).number == moment.era
    }
}

// === impl Moment ===

impl Moment {
    /// Our number for a later revision of the same era.
    fn later(&self, etcd: i64) -> Revision {
        Revision(self.ours.0 + etcd.saturating_sub(self.etcd).max(0).unsigned_abs())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn answers_out_of_order_are_no_new_beginning() {
        let clock = Clock::default();
        let (first, second) = (clock.mark(), clock.mark());
        assert_eq!(clock.moment(second, 12).unwrap().ours, Revision(12));
        assert_eq!(clock.moment(first, 10).unwrap().ours, Revision(10));
        assert_eq!(clock.moment(clock.mark(), 12).unwrap().ours, Revision(12));
    }

    #[test]
    fn a_store_that_begins_anew_is_numbered_on() {
        let clock = Clock::default();
        let old = clock.moment(clock.mark(), 100).unwrap();
        let (early, mark) = (clock.mark(), clock.mark());
        let new = clock.moment(mark, 3).unwrap();
        assert!(new.ours > old.ours);
        assert_eq!(clock.saw(&new, 5).0, new.ours.0 + 2);
        assert!(clock.is_current(&new) && !clock.is_current(&old));
        assert_eq!(clock.moment(early, 101), None);
    }

    proptest! {
        #[test]
        fn numbers_only_grow_however_often_etcd_begins_anew(steps in prop::collection::vec((0i64..50, any::<bool>()), 1..60)) {
            let (clock, mut etcd, mut last) = (Clock::default(), 1, Revision(0));
            for (step, wiped) in steps {
                etcd = if wiped { 1 + step % 5 } else { etcd + step };
                let moment = clock.moment(clock.mark(), etcd).unwrap();
                prop_assert!(moment.ours >= last);
                etcd += 1;
                last = clock.saw(&moment, etcd);
                prop_assert!(last > moment.ours);
            }
        }
    }
}
