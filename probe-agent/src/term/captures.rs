//! Captures of what a terminal shows, compared with those of `tests/data/captures`.

use std::{env, fs, path::Path};

use super::page::width_of;

/// Compares lines with a captured file, and that none is longer than the terminal is wide. Writes
/// the file anew where `PROBE_UPDATE_CAPTURES` is set.
#[track_caller]
pub(crate) fn assert_capture(name: &str, width: u16, lines: &[String]) {
    for line in lines {
        let length = width_of(line);
        assert!(length <= usize::from(width), "{name}: {length}: {line}");
    }
    let shown: Vec<_> = lines.iter().map(|line| line.trim_end()).collect();
    let shown = shown.join("\n") + "\n";
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/captures");
    let file = folder.join(format!("{name}.txt"));
    if env::var_os("PROBE_UPDATE_CAPTURES").is_some() {
        fs::write(&file, shown).expect("the capture is written");
        return;
    }
    let captured = fs::read_to_string(&file).unwrap_or_default();
    assert!(
        captured == shown,
        "{name} differs from tests/data/captures; if that is meant, run this test with \
         PROBE_UPDATE_CAPTURES=1\n--- shown\n{shown}--- captured\n{captured}"
    );
}
