//! Who is there when a pick is made: nobody, one who notes what it goes by, or one who shows it that again.
//!
//! A pick goes by its slate and its request, which do not change, by chance, and by what it sees of a world that does: the flags,
//! costs and calls of nodes, whose turn it is, which node has answered a probe. All of that it reads through its witness. So what was
//! seen can be noted, and be shown to the same pick again long afterwards: it then comes to the same node.
//!
//! Without a witness, that is with a plain [`Rng`], all of this is not there once it is compiled.

use fastrand::Rng;

use super::{Look, Notes, view::Candidate};

/// Where a pick has its chance and its sight from.
pub(super) trait Witness {
    fn rng(&mut self) -> &mut Rng;

    /// What `look` sees. It may change something by looking, such as whose turn it is next; a pick that is made again does not run it.
    fn see<S: Sight>(&mut self, look: impl FnOnce() -> S) -> S;

    /// The candidate's flags.
    #[inline(always)]
    fn flags(&mut self, candidate: &Candidate) -> u8 {
        self.see(|| candidate.load.flags())
    }

    /// Its calls in flight.
    #[inline(always)]
    fn inflight(&mut self, candidate: &Candidate) -> u32 {
        self.see(|| candidate.load.about_inflight())
    }

    /// What a call to it costs, as [`Estimate::g`](super::cost::Estimate::g).
    #[inline(always)]
    fn cost(&mut self, candidate: &Candidate) -> f64 {
        self.see(|| candidate.load.g())
    }

    /// Calls in flight and flags, in one look.
    #[inline(always)]
    fn calls(&mut self, candidate: &Candidate) -> (u32, u8) {
        self.see(|| (candidate.load.about_inflight(), candidate.load.flags()))
    }

    /// Cost, calls in flight and flags, in one look.
    #[inline(always)]
    fn all(&mut self, candidate: &Candidate) -> (f64, (u32, u8)) {
        self.see(|| (candidate.load.g(), (candidate.load.about_inflight(), candidate.load.flags())))
    }
}

/// Something seen, as bytes.
pub(super) trait Sight: Sized {
    type Bytes: AsRef<[u8]> + AsMut<[u8]> + Default;

    fn bytes(&self) -> Self::Bytes;
    fn of(bytes: Self::Bytes) -> Self;
}

/// Notes what is seen.
pub(super) struct Noting<'a> {
    pub(super) rng: &'a mut Rng,
    pub(super) notes: &'a mut Notes,
}

/// Shows what was noted, and keeps what is said of each node.
pub(super) struct Showing<'a> {
    rng: Rng,
    seen: &'a [u8],
    /// The pick has looked for more than there is, and was shown nothings from there on: it is not the one that was noted. It ends
    /// all the same, since no part of a pick looks until it likes what it sees.
    astray: bool,
    looks: Vec<Look>,
}

// === impl Witness ===

/// Nobody is there.
impl Witness for Rng {
    #[inline(always)]
    fn rng(&mut self) -> &mut Rng {
        self
    }

    #[inline(always)]
    fn see<S: Sight>(&mut self, look: impl FnOnce() -> S) -> S {
        look()
    }
}

impl Witness for Noting<'_> {
    fn rng(&mut self) -> &mut Rng {
        self.rng
    }

    #[inline(always)]
    fn see<S: Sight>(&mut self, look: impl FnOnce() -> S) -> S {
        let sight = look();
        self.notes.add(sight.bytes().as_ref());
        sight
    }
}

impl Witness for Showing<'_> {
    fn rng(&mut self) -> &mut Rng {
        &mut self.rng
    }

    fn see<S: Sight>(&mut self, _: impl FnOnce() -> S) -> S {
        let mut bytes = S::Bytes::default();
        match self.seen.split_at_checked(bytes.as_ref().len()) {
            Some((shown, rest)) => {
                bytes.as_mut().copy_from_slice(shown);
                self.seen = rest;
            }
            None => self.astray = true,
        }
        S::of(bytes)
    }

    fn flags(&mut self, candidate: &Candidate) -> u8 {
        let flags = self.see(|| 0);
        self.look(candidate).see_flags(flags, candidate);
        flags
    }

    fn inflight(&mut self, candidate: &Candidate) -> u32 {
        let inflight = self.see(|| 0);
        self.look(candidate).see_inflight(inflight, candidate);
        inflight
    }

    fn cost(&mut self, candidate: &Candidate) -> f64 {
        let cost = self.see(|| 0.0);
        self.look(candidate).see_cost(cost);
        cost
    }

    fn calls(&mut self, candidate: &Candidate) -> (u32, u8) {
        (self.inflight(candidate), self.flags(candidate))
    }

    fn all(&mut self, candidate: &Candidate) -> (f64, (u32, u8)) {
        (self.cost(candidate), self.calls(candidate))
    }
}

// === impl Showing ===

impl<'a> Showing<'a> {
    pub(super) fn new(rng: Rng, seen: &'a [u8]) -> Self {
        Self { rng, seen, astray: false, looks: Vec::new() }
    }

    /// What was said of each node that was looked at; none if the pick was not the one that was noted.
    pub(super) fn end(self) -> Option<Vec<Look>> {
        (!self.astray && self.seen.is_empty()).then_some(self.looks)
    }

    /// The look at a candidate. A pick looks at few, if the notes have all of it.
    fn look(&mut self, candidate: &Candidate) -> &mut Look {
        let known = self.looks.iter().position(|look| look.member == candidate.member as usize);
        let index = known.unwrap_or_else(|| {
            self.looks.push(Look::new(candidate));
            self.looks.len() - 1
        });
        &mut self.looks[index]
    }
}

// === impl Sight ===

macro_rules! sight {
    ($($number:ty),*) => {$(
        impl Sight for $number {
            type Bytes = [u8; size_of::<$number>()];

            fn bytes(&self) -> Self::Bytes {
                self.to_le_bytes()
            }

            fn of(bytes: Self::Bytes) -> Self {
                Self::from_le_bytes(bytes)
            }
        }
    )*};
}

sight!(u8, u32, u64, f64);

/// As the one and then the other.
impl Sight for (u32, u8) {
    type Bytes = [u8; 5];

    #[inline(always)]
    fn bytes(&self) -> Self::Bytes {
        let [a, b, c, d] = self.0.to_le_bytes();
        [a, b, c, d, self.1]
    }

    fn of([a, b, c, d, last]: Self::Bytes) -> Self {
        (u32::from_le_bytes([a, b, c, d]), last)
    }
}

/// As the one and then the other.
impl Sight for (f64, (u32, u8)) {
    type Bytes = [u8; 13];

    #[inline(always)]
    fn bytes(&self) -> Self::Bytes {
        let mut bytes = [0; 13];
        bytes[..8].copy_from_slice(&self.0.to_le_bytes());
        bytes[8..].copy_from_slice(&self.1.bytes());
        bytes
    }

    fn of(bytes: Self::Bytes) -> Self {
        let [a, b, c, d, e, f, g, h, calls @ ..] = bytes;
        (f64::from_le_bytes([a, b, c, d, e, f, g, h]), <(u32, u8)>::of(calls))
    }
}

/// A position, or none.
impl Sight for Option<usize> {
    type Bytes = [u8; 4];

    fn bytes(&self) -> Self::Bytes {
        self.and_then(|position| u32::try_from(position).ok()).unwrap_or(u32::MAX).to_le_bytes()
    }

    fn of(bytes: Self::Bytes) -> Self {
        Some(u32::from_le_bytes(bytes))
            .filter(|position| *position != u32::MAX)
            .map(|position| position as usize)
    }
}

/// Something is done, and there is nothing to be seen.
impl Sight for () {
    type Bytes = [u8; 0];

    fn bytes(&self) -> Self::Bytes {
        []
    }

    fn of([]: Self::Bytes) -> Self {}
}
