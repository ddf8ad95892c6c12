//! The end by SIGKILL: the kernel detaches, what is stored is whole, the next start works.

use std::{fs::File, path::Path};

use parquet::file::reader::{FileReader, SerializedFileReader};
use rstest::rstest;

use super::{
    agent::{Installation, programs_on_links},
    eventually,
    flows::{assert_nothing_lost, files, stored_intervals, stored_total},
    run, skip,
    testbed::{LINK, Offloads, Testbed},
    traffic::{AT_EASE, Chatter},
};

/// So many agents are killed, each after it has written an interval.
const LIVES: usize = 3;

#[rstest]
#[case::generic_xdp("xdp-generic")]
#[case::native_xdp("xdp-native")]
#[case::tc("tc")]
fn sigkill_under_traffic_leaves_nothing_behind(#[case] hook: &str) {
    if !skip::kernel_or_skip(&["ip", "tc", "ethtool", "bpftool"]) {
        return;
    }
    let testbed = Testbed::new(Offloads::Off);
    let before = programs_on_links(&testbed.host);
    let installation = Installation::new(&format!("{{ {LINK}: {{ hook: {hook} }} }}"), "1s");
    let (parquet, json) = (installation.parquet(), installation.json());
    let chatter = Chatter::start(&testbed, AT_EASE);
    for _ in 0..LIVES {
        let stored = files(&parquet, "parquet").len();
        let agent = installation.start(&testbed.host);
        let attached = agent.attached();
        eventually("an interval is stored", || {
            (files(&parquet, "parquet").len() > stored).then_some(())
        });
        agent.kill();
        attached.wait_until_gone();
        assert_eq!(programs_on_links(&testbed.host), before);
        assert_all_readable(&parquet);
    }

    let agent = installation.start(&testbed.host);
    assert_eq!(agent.terminate().code(), Some(0));
    let said = chatter.finish();
    let stored = stored_total(&json);
    assert!(
        stored.packets_rcvd > 0 && stored.packets_sent > 0,
        "no flows"
    );
    let heard: u64 = said.values().map(|counts| counts.packets_rcvd).sum();
    assert!(stored.packets_rcvd <= heard, "packets were counted twice");
    assert_nothing_lost(&json);
    let unfinished = run(std::process::Command::new("find")
        .arg(installation.path())
        .args(["-name", "*.tmp"]));
    assert_eq!(unfinished, "", "the next start removes unfinished files");
}

/// Every file that a reader would see is whole, in either format.
#[track_caller]
fn assert_all_readable(parquet: &Path) {
    for path in files(parquet, "parquet") {
        let file = File::open(&path).expect("a readable file");
        let reader = SerializedFileReader::new(file)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let rows = reader.get_row_iter(None).expect("rows");
        for row in rows {
            row.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        }
    }
    // Fails on a line that is cut.
    stored_intervals(&parquet.with_file_name("json"));
}
