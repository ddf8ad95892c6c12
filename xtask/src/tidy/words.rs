//! Words that have a better one in the glossary of ARCHITECTURE.md, or in the field, do not return.
//!
//! A name counts by its parts: in `snake_case` and in `CamelCase`.

use super::{Finding, Source};

/// Retired words, each with the word of today. In halves, or this file would be found first.
const RETIRED: [(&str, &str); 17] = [
    (concat!("ru", "ng"), "hook candidate"),
    (concat!("ru", "ngs"), "hook candidates"),
    (concat!("sur", "vey"), "host inventory"),
    (concat!("sur", "veyed"), "listed in the host inventory"),
    (concat!("foot", "print"), "map memory"),
    (concat!("left", "over"), "stale filter or stale setting"),
    (concat!("left", "overs"), "stale filters or stale settings"),
    (concat!("str", "ays"), "unknown interface"),
    (concat!("un", "claimed"), "unknown interface"),
    (concat!("sta", "tion"), "counter block"),
    (concat!("sta", "tions"), "counter blocks"),
    (concat!("cro", "wd"), "thrashing"),
    (concat!("abs", "orb"), "insert or merge"),
    (concat!("bo", "oks"), "accounts"),
    (concat!("loo", "ked"), "checked, read or polled"),
    (concat!("la", "b"), "testbed"),
    (
        concat!("who", "ever"),
        "the thing itself: the caller, the thread, the process",
    ),
];

pub(super) fn check(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources {
        for (index, line) in source.text.lines().enumerate() {
            for (word, better) in RETIRED {
                if parts(line).any(|part| part.eq_ignore_ascii_case(word)) {
                    let message = format!("retired word `{word}`: say {better}");
                    findings.push(source.error(index + 1, message));
                }
            }
        }
    }
    findings
}

/// The words of a line: names are split at `_` and where a capital follows a small letter.
fn parts(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !c.is_ascii_alphabetic())
        .flat_map(split_capitals)
}

fn split_capitals(name: &str) -> impl Iterator<Item = &str> {
    let mut rest = name;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let bytes = rest.as_bytes();
        let is_border =
            |at: &usize| bytes[at - 1].is_ascii_lowercase() && bytes[*at].is_ascii_uppercase();
        let end = (1..rest.len()).find(is_border).unwrap_or(rest.len());
        let (part, after) = rest.split_at(end);
        rest = after;
        Some(part)
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::findings;
    use super::{RETIRED, check};

    #[test]
    fn a_retired_word_is_found_alone_and_as_a_part_of_a_name() {
        for (word, better) in RETIRED {
            let name = format!("{}{}", word[..1].to_uppercase(), &word[1..]);
            let text =
                format!("// The {word} of it.\nlet x = first_{word}();\nstruct Hook{name};\n");
            let message = format!("retired word `{word}`: say {better}");
            let expected: Vec<_> = (1..=3)
                .map(|line| format!("error: a.rs:{line}: {message}"))
                .collect();
            assert_eq!(findings(check, &[("a.rs", &text)]), expected);
        }
    }

    #[test]
    fn words_that_only_contain_one_are_free() {
        let text = "let labels = overlooked(stationary, bookshelf, wrung);\n";
        assert!(findings(check, &[("a.rs", text)]).is_empty());
    }
}
