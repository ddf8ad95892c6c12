//! No promises without an address: what is left to do is in the tracker, or is done.

use super::{Finding, Source, has_word};

/// Put together here, or this file would be found first.
const MARKERS: [&str; 3] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
];

pub(super) fn check(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources {
        for (index, line) in source.text.lines().enumerate() {
            let bare = |marker: &&&str| {
                has_word(line, marker) && !line.contains(&format!("{marker}(https://"))
            };
            if let Some(marker) = MARKERS.iter().find(bare) {
                let message = format!("bare {marker}: do it, or link it: {marker}(https://…)");
                findings.push(source.error(index + 1, message));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::tests::findings;
    use super::{MARKERS, check};

    #[test]
    fn a_marker_needs_a_link() {
        for marker in MARKERS {
            let text = format!("// {marker}(https://example.org/1): why\n// {marker}: later\n");
            let found = findings(check, &[("a.rs", &text)]);
            assert_eq!(found.len(), 1);
            assert!(found[0].starts_with("error: a.rs:2: bare "), "{found:?}");
        }
    }
}
