//! What a pick went by, noted so that it can be made again.

use super::{Found, NoPick, PickRequest, Picked, Slate};
use crate::select::{Rng, witness::Noting};

/// Bytes that notes have room for in themselves: those of four nodes that are compared by their costs.
const SEEN_USUALLY: usize = 64;
/// Where nothing can be noted, since it is beyond all of that.
const FULL: u8 = u8::MAX;

/// What one pick went by: where its chance began, and what it saw of loads and of whose turn it is.
///
/// With the slate and the request, neither of which changes, that is all it takes to make the pick again: [`Slate::replay`]. Notes that
/// are used for another pick keep the memory that they have.
#[derive(Debug, Clone)]
pub struct Notes {
    pub(super) seed: u64,
    /// What was seen first, in the order of seeing, and how much of it there is.
    first: [u8; SEEN_USUALLY],
    count: u8,
    /// Where the next goes; [`FULL`] if not there.
    next: u8,
    /// What was seen since there was no room for it there.
    further: Vec<u8>,
    /// There was more to be seen than there is room for.
    pub(super) is_cut: bool,
    /// The slate keeps no view for the request's filters.
    pub(super) is_single: bool,
}

// === impl Notes ===

impl Notes {
    /// So many bytes are noted at most: 5 for each node that is compared by its calls in flight, 13 by its cost, and one for each that is
    /// looked at and passed over.
    pub const SEEN_MAX: usize = 8192;

    /// The seed that the pick's random numbers follow from ([`Rng::with_seed`]).
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The same but for one byte, or for a byte more if there is none.
    #[cfg(test)]
    pub(super) fn with_one_byte_altered(&self, rng: &mut Rng) -> Self {
        let mut altered = self.clone();
        let Self { first, count, further, .. } = &mut altered;
        let mut bytes: Vec<&mut u8> = first[..usize::from(*count)].iter_mut().chain(further).collect();
        match bytes.len() {
            0 => altered.add(&[0]),
            count => *bytes[rng.usize(..count)] ^= rng.u8(1..),
        }
        altered
    }

    /// In the order of seeing.
    pub(super) fn seen(&self) -> Vec<u8> {
        [&self.first[..usize::from(self.count)], &self.further].concat()
    }

    fn begin(&mut self, rng: &Rng, plan: &Found<'_>) {
        self.seed = rng.get_seed();
        (self.count, self.next) = (0, 0);
        self.further.clear();
        self.is_cut = false;
        self.is_single = matches!(plan, Found::Single(_));
    }

    /// A pick looks often, so this is one store as long as there is room.
    #[inline(always)]
    pub(in crate::select) fn add(&mut self, seen: &[u8]) {
        let (from, to) = (usize::from(self.next), usize::from(self.next) + seen.len());
        match self.first.get_mut(from..to) {
            Some(room) => {
                room.copy_from_slice(seen);
                (self.count, self.next) = (to as u8, to as u8);
            }
            None => self.add_further(seen),
        }
    }

    #[cold]
    fn add_further(&mut self, seen: &[u8]) {
        self.next = FULL;
        if usize::from(self.count) + self.further.len() + seen.len() <= Self::SEEN_MAX {
            self.further.extend_from_slice(seen);
        } else {
            self.is_cut = true;
        }
    }
}

impl Default for Notes {
    fn default() -> Self {
        Self {
            seed: 0,
            first: [0; SEEN_USUALLY],
            count: 0,
            next: 0,
            further: Vec::new(),
            is_cut: false,
            is_single: false,
        }
    }
}

// === impl Slate ===

impl<T> Slate<T> {
    /// As [`pick`](Self::pick), and notes what it goes by: the same node comes out, whether or not somebody takes notes.
    ///
    /// It allocates only for what the notes have no room for: a pick that compares a few nodes needs none, and notes keep what they had to
    /// make.
    ///
    /// # Errors
    ///
    /// Why there is no node for this request.
    pub fn pick_noting(
        &self,
        request: &PickRequest<'_>,
        rng: &mut Rng,
        notes: &mut Notes,
    ) -> Result<Picked<'_, T>, NoPick> {
        let plan = match request.filters {
            Some(filters) if !filters.is_empty() => self.view(filters, rng),
            _ => Found::Kept(&self.all),
        };
        notes.begin(rng, &plan);
        self.pick_by(&plan, request, &mut Noting { rng, notes })
    }
}
