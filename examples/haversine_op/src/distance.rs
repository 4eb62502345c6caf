//! Distances on the Earth.

/// The Earth's mean radius in kilometres (IUGG).
const RADIUS: f64 = 6371.0088;

/// The distance along a great circle between two points, latitude and longitude in degrees (R. W. Sinnott, "Virtues of
/// the Haversine", Sky and Telescope 68, 1984).
pub(crate) fn kilometres(from: [f64; 2], to: [f64; 2]) -> f64 {
    let [from, to] = [from, to].map(|point| point.map(f64::to_radians));
    let half = |index: usize| ((to[index] - from[index]) / 2.0).sin().powi(2);
    let haversine = half(0) + from[0].cos() * to[0].cos() * half(1);
    // Rounding may give a little more than 1, where the arc sine is undefined.
    2.0 * RADIUS * haversine.min(1.0).sqrt().asin()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_of_the_earth() {
        let quarter = std::f64::consts::FRAC_PI_2 * RADIUS;
        assert!((kilometres([0.0, 0.0], [0.0, 90.0]) - quarter).abs() < 1e-6);
        assert!((kilometres([90.0, 0.0], [-90.0, 33.0]) - 2.0 * quarter).abs() < 1e-6);
        assert_eq!(kilometres([52.5, 13.4], [52.5, 13.4]), 0.0);
    }
}
