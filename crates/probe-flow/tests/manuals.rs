//! The tables of the manuals are those of the schema. `PROBE_UPDATE_DOCS=1` writes them instead of
//! comparing them.

use std::{env, fs, path::Path};

use probe_flow::{filter, schema};

#[test]
fn the_manual_of_stored_flows_has_every_field() {
    compare("STORAGE.md", &schema::markdown());
}

#[test]
fn the_manual_of_filters_has_every_field() {
    compare("FILTER.md", &filter::markdown());
}

#[track_caller]
fn compare(document: &str, wanted: &str) {
    const START: &str = "<!-- fields -->\n";
    const END: &str = "<!-- /fields -->";
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../docs")
        .join(document);
    let text = fs::read_to_string(&path).expect("the manual");
    let (head, rest) = text.split_once(START).expect("start of the table");
    let (table, tail) = rest.split_once(END).expect("end of the table");
    if env::var_os("PROBE_UPDATE_DOCS").is_some() {
        fs::write(&path, [head, START, wanted, END, tail].concat()).expect("written");
        return;
    }
    assert!(
        table == wanted,
        "docs/{document} differs from the schema; run `cargo xtask docs`"
    );
}
