//! Drawing candidates.

/// The most candidates that are compared for one pick; gRFC A48 has the same bound.
pub(super) const DRAWN_MAX: usize = 10;

/// Up to this many nodes a shuffle of all is cheaper than drawing until no index repeats.
const SHUFFLED_MAX: usize = 16;

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
pub(super) fn below(n: usize, word: u64) -> usize {
    (((word >> 32) * n as u64) >> 32) as usize
}

/// Two distinct uniform indices below `n`, which is at least 2: every ordered pair has the same chance.
pub(super) fn two(n: usize, rng: &mut fastrand::Rng) -> (usize, usize) {
    let word = rng.u64(..);
    let i = below(n, word);
    let j = below(n - 1, word << 32);
    (i, j + usize::from(j >= i))
}

/// `d` distinct uniform indices below `n`, in random order; `d` is at most `n` and [`DRAWN_MAX`].
pub(super) fn distinct(n: usize, d: usize, rng: &mut fastrand::Rng) -> [u32; DRAWN_MAX] {
    debug_assert!(d <= n && d <= DRAWN_MAX);
    let mut drawn = [0; DRAWN_MAX];
    if n <= SHUFFLED_MAX {
        let mut all: [u8; SHUFFLED_MAX] = std::array::from_fn(|i| i as u8);
        for i in 0..d {
            let j = i + below(n - i, rng.u64(..));
            all.swap(i, j);
            drawn[i] = u32::from(all[i]);
        }
        return drawn;
    }
    let mut count = 0;
    while count < d {
        let index = below(n, rng.u64(..)) as u32;
        if !drawn[..count].contains(&index) {
            drawn[count] = index;
            count += 1;
        }
    }
    drawn
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
    pub(super) fn draw(&self, rng: &mut fastrand::Rng) -> usize {
        let word = rng.u64(..);
        let index = below(self.0.len(), word);
        let column = self.0[index];
        if (word as u32) < column.own { index } else { column.other as usize }
    }
}

#[cfg(test)]
mod tests;
