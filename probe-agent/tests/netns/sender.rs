//! The generator: frames of our own making, put on the wire as fast as it takes them.

use std::{
    fs::{self, File},
    path::Path,
    process::ExitStatus,
    time::Duration,
};

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use super::{
    lab::{Lab, PEER_LINK},
    process::{Process, eventually, within},
};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/send_frames.py");

/// Sends the same frames in loops, from the peer's end of the link to the host.
pub(crate) struct Sender {
    process: Process,
    folder: TempDir,
}

/// What the generator says that it did.
#[derive(Debug)]
pub(crate) struct Sent {
    /// How often each frame was sent.
    pub(crate) loops: u64,
    pub(crate) seconds: f64,
    /// Position of each frame that the kernel does not send, and why.
    pub(crate) refused: Vec<(usize, String)>,
}

impl Sender {
    /// Starts to send, with a pause between loops if it must not take all of a CPU.
    #[track_caller]
    pub(crate) fn start(lab: &Lab, frames: &[Vec<u8>], loops: u64, pause: Duration) -> Self {
        Self::start_on(lab, PEER_LINK, frames, loops, pause)
    }

    /// The same on another link of the peer.
    #[track_caller]
    pub(crate) fn start_on(
        lab: &Lab,
        link: &str,
        frames: &[Vec<u8>],
        loops: u64,
        pause: Duration,
    ) -> Self {
        let folder = tempfile::Builder::new().prefix("probe-test-").tempdir();
        let folder = folder.expect("a folder");
        let capture = folder.path().join("pcap");
        write_pcap(&capture, frames);
        let open = |name| File::create(folder.path().join(name)).expect("a file");
        // One CPU, since frames in flight on two may overtake each other.
        let mut command = lab.peer.command("taskset");
        command.args(["--cpu-list", "0", "python3", SCRIPT, link]);
        command.arg(capture).arg(loops.to_string());
        command.arg(pause.as_secs_f64().to_string());
        let process = Process::spawn(command.stdout(open("out")).stderr(open("err")));
        let sender = Self { process, folder };
        eventually("the generator sends", || {
            sender.read("err").contains("sending").then_some(())
        });
        sender
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap_or_default()
    }

    /// Ends it after the running loop.
    #[track_caller]
    pub(crate) fn stop(self) -> Sent {
        self.process.signal(Signal::TERM);
        self.finish(Duration::from_secs(20))
    }

    /// Waits until all is sent.
    #[track_caller]
    pub(crate) fn finish(mut self, patience: Duration) -> Sent {
        let status: ExitStatus = within(patience, "all is sent", || self.process.try_wait());
        assert!(status.success(), "{status}\n{}", self.read("err"));
        let said: Value = serde_json::from_str(&self.read("out")).expect("a JSON object");
        let refused = said["refused"].as_object().expect("refusals by number");
        let refusal = |(number, why): (&String, &Value)| {
            let number = number.parse().expect("a position");
            (number, why.as_str().unwrap_or_default().to_owned())
        };
        Sent {
            loops: said["loops"].as_u64().expect("a number"),
            seconds: said["seconds"].as_f64().expect("a number"),
            refused: refused.iter().map(refusal).collect(),
        }
    }
}

/// A capture file of whole Ethernet frames, without times.
#[track_caller]
pub(crate) fn write_pcap(path: &Path, frames: &[Vec<u8>]) {
    const MAGIC: u32 = 0xa1b2_c3d4;
    const VERSION: u32 = 2 | 4 << 16;
    const SNAP_LEN: u32 = 1 << 18;
    const LINKTYPE_ETHERNET: u32 = 1;
    let mut bytes = Vec::new();
    for word in [MAGIC, VERSION, 0, 0, SNAP_LEN, LINKTYPE_ETHERNET] {
        bytes.extend(word.to_le_bytes());
    }
    for frame in frames {
        let len = u32::try_from(frame.len()).expect("a short frame");
        for word in [0, 0, len, len] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(frame);
    }
    fs::write(path, bytes).expect("a capture file");
}
