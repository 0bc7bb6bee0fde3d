//! Who is worse than the others, the worst first.

use std::collections::BTreeMap;

use super::{HealthConfig, NodeKey, Reason, Record, State};
use crate::select::Load;

/// Nodes with enough calls that there must be for their rates to be compared. With fewer the worst of them cannot be two standard
/// deviations below the mean, however bad it is.
const COMPARED_MIN: usize = 5;
/// Calls of a node, in an interval, for its rate to be compared with others.
const RATE_CALLS_MIN: u32 = 100;
/// Calls of a node for its failures to count by themselves, and in a set so small that rates are not compared.
const SHARE_CALLS_MIN: u32 = 50;
const SHARE_CALLS_MIN_OF_FEW: u32 = 20;
/// How far below the mean a rate must be in any case.
const GAP_MIN: f64 = 0.05;

type Records = BTreeMap<NodeKey, Record>;

/// Those with too many failures in a row.
pub(super) fn by_streak(records: &Records, config: &HealthConfig) -> Vec<(NodeKey, Reason)> {
    let mut found: Vec<_> = judged(records)
        .map(|(key, load)| (load.streak(), key))
        .filter(|(streak, _)| *streak >= config.consecutive)
        .collect();
    found.sort_by_key(|(streak, _)| std::cmp::Reverse(*streak));
    let reason = |failures| Reason::Consecutive { failures };
    found.into_iter().map(|(streak, key)| (key.clone(), reason(streak))).collect()
}

/// Those whose calls in the interval went worse than others', or nearly all wrong.
pub(super) fn by_statistics(records: &Records, config: &HealthConfig) -> Vec<(NodeKey, Reason)> {
    let present = records.values().filter(|record| record.load().is_some()).count();
    let rates: Vec<_> = judged(records)
        .map(|(key, load)| {
            let counted = load.counted();
            let calls = counted.answered.saturating_add(counted.failed);
            (key, calls, f64::from(counted.answered) / f64::from(calls.max(1)))
        })
        .collect();
    let of_volume = |calls_min| rates.iter().filter(move |(_, calls, _)| *calls >= calls_min);

    let mut found: Vec<(f64, &NodeKey, Reason)> = Vec::new();
    let compared = of_volume(RATE_CALLS_MIN).count();
    if compared >= COMPARED_MIN {
        let mean = of_volume(RATE_CALLS_MIN).map(|(.., rate)| rate).sum::<f64>() / compared as f64;
        let squares = of_volume(RATE_CALLS_MIN).map(|(.., rate)| (rate - mean).powi(2)).sum::<f64>();
        let least = (mean - config.deviations * (squares / compared as f64).sqrt()).min(mean - GAP_MIN);
        let outliers = of_volume(RATE_CALLS_MIN).filter(|(.., rate)| *rate < least);
        found.extend(outliers.map(|&(key, _, rate)| (rate, key, Reason::SuccessRate { rate, mean })));
    }
    let calls_min = if present < COMPARED_MIN { SHARE_CALLS_MIN_OF_FEW } else { SHARE_CALLS_MIN };
    if present < COMPARED_MIN || of_volume(calls_min).count() >= COMPARED_MIN {
        for &(key, _, rate) in of_volume(calls_min).filter(|(.., rate)| 1.0 - rate > config.failed_share) {
            if !found.iter().any(|(_, known, _)| *known == key) {
                found.push((rate, key, Reason::FailedShare { share: 1.0 - rate }));
            }
        }
    }
    found.sort_by(|a, b| a.0.total_cmp(&b.0));
    found.into_iter().map(|(_, key, reason)| (key.clone(), reason)).collect()
}

/// The nodes that are here and not ejected.
fn judged(records: &Records) -> impl Iterator<Item = (&NodeKey, &Load)> {
    let ok = records.iter().filter(|(_, record)| *record.state() == State::Ok);
    ok.filter_map(|(key, record)| Some((key, record.load()?)))
}
