//! Where records come from: the eBPF programs, capture files, or a script of a test.
//!
//! A source has a control side ([`Source`]: attach, detach, counters), which the manager owns, and
//! one or more streams ([`RecordStream`]), each of which a drain thread owns. What ties them
//! together is the bank number: [`Source::switch_bank`] splits the records and counters into those
//! before and those after, to the packet.

use std::{collections::HashMap, fmt, sync::Arc, thread, time::Duration};

use probe_common::{
    control::{Counters, Tally},
    record::Record,
};

use probe_flow::{coverage::LostHook, ticks::TickClock};

use crate::interface::{Interface, InterfaceConfig};

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

/// What a source met that belongs to no interface. Only grows.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Strays {
    /// Packets on interfaces that are not captured.
    pub unclaimed: Tally,
    /// Entries of the stream that were no records. Anything but 0 is a defect.
    pub undecodable: u64,
}

/// What a source takes from the host.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Costs {
    /// The loaded programs.
    pub programs: Vec<ProgramCost>,
    /// Kernel memory of each map in bytes, by the map's name.
    pub maps: Vec<(String, u64)>,
    /// Records that have come out of the kernel, by the way they took.
    pub records: Records,
    /// Largest share of a ring that was found filled lately, 0 to 1; `None` without rings.
    pub ring_fill: Option<f64>,
    /// How long it takes from a record being submitted to its being counted, at the last look.
    pub drain_lag: Option<Duration>,
}

/// Records that the agent was handed, of however many packets each.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Records {
    /// Through the rings: displaced by another flow, or never open.
    pub ring: u64,
    /// From the cache, when its bank was closed.
    pub cache: u64,
}

/// Cost of one program, by the kernel's own statistics: 0 unless they are switched on
/// (`kernel.bpf_stats_enabled`).
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ProgramCost {
    /// Its name.
    pub program: String,
    /// How often it ran.
    pub runs: u64,
    /// How long, altogether.
    pub run_time: Duration,
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
    /// Records of it may still be kept back, up to the next [`Self::switch_bank`].
    fn detach(&mut self, ifindex: u32) -> Result<(), SourceError>;

    /// The same for several interfaces, which is cheaper. The first failure does not stop the others.
    fn detach_all(&mut self, ifindices: &[u32]) -> Result<(), SourceError> {
        let results = ifindices.iter().map(|ifindex| self.detach(*ifindex));
        results.fold(Ok(()), Result::and)
    }

    /// Frees what `attach` took, after the last `counters` call for the interface.
    fn release(&mut self, ifindex: u32);

    /// Makes the other bank the active one and returns the bank that is closed thereby. On return
    /// no program runs that still uses the closed bank: its counters are final, and all its records
    /// have been submitted to the streams or lie ready for [`RecordStream::drain_closed`].
    fn switch_bank(&mut self) -> Result<u8, SourceError>;

    /// Reads the counters of an attached (or detached, not yet released) interface.
    fn counters(&self, ifindex: u32) -> Result<BankCounters, SourceError>;

    /// These links by index, those that are there, and perhaps others. Changes nothing. Sources without
    /// links have none, and nothing of them is compared or checked.
    fn links(&self, _of: &[u32]) -> Result<HashMap<u32, LinkState>, SourceError> {
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

    /// When the ticks of this moment's records are ([`probe_common::record::RecordHead::first`]).
    /// Taken anew at each [`Self::switch_bank`]. Sources without times may leave it out.
    fn tick_clock(&self) -> TickClock {
        TickClock::default()
    }

    /// Reads what the source takes from the host. Changes nothing.
    fn costs(&self) -> Costs {
        Costs::default()
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

/// How long a stream that has no way to wait sleeps before it looks again.
const IDLE_POLL: Duration = Duration::from_millis(5);

/// Wakes the thread that drains a stream.
#[derive(Clone)]
pub struct Waker(Arc<dyn Fn() + Send + Sync>);

impl Waker {
    /// Wakes by calling this.
    pub fn new(wake: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(wake))
    }

    /// Wakes the thread.
    pub fn wake(&self) {
        (self.0)();
    }
}

impl fmt::Debug for Waker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Waker")
    }
}

/// The data side of a source, owned by one drain thread.
pub trait RecordStream: Send {
    /// Hands over all records that were submitted before the call, and perhaps later ones, but
    /// always returns, whatever the traffic. In batches as large as come at no cost: whoever takes
    /// them can then work on several at once.
    fn drain(&mut self, handle: &mut dyn FnMut(&[Record<'_>])) -> Result<Drained, SourceError>;

    /// Called once, on the thread that is going to drain the stream, before the first `drain`.
    fn on_thread_start(&mut self) {}

    /// Sleeps until there may be more worth handing over, or somebody calls the waker. The last
    /// `drain` handed over so many records.
    fn rest(&mut self, records: usize) {
        if records == 0 {
            thread::park_timeout(IDLE_POLL);
        }
    }

    /// Ends a [`Self::rest`], the next one if none goes on. `None`: unparking its thread does.
    fn waker(&self) -> Option<Waker> {
        None
    }

    /// Hands over what the source has kept back of a bank, to make fewer records of it. Called after
    /// the [`Source::switch_bank`] that closed it and a `drain` after that.
    fn drain_closed(
        &mut self,
        _bank: u8,
        _handle: &mut dyn FnMut(&[Record<'_>]),
    ) -> Result<(), SourceError> {
        Ok(())
    }
}
