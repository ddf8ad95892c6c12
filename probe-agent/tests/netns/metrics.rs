//! The text format of Prometheus, as far as the agent uses it.

use std::collections::BTreeMap;

/// The series of one scrape: name with labels, as they stand there, to value.
#[derive(Debug)]
pub(crate) struct Metrics(BTreeMap<String, String>);

impl Metrics {
    #[track_caller]
    pub(crate) fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let series = lines.map(|line| line.rsplit_once(' ').expect("a series and its value"));
        Self(
            series
                .map(|(series, value)| (series.to_owned(), value.to_owned()))
                .collect(),
        )
    }

    /// Sum over all series of a metric of whole numbers that have this text among their labels.
    #[track_caller]
    pub(crate) fn sum(&self, name: &str, label: &str) -> i64 {
        let of_metric = self.0.iter().filter(|(series, _)| {
            let labels = series.strip_prefix(name);
            labels.is_some_and(|labels| labels.is_empty() || labels.starts_with('{'))
        });
        let values: Vec<i64> = of_metric
            .filter(|(series, _)| series.contains(label))
            .map(|(_, value)| value.parse().expect("a whole number"))
            .collect();
        assert!(!values.is_empty(), "no metric {name} with {label}");
        values.iter().sum()
    }
}
