use proptest::prelude::*;

use super::*;

const MODEL: Model = Model { floor: 1e-6, ..Model::DEFAULT };

/// The average as its definition says, with clock and exponential: the oracle.
#[derive(Debug, Clone, Copy)]
struct Direct {
    cost: f64,
    at: f64,
}

impl Direct {
    fn sample(&mut self, x: f64, now: f64) {
        let (decayed, gap) = (self.at(now), now - self.at);
        let weight = match x > decayed {
            true if self.cost == 0.0 => 1.0,
            true => (gap / 0.5).min(1.0),
            false => f64::max(1.0 - (-gap / 10.0).exp(), gap.min(0.01)),
        };
        self.cost = if x > decayed {
            decayed + (x - decayed) * weight
        } else {
            self.cost * (1.0 - weight) + x * weight
        };
        self.at = now;
    }

    fn at(&self, now: f64) -> f64 {
        self.cost * (-(now - self.at) / MODEL.decay).exp()
    }
}

/// Latencies in seconds with the gaps before them, of nodes that are hardly called and of busy ones.
fn history() -> impl Strategy<Value = Vec<(f64, f64)>> {
    prop::collection::vec((1e-4..10.0, prop_oneof![0.0..30.0, 0.0..0.5, 0.0..0.001]), 1..30)
}

/// The estimate, at the end, of a node that answers every `gap` for `span`, in seconds.
fn busy(gap: f64, span: f64, mut answer: impl FnMut() -> f64) -> f64 {
    let (mut now, mut estimate) = (0.0, Estimate::UNKNOWN);
    while now < span {
        estimate = MODEL.after(estimate, Sample::Answered(answer()), now);
        now += gap;
    }
    MODEL.project(estimate.g, now)
}

proptest! {
    #[test]
    fn the_logarithm_follows_the_definition(history in history(), later in 0.0..60.0, origin in -1e6..1e6) {
        let (mut now, mut ours) = (origin, Estimate::UNKNOWN);
        let mut direct = Direct { cost: 0.0, at: origin };
        for (x, gap) in history {
            now += gap;
            ours = MODEL.after(ours, Sample::Answered(x), now);
            direct.sample(x, now);
            let (ours, direct) = (MODEL.project(ours.g, now + later), direct.at(now + later));
            prop_assert!((ours / direct - 1.0).abs() < 1e-6, "{ours} against {direct}");
        }
    }

    #[test]
    fn what_has_not_been_heard_of_for_a_while_is_believed_at_once_if_it_is_worse(history in history(), x in 1e-4..10.0) {
        let (mut now, mut estimate) = (0.0, Estimate::UNKNOWN);
        for (x, gap) in history {
            now += gap + 0.5;
            estimate = MODEL.after(estimate, Sample::Answered(x), now);
            prop_assert!(MODEL.project(estimate.g, now) >= x * (1.0 - 1e-9));
        }
        let before = MODEL.project(estimate.g, now + 1.0);
        let lower_bound = MODEL.after(estimate, Sample::Abandoned(x), now + 1.0);
        prop_assert!((MODEL.project(lower_bound.g, now + 1.0) / before.max(x) - 1.0).abs() < 1e-9);
        let mut last = f64::INFINITY;
        for later in 0..100 {
            let projected = MODEL.project(estimate.g, now + f64::from(later));
            prop_assert!(projected < last);
            last = projected;
        }
    }

    #[test]
    fn a_fault_counts_at_once_however_busy_the_node_is(history in history(), x in 0.1..10.0, gap in 0.0..0.001) {
        let (mut now, mut estimate) = (0.0, Estimate::UNKNOWN);
        for (x, gap) in history {
            now += gap;
            estimate = MODEL.after(estimate, Sample::Answered(x), now);
        }
        now += gap;
        for fault in [Sample::Failed(x), Sample::Unanswered(x)] {
            prop_assert!(MODEL.project(MODEL.after(estimate, fault, now).g, now) >= x * (1.0 - 1e-9));
        }
        let unanswered = MODEL.after(estimate, Sample::Unanswered(x), now);
        prop_assert!(unanswered.g >= estimate.g, "it never lowers");
    }

    #[test]
    fn nothing_makes_an_estimate_that_is_not_a_number(
        steps in prop::collection::vec((any::<f64>(), 0..4_usize, -1e9..1e9), 1..40), inflight: u32,
    ) {
        let mut estimate = Estimate::UNKNOWN;
        for (x, kind, now) in steps {
            let x = if x.is_nan() { 0.0 } else { x };
            let kinds = [Sample::Answered, Sample::Failed, Sample::Unanswered, Sample::Abandoned];
            let sample = kinds[kind](x);
            for after in [MODEL.after(estimate, sample, now), MODEL.after_first(estimate, x, now)] {
                prop_assert!(after.g.is_finite() && after.at.is_finite(), "{after:?}");
                prop_assert!(!score(after.g, inflight).is_nan());
            }
            estimate = MODEL.after(estimate, sample, now);
        }
    }
}

/// A million random states: by the scores nodes stand in the order that the definition gives, but for rounding.
#[test]
fn scores_order_nodes_as_the_definition_does() {
    let mut rng = fastrand::Rng::with_seed(1);
    let mut told_apart = 0;
    for _ in 0..1_000_000 {
        let now = rng.f64() * 1e5;
        let mut one = || {
            let (cost, at, inflight) =
                ((rng.f64() * 14.0 - 9.0).exp(), now - rng.f64() * 60.0, rng.u32(0..400));
            let g = cost.ln() + at / MODEL.decay;
            let load = Direct { cost, at }.at(now) * (f64::from(inflight) + 1.0);
            (score(g, inflight), load)
        };
        let ((a, direct_a), (b, direct_b)) = (one(), one());
        if (direct_a / direct_b - 1.0).abs() > 1e-9 {
            told_apart += 1;
            assert_eq!(a < b, direct_a < direct_b, "{a} {b} {direct_a} {direct_b}");
        }
    }
    assert!(told_apart > 999_000);
}

#[test]
fn a_busy_node_is_taken_for_its_mean_and_not_for_its_worst_answer() {
    // Exponential around 5 ms, 20,000 a second: the worst of ten seconds is about twelve times the mean.
    let estimates = [1, 2, 3, 4, 5].map(|seed| {
        let mut rng = fastrand::Rng::with_seed(seed);
        busy(50e-6, 10.0, || -0.005 * (1.0 - rng.f64()).ln())
    });
    let (least, most) = (
        estimates.iter().fold(1.0, |a, b| f64::min(a, *b)),
        estimates.iter().fold(0.0, |a, b| f64::max(a, *b)),
    );
    assert!(least > 0.005 && most < 0.008, "{estimates:?}");
    assert!(most / least < 1.05, "equal nodes are worth the same: {estimates:?}");
}

#[test]
fn a_stall_counts_as_long_as_it_was_and_not_as_many_times_as_calls_were_waiting() {
    let mut estimate = Estimate::UNKNOWN;
    for n in 0..20_000 {
        estimate = MODEL.after(estimate, Sample::Answered(0.001), f64::from(n) * 50e-6);
    }
    // Nothing for 10 ms, then a hundred answers at once.
    let now = 1.0 + 0.01;
    for _ in 0..100 {
        estimate = MODEL.after(estimate, Sample::Answered(0.01), now);
    }
    let cost = MODEL.project(estimate.g, now);
    assert!((cost - 0.001 - 0.009 * 0.02).abs() < 0.0001, "{cost}");
}

#[test]
fn a_busy_node_s_estimate_follows_it_within_a_second_or_two() {
    let (mut answers, per_second) = (0, 1000);
    let cost = busy(0.001, 3.0, || {
        answers += 1;
        if answers > 2 * per_second { 0.1 } else { 0.01 }
    });
    assert!(cost > 0.08, "tenfold slower for a second: {cost}");
    answers = 0;
    let cost = busy(0.001, 4.0, || {
        answers += 1;
        if answers > 2 * per_second { 0.01 } else { 0.1 }
    });
    assert!(cost < 0.025, "well again for two: {cost}");
}

#[test]
fn the_table_holds_logarithms() {
    for q in 0..2000_u32 {
        assert!((ln(q) - f64::from(q + 1).ln()).abs() < 1e-13, "{q}");
    }
}

#[test]
fn an_unknown_node_is_tried_first_and_then_assumed_to_be_ordinary() {
    let (unknown, now) = (Estimate::UNKNOWN.g, 1e6);
    let known = |seconds| MODEL.after(Estimate::UNKNOWN, Sample::Answered(seconds), now).g;
    assert!(score(unknown, 0) < score(known(1e-6), 0));
    assert_eq!(score(unknown, 1), UNPROVEN);
    let assumed = |inflight| score_assuming(parts(unknown, inflight), now / MODEL.decay);
    assert!(assumed(1) < assumed(2));
    assert!(
        assumed(1) > score(known(0.05), 0) && assumed(1) < score(known(0.07), 0),
        "30 ms, and one call ahead"
    );
    assert_eq!(score_assuming(parts(known(0.5), 3), now), score(known(0.5), 3));
}

#[test]
fn the_first_good_answer_proves_the_node_but_does_not_exile_it() {
    let (model, now) = (Model::DEFAULT, 100.0);
    let first = model.after_first(Estimate::UNKNOWN, 0.5, now);
    assert!((model.project(first.g, now) - model.floor).abs() < 1e-9);
    let assumed = model.after(Estimate::UNKNOWN, Sample::Answered(0.05), now);
    for (answer, cost) in [(0.1, 0.1), (0.2, 0.2), (0.5, 0.2)] {
        let raised = model.after_first(assumed, answer, now);
        assert!((model.project(raised.g, now) - cost).abs() < 1e-9, "{answer}");
    }
    let lowered = model.after_first(assumed, 0.02, now);
    assert!((model.project(lowered.g, now) - 0.035).abs() < 1e-9);
    let second = model.after(first, Sample::Answered(0.5), now + 1.0);
    assert!((model.project(second.g, now + 1.0) - 0.5).abs() < 1e-9);
}
