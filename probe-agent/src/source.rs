//! Where records come from: the eBPF programs, capture files, or a script of a test.
//!
//! A source has a control side ([`Source`]: attach, detach, counters), which the manager owns, and
//! one or more streams ([`RecordStream`]), each of which a drain thread owns. What ties them
//! together is the bank number: [`Source::switch_bank`] splits the records and counters into those
//! before and those after, to the packet.

pub mod ebpf;
pub mod pcap;

use std::{collections::HashMap, fmt, sync::Arc};

use probe_common::{
    control::{Counters, Tally},
    record::{INGRESS, Record},
};

use crate::config::InterfaceConfig;

/// A network interface as the source sees it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Interface {
    /// Name at the time of attaching.
    pub name: Arc<str>,
    /// Index, the interface's identity until it is removed.
    pub ifindex: u32,
}

/// How an interface is being captured, for the log, the status and the metrics.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Attachment {
    /// Hook that sees received packets: `xdp-native`, `xdp-generic`, `tcx`, `clsact`, `file` …
    pub ingress: &'static str,
    /// Hook that sees sent packets.
    pub egress: &'static str,
    /// Why these, including every hook that was tried and refused.
    pub reason: String,
}

/// What the kernel says of a link, at the moment of a look.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct LinkState {
    /// Its name now.
    pub name: String,
    /// Packets by its own counters (`rtnl_link_stats64`), received and sent; `None` if it has none.
    pub packets: Option<[u64; 2]>,
    /// XDP programs attached to it, by the kernel's numbers.
    pub xdp_programs: Vec<u32>,
}

/// Whether the programs of an interface are where [`Source::attach`] put them.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct HookState {
    /// Hooks without our program. None: all is well.
    pub lost: Vec<LostHook>,
    /// Somebody else's program that gets the packets before ours, by the kernel's number; received
    /// and sent.
    pub ahead: [Option<u32>; 2],
}

/// A hook that our program was removed from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LostHook {
    /// [`probe_common::record::INGRESS`] or `EGRESS`.
    pub direction: u8,
    /// `xdp-native`, `tcx` …
    pub hook: &'static str,
    /// Who is there now, if anybody.
    pub occupant: Option<String>,
}

impl fmt::Display for LostHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let direction = if self.direction == INGRESS {
            "ingress"
        } else {
            "egress"
        };
        write!(f, "{direction} {}: our program was ", self.hook)?;
        match &self.occupant {
            Some(occupant) => write!(f, "replaced, {occupant} is there now"),
            None => write!(f, "detached, no program is there now"),
        }
    }
}

/// What a source met that belongs to no interface. Only grows.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Strays {
    /// Packets on interfaces that are not captured.
    pub unclaimed: Tally,
    /// Entries of the stream that were no records. Anything but 0 is a defect.
    pub undecodable: u64,
}

/// Counters of one interface: `[bank][direction]`. Each only ever grows while the interface is
/// attached; a bank's are final from the return of the [`Source::switch_bank`] that closed it to
/// the next one.
pub type BankCounters = [[Counters; 2]; 2];

/// Errors of a source, each a sentence that names the object, the cause and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// An interface cannot be captured; others can.
    #[error("interface {interface}: {reason}")]
    Attach {
        /// Name of the interface.
        interface: String,
        /// Cause and remedy.
        reason: String,
    },
    /// The source as a whole does not work.
    #[error("{0}")]
    Unusable(String),
}

/// The control side of a source. One source serves many interfaces.
pub trait Source: Send {
    /// Hands out the reading ends, once, before the first `attach`.
    fn take_streams(&mut self) -> Vec<Box<dyn RecordStream>>;

    /// Starts capturing an interface. Its counters start at 0, and not before this call may a
    /// record of it appear in a stream. A source starts in bank 0.
    fn attach(
        &mut self,
        interface: &Interface,
        config: &InterfaceConfig,
    ) -> Result<Attachment, SourceError>;

    /// Stops capturing: on return no program runs for the interface, its counters stay readable.
    fn detach(&mut self, ifindex: u32) -> Result<(), SourceError>;

    /// Frees what `attach` took, after the last `counters` call for the interface.
    fn release(&mut self, ifindex: u32);

    /// Makes the other bank the active one and returns the bank that is closed thereby. On return
    /// no program runs that still uses the closed bank: its counters are final, and all its records
    /// have been submitted to the streams.
    fn switch_bank(&mut self) -> Result<u8, SourceError>;

    /// Reads the counters of an attached (or detached, not yet released) interface.
    fn counters(&self, ifindex: u32) -> Result<BankCounters, SourceError>;

    /// All links by index, in one question. Changes nothing. Sources without links have none, and
    /// nothing of them is compared or checked.
    fn links(&self) -> Result<HashMap<u32, LinkState>, SourceError> {
        Ok(HashMap::new())
    }

    /// Whether an attached interface still has its programs. Changes nothing.
    fn check(&self, _ifindex: u32, _link: &LinkState) -> Result<HookState, SourceError> {
        Ok(HookState::default())
    }

    /// Attaches what an attached interface has lost. Its counters go on.
    fn reattach(
        &mut self,
        interface: &Interface,
        _config: &InterfaceConfig,
    ) -> Result<Attachment, SourceError> {
        Err(SourceError::Attach {
            interface: interface.name.to_string(),
            reason: "this source has nothing to attach again".to_owned(),
        })
    }

    /// Reads what belongs to no interface. Changes nothing.
    fn strays(&self) -> Result<Strays, SourceError> {
        Ok(Strays::default())
    }
}

/// What a call of [`RecordStream::drain`] came to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Drained {
    /// So many records were handed over, and there may be more.
    Records(usize),
    /// Nothing is there at the moment.
    Idle,
    /// Nothing will ever come again.
    End,
}

/// The data side of a source, owned by one drain thread.
pub trait RecordStream: Send {
    /// Hands over all records that were submitted before the call, and perhaps later ones, but
    /// always returns, whatever the traffic.
    fn drain(&mut self, handle: &mut dyn FnMut(Record<'_>)) -> Result<Drained, SourceError>;
}
