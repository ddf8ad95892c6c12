//! The hand-built packets through the host's parser.

use std::collections::HashSet;

use probe_common::parse::{CapturedFrame, link::parse_ethernet};

use crate::packets;

#[test]
fn every_packet_has_its_known_answer() {
    let wrong: Vec<String> = packets::cases()
        .iter()
        .filter_map(|case| {
            let found = parse_ethernet(&CapturedFrame {
                bytes: &case.frame,
                wire_len: case.wire_len,
            });
            (found != case.expected).then(|| {
                format!(
                    "{}:\n  want {:?}\n  have {found:?}",
                    case.name, case.expected
                )
            })
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn names_are_unique() {
    let mut names = HashSet::new();
    for case in packets::cases() {
        assert!(
            names.insert(case.name),
            "two cases are called {:?}",
            case.name
        );
    }
    assert!(names.len() > 150, "{} cases", names.len());
}
