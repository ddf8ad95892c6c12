//! Where records come from: the eBPF programs, capture files, or a script of a test.
//!
//! A source has a control side ([`Source`]: attach, detach, counters), which the manager owns, and
//! one or more streams ([`RecordStream`]), each of which a drain thread owns. What ties them
//! together is the bank number: [`Source::switch_bank`] splits the records and counters into those
//! before and those after, to the packet.

pub mod ebpf;
pub mod pcap;

use std::sync::Arc;

use probe_common::{control::Counters, record::Record};

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
