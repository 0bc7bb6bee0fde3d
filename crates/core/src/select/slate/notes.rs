//! What a pick went by, noted so that it can be made again.

use super::{Found, NoPick, PickRequest, Picked, Slate};
use crate::select::{Rng, witness::Noting};

/// Bytes that there is room for at once: those of eight nodes that are compared by their costs.
const SEEN_USUALLY: usize = 128;

/// What one pick went by: where its chance began, and what it saw of loads and of whose turn it is.
///
/// With the slate and the request, neither of which changes, that is all it takes to make the pick again: [`Slate::replay`]. Notes that
/// are used for another pick keep the memory that they have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notes {
    pub(super) seed: u64,
    /// In the order of seeing.
    pub(super) seen: Vec<u8>,
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
        match altered.seen.len() {
            0 => altered.seen.push(0),
            bytes => altered.seen[rng.usize(..bytes)] ^= rng.u8(1..),
        }
        altered
    }

    fn begin(&mut self, rng: &Rng, plan: &Found<'_>) {
        self.seed = rng.get_seed();
        self.seen.clear();
        self.seen.reserve(SEEN_USUALLY);
        self.is_cut = false;
        self.is_single = matches!(plan, Found::Single(_));
    }

    #[inline]
    pub(in crate::select) fn add(&mut self, seen: &[u8]) {
        if self.seen.len() + seen.len() <= Self::SEEN_MAX {
            self.seen.extend_from_slice(seen);
        } else {
            self.is_cut = true;
        }
    }
}

// === impl Slate ===

impl<T> Slate<T> {
    /// As [`pick`](Self::pick), and notes what it goes by: the same node comes out, whether or not somebody takes notes.
    ///
    /// It allocates only while the notes have not been used for as long a pick.
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
