//! Every declared metric is moved somewhere: one that never moves is worse than none.

use super::{Finding, Source, has_word, without_comment};

const DECLARATIONS: &str = "probe-agent/src/metrics.rs";
const FOLDER: &str = "probe-agent/src/metrics/";
/// Types of the `prometheus` crate, with and without labels.
const TYPES: [&str; 4] = ["Counter", "Gauge", "Histogram", "Summary"];

pub(super) fn check(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let is_metrics =
        |source: &&Source| source.path == DECLARATIONS || source.path.starts_with(FOLDER);
    for source in sources.iter().filter(is_metrics) {
        for (number, line) in source.code_lines() {
            if let Some(field) = declared_metric(line)
                && !is_moved(field, sources)
            {
                findings.push(source.error(number, format!("metric `{field}` never moves")));
            }
        }
    }
    findings
}

/// `packets` of a field such as `pub(crate) packets: IntCounterVec,`.
fn declared_metric(line: &str) -> Option<&str> {
    let (name, kind) = without_comment(line)
        .trim()
        .strip_suffix(',')?
        .split_once(": ")?;
    let kind = kind
        .trim_start_matches("prometheus::")
        .trim_start_matches("Int");
    let kind = kind.trim_end_matches("Vec");
    let name = name.rsplit(' ').next()?;
    let is_name = name
        .chars()
        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    (is_name && TYPES.contains(&kind)).then_some(name)
}

/// A use of the field that is not its registration (`Box::new(metrics.field.clone())`).
fn is_moved(field: &str, sources: &[Source]) -> bool {
    let access = format!(".{field}");
    let registration = format!(".{field}.clone()");
    sources
        .iter()
        .filter(|source| source.path.starts_with("probe-agent/src/"))
        .any(|source| {
            source.code_lines().any(|(_, line)| {
                // A chain may start its line with the field.
                let line = format!("x{}", without_comment(line).trim());
                has_word(&line.replace(&registration, ""), field) && line.contains(&access)
            })
        })
}

#[cfg(test)]
mod tests {
    use super::super::tests::findings;
    use super::check;

    #[test]
    fn a_metric_that_is_only_registered_is_found() {
        let metrics = "pub struct Metrics {\n    pub packets: IntCounterVec,\n    \
                       flows: prometheus::IntGauge,\n    registry: Registry,\n}\n\
                       registry.register(Box::new(self.flows.clone()))?;\n\
                       registry.register(Box::new(self.packets.clone()))?;\n";
        let user = "metrics\n    .packets\n    .with_label_values(&[]).inc();\n";
        let found = findings(
            check,
            &[
                ("probe-agent/src/metrics.rs", metrics),
                ("probe-agent/src/capture.rs", user),
            ],
        );
        assert_eq!(
            found,
            ["error: probe-agent/src/metrics.rs:3: metric `flows` never moves"]
        );
    }
}
