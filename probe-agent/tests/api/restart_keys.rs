//! Each key of the configuration file that needs a restart: a running agent refuses its change. A
//! key that is missing here fails the test.

use std::collections::BTreeSet;

use probe_agent::config::Change;
use probe_api::reload::{Reload as _, ReloadError};

use crate::live_keys::{Agent, keys};

/// Keys that need a restart: what is replaced in [`EVERYTHING`], and by what.
const REFUSED: &[(&str, &str, &str)] = &[
    ("capture.ring_buffer", "16MiB", "32MiB"),
    (
        "capture.cache_slots",
        "cache_slots: auto",
        "cache_slots: 64",
    ),
    ("capture.flush_interval", "5s", "6s"),
    (
        "capture.port_aggregation",
        "port_aggregation: true",
        "port_aggregation: false",
    ),
    ("capture.max_flows", "max_flows: 5", "max_flows: 6"),
    (
        "capture.expedite_attach",
        "expedite_attach: false",
        "expedite_attach: auto",
    ),
    ("rotation.local_buffers.num", "num: 1", "num: 2"),
    ("rotation.local_buffers.size_limit", "64KiB", "128KiB"),
    ("writeout[].type", "type: json", "type: parquet"),
    ("writeout[].path", "FOLDER/flows", "FOLDER/other"),
    ("writeout[].compact", "compact: true", "compact: false"),
    ("writeout[].retention.max_age", "1d", "2d"),
    ("writeout[].retention.max_size", "1GiB", "2GiB"),
    (
        "writeout[].retention.min_free",
        "min_free: 5%",
        "min_free: 6%",
    ),
    ("api.addr", "addr: none", "addr: 'localhost:1'"),
    (
        "api.metrics_addr",
        "metrics_addr: none",
        "metrics_addr: 'localhost:2'",
    ),
    (
        "api.disable_iface_metrics",
        "disable_iface_metrics: false",
        "disable_iface_metrics: true",
    ),
    ("api.keys[].role", "role: read", "role: admin"),
    (
        "api.keys[].key",
        "0123456789abcdef0123456789abcdef",
        "123456789abcdef0123456789abcdef0",
    ),
    ("api.keys[].file", "file: /key", "file: /other"),
    ("api.tls.cert", "cert: /cert", "cert: /other"),
    ("api.tls.key", "key: /private", "key: /other"),
    ("logging.format", "format: text", "format: json"),
];

const EVERYTHING: &str = "\
interfaces: { lo: {} }
capture:
  ring_buffer: 16MiB
  cache_slots: auto
  flush_interval: 5s
  port_aggregation: true
  max_flows: 5
  expedite_attach: false
rotation: { local_buffers: { num: 1, size_limit: 64KiB } }
writeout: [{ type: json, path: FOLDER/flows, compact: true, retention: { max_age: 1d, max_size: 1GiB, min_free: 5% } }]
api:
  addr: none
  metrics_addr: none
  disable_iface_metrics: false
  keys: [{ role: read, key: 0123456789abcdef0123456789abcdef }, { file: /key }]
  tls: { cert: /cert, key: /private }
logging: { format: text }
";

#[test]
fn each_other_key_is_refused_by_a_running_agent() {
    let walked: BTreeSet<_> = REFUSED.iter().map(|(key, ..)| *key).collect();
    assert_eq!(walked, keys(Change::Restart), "each key has its change");
    let agent = Agent::start(EVERYTHING);
    let folder = agent.folder.path().display().to_string();
    let before = agent.reloader.settings();
    for (key, from, to) in REFUSED {
        let wanted = EVERYTHING.replacen(from, to, 1).replace("FOLDER", &folder);
        let refused = agent.reloader.reload_text(&wanted, false);
        let Err(error @ ReloadError::NeedsRestart(_)) = refused else {
            panic!("{key} {to}: {refused:?}");
        };
        let entry = if *key == "api.keys[].file" {
            "[1]"
        } else {
            "[0]"
        };
        let setting = key.replace("[]", entry);
        let told = error.to_string();
        assert!(
            told.starts_with(&format!("{setting} needs a restart: ")),
            "{key}: {told}"
        );
        assert_eq!(agent.reloader.settings(), before, "{key}: nothing changes");
    }
}
