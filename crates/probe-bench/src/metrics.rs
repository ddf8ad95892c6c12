//! The agent's metrics, in Prometheus' text format.

/// Sum over all series of a metric of whole numbers.
pub(crate) fn sum(metrics: &str, name: &str) -> u64 {
    labelled_sum(metrics, name, "")
}

/// The same, over those with this text among their labels.
pub(crate) fn labelled_sum(metrics: &str, name: &str, label: &str) -> u64 {
    let series = metrics.lines().filter_map(|line| {
        let (labels, value) = line.strip_prefix(name)?.rsplit_once(' ')?;
        let is_it = labels.is_empty() || labels.starts_with('{');
        (is_it && labels.contains(label)).then_some(value)
    });
    series.filter_map(|value| value.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::{labelled_sum, sum};

    #[test]
    fn series_of_one_metric_are_added_up() {
        let metrics = "a_total{x=\"1\"} 2\nab_total{} 100\na_total{x=\"2\"} 3\n# a_total{ 7\nb 4\n";
        assert_eq!(sum(metrics, "a_total"), 5);
        assert_eq!(labelled_sum(metrics, "a_total", "x=\"2\""), 3);
        assert_eq!(sum(metrics, "b"), 4);
    }
}
