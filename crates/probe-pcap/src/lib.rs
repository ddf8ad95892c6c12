//! Capture files as a source: the same parser, records, banks and counters as in the kernel.
//!
//! pcap (both byte orders, micro- and nanoseconds) and pcapng (several sections and interfaces)
//! are read; [`link_type::SUPPORTED`] lists the link types. Whether a packet was sent is told, in this
//! order, by the addresses of [`PcapOptions::local`], the packet flags of pcapng, and the link header
//! (Linux cooked captures); else it counts as received. There are no super-packets in files: each frame
//! is one packet, as large as it is.
//!
//! The crate is a [`probe_capture::source::Source`] beside that of the kernel. It never attaches
//! anything and never opens another file than the one that it is given. `replay` and the tests call
//! it.

#![deny(unsafe_code)]
#![warn(missing_docs)]

mod error;
mod interfaces;
pub mod link_type;
mod local;
mod open;
mod pcap;
mod pcapng;
mod playback;
mod reader;
mod sniff;
mod spool;
mod stream;
mod window;

use std::{path::Path, sync::Arc};

use parking_lot::Mutex;

pub use self::{
    error::{Ending, PcapError},
    local::{Local, LocalError, MacAddress},
    playback::Playback,
};
use self::{
    reader::PacketReader,
    stream::{Meaning, PcapStream},
};
use probe_capture::{
    interface::{Interface, InterfaceConfig},
    source::{
        Attachment, BankCounters, Hooks, RecordSource, RecordStream, Source, SourceError,
        SourceStatistics, SupervisedHooks,
    },
};
use probe_flow::ticks::{TickClock, TickTable};

/// A capture file, played back once, as fast as its records are taken.
pub struct PcapSource {
    interfaces: Vec<Interface>,
    playback: Playback,
    shared: Arc<Mutex<Shared>>,
    reader: Option<PacketReader>,
    ticks: Arc<TickTable>,
    options: PcapOptions,
}

/// How a capture file is read.
#[derive(Clone, Debug, Default)]
pub struct PcapOptions {
    /// Addresses of the capturing host, which tell sent packets from received ones. They come before
    /// what the file says.
    pub local: Vec<Local>,
    /// What watches the opening, too, which takes a while where the file is long or is a pipe.
    pub playback: Playback,
}

/// What the control side and the stream share.
struct Shared {
    bank: u8,
    /// By position in the list of interfaces.
    slots: Vec<Slot>,
}

/// An interface of the file.
#[derive(Clone, Copy, Default)]
struct Slot {
    is_attached: bool,
    /// It was attached at least once.
    was_attached: bool,
    ignore_vlans: bool,
    counters: BankCounters,
}

/// Index of the interface at a position: they count from 1.
#[expect(clippy::cast_possible_truncation, reason = "at most MAX_INTERFACES")]
const fn ifindex(position: usize) -> u32 {
    position as u32 + 1
}

impl PcapSource {
    /// Opens a capture file; `-` is the standard input. What cannot be read twice (a pipe) is first
    /// copied to a temporary file, up to its end or to [`Playback::stop`].
    ///
    /// The interfaces are those that a pcapng file names, else one that is called like the file,
    /// without directory and extension. Their indices count from 1.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or is no capture that can be replayed: see [`PcapError`].
    pub fn open(path: &Path) -> Result<(Self, Vec<Interface>), PcapError> {
        Self::open_with(path, PcapOptions::default())
    }

    /// Opens a capture file like [`Self::open`], and reads it as the options say.
    ///
    /// # Errors
    ///
    /// Those of [`Self::open`].
    pub fn open_with(
        path: &Path,
        options: PcapOptions,
    ) -> Result<(Self, Vec<Interface>), PcapError> {
        let playback = options.playback.clone();
        let opened = open::open(path, &playback)?;
        playback.on_open(opened.file_bytes, opened.warnings);
        let interfaces: Vec<_> = opened
            .names
            .into_iter()
            .enumerate()
            .map(|(position, name)| Interface {
                name,
                ifindex: ifindex(position),
            })
            .collect();
        let source = Self {
            interfaces: interfaces.clone(),
            playback,
            shared: Arc::new(Mutex::new(Shared {
                bank: 0,
                slots: vec![Slot::default(); interfaces.len()],
            })),
            reader: Some(opened.reader),
            ticks: Arc::new(opened.ticks),
            options,
        };
        if interfaces.is_empty() {
            source.playback.begin();
        }
        Ok((source, interfaces))
    }

    /// A handle that watches the replay, for progress and end.
    pub fn playback(&self) -> Playback {
        self.playback.clone()
    }

    fn position(&self, ifindex: u32) -> Result<usize, SourceError> {
        self.interfaces
            .iter()
            .position(|interface| interface.ifindex == ifindex)
            .ok_or_else(|| {
                SourceError::unusable(format!("the capture file has no interface {ifindex}"))
            })
    }
}

impl RecordSource for PcapSource {
    fn take_streams(&mut self) -> Vec<Box<dyn RecordStream>> {
        let reader = self.reader.take();
        reader
            .map(|reader| {
                let meaning = Meaning {
                    ticks: Arc::clone(&self.ticks),
                    local: self.options.local.clone(),
                };
                let shared = Arc::clone(&self.shared);
                Box::new(PcapStream::open(
                    reader,
                    shared,
                    meaning,
                    self.playback.clone(),
                )) as _
            })
            .into_iter()
            .collect()
    }

    fn switch_bank(&mut self) -> Result<u8, SourceError> {
        // The stream counts a batch and stamps its records under the same lock.
        let mut shared = self.shared.lock();
        let closed = shared.bank;
        shared.bank = 1 - closed;
        Ok(closed)
    }

    fn counters(&self, ifindex: u32) -> Result<BankCounters, SourceError> {
        let position = self.position(ifindex)?;
        Ok(self.shared.lock().slots[position].counters)
    }

    fn tick_clock(&self) -> TickClock {
        TickClock::of_table(Arc::clone(&self.ticks))
    }
}

impl Hooks for PcapSource {
    fn attach(
        &mut self,
        interface: &Interface,
        config: &InterfaceConfig,
    ) -> Result<Attachment, SourceError> {
        let position = self.position(interface.ifindex)?;
        let mut shared = self.shared.lock();
        let slot = &mut shared.slots[position];
        slot.is_attached = true;
        slot.was_attached = true;
        slot.ignore_vlans = config.ignore_vlans;
        if shared.slots.iter().all(|slot| slot.was_attached) {
            self.playback.begin();
        }
        Ok(Attachment {
            ingress: "file",
            egress: "file",
            reason: "the packets come from a capture file".to_owned(),
        })
    }

    fn detach(&mut self, ifindices: &[u32]) -> Result<(), SourceError> {
        let mut result = Ok(());
        for ifindex in ifindices {
            match self.position(*ifindex) {
                Ok(position) => self.shared.lock().slots[position].is_attached = false,
                Err(error) => result = result.and(Err(error)),
            }
        }
        result
    }

    fn release(&mut self, _ifindex: u32) {
        // The counters live as long as the source: there are few, and their number is fixed.
    }
}

/// Files have neither links nor programs.
impl Source for PcapSource {
    fn supervised_hooks(&mut self) -> Option<&mut dyn SupervisedHooks> {
        None
    }

    fn statistics(&self) -> Option<&dyn SourceStatistics> {
        None
    }
}
