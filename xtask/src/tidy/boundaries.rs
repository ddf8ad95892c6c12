//! Import boundaries: the kernel is named in one folder, and the flow core knows neither kernel,
//! runtime nor clock.

use super::{Finding, Source, has_word, without_comment};

const AGENT: &str = "probe-agent/src/";
/// The only part of the agent that names aya.
const DATAPATH: [&str; 2] = ["probe-agent/src/datapath.rs", "probe-agent/src/datapath/"];
/// Modules driven by values alone: `now` is an argument.
const FLOW_CORE: [&str; 4] = ["flow", "flow_log", "local_buffer", "ledger"];
const AYA: [&str; 3] = ["aya", "aya_log", "aya_obj"];
const RUNTIME_AND_CLOCKS: [&str; 6] = [
    "tokio",
    "SystemTime",
    "Instant",
    "Timestamp::now",
    "Zoned::now",
    "async",
];

pub(super) fn check(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources
        .iter()
        .filter(|source| source.path.starts_with(AGENT))
    {
        if !DATAPATH
            .iter()
            .any(|datapath| source.path.starts_with(datapath))
        {
            let message = "only `datapath` names aya";
            findings.extend(naming(source, &AYA, message));
        }
        if is_flow_core(&source.path) {
            let message = "the flow core knows no runtime and no clock: take `now` as an argument";
            findings.extend(naming(source, &RUNTIME_AND_CLOCKS, message));
        }
    }
    findings
}

fn is_flow_core(path: &str) -> bool {
    let module = path.trim_start_matches(AGENT).trim_end_matches(".rs");
    FLOW_CORE.contains(&module.split('/').next().unwrap_or_default())
}

/// Lines of code, tests aside, that name one of `words`.
fn naming<'a>(
    source: &'a Source,
    words: &'a [&str],
    message: &'a str,
) -> impl Iterator<Item = Finding> + 'a {
    source.code_lines().filter_map(move |(number, line)| {
        let line = without_comment(line);
        let word = words.iter().find(|word| has_word(line, word))?;
        Some(source.error(number, format!("`{word}`: {message}")))
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::findings;
    use super::check;

    #[test]
    fn aya_belongs_to_the_datapath() {
        let text = "use aya::Ebpf;\n";
        let found = findings(
            check,
            &[
                ("probe-agent/src/datapath/load.rs", text),
                ("probe-agent/src/datapath.rs", text),
                ("probe-common/src/wire.rs", text),
                ("probe-agent/src/manager.rs", text),
            ],
        );
        assert_eq!(
            found,
            ["error: probe-agent/src/manager.rs:1: `aya`: only `datapath` names aya"]
        );
    }

    #[test]
    fn the_flow_core_has_no_clock_outside_its_tests() {
        let text =
            "// Instant\nlet now = SystemTime::now();\n#[cfg(test)]\nuse std::time::Instant;\n";
        let found = findings(
            check,
            &[
                ("probe-agent/src/flow_log/rotate.rs", text),
                ("probe-agent/src/flow_json.rs", text),
            ],
        );
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("error: probe-agent/src/flow_log/rotate.rs:2: `SystemTime`"));
    }
}
