//! From the weights that nodes publish to shares of the calls.

/// The weight of each node, in the order given; `None` is a node that gets no calls.
///
/// A node without a weight counts as the mean of those with one above zero. Zero means no calls, unless every node says so: then
/// nobody meant it, and all count the same.
pub(super) fn effective(published: &[Option<u16>]) -> Vec<Option<f64>> {
    if published.iter().all(|weight| *weight == Some(0)) {
        return vec![Some(1.0); published.len()];
    }
    let positive = || published.iter().flatten().filter(|weight| **weight > 0);
    let sum: f64 = positive().map(|weight| f64::from(*weight)).sum();
    let mean = if sum > 0.0 { sum / positive().count() as f64 } else { 1.0 };
    published
        .iter()
        .map(|weight| match weight {
            Some(0) => None,
            Some(weight) => Some(f64::from(*weight)),
            None => Some(mean),
        })
        .collect()
}

/// Puts the weights that nodes are believed to have in place of those that they publish, but for zero. One that is not known is
/// the mean of the known; a single one that is known can be compared with nothing.
pub(super) fn believe(shares: &mut [Option<f64>], reported: impl Iterator<Item = Option<f64>>) {
    let reported: Vec<Option<f64>> = reported.collect();
    let known: Vec<f64> =
        shares.iter().zip(&reported).filter_map(|(share, reported)| share.and(*reported)).collect();
    if known.len() < 2 {
        return;
    }
    let mean = known.iter().sum::<f64>() / known.len() as f64;
    for (share, reported) in shares.iter_mut().zip(reported) {
        *share = share.map(|_| reported.unwrap_or(mean));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_is_the_mean_of_the_known_and_zero_is_none_unless_all_are() {
        for (published, shares) in [
            (vec![None, Some(2), Some(4)], vec![Some(3.0), Some(2.0), Some(4.0)]),
            (vec![None, None], vec![Some(1.0), Some(1.0)]),
            (vec![Some(0), Some(0), Some(0)], vec![Some(1.0), Some(1.0), Some(1.0)]),
            (vec![Some(0), Some(1)], vec![None, Some(1.0)]),
            (vec![Some(0), None], vec![None, Some(1.0)]),
            (vec![Some(0), None, Some(6)], vec![None, Some(6.0), Some(6.0)]),
            (vec![Some(65535)], vec![Some(65535.0)]),
            (vec![], vec![]),
        ] {
            assert_eq!(effective(&published), shares, "{published:?}");
        }
    }
}
