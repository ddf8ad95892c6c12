//! ARCHITECTURE.md names a test for each invariant: each of them exists.

use super::{Finding, Severity, Source};

const DOCUMENT: &str = "ARCHITECTURE.md";

/// `document` is the text of ARCHITECTURE.md.
pub(super) fn check(document: &str, sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in document.lines().enumerate() {
        for name in named_tests(line) {
            let definition = format!("fn {name}(");
            if !sources.iter().any(|it| it.text.contains(&definition)) {
                findings.push(Finding {
                    path: DOCUMENT.to_owned(),
                    line: index + 1,
                    message: format!("there is no test `{name}`"),
                    severity: Severity::Error,
                });
            }
        }
    }
    findings
}

/// Names in backquotes in the last column of a row whose first column begins in bold.
fn named_tests(line: &str) -> impl Iterator<Item = &str> {
    let row = line
        .strip_prefix("| **")
        .and_then(|row| row.strip_suffix(" |"));
    let tests = row.and_then(|row| row.rsplit_once(" | "));
    let quoted = tests.map(|(_, tests)| tests.split('`').skip(1).step_by(2));
    let is_name = |text: &&str| {
        text.contains('_') && text.chars().all(|c| c.is_ascii_lowercase() || c == '_')
    };
    quoted
        .into_iter()
        .flatten()
        .filter(is_name)
        .filter(|name| *name != "undocumented_unsafe_blocks")
}

#[cfg(test)]
mod tests {
    use super::super::Source;
    use super::check;

    #[test]
    fn a_test_that_is_gone_is_named() {
        let sources = [Source {
            path: "a.rs".to_owned(),
            text: "fn one_is_here() {}".to_owned(),
        }];
        let document =
            "| **Rule** | `one_is_here`, `one_is_gone`; `cargo xtask` |\n| a | `b_c` |\n";
        let found = check(document, &sources);
        assert_eq!(found.len(), 1);
        assert_eq!(
            found[0].to_string(),
            "error: ARCHITECTURE.md:1: there is no test `one_is_gone`"
        );
    }
}
