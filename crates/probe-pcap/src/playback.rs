//! What the control side may know of a replay while it runs and when it is over.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use jiff::Timestamp;
use parking_lot::Mutex;

use super::error::Ending;

/// Watches a replay. Clones watch the same one.
#[derive(Clone, Debug, Default)]
pub struct Playback {
    state: Arc<PlaybackState>,
}

#[derive(Debug, Default)]
struct PlaybackState {
    has_begun: AtomicBool,
    is_copying: AtomicBool,
    is_stopped: AtomicBool,
    copied_bytes: AtomicU64,
    file_bytes: AtomicU64,
    read_bytes: AtomicU64,
    summary: Mutex<PlaybackSummary>,
}

#[derive(Debug, Default)]
struct PlaybackSummary {
    ending: Option<Ending>,
    facts: Facts,
    warnings: Vec<String>,
}

/// What is known of packets together.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Facts {
    /// Earliest and latest time, by the time stamps of the file.
    range: Option<(Timestamp, Timestamp)>,
    without_time: u64,
    /// Packets whose direction the addresses of the host told.
    of_local: u64,
    /// Frames of 802.11 that cannot be read without a key.
    encrypted: u64,
}

impl Facts {
    /// Takes in the time of a packet, and whether the addresses of the host told its direction.
    pub(super) fn add(&mut self, at: Option<Timestamp>, is_of_local: bool, is_encrypted: bool) {
        self.of_local += u64::from(is_of_local);
        self.encrypted += u64::from(is_encrypted);
        match at {
            Some(at) => self.add_range(at, at),
            None => self.without_time += 1,
        }
    }

    fn add_range(&mut self, first: Timestamp, last: Timestamp) {
        let (start, end) = self.range.unwrap_or((first, last));
        self.range = Some((start.min(first), end.max(last)));
    }
}

impl Playback {
    /// The file has so many bytes and can be read.
    pub(super) fn on_open(&self, file_bytes: u64, warnings: Vec<String>) {
        self.state.file_bytes.store(file_bytes, Ordering::Relaxed);
        self.state.summary.lock().warnings = warnings;
    }

    /// So many bytes more of an input that can be read only once.
    pub(super) fn on_copied(&self, bytes: u64) {
        self.state.copied_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// A copy of an input that can be read only once begins, or has come to its end.
    pub(super) fn on_copy(&self, is_copying: bool) {
        self.state.is_copying.store(is_copying, Ordering::Relaxed);
    }

    /// Whether an input that can be read only once is being copied.
    pub fn is_copying(&self) -> bool {
        self.state.is_copying.load(Ordering::Relaxed)
    }

    /// Ends a copy of an input that can be read only once: what came is replayed. Returns whether there
    /// is a copy that this call ends.
    pub fn stop(&self) -> bool {
        self.is_copying() && !self.state.is_stopped.swap(true, Ordering::Relaxed)
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.state.is_stopped.load(Ordering::Relaxed)
    }

    /// Bytes copied so far, of an input that can be read only once.
    pub fn copied_bytes(&self) -> u64 {
        self.state.copied_bytes.load(Ordering::Relaxed)
    }

    /// Starts reading although not every interface of the file is attached; the packets of the
    /// others are passed over. Without this call it starts when the last one is attached.
    pub fn begin(&self) {
        self.state.has_begun.store(true, Ordering::Release);
    }

    pub(super) fn has_begun(&self) -> bool {
        self.state.has_begun.load(Ordering::Acquire)
    }

    /// Size of the file in bytes; 0 until it is open.
    pub fn file_bytes(&self) -> u64 {
        self.state.file_bytes.load(Ordering::Relaxed)
    }

    /// Bytes of the file that have been read.
    pub fn read_bytes(&self) -> u64 {
        self.state.read_bytes.load(Ordering::Relaxed)
    }

    /// How it ended; `None` while it runs. Once it is there, all records have been handed over.
    pub fn ending(&self) -> Option<Ending> {
        self.state.summary.lock().ending
    }

    /// Earliest and latest packet, by the file's time stamps; `None` while there was none.
    pub fn time_range(&self) -> Option<(Timestamp, Timestamp)> {
        self.state.summary.lock().facts.range
    }

    /// Packets of the file that have no time, or one that cannot be.
    pub fn packets_without_time(&self) -> u64 {
        self.state.summary.lock().facts.without_time
    }

    /// Packets whose direction the addresses of [`super::PcapOptions::local`] told.
    pub fn packets_of_local(&self) -> u64 {
        self.state.summary.lock().facts.of_local
    }

    /// What the user should know about the file, as sentences: complete once the replay is over.
    pub fn warnings(&self) -> Vec<String> {
        let summary = self.state.summary.lock();
        let mut warnings = summary.warnings.clone();
        if self.is_stopped() {
            warnings
                .push("reading was stopped; the flows are those of what came before".to_owned());
        }
        let encrypted = summary.facts.encrypted;
        if encrypted > 0 {
            warnings.push(format!(
                "{encrypted} frames of 802.11 are encrypted and counted as non_ip; decrypt the file \
                 first, as airdecap-ng does"
            ));
        }
        warnings
    }

    pub(super) fn on_batch(&self, read_bytes: u64, batch: Facts) {
        self.state.read_bytes.store(read_bytes, Ordering::Relaxed);
        let facts = &mut self.state.summary.lock().facts;
        facts.without_time += batch.without_time;
        facts.of_local += batch.of_local;
        facts.encrypted += batch.encrypted;
        if let Some((first, last)) = batch.range {
            facts.add_range(first, last);
        }
    }

    pub(super) fn on_end(&self, ending: Ending) {
        // A copy that was stopped need not end with a whole packet.
        let ending = match ending {
            Ending::Cut { .. } if self.is_stopped() => Ending::Complete,
            ending => ending,
        };
        self.state.summary.lock().ending = Some(ending);
    }
}
