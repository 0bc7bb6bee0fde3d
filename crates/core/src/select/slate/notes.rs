//! What a pick went by, noted so that it can be made again.

use std::fmt;

use super::{Found, NoPick, PickRequest, Picked, Slate};
use crate::select::{
    Rng,
    witness::{Noting, Showing},
};

/// What one pick went by: where its chance began, and what it saw of loads and of whose turn it is.
///
/// With the slate and the request, neither of which changes, that is all it takes to make the pick again: [`Slate::replay`]. Notes that
/// are used for another pick keep the memory that they have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notes {
    seed: u64,
    /// In the order of seeing.
    seen: Vec<u8>,
    /// There was more to be seen than there is room for.
    is_cut: bool,
    /// The slate keeps no view for the request's filters.
    is_single: bool,
}

/// Why a pick cannot be made again. Displayed, it goes on from "it cannot be made again, because".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoReplay {
    /// It saw more than there is room for: it has looked at hundreds of nodes.
    Cut,
    /// More sets of filters were in use than the slate keeps views for, and its view was made for it alone.
    NoView,
    /// The notes are those of another pick: of another request, or by another slate.
    Astray,
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

// === impl NoReplay ===

impl fmt::Display for NoReplay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cut => {
                write!(
                    f,
                    "it looked at so many nodes that {} bytes of notes did not hold it",
                    Notes::SEEN_MAX
                )
            }
            Self::NoView => f.write_str("more sets of filters were in use than a snapshot keeps"),
            Self::Astray => f.write_str("the notes are those of another request, or of another snapshot"),
        }
    }
}

impl std::error::Error for NoReplay {}

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

    /// Makes a pick again that was made by this slate for the same request: the index of the member that it returned, if it returned
    /// one. It goes by the notes alone, however the world has changed since, and changes nothing in it.
    ///
    /// What a [`CustomStrategy`](crate::select::CustomStrategy) looked at is not known here, so what it said is among the notes, and it is not
    /// asked again.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use callsign_core::{Node, select::{Filters, Member, Notes, PickRequest, Slate, Strategy}};
    ///
    /// let strategy = Strategy::default();
    /// let member = |id| {
    ///     let load = strategy.new_load();
    ///     load.set_ready(true);
    ///     let node = Arc::new(Node::builder("greeter", id, "127.0.0.1:4000").build()?);
    ///     Ok::<_, callsign_core::Error>(Member { node, load, handle: () })
    /// };
    /// let members = vec![member("a")?, member("b")?];
    /// let mut rng = fastrand::Rng::with_seed(1);
    /// let slate = Slate::new(&strategy, &Filters::default(), members, None, &mut rng);
    ///
    /// let (request, mut notes) = (PickRequest::default(), Notes::default());
    /// let picked = slate.pick_noting(&request, &mut rng, &mut notes)?;
    /// picked.member.load.set_ready(false);
    /// assert_eq!(slate.replay(&request, &notes), Ok(Some(picked.index)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Why it cannot be made again.
    pub fn replay(&self, request: &PickRequest<'_>, notes: &Notes) -> Result<Option<usize>, NoReplay> {
        if notes.is_cut {
            return Err(NoReplay::Cut);
        }
        if notes.is_single {
            return Err(NoReplay::NoView);
        }
        let plan = match request.filters {
            Some(filters) if !filters.is_empty() => self.views.get(filters).ok_or(NoReplay::Astray)?,
            _ => &self.all,
        };
        let mut showing = Showing { rng: Rng::with_seed(notes.seed), seen: &notes.seen, astray: false };
        let choices = self.choices(&mut showing);
        let found = plan.pick(request, choices, self.ramps, &mut showing);
        if showing.astray || !showing.seen.is_empty() {
            return Err(NoReplay::Astray);
        }
        Ok(found.map(|(candidate, _)| candidate.member as usize))
    }
}
