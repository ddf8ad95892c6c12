//! The annotated file and the manual say what the code does.

use std::fs;

use probe_agent::config::{Config, reference};

use super::{GOOD, repository};

#[test]
fn the_annotated_file_shows_the_defaults() {
    let config = Config::load(&repository("config/probe.yaml")).expect("the file is good");
    let mut expected = Config::default();
    expected.autodetection.enabled = true;
    assert_eq!(config, expected);
}

#[test]
fn the_annotated_file_has_every_key() {
    let text = fs::read_to_string(repository("config/probe.yaml")).expect("the file is there");
    for key in reference::keys() {
        let name = key.path.rsplit('.').next().expect("a path has a last part");
        // `disable` stands in a flow mapping.
        let shown = text.contains(&format!("{name}:"));
        assert!(shown, "{} is not in config/probe.yaml", key.path);
    }
}

#[test]
fn the_example_of_the_comments_is_good() {
    let text = fs::read_to_string(repository("config/probe.yaml")).expect("the file is there");
    let example: Vec<_> = text
        .lines()
        .skip_while(|line| *line != "# interfaces:")
        .take_while(|line| !line.is_empty())
        .map(|line| line.trim_start_matches("# "))
        .collect();
    let config = Config::parse(&example.join("\n")).expect("the example is good");
    assert_eq!(config.interfaces.len(), 4);
    assert!(config.interfaces["enp9s0"].disable);
}

#[test]
fn the_manual_lists_every_key() {
    let path = repository("docs/CONFIGURATION.md");
    let text = fs::read_to_string(&path).expect("docs/CONFIGURATION.md");
    let (head, rest) = text
        .split_once("<!-- keys -->\n")
        .expect("start of the table");
    let (table, tail) = rest.split_once("<!-- /keys -->").expect("end of the table");
    let wanted = reference::markdown();
    if std::env::var_os("PROBE_UPDATE_DOCS").is_some() {
        let updated = format!("{head}<!-- keys -->\n{wanted}<!-- /keys -->{tail}");
        fs::write(&path, updated).expect("docs/CONFIGURATION.md can be written");
        return;
    }
    assert_eq!(
        table, wanted,
        "docs/CONFIGURATION.md differs from the code; run this test with PROBE_UPDATE_DOCS=1"
    );
}

#[test]
fn the_defaults_of_the_manual_are_those_of_the_code() {
    let standard = Config::parse(GOOD).expect("good");
    for key in reference::keys() {
        let (path, default) = (key.path.as_str(), key.default.as_str());
        // A key of the API has no default as a whole, so its role is checked by itself.
        if default.is_empty() || path == "interfaces" || path == "api.keys[].role" {
            continue;
        }
        let text = if let Some(name @ ("retention" | "compact")) = path.strip_prefix("writeout[].")
        {
            format!(
                "{GOOD}writeout: [{{ type: parquet, path: /var/lib/probe/flows, \
                 {name}: {default} }}]"
            )
        } else if let Some(name) = path.strip_prefix("writeout[].retention.") {
            format!(
                "{GOOD}writeout: [{{ type: parquet, path: /var/lib/probe/flows, \
                 retention: {{ {name}: {default} }} }}]"
            )
        } else if let Some(name) = path.strip_prefix("interfaces.<name>.") {
            format!("interfaces: {{ eth0: {{ {name}: {default} }} }}")
        } else {
            let open = path.replace('.', ": { ");
            let close = " }".repeat(path.matches('.').count());
            format!("{GOOD}{open}: {default}{close}")
        };
        let config = Config::parse(&text).unwrap_or_else(|error| panic!("{text}: {error:?}"));
        assert_eq!(config, standard, "the default of {path} is not {default}");
    }
}
