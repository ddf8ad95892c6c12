//! File budgets: a file that does not fit on a few screens has more than one subject.

use super::{Finding, Severity, Source};

/// Lines of code: neither blank nor comment nor the file's own tests.
const WARN_ABOVE: usize = 300;
const FAIL_ABOVE: usize = 600;

pub(super) fn check(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources {
        let count = source
            .code_lines()
            .filter(|(_, line)| is_code(line))
            .count();
        if count > WARN_ABOVE {
            let severity = if count > FAIL_ABOVE {
                Severity::Error
            } else {
                Severity::Warning
            };
            let message = format!("{count} lines of code, the budget is {WARN_ABOVE}: split it");
            findings.push(source.finding(0, message, severity));
        }
    }
    findings
}

fn is_code(line: &str) -> bool {
    let line = line.trim_start();
    !line.is_empty() && !line.starts_with("//")
}

#[cfg(test)]
mod tests {
    use super::super::tests::findings;
    use super::{FAIL_ABOVE, WARN_ABOVE, check};

    fn verdict(lines: usize) -> Vec<String> {
        let text = "// why\n\nfn a() {}\n".repeat(lines) + "#[cfg(test)]\n" + &"x\n".repeat(1000);
        findings(check, &[("a.rs", &text)])
    }

    #[test]
    fn only_code_counts() {
        assert_eq!(verdict(WARN_ABOVE), Vec::<String>::new());
        assert_eq!(
            verdict(WARN_ABOVE + 1),
            ["warning: a.rs: 301 lines of code, the budget is 300: split it"]
        );
        assert!(verdict(FAIL_ABOVE + 1)[0].starts_with("error: "));
    }
}
