//! What came of the demo.

use std::time::Duration;

use serde::Serialize;

use super::{attempts::Attempts, frame::percent, script::Deeds, stage::Stage};
use crate::{
    output::{Paint, Render},
    units,
};

/// The end of the demo, as text and as data. Part of the interface.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    seconds: f64,
    calls: u64,
    failed: u64,
    /// The first failures, in words.
    failures: Vec<String>,
    /// Calls that took more than one attempt.
    retried: u64,
    calls_per_second: f64,
    p50_us: Option<u64>,
    p99_us: Option<u64>,
    killed: Option<Killed>,
    restarted: Option<Restarted>,
    nodes: Vec<Share>,
}

/// What the SIGKILL did.
#[derive(Debug, Serialize)]
struct Killed {
    node: String,
    /// Attempts at the node that began after it was killed.
    attempts_after: u64,
    /// When the last of them began, counted from the kill; `null` when there was none.
    last_attempt_after_ms: Option<f64>,
    /// When the registry had told the client, counted from the kill.
    seen_after_ms: Option<f64>,
}

/// What the graceful restart did.
#[derive(Debug, Serialize)]
struct Restarted {
    node: String,
    /// From SIGTERM to the end of the process: deregistered, drained, gone.
    drained_in_ms: f64,
    /// From SIGTERM to being called again.
    back_after_ms: Option<f64>,
}

/// One node's part of the load.
#[derive(Debug, Serialize)]
struct Share {
    id: String,
    version: String,
    calls: u64,
    share: f64,
}

// === impl Summary ===

impl Summary {
    /// Reads the counts off the stage; the demo ran for `elapsed`.
    pub(super) fn new(stage: &Stage, deeds: &Deeds, attempts: &Attempts, elapsed: Duration) -> Self {
        let totals = stage.tally().totals(tokio::time::Instant::now());
        let answered = totals.all.calls - totals.failed;
        let millis = |duration: Duration| (duration.as_secs_f64() * 1e6).round() / 1e3;
        let micros = |time: Option<Duration>| time.and_then(|time| u64::try_from(time.as_micros()).ok());
        let seconds = elapsed.as_secs_f64();
        Self {
            seconds: (seconds * 10.0).round() / 10.0,
            calls: totals.all.calls,
            failed: totals.failed,
            failures: totals.failures.clone(),
            retried: totals.retried,
            calls_per_second: (totals.all.calls as f64 / seconds.max(0.001)).round(),
            p50_us: micros(totals.all.p50),
            p99_us: micros(totals.all.p99),
            killed: deeds.killed.as_ref().map(|killed| {
                let (attempts_after, last) = attempts.found();
                Killed {
                    node: killed.id.clone(),
                    attempts_after,
                    last_attempt_after_ms: last.map(|last| millis(last.duration_since(killed.at))),
                    seen_after_ms: killed.seen.map(|seen| millis(seen.duration_since(killed.at))),
                }
            }),
            restarted: deeds.restarted.as_ref().map(|restarted| Restarted {
                node: restarted.id.clone(),
                drained_in_ms: millis(restarted.drained),
                back_after_ms: restarted.back.map(millis),
            }),
            nodes: stage
                .nodes()
                .into_iter()
                .map(|node| {
                    let calls = stage.tally().node(&node.id).calls;
                    let share = if answered == 0 { 0.0 } else { calls as f64 / answered as f64 };
                    Share { id: node.id, version: node.version, calls, share: (share * 1e4).round() / 1e4 }
                })
                .collect(),
        }
    }

    /// Whether the demo shows what it is meant to show.
    pub(super) fn is_good(&self) -> bool {
        self.failed == 0 && self.calls > 0
    }
}

impl Render for Summary {
    type Data = Self;

    fn data(&self) -> &Self {
        self
    }

    fn text(&self, _wide: bool, paint: Paint) -> Vec<String> {
        let time = |micros: Option<u64>| {
            micros.map_or_else(|| "-".into(), |us| units::short(Duration::from_micros(us)))
        };
        let ms = |millis: f64| units::short(Duration::from_secs_f64(millis / 1e3));
        let failed = format!("{} failed", units::thousands(self.failed));
        let mut lines = vec![format!(
            "{} {} in {} s, {} a second; {}",
            paint.bold("Calls    "),
            units::thousands(self.calls),
            self.seconds,
            units::thousands(self.calls_per_second as u64),
            if self.failed == 0 { paint.good(failed) } else { paint.error(failed) },
        )];
        lines.extend(self.failures.iter().map(|failure| format!("          {}", paint.bad(failure))));
        if let Some(Killed { node, attempts_after: _, last_attempt_after_ms, seen_after_ms }) = &self.killed {
            let last = match last_attempt_after_ms {
                Some(last) => format!("last attempt {} later", ms(*last)),
                None => "no attempt after it".to_owned(),
            };
            let seen = seen_after_ms.map(|seen| format!(", out of view in {}", ms(seen))).unwrap_or_default();
            lines.push(format!("{} {node} by SIGKILL: {last}{seen}", paint.bold("Killed   ")));
        }
        if let Some(Restarted { node, drained_in_ms, back_after_ms }) = &self.restarted {
            let back =
                back_after_ms.map(|back| format!(", called again after {}", ms(back))).unwrap_or_default();
            lines.push(format!(
                "{} {node}: drained in {}{back}",
                paint.bold("Restarted"),
                ms(*drained_in_ms)
            ));
        }
        lines.push(format!(
            "{} {} of {} calls, at another node",
            paint.bold("Retried  "),
            units::thousands(self.retried),
            units::thousands(self.calls)
        ));
        lines.push(format!(
            "{} p50 {}, p99 {}",
            paint.bold("Latency  "),
            time(self.p50_us),
            time(self.p99_us)
        ));
        let answered = self.calls - self.failed;
        let shares: Vec<_> =
            self.nodes.iter().map(|node| format!("{} {}", node.id, percent(node.calls, answered))).collect();
        lines.push(format!("{} {}", paint.bold("Spread   "), shares.join("  ")));
        lines
    }

    fn names(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.id.clone()).collect()
    }
}
