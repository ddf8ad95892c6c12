//! Numbers of several runs.

/// The middle value, or the mean of the two in the middle. 0 if there are none.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match (sorted.len(), sorted.len() / 2) {
        (0, _) => 0.0,
        (len, middle) if len % 2 == 0 => f64::midpoint(sorted[middle - 1], sorted[middle]),
        (_, middle) => sorted[middle],
    }
}

/// Bounds of the middle half of the values: a quarter lies below, a quarter above.
pub(crate) fn middle_half(values: &[f64]) -> (f64, f64) {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1);
    let at = |position: usize| sorted.get(position).copied().unwrap_or_default();
    (at(last / 4), at(last - last / 4))
}

/// Run by run, so that what slows one run down slows both sides of its ratio down.
pub(crate) fn ratios(values: &[f64], base: &[f64]) -> Vec<f64> {
    values
        .iter()
        .zip(base)
        .map(|(value, base)| value / base)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{median, middle_half, ratios};

    #[test]
    fn the_median_does_not_mind_outliers() {
        assert!((median(&[3.0, 1.0, 1000.0]) - 3.0).abs() < 1e-9);
        assert!((median(&[4.0, 1.0, 3.0, 2.0]) - 2.5).abs() < 1e-9);
        assert!(median(&[]).abs() < 1e-9);
    }

    #[test]
    fn the_middle_half_leaves_out_both_ends() {
        assert_eq!(middle_half(&[9.0, 1.0, 2.0, 3.0, 100.0]), (2.0, 9.0));
        assert_eq!(middle_half(&[7.0]), (7.0, 7.0));
        assert_eq!(middle_half(&[]), (0.0, 0.0));
    }

    #[test]
    fn ratios_are_taken_run_by_run() {
        assert_eq!(ratios(&[1.0, 30.0], &[2.0, 10.0]), [0.5, 3.0]);
    }
}
