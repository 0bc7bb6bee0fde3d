use proptest::prelude::*;

use super::*;

fn stride(weights: &[f64], start: u64) -> Stride {
    Stride { weights: scale(weights), count: Counter(AtomicU64::new(start)) }
}

fn next(stride: &Stride) -> usize {
    stride.next(&mut fastrand::Rng::with_seed(1)).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn after_any_number_of_rounds_each_was_taken_as_often_as_its_weight_says(
        weights in prop::collection::vec(1u16..1000, 1..12), start in 0u32..1_000_000, rounds in 1u64..3000,
    ) {
        let weights: Vec<f64> = weights.into_iter().map(f64::from).collect();
        let count = weights.len() as u64;
        let start = u64::from(start) / count * count;
        let stride = stride(&weights, start);
        let mut taken = vec![0_u64; weights.len()];
        loop {
            let index = next(&stride);
            if stride.counted() > start + rounds * count {
                break;
            }
            taken[index] += 1;
        }
        for (taken, weight) in taken.iter().zip(&*stride.weights) {
            let share = u64::from(*weight) as f64 * rounds as f64 / WEIGHT_MAX as f64;
            prop_assert!((*taken as f64 - share).abs() <= 1.0, "{taken} of {share}");
        }
    }

    #[test]
    fn a_pick_never_tries_for_more_than_two_rounds(
        weights in prop::collection::vec(1u16.., 1..50), start: u32,
    ) {
        let weights: Vec<f64> = weights.into_iter().map(f64::from).collect();
        let stride = stride(&weights, u64::from(start));
        for _ in 0..200 {
            let before = stride.counted();
            next(&stride);
            prop_assert!(stride.counted() - before <= 2 * weights.len() as u64);
        }
    }
}

#[test]
fn one_huge_weight_keeps_the_tries_few() {
    let mut weights = vec![1.0; 100];
    weights[0] = 1e6;
    let stride = stride(&weights, 0);
    let of_it = (0..10_000).filter(|_| next(&stride) == 0).count();
    let tries = stride.counted() as f64 / 10_000.0;
    assert!(tries <= MOST_OF_MEAN + 0.1, "{tries}");
    assert!(of_it.abs_diff(1000) < 50, "{of_it}");
}

#[test]
fn calls_to_one_node_are_spread_not_bunched() {
    let stride = stride(&[5.0, 1.0, 1.0], 0);
    let taken: Vec<_> = (0..700).map(|_| next(&stride)).collect();
    // Five of seven cannot be taken one at a time, but never six in a row.
    let longest = taken.chunk_by(|a, b| a == b).filter(|run| run[0] == 0).map(<[_]>::len).max();
    assert!(longest.is_some_and(|longest| longest <= 5), "{longest:?}");
}

#[test]
fn nodes_of_one_weight_are_not_all_taken_in_the_same_rounds() {
    let mut weights = vec![1.0; 9];
    weights[0] = 10.0;
    let stride = stride(&weights, 0);
    let taken: Vec<_> = (0..1900).map(|_| next(&stride)).collect();
    // Nine of nineteen calls go to the light ones. In step they would come nine at a time.
    let longest =
        taken.chunk_by(|a, b| (*a == 0) == (*b == 0)).filter(|run| run[0] != 0).map(<[_]>::len).max();
    assert!(longest.is_some_and(|longest| longest < 8), "{longest:?}");
}
