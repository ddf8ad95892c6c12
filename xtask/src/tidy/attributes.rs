//! Lints are refused for the workspace in Cargo.toml, or expected at one place with a reason;
//! `allow` would outlive what it allows.

use super::{Finding, Source, without_comment};

pub(super) fn check(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources {
        for (index, line) in source.text.lines().enumerate() {
            let line = without_comment(line).trim_start();
            if ["#[allow(", "#![allow("]
                .iter()
                .any(|attribute| line.starts_with(attribute))
            {
                let message = "no `allow`: write `#[expect(lint, reason = \"…\")]`";
                findings.push(source.error(index + 1, message));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::tests::findings;
    use super::check;

    #[test]
    fn allow_is_found_and_expect_is_not() {
        let text = "#[expect(dead_code, reason = \"later\")]\nfn a() {}\n    #[allow(dead_code)]\n";
        let expected =
            ["error: a.rs:3: no `allow`: write `#[expect(lint, reason = \"…\")]`".to_owned()];
        assert_eq!(findings(check, &[("a.rs", text)]), expected);
    }
}
