//! Drawing candidates.

/// A lot has so many bits.
pub(super) const LOT_BITS: u32 = 16;

/// An index, and a lot to decide ties by.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Drawn {
    index: u32,
    lot: u32,
}

/// Weighted drawing with one random number, after Walker and Vose.
#[derive(Debug)]
pub(super) struct Alias(Box<[Column]>);

/// A share of one index, and the index that has the rest.
#[derive(Debug, Clone, Copy)]
struct Column {
    /// Of 2³².
    own: u32,
    other: u32,
}

/// A uniform index below `n`, from the upper half of a random word.
#[inline]
pub(super) fn below(n: usize, word: u64) -> usize {
    (((word >> 32) * n as u64) >> 32) as usize
}

/// Two distinct uniform indices below `n`, which is at least 2: every ordered pair has the same chance.
#[inline]
pub(super) fn two(n: usize, rng: &mut fastrand::Rng) -> (usize, usize) {
    let word = rng.u64(..);
    let i = below(n, word);
    let j = below(n - 1, word << 32);
    (i, j + usize::from(j >= i))
}

/// A uniform set of `D` distinct indices below `n`, which is at least `D`. Their order is not random; the lots are, and decide
/// between candidates that are as good as each other.
///
/// This is Floyd's sampling: of the indices up to `last` draw one, and if it has been drawn before, `last` has not. Comparing
/// with all that were drawn, even when one is known to be the same, is cheaper than a branch that cannot be foreseen.
#[inline]
pub(super) fn distinct<const D: usize>(n: usize, rng: &mut fastrand::Rng) -> [Drawn; D] {
    debug_assert!(D <= n);
    let mut drawn = [Drawn::default(); D];
    let mut word = 0;
    for place in 0..D {
        word = if place % 2 == 0 { rng.u64(..) } else { word << 32 };
        let last = n - D + place;
        let index = below(last + 1, word) as u32;
        let repeated = drawn[..place].iter().fold(false, |found, earlier| found | (earlier.index == index));
        // The index comes from the upper bits of the half word, the lot from its lower ones.
        let lot = (word >> 32) as u32 % (1 << LOT_BITS);
        drawn[place] = Drawn { index: if repeated { last as u32 } else { index }, lot };
    }
    drawn
}

// === impl Drawn ===

impl Drawn {
    #[inline]
    pub(super) fn index(self) -> usize {
        self.index as usize
    }

    /// Below 2^[`LOT_BITS`].
    #[inline]
    pub(super) fn lot(self) -> u64 {
        u64::from(self.lot)
    }

    /// With the lot that loses to none.
    #[inline]
    pub(super) fn first(index: usize) -> Self {
        Self { index: index as u32, lot: 0 }
    }
}

// === impl Alias ===

impl Alias {
    /// A table over positive, finite weights.
    pub(super) fn new(weights: &[f64]) -> Self {
        let n = weights.len();
        let scale = n as f64 / weights.iter().sum::<f64>();
        let mut share: Vec<f64> = weights.iter().map(|weight| weight * scale).collect();
        let mut columns: Vec<_> = (0..n as u32).map(|other| Column { own: u32::MAX, other }).collect();
        let (mut small, mut large): (Vec<_>, Vec<_>) = (0..n).partition(|i| share[*i] < 1.0);
        while let (Some(s), Some(&l)) = (small.pop(), large.last()) {
            columns[s] = Column { own: (share[s] * 4_294_967_296.0) as u32, other: l as u32 };
            share[l] -= 1.0 - share[s];
            if share[l] < 1.0 {
                large.pop();
                small.push(l);
            }
        }
        Self(columns.into())
    }

    /// An index, with a chance in proportion to its weight.
    #[inline]
    pub(super) fn draw(&self, rng: &mut fastrand::Rng) -> usize {
        let word = rng.u64(..);
        let index = below(self.0.len(), word);
        let column = self.0[index];
        if (word as u32) < column.own { index } else { column.other as usize }
    }
}

#[cfg(test)]
mod tests;
