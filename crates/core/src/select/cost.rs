//! What a call to a node is expected to cost: a moving average of latency, the more sensitive to peaks the less is known, and
//! kept as a logarithm.
//!
//! The average `c` decays with time constant `τ`, so its value at time `t` is `c·exp(−(t−t₀)/τ)`. With `g = ln c + t₀/τ` that is
//! `exp(g)·exp(−t/τ)`, and the last factor is the same for every node. To compare nodes it is enough to compare their `g`: a
//! pick needs neither the clock nor an exponential, and reading an estimate writes nothing.
//!
//! The peak EWMA of Finagle takes a sample above the estimate for the truth at once, and lets one below pull it down with the pace
//! of `τ`. That is right for a node that answers now and then: its last bad answer is the best that is known of it. A node that
//! answers ten thousand calls a second would be judged by the worst of the last hundred thousand, which is chance, and of nodes
//! that are equal each would get another share. So a sample weighs as much as the time since the one before:
//!
//! | a sample `Δ` after the one before | weighs |
//! |---|---|
//! | worse than the estimate | `Δ/R`, at most 1, where `R` is half a second, or `τ/20` if that is less |
//! | better | `1 − exp(−Δ/τ)`; or `Δ/2R`, at most 1 %, if that is more |
//!
//! For a busy node both are small and near each other, and the estimate is a mean over about the last second, a little above the
//! middle. A node that stops answering has no samples until it answers again, late: then `Δ` is long, and the one late answer
//! counts in full. It also counts as long as the node did not answer, and not as many times as calls were waiting, since these
//! answers come at once, with no time in between. That a call has failed, or was not answered by its deadline, counts at once
//! however busy the node is.

use std::{hint::select_unpredictable, sync::OnceLock, time::Duration};

use tokio::time::Instant;

/// No sample is taken for longer than this; a longer one says no more.
const SAMPLE_MAX: Duration = Duration::from_secs(300);

/// The most that `R` is, in seconds: from this far apart on, worse samples are believed at once.
const RISE_MAX: f64 = 0.5;

/// How many samples an estimate remembers: more if they came within `2R`, fewer if they took longer than `τ`.
const SAMPLES: f64 = 100.0;

/// The first good answer makes a node cost at most so many times what was assumed of it.
const FIRST_MOST: f64 = 4.0;

/// Queue lengths whose logarithm is looked up.
const LN_TABLE: usize = 256;

/// What a call to an unknown node is assumed to cost, in seconds; linkerd assumes as much.
const ASSUMED: f64 = 0.03;

/// Below every score in this process's life, and not so far out that a difference of a millionth is lost.
const UNTRIED: f64 = -1e6;

/// No score but a mark: to be compared with [`score_assuming`].
pub(super) const UNPROVEN: f64 = f64::MAX;

/// Natural logarithms of 1, 2, 3 ...
static LN: [f64; LN_TABLE] = ln_table();

/// The settings of the average.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Model {
    /// `τ`, in seconds.
    pub(super) decay: f64,
    /// The sample that a failed call counts as at least, in seconds.
    pub(super) error_charge: f64,
    /// Estimates below this, in seconds, are not told apart.
    pub(super) floor: f64,
}

/// `g` and the time of the last sample: the whole state of one node's average.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Estimate {
    /// [`UNKNOWN`](Self::UNKNOWN) before the first sample.
    pub(super) g: f64,
    /// In seconds, see [`seconds`].
    pub(super) at: f64,
}

/// One observation, and what it may do to the estimate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Sample {
    /// A call was answered after this long.
    Answered(f64),
    /// A call failed, and is charged with this.
    Failed(f64),
    /// A call was not answered by its deadline, which was this long; it may raise the estimate but never lower it.
    Unanswered(f64),
    /// After this long the caller lost interest; it may raise the estimate but never lower it.
    Abandoned(f64),
}

// === impl Model ===

impl Model {
    pub(super) const DEFAULT: Self = Self { decay: 10.0, error_charge: 5.0, floor: 0.001 };

    /// The estimate after `sample` at time `now`.
    pub(super) fn after(&self, before: Estimate, sample: Sample, now: f64) -> Estimate {
        let x = sample.seconds().clamp(self.floor, SAMPLE_MAX.as_secs_f64());
        let scaled_now = now / self.decay;
        // The bound matters only to a clock that went far back.
        let current = (before.g - scaled_now).exp().min(SAMPLE_MAX.as_secs_f64());
        let gap = (now - before.at).max(0.0);
        let cost = if x > current {
            let at_once = before.g == Estimate::UNKNOWN.g || sample.is_fault();
            let weight = if at_once { 1.0 } else { (gap / self.rise()).min(1.0) };
            current + (x - current) * weight
        } else if sample.may_lower() {
            // `current` is `c` decayed over the gap, so the rest of the weight belongs to the sample.
            let decayed = (-gap / self.decay).exp();
            let busy = (gap / (2.0 * self.rise())).min(1.0 / SAMPLES);
            match 1.0 - decayed {
                rest if rest >= busy => current + x * rest,
                _ => current / decayed * (1.0 - busy) + x * busy,
            }
        } else {
            return before;
        };
        Estimate { g: cost.ln() + scaled_now, at: now }
    }

    /// The estimate after the first call that a node has answered well, of which until then there was an assumption.
    ///
    /// Such a call may have paid for cold caches and a cold connection: it proves that the node works, but must not send it into
    /// exile. A bad answer is not passed over either, since all who do not know the node assume the same of it, and come at once if it is too
    /// little: with a call in half a minute each, it would take them that long to learn from a second answer what the first has said. A good one counts half: it may be luck, and the clients that had it would all stay.
    pub(super) fn after_first(&self, before: Estimate, seconds: f64, now: f64) -> Estimate {
        let scaled_now = now / self.decay;
        let assumed = (before.g - scaled_now).exp().min(SAMPLE_MAX.as_secs_f64());
        let believed =
            if seconds < assumed { (seconds + assumed) / 2.0 } else { seconds.min(assumed * FIRST_MOST) };
        let x = believed.clamp(self.floor, SAMPLE_MAX.as_secs_f64());
        Estimate { g: x.ln() + scaled_now, at: now }
    }

    /// `R`, in seconds.
    fn rise(&self) -> f64 {
        (self.decay / 20.0).min(RISE_MAX)
    }

    /// An estimate's `g` in seconds, at time `now`.
    pub(super) fn project(&self, g: f64, now: f64) -> f64 {
        (g - now / self.decay).exp()
    }
}

// === impl Sample ===

impl Sample {
    fn seconds(self) -> f64 {
        match self {
            Self::Answered(seconds)
            | Self::Failed(seconds)
            | Self::Unanswered(seconds)
            | Self::Abandoned(seconds) => seconds,
        }
    }

    /// Whether it is the node's fault, and not a matter of chance.
    fn is_fault(self) -> bool {
        matches!(self, Self::Failed(_) | Self::Unanswered(_))
    }

    /// Whether it says how long the node takes, and not only how long at least.
    fn may_lower(self) -> bool {
        matches!(self, Self::Answered(_) | Self::Failed(_))
    }
}

// === impl Estimate ===

impl Estimate {
    pub(super) const UNKNOWN: Self = Self { g: f64::NEG_INFINITY, at: 0.0 };
}

/// What one more call costs on top of `inflight`, in two parts to be added up: that of the node, and that of its calls. Only
/// differences mean anything.
///
/// A node without a sample is worth one call at once, to learn about it. What a second one would cost is [`UNPROVEN`].
pub(super) fn parts(g: f64, inflight: u32) -> (f64, f64) {
    let queue = ln(inflight);
    if g == f64::NEG_INFINITY {
        return (if inflight == 0 { UNTRIED } else { UNPROVEN }, queue);
    }
    (g, queue)
}

/// The same without a branch, for a node that has a sample and not too many calls; of others the first part is `-∞`.
#[inline]
pub(super) fn quick_parts(g: f64, inflight: u32) -> (f64, f64) {
    let few = (inflight as usize) < LN_TABLE;
    let queue = LN[(inflight as usize) % LN_TABLE];
    (select_unpredictable(few, g, f64::NEG_INFINITY), queue)
}

/// Expected cost of one more call on top of `inflight`: only the order of these values means anything.
pub(super) fn score(g: f64, inflight: u32) -> f64 {
    match parts(g, inflight) {
        (UNPROVEN, _) => UNPROVEN,
        (node, queue) => node + queue,
    }
}

/// As [`score`] from its [`parts`], with the unproven assumed to cost as much as any unknown node, at the `time` given in units of the
/// decay.
pub(super) fn score_assuming((node, queue): (f64, f64), time: f64) -> f64 {
    match node {
        UNPROVEN => ASSUMED.ln() + time + queue,
        known => known + queue,
    }
}

/// `now` as seconds since `origin`, or else since the first time that this process asked; only differences matter, and earlier times
/// are negative.
pub(super) fn seconds(origin: Option<Instant>, now: Instant) -> f64 {
    static PROCESS: OnceLock<Instant> = OnceLock::new();
    let origin = origin.unwrap_or_else(|| *PROCESS.get_or_init(|| now));
    match now.checked_duration_since(origin) {
        Some(after) => after.as_secs_f64(),
        None => -origin.duration_since(now).as_secs_f64(),
    }
}

/// `ln(q + 1)`.
fn ln(q: u32) -> f64 {
    match LN.get(q as usize) {
        Some(ln) => *ln,
        None => (f64::from(q) + 1.0).ln(),
    }
}

/// Sums `ln((k+1)/k) = 2·atanh(1/(2k+1))`, whose series converges fast for every `k` but the first.
const fn ln_table() -> [f64; LN_TABLE] {
    let mut table = [0.0; LN_TABLE];
    table[1] = std::f64::consts::LN_2;
    let mut k = 2;
    while k < LN_TABLE {
        let x = 1.0 / (2 * k + 1) as f64;
        let square = x * x;
        let (mut term, mut sum, mut n) = (x, 0.0, 1);
        while n < 20 {
            sum += term / n as f64;
            term *= square;
            n += 2;
        }
        table[k] = table[k - 1] + 2.0 * sum;
        k += 1;
    }
    table
}

#[cfg(test)]
mod tests;
