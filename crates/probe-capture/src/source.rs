//! Where records come from: the eBPF programs, capture files, or a script of a test.
//!
//! A source has a control side ([`Source`]), which the manager owns, and one or more streams
//! ([`RecordStream`]), each of which a drain thread owns. The control side is what all sources have,
//! [`RecordSource`] (banks and counters) and [`Hooks`] (attach and detach), and what only some have,
//! [`SupervisedHooks`] and [`SourceStatistics`].
//!
//! What ties both sides together is the bank number: [`RecordSource::switch_bank`] splits the records
//! and counters into those before and those after, to the packet.

use std::{collections::HashMap, error::Error, fmt, sync::Arc, time::Duration};

use probe_common::{
    control::{Counters, Tally},
    record::Record,
};

use probe_flow::{
    coverage::{LinkCounts, LostHook},
    ticks::TickClock,
};

use crate::interface::{Interface, InterfaceConfig};

mod polled;

pub use self::polled::{PolledStream, park_if_idle};

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

/// What the kernel says of a link at one moment.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct LinkState {
    /// Name of the link at the time of the call.
    pub name: String,
    /// By its own counters (`rtnl_link_stats64`), received and sent; `None` if it has none.
    pub counts: Option<[LinkCounts; 2]>,
    /// XDP programs attached to it, by the kernel's numbers.
    pub xdp_programs: Vec<u32>,
    /// It is switched off, or has no carrier: no packet can pass.
    pub is_down: bool,
}

/// Whether the programs of an interface are where [`Hooks::attach`] put them.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct HookState {
    /// Hooks without our program. None: all is well.
    pub lost: Vec<LostHook>,
    /// Foreign program that gets the packets before ours, by the kernel's number; received and sent.
    pub ahead: [Option<u32>; 2],
}

/// Packets and records that belong to no captured interface. Only grows.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Unattributed {
    /// Packets on interfaces that are not captured.
    pub unknown_interface: Tally,
    /// Entries of the stream that were no records. Anything but 0 is a defect.
    pub undecodable: u64,
}

/// What a source takes from the host.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Costs {
    /// Cost of each loaded program.
    pub programs: Vec<ProgramCost>,
    /// Kernel memory of each map in bytes, by the map's name.
    pub maps: Vec<(String, u64)>,
    /// Records that have come out of the kernel, by the way they took.
    pub records: Records,
    /// Largest share of a ring that was found filled lately, 0 to 1; `None` without rings.
    pub ring_fill: Option<f64>,
    /// How long it takes from a record being submitted to its being counted, at the last check of the drain threads.
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
    /// Name of the program in the object.
    pub program: String,
    /// How often it ran.
    pub runs: u64,
    /// Time that all runs took, altogether.
    pub run_time: Duration,
}

/// Counters of one interface: `[bank][direction]`. Each only ever grows while the interface is
/// attached; a bank's are final from the return of the [`RecordSource::switch_bank`] that closed
/// it to the next one.
pub type BankCounters = [[Counters; 2]; 2];

/// Whatever made an operation fail. Each kind of source has errors of its own, so the border of the
/// crate takes any; a caller that knows the kind can downcast it.
pub type Cause = Box<dyn Error + Send + Sync>;

/// Errors of a source, each a sentence that names the object, the cause and the remedy. The cause's
/// own sentence is part of it, and the cause itself is the [`Error::source`].
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// An interface cannot be captured; others can.
    #[error("interface {interface}: {source}")]
    Attach {
        /// Name of the interface.
        interface: String,
        /// The source's own error: cause and remedy.
        source: Cause,
    },
    /// The source as a whole does not work.
    #[error(transparent)]
    Unusable(Cause),
}

impl SourceError {
    /// This interface cannot be captured, because of this.
    pub fn attach(interface: &str, cause: impl Into<Cause>) -> Self {
        Self::Attach {
            interface: interface.to_owned(),
            source: cause.into(),
        }
    }

    /// The source as a whole does not work, because of this.
    pub fn unusable(cause: impl Into<Cause>) -> Self {
        Self::Unusable(cause.into())
    }
}

/// The records of a source and the counters that go with them. One source serves many interfaces.
pub trait RecordSource: Send {
    /// Hands out the reading ends, once, before the first [`Hooks::attach`].
    fn take_streams(&mut self) -> Vec<Box<dyn RecordStream>>;

    /// Makes the other bank the active one and returns the bank that is closed thereby. A source
    /// starts in bank 0. On return no program runs that still uses the closed bank: its counters are
    /// final, and all its records have been submitted to the streams or lie ready for
    /// [`RecordStream::drain_closed`].
    ///
    /// # Errors
    ///
    /// [`SourceError::Unusable`]: the source cannot make the other bank the active one, or cannot
    /// tell when no program uses the closed one any more. No bank is closed then. Records of the
    /// other bank may come all the same, and belong to what follows the next switch.
    fn switch_bank(&mut self) -> Result<u8, SourceError>;

    /// Reads the counters of an attached (or detached, not yet released) interface.
    ///
    /// # Errors
    ///
    /// [`SourceError::Unusable`]: the source does not know the interface, or has released it.
    fn counters(&self, ifindex: u32) -> Result<BankCounters, SourceError>;

    /// When the ticks of this moment's records are ([`probe_common::record::RecordHead::first`]).
    /// Taken anew at each [`Self::switch_bank`]. [`TickClock::default`] for records without times.
    fn tick_clock(&self) -> TickClock;
}

/// How the programs of a source get to the interfaces and leave them.
pub trait Hooks: Send {
    /// Makes what [`Self::attach`] needs for this interface and what takes long, such as loading
    /// programs. So a capture starts when its interval does, and a changed one has a short gap.
    /// Changes nothing on the host; what fails here fails when attaching, and is told then.
    fn prepare(&mut self, _interface: &Interface, _config: &InterfaceConfig) {}

    /// Starts capturing an interface. Its counters start at 0, and not before this call may a
    /// record of it appear in a stream.
    ///
    /// # Errors
    ///
    /// [`SourceError::Attach`]: this interface cannot be captured; others can.
    /// [`SourceError::Unusable`]: the source as a whole does not work, or does not know the
    /// interface.
    fn attach(
        &mut self,
        interface: &Interface,
        config: &InterfaceConfig,
    ) -> Result<Attachment, SourceError>;

    /// Stops capturing these interfaces, which together is cheaper than one by one: on return no
    /// program runs for them, their counters stay readable. Records of them may still be kept back,
    /// up to the next [`RecordSource::switch_bank`]. A failure of one does not stop the others; the
    /// first is returned.
    ///
    /// # Errors
    ///
    /// [`SourceError::Unusable`]: the source does not know an interface, or cannot tell when no
    /// program runs for them any more. All those that it knows are detached.
    fn detach(&mut self, ifindices: &[u32]) -> Result<(), SourceError>;

    /// Frees what `attach` took, after the last [`RecordSource::counters`] call for the interface.
    fn release(&mut self, ifindex: u32);
}

/// Whether hooks are still in place and what the links move, for sources whose programs others can
/// remove.
pub trait SupervisedHooks: Send {
    /// The state of these links by index, of those that are there, and perhaps of others. Changes
    /// nothing.
    ///
    /// # Errors
    ///
    /// [`SourceError::Unusable`]: the host's links cannot be queried at all.
    fn links(&self, ifindices: &[u32]) -> Result<HashMap<u32, LinkState>, SourceError>;

    /// Whether an attached interface still has its programs. Changes nothing.
    ///
    /// # Errors
    ///
    /// [`SourceError::Attach`]: the kernel does not tell which programs are at a hook of the
    /// interface.
    fn check(&self, ifindex: u32, link: &LinkState) -> Result<HookState, SourceError>;

    /// Attaches what an attached interface has lost. Its counters go on.
    ///
    /// # Errors
    ///
    /// [`SourceError::Attach`]: the link is gone or is not captured, its hooks cannot be checked,
    /// or a hook does not take the program.
    fn reattach(
        &mut self,
        interface: &Interface,
        config: &InterfaceConfig,
    ) -> Result<Attachment, SourceError>;
}

/// What a source tells of itself, for sources that have a kernel's side. Reading changes nothing.
pub trait SourceStatistics: Send {
    /// Reads what the source takes from the host.
    fn costs(&self) -> Costs;

    /// Reads what belongs to no captured interface.
    ///
    /// # Errors
    ///
    /// [`SourceError::Unusable`] if the counters cannot be read.
    fn unattributed(&self) -> Result<Unattributed, SourceError>;
}

/// A source of records as the manager holds it: what each has, and what only some have.
pub trait Source: RecordSource + Hooks {
    /// Supervision of hooks and links. `None`: no other program can remove what the source attaches, and there
    /// are no links to compare its counters with.
    fn supervised_hooks(&mut self) -> Option<&mut dyn SupervisedHooks>;

    /// Statistics of the source itself. `None`: it has none.
    fn statistics(&self) -> Option<&dyn SourceStatistics>;
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

/// Wakes the thread that drains a stream.
#[derive(Clone)]
pub struct Waker(Arc<dyn Fn() + Send + Sync>);

impl Waker {
    /// Wakes by calling this.
    pub fn new(wake: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(wake))
    }

    /// Wakes the thread that waits on this handle.
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
///
/// Every method is required: a stream that forgot to hand over what its source has kept back would
/// lose records without a word. [`PolledStream`] is the base of streams that keep nothing back.
///
/// ```compile_fail,E0046
/// use probe_capture::source::{Drained, RecordStream, SourceError, Waker, park_if_idle};
/// use probe_common::record::Record;
///
/// struct Forgetful;
///
/// impl RecordStream for Forgetful {
///     fn drain(&mut self, _: &mut dyn FnMut(&[Record<'_>])) -> Result<Drained, SourceError> {
///         Ok(Drained::Idle)
///     }
///     fn on_thread_start(&mut self) {}
///     fn wait(&mut self, records: usize) {
///         park_if_idle(records);
///     }
///     fn waker(&self) -> Option<Waker> {
///         None
///     }
///     // Without `drain_closed`.
/// }
/// ```
pub trait RecordStream: Send {
    /// Hands over all records that were submitted before the call, and perhaps later ones, but
    /// always returns, whatever the traffic. In batches as large as come at no cost: a consumer that takes
    /// them can then work on several at once.
    ///
    /// # Errors
    ///
    /// [`SourceError::Unusable`]: the stream cannot be read, and hands over nothing more.
    fn drain(&mut self, handle: &mut dyn FnMut(&[Record<'_>])) -> Result<Drained, SourceError>;

    /// Called once, on the thread that is going to drain the stream, before the first `drain`.
    fn on_thread_start(&mut self);

    /// Sleeps until there may be more worth handing over, or until [`Self::waker`] is called. The
    /// last `drain` handed over so many records. A stream without a waker of its own takes
    /// [`park_if_idle`].
    fn wait(&mut self, records: usize);

    /// Ends a [`Self::wait`], the next one if none goes on. `None`: unparking the thread does.
    fn waker(&self) -> Option<Waker>;

    /// Hands over what the source has kept back of a bank, to make fewer records of it. Called after
    /// the [`RecordSource::switch_bank`] that closed it and a `drain` after that. A source that keeps
    /// nothing back hands over nothing.
    ///
    /// # Errors
    ///
    /// [`SourceError::Unusable`]: what was kept back cannot be read. The records of the bank are lost.
    fn drain_closed(
        &mut self,
        bank: u8,
        handle: &mut dyn FnMut(&[Record<'_>]),
    ) -> Result<(), SourceError>;
}
