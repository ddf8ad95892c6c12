//! docs/LEDGER.md has the table of losses and the identities of the code.

use std::{fs, path::Path};

use probe_common::loss::CountedBy;
use probe_flow::ledger::{Identity, Loss};

fn losses() -> String {
    let rows = Loss::ALL.map(|loss| {
        let counted_by = match loss.counted_by() {
            CountedBy::Parser => "programs: parser",
            CountedBy::Program => "programs: before the parser",
            CountedBy::Ring => "programs: ring",
            CountedBy::Agent => "agent",
        };
        let unit = if loss.is_with_record() {
            "IP octets"
        } else {
            "whole frames"
        };
        let issue = if loss.is_issue() { "yes" } else { "no" };
        let (name, meaning) = (loss.name(), loss.meaning());
        format!("| `{name}` | {meaning} | {counted_by} | {unit} | {issue} |\n")
    });
    "| loss | what happened | counted by | unit of its bytes | issue |\n\
     | --- | --- | --- | --- | --- |\n"
        .to_owned()
        + &rows.concat()
}

fn identities() -> String {
    let rows = Identity::ALL.map(|identity| {
        let (name, formula, unit) = (identity.name(), identity.formula(), identity.unit());
        format!("| {name} | `{formula}` | {unit} |\n")
    });
    "| | identity | unit |\n| --- | --- | --- |\n".to_owned() + &rows.concat()
}

#[test]
fn the_manual_lists_every_loss() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/LEDGER.md");
    let found = fs::read_to_string(&path).expect("docs/LEDGER.md");
    let mut wanted = found.clone();
    for (marker, table) in [("losses", losses()), ("identities", identities())] {
        let (start, end) = (
            format!("<!-- {marker} -->\n"),
            format!("<!-- /{marker} -->"),
        );
        let (head, rest) = wanted.split_once(&start).expect("start of the table");
        let (_, tail) = rest.split_once(&end).expect("end of the table");
        wanted = format!("{head}{start}{table}{end}{tail}");
    }
    if std::env::var_os("PROBE_UPDATE_DOCS").is_some() {
        fs::write(&path, wanted).expect("docs/LEDGER.md can be written");
        return;
    }
    assert_eq!(
        found, wanted,
        "docs/LEDGER.md differs from the code; run `cargo xtask docs`"
    );
}
