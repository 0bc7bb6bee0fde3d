use super::*;

/// The statistic of Pearson's test that all outcomes have the same chance.
fn chi_square(counts: &[u64]) -> f64 {
    let expected = counts.iter().sum::<u64>() as f64 / counts.len() as f64;
    counts.iter().map(|count| (*count as f64 - expected).powi(2) / expected).sum()
}

/// Fails when the statistic is above its 99.9 % quantile; seeds are fixed, so a right sampler does not fail now and then.
#[track_caller]
fn assert_uniform(counts: &[u64]) {
    let freedom = (counts.len() - 1) as f64;
    // Wilson and Hilferty's approximation of the quantile, with 3.09 as that of the normal distribution.
    let spread = 2.0 / (9.0 * freedom);
    let bound = freedom * (1.0 - spread + 3.09 * spread.sqrt()).powi(3);
    let statistic = chi_square(counts);
    assert!(statistic < bound, "{statistic} is not below {bound}: {counts:?}");
}

fn counts_of_pairs(n: usize, mut pair: impl FnMut() -> (usize, usize)) -> Vec<u64> {
    let mut counts = vec![0; n * (n - 1)];
    for _ in 0..200_000 {
        let (i, j) = pair();
        assert!(i != j && i < n && j < n);
        counts[i * (n - 1) + j - usize::from(j > i)] += 1;
    }
    counts
}

#[test]
fn below_is_uniform_and_in_range() {
    let mut rng = fastrand::Rng::with_seed(1);
    for n in [1, 2, 3, 7, 100] {
        let mut counts = vec![0; n];
        (0..100_000).for_each(|_| counts[below(n, rng.u64(..))] += 1);
        if n > 1 {
            assert_uniform(&counts);
        }
        assert_eq!((below(n, 0), below(n, u64::MAX)), (0, n - 1));
    }
}

#[test]
fn two_are_distinct_and_every_ordered_pair_has_the_same_chance() {
    let mut rng = fastrand::Rng::with_seed(2);
    for n in [2, 3, 5, 16] {
        assert_uniform(&counts_of_pairs(n, || two(n, &mut rng)));
    }
}

#[test]
fn every_pair_of_indices_is_drawn_together_as_often_as_any_other() {
    let mut rng = fastrand::Rng::with_seed(3);
    for n in [9, 10, 12, 20] {
        let mut counts = vec![0_u64; n * n];
        for _ in 0..100_000 {
            let drawn = distinct::<8>(n, &mut rng);
            for a in drawn {
                for b in drawn {
                    counts[a.index() * n + b.index()] += 1;
                }
            }
        }
        let (singles, pairs): (Vec<_>, Vec<_>) =
            counts.iter().enumerate().partition(|(place, _)| place / n == place % n);
        let counts =
            |found: Vec<(usize, &u64)>| found.into_iter().map(|(_, count)| *count).collect::<Vec<_>>();
        // Drawing without putting back spreads less than independent draws, so the test is stricter than it says.
        assert_uniform(&counts(singles));
        assert_uniform(&counts(pairs));
    }
}

#[test]
fn all_that_are_drawn_are_distinct_and_in_range() {
    fn check<const D: usize>(n: usize, rng: &mut fastrand::Rng) {
        let mut drawn = distinct::<D>(n, rng).map(Drawn::index).to_vec();
        drawn.sort_unstable();
        drawn.dedup();
        assert_eq!(drawn.len(), D);
        assert!(drawn.iter().all(|index| *index < n));
    }
    let mut rng = fastrand::Rng::with_seed(4);
    for n in 8..300 {
        for _ in 0..100 {
            check::<3>(n, &mut rng);
            check::<8>(n, &mut rng);
        }
    }
}

#[test]
fn lots_do_not_depend_on_the_index() {
    let mut rng = fastrand::Rng::with_seed(6);
    let n = 10;
    let mut counts = vec![0_u64; n];
    for _ in 0..200_000 {
        let drawn = distinct::<8>(n, &mut rng);
        let luckiest = drawn.iter().min_by_key(|drawn| drawn.lot()).unwrap();
        assert!(luckiest.lot() < 1 << LOT_BITS);
        counts[luckiest.index()] += 1;
    }
    assert_uniform(&counts);
}

#[test]
fn aliases_are_drawn_in_proportion_to_their_weights() {
    let mut rng = fastrand::Rng::with_seed(5);
    for weights in
        [&[1.0][..], &[1.0, 3.0], &[5.0, 5.0, 5.0], &[0.01, 65535.0, 7.0, 7.0], &[1.0, 2.0, 3.0, 4.0, 10.0]]
    {
        let alias = Alias::new(weights);
        let total: f64 = weights.iter().sum();
        let mut counts = vec![0_u32; weights.len()];
        (0..200_000).for_each(|_| counts[alias.draw(&mut rng)] += 1);
        for (count, weight) in counts.iter().zip(weights) {
            let chance = weight / total;
            let deviation = (200_000.0 * chance * (1.0 - chance)).sqrt();
            let expected = 200_000.0 * chance;
            assert!((f64::from(*count) - expected).abs() <= 4.0 * deviation + 1.0, "{weights:?}: {counts:?}");
        }
    }
}
