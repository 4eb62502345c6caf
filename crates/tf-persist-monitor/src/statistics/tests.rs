//! Figures of scipy 1.17, and of hand.

use super::*;

fn close(found: f64, expected: f64) {
    assert!((found - expected).abs() <= 1e-3 * expected.abs().max(1e-3), "{found} instead of {expected}");
}

#[test]
fn chi_squared_is_scipys() {
    // scipy.stats.chi2_contingency([[100, 200, 300], [150, 180, 270]], correction=False)
    let test = chi_squared(&[100, 200, 300], &[150, 180, 270]).unwrap();
    close(test.statistic, 12.631_578_947);
    close(test.p_value, 0.001_807_6);
    // The rare groups are one.
    let pooled = chi_squared(&[100, 200, 297, 1, 2], &[150, 180, 262, 3, 5]).unwrap();
    let by_hand = chi_squared(&[100, 200, 297, 3], &[150, 180, 262, 8]).unwrap();
    assert_eq!(pooled, by_hand);
    assert_eq!(chi_squared(&[5, 0], &[0, 0]), None);
    assert_eq!(chi_squared(&[5, 0], &[7, 0]).unwrap().p_value, 1.0);
}

#[test]
fn kolmogorov_smirnov_is_scipys() {
    // scipy.stats.kstwo.sf(d, n) for d, n of the effective sample size.
    for (d, n, p) in [(0.1, 100, 0.252_69), (0.05, 1000, 0.013_012), (0.2, 50, 0.031_439), (0.02, 5000, 0.036_139)] {
        // Two samples of 2 n have this effective size.
        let all: u64 = 2 * n;
        let moved = (d * all as f64).round() as u64;
        let test = kolmogorov_smirnov(&[all / 2, all / 2], &[all / 2 - moved, all / 2 + moved]).unwrap();
        close(test.statistic, d);
        assert!((test.p_value - p).abs() < 1e-3, "{d} {n}: {} instead of {p}", test.p_value);
    }
    assert_eq!(kolmogorov_smirnov(&[3, 4], &[6, 8]).unwrap().p_value, 1.0);
    assert_eq!(kolmogorov_smirnov(&[3, 4], &[0, 0]), None);
}

#[test]
fn divergences_are_as_defined() {
    // numpy: sum((q - p) * log(q / p)) with p = [.5, .5], q = [.25, .75]
    close(population_stability(&[50_000, 50_000], &[25_000, 75_000]).unwrap(), 0.274_653);
    // scipy.spatial.distance.jensenshannon([.5, .5], [.25, .75], base=2)
    close(jensen_shannon(&[2, 2], &[1, 3]).unwrap(), 0.220_896);
    assert_eq!(jensen_shannon(&[2, 0], &[0, 7]), Some(1.0));
    assert_eq!(population_stability(&[0, 0], &[1, 1]), None);
    // Groups that are empty in both change nothing.
    assert_eq!(population_stability(&[0, 5, 0], &[0, 7, 0]), Some(0.0));
    assert_eq!(population_stability(&[3, 0, 5], &[1, 0, 9]), population_stability(&[3, 5], &[1, 9]));
}

#[test]
fn holm_bounds_all_tests_together() {
    assert_eq!(holm(&[0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02]);
    assert_eq!(holm(&[0.6, 0.5]), [1.0, 1.0]);
    assert!(holm(&[]).is_empty());
}
