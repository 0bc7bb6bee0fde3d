//! What a channel remembers of its last calls, so that somebody may ask afterwards why one went where it went.
//!
//! Each call has a place in a ring, found by its id, and writes there what is decided as it is decided. A place is one piece of
//! memory with room for all that a usual call writes, so that it allocates nothing here. Of the nodes a decision knows only the
//! snapshot that it was made by, of which the last few are kept, and what it saw, as notes: from these it is made again when somebody
//! asks.
//!
//! No call waits for a place: one that somebody reads at this moment, or that a later call has taken, is not written to, and what was
//! to be written is counted as missed.

mod record;

use std::{
    collections::VecDeque,
    fmt,
    num::NonZeroU64,
    str::FromStr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, TryLockError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use callsign_core::{Error, Result};
use http::{HeaderMap, HeaderValue};
use serde::Serialize;

pub use self::record::Why;
pub(crate) use self::record::{Choice, End, Fate, Lost, Rare, Record, Said, Taken};
use super::{names, roster::State};

/// Snapshots kept at most, and nodes in all of them together; the last is kept whatever its size.
const STATES_MAX: usize = 64;
const NODES_MAX: usize = 16_384;

/// Those of the largest number of 64 bits.
const DIGITS_MAX: usize = 20;

/// What tells one call of a channel from its others: a number that grows from 1.
///
/// A response has it as the header `callsign-call-id`, which never goes over the wire: [`CallId::of`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct CallId(NonZeroU64);

/// Which call is meant: [`Channel::explain_call`](super::Channel::explain_call).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CallRef {
    /// The one of this id.
    Id(CallId),
    /// The one that began last, by whichever clone of the channel, of those that have come as far as a choice of a node or an end.
    Last,
}

/// The ring. With no place in it, nothing is remembered.
#[derive(Debug)]
pub(crate) struct Decisions {
    places: Box<[Alone<Mutex<Record>>]>,
    missed: AtomicU64,
    states: Mutex<VecDeque<Arc<State>>>,
    /// How many calls have begun, and so the id of the last one.
    last: Alone<AtomicU64>,
}

/// Keeps what each call writes out of the cache lines of what others use meanwhile.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Alone<T>(T);

// === impl CallId ===

impl CallId {
    /// The id with this number, which is not zero.
    #[must_use]
    pub fn new(number: u64) -> Option<Self> {
        NonZeroU64::new(number).map(Self)
    }

    /// Which call of its channel, counted from 1.
    pub(crate) fn number(self) -> u64 {
        self.0.get()
    }

    /// That of the call that these are the headers of the response to. With tonic they are the metadata of a response or of a status:
    ///
    /// ```
    /// use callsign::client::CallId;
    ///
    /// # let mut status = tonic::Status::unavailable("no node");
    /// # status.metadata_mut().insert("callsign-call-id", 42.into());
    /// let id = CallId::of(status.metadata().as_ref());
    /// assert_eq!(id, CallId::new(42));
    /// ```
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        headers.get(&names::CALL_ID)?.to_str().ok()?.parse().ok()
    }

    /// Puts it on a response, where nothing from the wire takes its place.
    pub(crate) fn sign(self, headers: &mut HeaderMap) {
        let (mut digits, mut first, mut rest) = ([0; DIGITS_MAX], DIGITS_MAX, self.number());
        while rest > 0 {
            first -= 1;
            digits[first] = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        // Made from text a value is one allocation, made from a number it is two. Digits are always a value.
        if let Ok(value) = HeaderValue::from_bytes(&digits[first..]) {
            headers.insert(&names::CALL_ID, value);
        }
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for CallId {
    type Err = Error;

    /// Reads what the header `callsign-call-id` holds.
    fn from_str(text: &str) -> Result<Self> {
        text.parse().map(Self).map_err(|_| {
            Error::invalid("read a call's id", format!("{text:?} is no number above zero"))
                .with_hint("a response has its call's id in the header callsign-call-id")
        })
    }
}

// === impl Decisions ===

impl Decisions {
    /// A ring with so many places.
    pub(crate) fn new(places: usize) -> Self {
        Self {
            places: std::iter::repeat_with(Alone::default).take(places).collect(),
            missed: AtomicU64::new(0),
            states: Mutex::default(),
            last: Alone::default(),
        }
    }

    /// A call begins. All have numbers, also where nothing is remembered.
    pub(crate) fn begin(&self) -> CallId {
        CallId(NonZeroU64::MIN.saturating_add(self.last.0.fetch_add(1, Relaxed)))
    }

    /// The id that a call is remembered by, if calls are.
    pub(crate) fn known(&self, call: CallId) -> Option<CallId> {
        self.remembers().then_some(call)
    }

    /// Whether calls are remembered at all.
    pub(crate) fn remembers(&self) -> bool {
        !self.places.is_empty()
    }

    /// The place of a call, to be written to: what is there is of this call or of one before it. None if somebody reads there at this
    /// moment, or if a later call has taken it.
    pub(crate) fn place_of(&self, id: CallId) -> Option<MutexGuard<'_, Record>> {
        let record = match self.place(id)?.try_lock() {
            Ok(record) => Some(record),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        };
        let record = record.filter(|record| record.id <= Some(id));
        if record.is_none() {
            self.missed.fetch_add(1, Relaxed);
        }
        record
    }

    /// What is remembered of a call.
    pub(crate) fn read(&self, call: CallRef) -> Option<Record> {
        match call {
            CallRef::Id(id) => {
                let record = self.place(id)?.lock().unwrap_or_else(PoisonError::into_inner);
                (record.id == Some(id)).then(|| record.clone())
            }
            // One that has only just begun has nothing to tell yet.
            CallRef::Last => self.latest().find_map(|id| self.read(CallRef::Id(id))),
        }
    }

    /// The ids of the calls that may be remembered, the latest first.
    pub(crate) fn latest(&self) -> impl Iterator<Item = CallId> {
        let last = self.last.0.load(Relaxed);
        (0..self.places.len() as u64).map_while(move |ago| CallId::new(last.checked_sub(ago)?))
    }

    /// How often something was not written down.
    pub(crate) fn missed(&self) -> u64 {
        self.missed.load(Relaxed)
    }

    /// Keeps a snapshot for the decisions that are made by it.
    pub(crate) fn keep(&self, state: &Arc<State>) {
        if !self.remembers() {
            return;
        }
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        states.push_back(state.clone());
        let nodes = |state: &Arc<State>| state.slate.members().len();
        let mut kept: usize = states.iter().map(nodes).sum();
        while states.len() > 1 && (states.len() > STATES_MAX || kept > NODES_MAX) {
            kept -= states.pop_front().as_ref().map_or(0, nodes);
        }
    }

    /// The snapshot of this number, if it is kept.
    pub(crate) fn state(&self, number: u64) -> Option<Arc<State>> {
        let states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        states.iter().rev().find(|state| state.number == number).cloned()
    }

    fn place(&self, id: CallId) -> Option<&Mutex<Record>> {
        let index = id.number().checked_rem(self.places.len() as u64)?;
        Some(&self.places.get(usize::try_from(index).ok()?)?.0)
    }
}

#[cfg(test)]
mod tests;
