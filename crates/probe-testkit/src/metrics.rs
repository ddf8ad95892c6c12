//! The text format of Prometheus, as far as the agent uses it.

use std::collections::BTreeMap;

/// The series of one scrape: name with labels, as they stand there, to value.
#[derive(Debug)]
pub struct Metrics(BTreeMap<String, String>);

impl Metrics {
    /// Reads an exposition. Panics at a line that has no value.
    #[track_caller]
    pub fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let series = lines.map(|line| line.rsplit_once(' ').expect("a series and its value"));
        Self(
            series
                .map(|(series, value)| (series.to_owned(), value.to_owned()))
                .collect(),
        )
    }

    /// As [`Self::sum`], of a counter: 0 where there is none, and of the values that are whole numbers.
    pub fn count(&self, name: &str, label: &str) -> u64 {
        let of_metric = self.of(name, label);
        of_metric
            .filter_map(|value| value.parse::<u64>().ok())
            .sum()
    }

    /// Values of the series of a metric that have this text among their labels.
    fn of<'a>(&'a self, name: &'a str, label: &'a str) -> impl Iterator<Item = &'a str> {
        let series = self.0.iter().filter(move |(series, _)| {
            let labels = series.strip_prefix(name);
            labels.is_some_and(|labels| labels.is_empty() || labels.starts_with('{'))
        });
        series
            .filter(move |(series, _)| series.contains(label))
            .map(|(_, value)| value.as_str())
    }

    /// Sum over all series of a metric of whole numbers that have this text among their labels.
    /// Panics where there is none.
    #[track_caller]
    pub fn sum(&self, name: &str, label: &str) -> i64 {
        let of_metric = self.of(name, label);
        let values: Vec<i64> = of_metric
            .map(|value| value.parse().expect("a whole number"))
            .collect();
        assert!(!values.is_empty(), "no metric {name} with {label}");
        values.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::Metrics;

    #[test]
    fn series_of_one_metric_are_added_up() {
        let text = "a_total{x=\"1\"} 2\nab_total{} 100\na_total{x=\"2\"} 3\n# a_total{ 7\nb 4\n";
        let metrics = Metrics::parse(text);
        assert_eq!(metrics.count("a_total", ""), 5);
        assert_eq!(metrics.count("a_total", "x=\"2\""), 3);
        assert_eq!(metrics.count("absent", ""), 0);
        assert_eq!(metrics.count("b", ""), 4);
    }

    #[test]
    fn residues_may_be_negative() {
        let metrics = Metrics::parse("r{a=\"1\"} -3\nr{a=\"2\"} 1\n");
        assert_eq!(metrics.sum("r", ""), -2);
    }
}
