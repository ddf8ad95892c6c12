//! A doc of three words repeats the name of its item. A reader wants type, unit, range or errors.

use super::{Finding, Source};

/// Most words of a doc that says too little.
const TOO_FEW: usize = 3;

pub(super) fn check(sources: &[Source]) -> Vec<Finding> {
    sources
        .iter()
        .filter(|source| !is_test(&source.path))
        .flat_map(check_source)
        .collect()
}

fn is_test(path: &str) -> bool {
    path.contains("/tests/") || path.ends_with("/tests.rs")
}

fn check_source(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut doc: Option<(usize, usize)> = None;
    for (number, line) in source.code_lines() {
        match (line.trim_start().strip_prefix("///"), doc) {
            (Some(text), begun) => {
                let (first, words) = begun.unwrap_or((number, 0));
                doc = Some((first, words + text.split_whitespace().count()));
            }
            (None, Some((first, words))) => {
                if words <= TOO_FEW {
                    let message =
                        format!("a doc of {words} words: say type, unit, range or errors");
                    findings.push(source.error(first, message));
                }
                doc = None;
            }
            (None, None) => {}
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::tests::findings;
    use super::check;

    #[test]
    fn three_words_are_too_few_and_four_are_not() {
        let text =
            "/// The file's path.\npub path: PathBuf,\n/// Path of the file.\npub path: PathBuf,\n";
        let expected = "error: a.rs:1: a doc of 3 words: say type, unit, range or errors";
        assert_eq!(findings(check, &[("a.rs", text)]), [expected]);
    }

    #[test]
    fn lines_of_one_doc_count_together() {
        let text = "    /// Bytes on\n    /// the wire.\n    pub bytes: u64,\n";
        assert!(findings(check, &[("a.rs", text)]).is_empty());
    }

    #[test]
    fn tests_in_a_file_of_their_own_end_no_code() {
        let text = "#[cfg(test)]\nmod tests;\n\n/// Name.\npub name: String,\n";
        let expected = "error: a.rs:4: a doc of 1 words: say type, unit, range or errors";
        assert_eq!(findings(check, &[("a.rs", text)]), [expected]);
        let own = "#[cfg(test)]\nmod tests {\n    /// Name.\n    struct Name;\n}\n";
        assert!(findings(check, &[("a.rs", own)]).is_empty());
    }

    #[test]
    fn tests_may_be_short() {
        assert!(findings(check, &[("a/tests/b.rs", "/// A link.\nstruct Link;\n")]).is_empty());
    }
}
