//! How much more load repeats make of failures.

use callsign_core::retry::RetryBudget;
use fastrand::Rng;

use super::{Findings, Study, table};
use crate::{
    clock::{Clock, SECOND},
    report::Chart,
};

pub(super) const STUDY: Study = Study {
    name: "retries",
    title: "How repeats multiply",
    source: include_str!("retries.rs"),
    about: "
A thousand calls a second for a minute, each of at most three attempts; an attempt fails with the chance given. How many attempts reach the
last layer for each call, if the caller alone repeats, and if each of three layers does?
",
    published: "
When everything fails, three attempts without a budget make three times the load, and three layers of them 27 times. The SRE book has 1.1
with a budget of a tenth for each client; layers multiply, so that three make 1.33. Callsign's default, a fifth of the calls and at least ten a second,
makes less than 1.2 of one layer at this rate, and a call says how often it was tried before, so that layers below need not repeat.
gRPC's throttle (A6: ten tokens, a tenth back for each success) stands still where the share of failures is 0.1 / 1.1 = 9.09 %. That point is where
failures take as many tokens as successes bring; above it hardly any repeat is made, while a budget by ratio goes on making its tenth.
",
    run,
};

const CALLS: u64 = 60_000;
const PER_SECOND: u64 = 1000;
const ATTEMPTS: u32 = 3;

/// What a row is called, and what allows its repeats.
type Kind = (&'static str, fn() -> Allowance);

/// What allows repeats.
enum Allowance {
    All,
    Budget(RetryBudget),
    Tokens(f64),
}

fn run() -> Findings {
    let mut findings = Findings::default();
    let kinds: [Kind; 4] = [
        ("no budget", || Allowance::All),
        ("a fifth, at least 10 a second (default)", || Allowance::Budget(RetryBudget::default())),
        ("a tenth", || Allowance::Budget(RetryBudget::new(0.1, 0).expect("a ratio within bounds"))),
        ("gRPC's throttle (A6)", || Allowance::Tokens(TOKENS_MAX)),
    ];
    let mut chart = Chart::lines("attempts a call", "failed attempts, %", "", false);
    let mut rows = Vec::new();
    for (name, allowance) in kinds {
        let times =
            |layers: usize, failing: f64| attempts((0..layers).map(|_| allowance()).collect(), failing);
        let shares = [0.01, 0.05, 0.08, 0.1, 0.2, 0.5, 1.0];
        let one: Vec<f64> = shares.iter().map(|share| times(1, *share)).collect();
        let three = times(3, 1.0);
        chart.add(name, shares.iter().zip(&one).map(|(share, times)| (share * 100.0, *times)).collect());
        let (all, all_of_three) = match name {
            "no budget" => (3.0, 27.0),
            "a tenth" => (1.1, 1.331),
            "gRPC's throttle (A6)" => (1.0, 1.0),
            _ => (1.2, 1.73),
        };
        findings.expect((one[6] / all - 1.0).abs() < 0.02, || format!("{name}: {} attempts a call", one[6]));
        findings.expect((three / all_of_three - 1.0).abs() < 0.05, || {
            format!("{name}: {three} after three layers")
        });
        let mut row = vec![name.to_owned()];
        row.extend(one.iter().map(|times| format!("{times:.3}")));
        row.push(format!("{three:.2}"));
        rows.push(row);
    }
    let threshold = throttle_threshold();
    findings.expect((threshold - 0.0909).abs() < 0.003, || format!("A6 throttles from {threshold} on"));
    let head =
        ["failed attempts", "1 %", "5 %", "8 %", "10 %", "20 %", "50 %", "100 %", "100 %, three layers"];
    findings.tables.push(table("", &head, rows));
    let rows = vec![vec![
        "gRPC's throttle (A6)".to_owned(),
        format!("{:.2} %", threshold * 100.0),
        "9.09 %".to_owned(),
    ]];
    findings.tables.push(table("", &["", "loses its tokens from", "by theory"], rows));
    findings.charts.push(chart);
    findings
}

/// Attempts that reach the last layer, for each call that comes to the first.
fn attempts(mut layers: Vec<Allowance>, failing: f64) -> f64 {
    let (clock, mut rng) = (Clock::new(), Rng::with_seed(1));
    let mut reached = 0;
    for call in 0..CALLS {
        let now = clock.instant(call * SECOND / PER_SECOND);
        let mut last = |rng: &mut Rng| {
            reached += 1;
            rng.f64() >= failing
        };
        through(&mut layers, now, &mut rng, &mut last);
    }
    f64::from(reached) / CALLS as f64
}

/// One call through all layers: each repeats what fails in those below. Whether it went well.
fn through(
    layers: &mut [Allowance],
    now: tokio::time::Instant,
    rng: &mut Rng,
    last: &mut dyn FnMut(&mut Rng) -> bool,
) -> bool {
    let Some((layer, below)) = layers.split_first_mut() else { return last(rng) };
    layer.deposit(now);
    for attempt in 1..=ATTEMPTS {
        let well = through(below, now, rng, last);
        layer.learn(well);
        if well {
            return true;
        }
        if attempt == ATTEMPTS || !layer.withdraw(now) {
            return false;
        }
    }
    false
}

/// From which share of failures on the throttle's tokens are below half of what it may have most of the time.
fn throttle_threshold() -> f64 {
    let is_throttled = |failing: f64| {
        let (mut rng, mut throttle) = (Rng::with_seed(1), Allowance::Tokens(TOKENS_MAX));
        let mut low = 0;
        for _ in 0..2_000_000 {
            throttle.learn(rng.f64() >= failing);
            low += u32::from(matches!(throttle, Allowance::Tokens(tokens) if tokens <= TOKENS_MAX / 2.0));
        }
        low > 1_000_000
    };
    let (mut from, mut to) = (0.0, 0.5);
    for _ in 0..12 {
        let middle = (from + to) / 2.0;
        if is_throttled(middle) { to = middle } else { from = middle }
    }
    (from + to) / 2.0
}

const TOKENS_MAX: f64 = 10.0;
const TOKENS_BACK: f64 = 0.1;

// === impl Allowance ===

impl Allowance {
    fn deposit(&mut self, now: tokio::time::Instant) {
        if let Self::Budget(budget) = self {
            budget.deposit(now);
        }
    }

    fn learn(&mut self, well: bool) {
        if let Self::Tokens(tokens) = self {
            *tokens = (*tokens + if well { TOKENS_BACK } else { -1.0 }).clamp(0.0, TOKENS_MAX);
        }
    }

    fn withdraw(&self, now: tokio::time::Instant) -> bool {
        match self {
            Self::All => true,
            Self::Budget(budget) => budget.withdraw(now),
            Self::Tokens(tokens) => *tokens > TOKENS_MAX / 2.0,
        }
    }
}
