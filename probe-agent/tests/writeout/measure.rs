//! What a million flows cost to store. Run it optimised:
//! `PROBE_MEASURE=1 cargo test --release -p probe-agent --test writeout -- --nocapture measure`.

use std::{fs, path::Path, time::Instant};

use probe_store::{WriteoutHandler, json_lines::JsonLines, parquet::Parquet};
use probe_testkit::process::status_kib;

use super::{DAY, Ends, START, files, interval, open};

const FLOWS: u64 = 1_000_000;

#[test]
fn measure_a_million_flows() {
    // In a test run a few flows show that it works.
    let flows = if std::env::var_os("PROBE_MEASURE").is_some() {
        FLOWS
    } else {
        1000
    };
    for ends in [Ends::Few, Ends::Many] {
        let interval = interval("eth0", START, flows, ends);
        let root = tempfile::tempdir().unwrap();
        let mut parquet = open(Parquet::new(), root.path());
        let mut json = open(JsonLines::new(), root.path());
        for sink in [&mut parquet as &mut dyn WriteoutHandler, &mut json] {
            // Makes the kernel forget the peak so far.
            fs::write("/proc/self/clear_refs", "5").unwrap();
            let before = peak_kib();
            let begin = Instant::now();
            sink.write(&interval).unwrap();
            println!(
                "{} {ends:?}: {:?}, {} bytes, peak RSS + {} KiB over {before} KiB",
                sink.name(),
                begin.elapsed(),
                sink.stored_bytes(),
                peak_kib().saturating_sub(before),
            );
        }
        for name in files(root.path()) {
            let size = fs::metadata(root.path().join(Path::new(DAY)).join(&name))
                .unwrap()
                .len();
            println!("  {name}: {size}");
        }
    }
}

fn peak_kib() -> u64 {
    status_kib(std::process::id(), "VmHWM").unwrap()
}
