//! Bins, sums and categories.

use std::sync::Arc;

use super::*;

#[test]
fn a_bin_ends_at_its_edge() {
    let edges = Edges::new(vec![-1.0, 0.0, 0.5, 10.0]).unwrap();
    let bins = [-2.0, -1.0, -0.5, 0.0, 0.25, 0.5, 0.75, 10.0, 11.0, f64::INFINITY].map(|value| edges.bin(value));
    assert_eq!(bins, [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]);
    assert_eq!(edges.bin(f64::NEG_INFINITY), 0);
}

#[test]
fn the_table_finds_what_a_search_finds() {
    let mut state = 7_u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    for scale in [1.0, 1e-300, 1e300, 1e9] {
        let mut values: Vec<f64> = (0..2000).map(|_| (random() - 0.5).powi(5) * scale).collect();
        values.sort_by(f64::total_cmp);
        values.dedup();
        let edges = Edges::new(values.clone()).unwrap();
        for index in 0..5000 {
            let value = if index % 2 == 0 { values[index % values.len()] } else { (random() - 0.5) * scale };
            assert_eq!(edges.bin(value), values.partition_point(|edge| *edge < value), "{value}");
        }
    }
}

#[test]
fn frequent_values_have_a_bin() {
    let edges = Edges::from_quantiles(&[-0.0, 0.0, 0.0, 1.0, 2.0, f64::INFINITY]).unwrap();
    assert_eq!(edges.values(), [0.0_f64.next_down(), 0.0, 1.0, 2.0]);
    assert_eq!([edges.bin(-1.0), edges.bin(-0.0), edges.bin(0.0), edges.bin(0.5)], [0, 1, 1, 2]);
    assert!(Edges::from_quantiles(&[f64::NAN]).is_none());
    assert!(Edges::new(vec![1.0, 1.0]).is_err() && Edges::new(Vec::new()).is_err());
}

#[test]
fn a_frequent_value_is_found_by_its_digits_and_its_bits() {
    let (digits, bits) = (0.1, f64::from(0.1_f32));
    for (value, same) in [(digits, bits), (bits, digits)] {
        let edges = Edges::from_quantiles(&[0.0, value, value, 0.7, 2.0]).unwrap();
        assert_eq!([edges.bin(value), edges.bin(same), edges.bin(0.0999), edges.bin(0.1001)], [2, 2, 1, 3]);
        assert!(
            edges.has_one_value(2) && !edges.has_one_value(3) && !edges.has_one_value(0) && !edges.has_one_value(9)
        );
        // What is not frequent has no bin of its own, where it could be.
        assert_eq!([edges.bin(0.7), edges.bin(f64::from(0.7_f32))], [3, 3]);
    }
    let edges = Edges::from_quantiles(&[digits, digits, bits, bits]).unwrap();
    assert_eq!([edges.bin(digits), edges.bin(bits)], [1, 3]);
    let edges = Edges::from_quantiles(&[1.0, 1.0, 3e9, 3e9]).unwrap();
    let bins = [1.0 - 1e-12, 1.0, 1.0 + 1e-12, 3e9 - 1.0, 3e9 + 1.0].map(|value| edges.bin(value));
    assert_eq!(bins, [0, 1, 2, 2, 4]);
}

#[test]
fn edges_are_read_exactly() {
    let edges = Edges::new(vec![-1e-310, 0.0_f64.next_up(), 0.1 + 0.2, 1e300]).unwrap();
    let text = serde_json::to_string(&edges).unwrap();
    assert_eq!(serde_json::from_str::<Edges>(&text).unwrap(), edges);
    for bad in ["\"\"", "\"1 1\"", "\"1 x\"", "\"1 NaN\"", "\"inf\"", "3"] {
        assert!(serde_json::from_str::<Edges>(bad).is_err(), "{bad}");
    }
}

#[test]
fn counts_of_two_are_those_of_all() {
    let edges = Arc::new(Edges::new((0..100).map(f64::from).collect()).unwrap());
    let new = || NumberTally::in_bins(edges.clone(), Range { min: 0.0, max: 90.0 });
    let (mut whole, mut a, mut b) = (new(), new(), new());
    for index in 0..1000_u32 {
        let value = if index % 10 == 0 { f64::NAN } else { 1e6 + f64::from(index % 97) };
        whole.add(value - 1e6);
        if index % 3 == 0 {
            a.add(value - 1e6)
        } else {
            b.add(value - 1e6)
        };
    }
    a.merge(&b);
    assert_eq!((a.rows, a.missing, a.above, &a.bins), (whole.rows, whole.missing, whole.above, &whole.bins));
    let ((mean, deviation), (expected, spread)) =
        (a.mean_and_deviation().unwrap(), whole.mean_and_deviation().unwrap());
    assert!((mean - expected).abs() < 1e-9 && (deviation - spread).abs() < 1e-9);
    assert_eq!(a.quantiles(&[0.0, 0.5, 1.0]), whole.quantiles(&[0.0, 0.5, 1.0]));
}

#[test]
fn categories_are_bounded() {
    let mut tally = CategoryTally::new();
    for index in 0..5000 {
        tally.add_text(format!("text {index}").as_bytes());
        tally.add_integer(index % 3);
    }
    tally.add_text(&[b'x'; 500]);
    let (counts, pooled) = tally.counts();
    assert_eq!(counts[..3].iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), ["0", "1", "2"]);
    assert_eq!(counts.iter().map(|(_, count)| count).sum::<u64>() + pooled, tally.rows);
    assert!(counts.len() < 1100 && tally.distinct().abs_diff(5004) < 400);
    assert_eq!(key_of(&[0xff; 4]), "\u{fffd}\u{fffd}\u{fffd}\u{fffd}");
    assert!(key_of("é".repeat(100).as_bytes()).ends_with("é…"));
}
