//! The configuration file: what is accepted, and what is refused with its place.

mod document;

use probe_agent::config::{Config, FileProblem, FileProblems, Place};

/// Problems of one document that have a place; further ones have none, since each costs a pass.
/// Those of a large document are fewer.
const LOCATED: usize = 100;

/// Octets of a document whose first [`LOCATED`] problems have a place.
const SMALL: usize = 40 << 10;

/// Problems of the file as a whole, which have no place in it.
const OF_WHOLE_FILE: [&str; 5] = [
    "is empty",
    // One of the bounds of `config::tree`, or more problems than are told.
    "has ",
    "is not YAML: more than ",
    "is not YAML: deserializing from YAML containing more than one document",
    "is not YAML: repetition limit exceeded",
];

/// What YAML 1.1 takes for the end of a line (section 5.4).
const LINE_BREAKS: [char; 5] = ['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}'];

/// Reads a configuration. One that is accepted must be the same when its settings, as the API shows
/// them, are written to a file; of one that is refused each problem must be told with its place.
pub fn check(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    match Config::parse(&text) {
        Ok(config) => check_accepted(&config),
        Err(FileProblems(problems)) => {
            assert!(!problems.is_empty(), "refused for nothing");
            let located = if text.len() <= SMALL { LOCATED } else { 1 };
            for problem in problems.iter().take(located) {
                check_problem(&text, problem);
            }
        }
    }
}

fn check_accepted(config: &Config) {
    config.selector().expect("the rules were checked");
    let settings = config.settings();
    // The list is shown in one line, in which these cannot be told apart.
    let mut excluded = config.autodetection.exclude.iter();
    if excluded.any(|rule| rule.contains(", ")) {
        return;
    }
    let document = document::from_settings(&settings);
    let again = match Config::parse(&document) {
        Ok(again) => again,
        Err(problems) => panic!("{problems}\nin the settings of an accepted file:\n{document}"),
    };
    assert_eq!(again.settings(), settings, "{document}");
    if config.api.keys.is_empty() {
        assert_eq!(again, *config, "{document}");
    }
}

fn check_problem(text: &str, problem: &FileProblem) {
    super::assert_printable(&problem.to_string());
    let Some(Place { line, column }) = problem.place else {
        let is_of_whole_file = OF_WHOLE_FILE
            .iter()
            .any(|message| problem.message.starts_with(message));
        assert!(
            problem.key.is_empty() && is_of_whole_file,
            "no place: {problem}"
        );
        return;
    };
    let lines = text.matches(LINE_BREAKS).count() + 2;
    assert!((1..=lines).contains(&line), "{problem} of {lines} lines");
    let columns = text.chars().count() + 1;
    assert!((1..=columns).contains(&column), "{problem}");
}
