//! The corpus beside the project, and what an independent dissector says is in it.

use std::{
    collections::BTreeMap,
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
};

use probe_common::headers::ip_protocol::SCTP;
use probe_flow::ledger::Loss;
use serde_json::Value;

use crate::play::{Key, Table};

/// The folder of the corpus. `None` (said on stderr) if it is not there and need not be.
pub(crate) fn corpus() -> Option<PathBuf> {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus");
    let folder = std::env::var_os("PROBE_CORPUS").map_or(default, PathBuf::from);
    if folder.join("captures").is_dir() {
        return Some(folder);
    }
    let reason = format!("no capture corpus at {} (PROBE_CORPUS)", folder.display());
    assert!(
        std::env::var_os("PROBE_REQUIRE_CORPUS").is_none_or(|value| value != "1"),
        "{reason}, but PROBE_REQUIRE_CORPUS=1"
    );
    eprintln!("skipped: {reason}");
    None
}

/// All captures by name.
pub(crate) fn captures(corpus: &Path) -> BTreeMap<String, PathBuf> {
    fs::read_dir(corpus.join("captures"))
        .expect("the captures can be listed")
        .map(|entry| entry.expect("a capture").path())
        .map(|path| {
            (
                path.file_name()
                    .expect("a name")
                    .to_string_lossy()
                    .into_owned(),
                path,
            )
        })
        .collect()
}

/// The oracle's answer for one capture, in the product's terms.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    pub(crate) packets: u64,
    pub(crate) frame_bytes: u64,
    pub(crate) flows: Table,
    pub(crate) fragments: Table,
    pub(crate) losses: BTreeMap<&'static str, u64>,
}

impl Oracle {
    pub(crate) fn read(corpus: &Path, capture: &str) -> Self {
        let path = corpus.join("oracle").join(format!("{capture}.json"));
        let text = fs::read_to_string(&path).expect("the oracle's answer");
        let mut oracle = Self::default();
        for line in text.lines() {
            oracle.on_line(&serde_json::from_str(line).expect("JSON"));
        }
        oracle
    }

    fn on_line(&mut self, line: &Value) {
        let number = |field: &str| line[field].as_u64().unwrap_or(0);
        let text = |field: &str| line[field].as_str().expect("text");
        let packets = number("packets");
        match text("t") {
            "capture" => {
                self.packets = packets;
                self.frame_bytes = number("frame_bytes");
            }
            // Broken down by port in the "sctp" lines.
            "flow" if number("proto") == u64::from(SCTP) => {}
            "flow" => {
                let protocol = u8::try_from(number("proto")).expect("a protocol number");
                add(&mut self.flows, line, protocol);
            }
            "sctp" => add(&mut self.flows, line, SCTP),
            "fragment" => {
                let protocol = u8::try_from(number("proto")).expect("a protocol number");
                add(&mut self.fragments, line, protocol);
            }
            "malformed" => {
                *self
                    .losses
                    .entry(loss_of_reason(text("reason")))
                    .or_default() += packets;
            }
            "non-ip" => {
                *self
                    .losses
                    .entry(loss_of_ether_type(text("ethertype")))
                    .or_default() += packets;
            }
            "vlan" => {}
            other => panic!("the oracle has a new kind of line: {other}"),
        }
    }
}

fn add(table: &mut Table, line: &Value, ip_protocol: u8) {
    let address = |field: &str| -> IpAddr {
        line[field]
            .as_str()
            .expect("text")
            .parse()
            .expect("an address")
    };
    // null where there are none or where they cannot be read.
    let port = |field: &str| u16::try_from(line[field].as_u64().unwrap_or(0)).expect("a port");
    let key = Key {
        src: address("src"),
        dst: address("dst"),
        src_port: port("sport"),
        dst_port: port("dport"),
        ip_protocol,
    };
    let number = |field: &str| line[field].as_u64().expect("a number");
    table
        .entry(key)
        .or_default()
        .add(number("packets"), number("ip_bytes"));
}

fn loss_of_reason(reason: &str) -> &'static str {
    match reason {
        "v4_truncated" | "v6_truncated" | "v4_options_truncated" | "v6_ext_truncated" => {
            Loss::Truncated.name()
        }
        "v4_bad_version"
        | "v6_bad_version"
        | "v4_bad_ihl"
        | "v4_totlen_lt_hdrlen"
        | "raw_bad_version" => Loss::InvalidIpHeader.name(),
        other => panic!("the oracle has a new reason: {other}"),
    }
}

fn loss_of_ether_type(ether_type: &str) -> &'static str {
    match ether_type {
        // Less than an Ethernet header.
        "short" => Loss::Truncated.name(),
        _ => Loss::NonIp.name(),
    }
}
