//! What is known of one node: a machine of three states.
//!
//! ```text
//! ok ──outlier──► ejected ──time──► probing ──answered──► ok, with a share that grows
//!                    ▲                  │
//!                    └─────failed───────┘   for longer
//! ```

use std::time::Duration;

use tokio::time::Instant;

use super::{HealthConfig, Reason, Verdict};
use crate::select::Load;

/// By how much of itself an ejection is longer or shorter, by chance.
const JITTER: f64 = 0.2;

#[derive(Debug, Default)]
pub(super) struct Record {
    /// `None` while the node is gone.
    load: Option<Load>,
    gone: Option<Instant>,
    state: State,
    /// How many times longer than at first the last ejection was.
    multiplier: u32,
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) enum State {
    #[default]
    Ok,
    Ejected {
        reason: Reason,
        until: Instant,
    },
    Probing,
}

// === impl Record ===

impl Record {
    pub(super) fn load(&self) -> Option<&Load> {
        self.load.as_ref()
    }

    pub(super) fn state(&self) -> &State {
        &self.state
    }

    /// The node is here, with this load.
    pub(super) fn enter(&mut self, load: Load, config: &HealthConfig) {
        self.gone = None;
        if self.load.as_ref().is_some_and(|known| known.is_same(&load)) {
            return;
        }
        load.expect(config.consecutive, Duration::ZERO);
        match self.state {
            State::Ok => {}
            State::Ejected { .. } => load.eject(),
            State::Probing => load.probe(),
        }
        self.load = Some(load);
    }

    pub(super) fn leave(&mut self, now: Instant) {
        self.load = None;
        self.gone = Some(now);
    }

    pub(super) fn gone_for(&self, now: Instant) -> Duration {
        self.gone.map_or(Duration::ZERO, |gone| now.saturating_duration_since(gone))
    }

    /// What follows from the time, or from the outcome of a probe.
    pub(super) fn proceed(
        &mut self,
        config: &HealthConfig,
        now: Instant,
        rng: &mut fastrand::Rng,
    ) -> Option<Verdict> {
        let load = self.load.as_ref()?;
        match self.state {
            State::Ejected { until, .. } if until <= now => {
                load.probe();
                self.state = State::Probing;
                Some(Verdict::Probing)
            }
            State::Probing => {
                let counted = load.counted();
                if counted.failed > 0 {
                    return Some(self.eject(Reason::Probe, config, now, rng));
                }
                (counted.answered > 0).then(|| {
                    load.acquit();
                    load.ramp_up(config.base, Duration::ZERO, now);
                    self.state = State::Ok;
                    Verdict::Ok
                })
            }
            State::Ok | State::Ejected { .. } => None,
        }
    }

    pub(super) fn eject(
        &mut self,
        reason: Reason,
        config: &HealthConfig,
        now: Instant,
        rng: &mut fastrand::Rng,
    ) -> Verdict {
        self.multiplier = self.multiplier.saturating_add(1);
        let length = config.base.saturating_mul(self.multiplier).min(config.longest);
        // No longer than this is asked for, so there is nothing to gain from a higher multiplier.
        while self.multiplier > 1 && config.base.saturating_mul(self.multiplier - 1) >= config.longest {
            self.multiplier -= 1;
        }
        let until = now + length.mul_f64(1.0 + JITTER * (2.0 * rng.f64() - 1.0));
        self.shut_out(reason, until)
    }

    pub(super) fn blacklist(&mut self, until: Instant) -> Verdict {
        self.shut_out(Reason::Blacklisted, until)
    }

    fn shut_out(&mut self, reason: Reason, until: Instant) -> Verdict {
        if let Some(load) = &self.load {
            load.eject();
        }
        self.state = State::Ejected { reason, until };
        Verdict::Ejected { reason, until }
    }

    /// Starts from nothing. Whether there was a verdict.
    pub(super) fn reset(&mut self) -> bool {
        if let Some(load) = &self.load {
            load.acquit();
        }
        self.multiplier = 0;
        std::mem::take(&mut self.state) != State::Ok
    }

    /// Another interval begins. One in which the node was not ejected makes the next ejection shorter.
    pub(super) fn end_interval(&mut self, ejected: bool) {
        if self.state != State::Ok {
            return;
        }
        if let Some(load) = &self.load {
            load.take_counted();
        }
        if !ejected {
            self.multiplier = self.multiplier.saturating_sub(1);
        }
    }

    /// Whether it takes one of the places that there are for ejected nodes. One that is probing may be back there any moment.
    pub(super) fn counts_as_ejected(&self) -> bool {
        let by_hand = matches!(self.state, State::Ejected { reason: Reason::Blacklisted, .. });
        self.load.is_some() && self.state != State::Ok && !by_hand
    }

    pub(super) fn verdict(&self) -> Verdict {
        match self.state {
            State::Ok => Verdict::Ok,
            State::Ejected { reason, until } => Verdict::Ejected { reason, until },
            State::Probing => Verdict::Probing,
        }
    }
}
