//! What crosses the kernel boundary is proved to be plain data: every `repr(C)` type of the shared
//! crate and of the programs is declared with `wire_type!`.

use super::{Finding, Source};

pub(super) fn check(sources: &[Source]) -> Vec<Finding> {
    let shared = |source: &&Source| {
        ["probe-common/src/", "probe-ebpf/src/"]
            .iter()
            .any(|crate_| source.path.starts_with(crate_))
    };
    let proved: Vec<_> = sources
        .iter()
        .filter(shared)
        .flat_map(|source| source.text.split("wire_type!(").skip(1))
        .filter_map(|rest| rest.split([',', '<']).next())
        // `$name` is that of the struct which the same macro declares.
        .map(|name| name.trim().trim_start_matches('$'))
        .collect();
    let mut findings = Vec::new();
    for source in sources.iter().filter(shared) {
        for (number, name) in repr_c_types(source) {
            // A generic type is proved through its aliases: `EpHashV4` for `EpHash<4>`.
            if !proved.iter().any(|proved| proved.starts_with(name)) {
                let message = format!("`{name}` is repr(C): prove it with `wire_type!`");
                findings.push(source.error(number, message));
            }
        }
    }
    findings
}

/// Names of the types after each `#[repr(C)]`, with the line of the attribute.
fn repr_c_types(source: &Source) -> Vec<(usize, &str)> {
    let mut types = Vec::new();
    let mut attribute = None;
    for (number, line) in source.code_lines() {
        if line.trim_start().starts_with("#[repr(C") {
            attribute = Some(number);
        }
        let Some(number) = attribute else { continue };
        let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
        if words.any(|word| word == "struct" || word == "union") {
            types.extend(
                words
                    .find(|word| !word.is_empty())
                    .map(|name| (number, name)),
            );
            attribute = None;
        }
    }
    types
}

#[cfg(test)]
mod tests {
    use super::super::tests::findings;
    use super::check;

    #[test]
    fn a_shared_layout_needs_its_proof() {
        let text = "#[repr(C)]\npub struct Slot {\n}\n#[derive(Clone)]\n#[repr(C)]\n\
                    pub struct Key<const N: usize> {\n}\n#[repr(C)]\npub(crate) struct Tally {\n}\n\
                    wire_type!(Slot, size = 8);\nwire_type!(KeyV4, size = 13);\n";
        let found = findings(check, &[("probe-common/src/a.rs", text)]);
        let expected =
            ["error: probe-common/src/a.rs:8: `Tally` is repr(C): prove it with `wire_type!`"];
        assert_eq!(found, expected);
    }
}
