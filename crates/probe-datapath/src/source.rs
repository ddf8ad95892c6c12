//! Records from the eBPF programs.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use probe_common::control::{InterfaceSlot, Tally};

use crate::{
    DatapathError,
    attach::{self, AttachError, Attached},
    bank::BankSwitch,
    counters::KernelCounters,
    detach_stale_filters, expedite,
    interface_slots::InterfaceSlots,
    jiffies,
    link::{self, LinkQuestions},
    load::{LoadError, LoadOptions, Object},
    map_memory,
    options::SourceOptions,
    program_log::ProgramLog,
    promisc::Promiscuous,
    ring::{Fill, Handed, RingStream},
};
use probe_capture::interface::{Interface, InterfaceConfig};
use probe_capture::source::{
    Attachment, BankCounters, Costs, HookState, Hooks, LinkState, RecordSource, RecordStream,
    Source, SourceError, SourceStatistics, SupervisedHooks, Unattributed,
};
use probe_flow::ticks::TickClock;

/// The programs of one loaded object, attached to any number of interfaces.
///
/// When it is dropped nothing stays attached.
pub struct EbpfSource {
    // Fields are dropped in this order: first what is attached, then the programs.
    captured: HashMap<u32, Captured>,
    slots: InterfaceSlots,
    counters: KernelCounters,
    bank: BankSwitch,
    stream: Option<RingStream>,
    undecodable: Arc<AtomicU64>,
    fill: Arc<Fill>,
    handed: Arc<Handed>,
    /// Kernel memory of each map in bytes. Fixed once they are made.
    map_bytes: Vec<(String, u64)>,
    tick_clock: TickClock,
    link_questions: LinkQuestions,
    /// Ends before the programs do.
    _program_log: Option<ProgramLog>,
    object: Object,
}

/// What holds an interface's capture up.
struct Captured {
    attached: Attached,
    _promiscuous: Option<Promiscuous>,
}

impl EbpfSource {
    /// Removes what an agent that was killed has left behind, and loads the object. Attaches
    /// nothing yet.
    ///
    /// # Errors
    ///
    /// [`SourceError::Unusable`] with the [`LoadError`] as its cause.
    pub fn load(options: SourceOptions) -> Result<Self, SourceError> {
        match detach_stale_filters() {
            Ok(0) => {}
            Ok(filters) => tracing::warn!(filters, "removed the filters of an earlier run"),
            Err(error) => tracing::warn!(%error, "an earlier run may have left filters behind"),
        }
        match expedite::put_back_stale_setting() {
            Ok(None) => {}
            Ok(Some(stale)) => tracing::warn!("{stale}"),
            Err(error) => tracing::warn!(
                %error,
                "an earlier run has left grace periods of RCU expedited: write 0 there, as root"
            ),
        }
        Self::with_options(options.load_options()).map_err(SourceError::unusable)
    }

    /// Loads the object and nothing else.
    ///
    /// # Errors
    ///
    /// See [`LoadError`].
    pub fn with_options(options: LoadOptions) -> Result<Self, LoadError> {
        Self::with_loaded(Object::load(options)?, options)
    }

    /// Loads another object than the embedded one, for `selftest`.
    ///
    /// # Errors
    ///
    /// See [`LoadError`].
    pub fn with_object(object: &[u8], options: LoadOptions) -> Result<Self, LoadError> {
        Self::with_loaded(Object::load_bytes(object, options)?, options)
    }

    fn with_loaded(mut object: Object, options: LoadOptions) -> Result<Self, LoadError> {
        let stream = RingStream::new(&mut object, options.cache)?;
        Ok(Self {
            captured: HashMap::new(),
            slots: InterfaceSlots::new(&mut object, options.interfaces)?,
            counters: KernelCounters::new(&mut object, options.interfaces())?,
            bank: BankSwitch::new(&mut object)?,
            undecodable: stream.undecodable(),
            fill: stream.fill(),
            handed: stream.handed(),
            map_bytes: map_bytes(options),
            stream: Some(stream),
            tick_clock: jiffies::clock(&mut object).map_err(Box::new)?,
            link_questions: LinkQuestions::default(),
            _program_log: ProgramLog::start(&mut object),
            object,
        })
    }

    /// Ring entries that were no record. Anything but 0 is a defect.
    pub fn undecodable(&self) -> u64 {
        self.undecodable.load(Ordering::Relaxed)
    }

    /// Frames that a program saw on an interface that is not captured.
    ///
    /// # Errors
    ///
    /// [`SourceError::Unusable`]: the kernel refuses to read the counter.
    pub fn unknown_interface(&self) -> Result<Tally, SourceError> {
        Ok(self.counters.unknown_interface()?)
    }

    /// Gives an interface a slot with counters of 0, so that its frames are recorded once a program
    /// is attached or run for it. `None` if all slots are taken. [`Hooks::attach`] does it itself.
    ///
    /// # Errors
    ///
    /// [`SourceError::Unusable`]: the kernel refuses to update a map of interfaces.
    pub fn claim(&mut self, ifindex: u32, ignore_vlans: bool) -> Result<Option<()>, SourceError> {
        let Some(slot) = self.slots.reserve() else {
            return Ok(None);
        };
        let first_counter_block = self.counters.prepare_slot(slot);
        let told = InterfaceSlot::new(ifindex, first_counter_block, ignore_vlans);
        self.slots.publish(slot, told)?;
        Ok(Some(()))
    }

    /// The loaded object, for running its programs in tests and `selftest`.
    pub fn object(&mut self) -> &mut Object {
        &mut self.object
    }

    fn attach_link(
        &mut self,
        interface: &Interface,
        config: &InterfaceConfig,
    ) -> Result<(Captured, Attachment), AttachError> {
        let link = self.link_questions.by_index(interface.ifindex)?;
        let promiscuous = config
            .promisc
            .then(|| Promiscuous::enter(interface.ifindex))
            .transpose()?;
        let (attached, attachment) = attach::attach(&mut self.object, config, &link)?;
        let captured = Captured {
            attached,
            _promiscuous: promiscuous,
        };
        Ok((captured, attachment))
    }
}

impl RecordSource for EbpfSource {
    fn take_streams(&mut self) -> Vec<Box<dyn RecordStream>> {
        let stream = self.stream.take();
        stream
            .map(|stream| Box::new(stream) as Box<dyn RecordStream>)
            .into_iter()
            .collect()
    }

    fn switch_bank(&mut self) -> Result<u8, SourceError> {
        let closed = self.bank.switch()?;
        match jiffies::clock(&mut self.object) {
            Ok(clock) => self.tick_clock = clock,
            // It has worked before, and ticks go on all the same.
            Err(error) => tracing::warn!(%error, "cannot read the kernel's tick count"),
        }
        Ok(closed)
    }

    fn counters(&self, ifindex: u32) -> Result<BankCounters, SourceError> {
        let slot = self.slots.slot(ifindex).ok_or_else(|| {
            SourceError::unusable(format!(
                "interface index {ifindex} is not captured, so it has no counters"
            ))
        })?;
        Ok(self.counters.slot_counters(slot))
    }

    fn tick_clock(&self) -> TickClock {
        self.tick_clock.clone()
    }
}

impl Hooks for EbpfSource {
    fn prepare(&mut self, interface: &Interface, config: &InterfaceConfig) {
        if let Ok(link) = self.link_questions.by_index(interface.ifindex) {
            attach::load_programs(&mut self.object, config, &link);
        }
    }

    fn attach(
        &mut self,
        interface: &Interface,
        config: &InterfaceConfig,
    ) -> Result<Attachment, SourceError> {
        let refuse = |error: AttachError| SourceError::attach(&interface.name, error);
        if self.slots.slot(interface.ifindex).is_some() {
            return Err(refuse(AttachError::AlreadyCaptured));
        }
        let slots = self.slots.len();
        self.claim(interface.ifindex, config.ignore_vlans)?
            .ok_or_else(|| refuse(AttachError::NoSlot { slots }))?;
        match self.attach_link(interface, config) {
            Ok((captured, attachment)) => {
                self.captured.insert(interface.ifindex, captured);
                Ok(attachment)
            }
            Err(error) => {
                self.slots.withdraw(interface.ifindex)?;
                self.slots.free(interface.ifindex);
                Err(refuse(error))
            }
        }
    }

    fn detach(&mut self, ifindices: &[u32]) -> Result<(), SourceError> {
        let detached: Vec<_> = ifindices
            .iter()
            .filter(|ifindex| self.captured.remove(ifindex).is_some())
            .collect();
        if !detached.is_empty() {
            self.bank.wait()?;
        }
        // The slots stay known to the programs: records of the interfaces may still leave the cache.
        Ok(())
    }

    fn release(&mut self, ifindex: u32) {
        if self.captured.contains_key(&ifindex) {
            return;
        }
        match self.slots.withdraw(ifindex) {
            Ok(()) => self.slots.free(ifindex),
            // Only the slot is lost: its programs are gone.
            Err(error) => tracing::error!(ifindex, %error, "cannot free an interface slot"),
        }
    }
}

impl SupervisedHooks for EbpfSource {
    fn links(&self, ifindices: &[u32]) -> Result<HashMap<u32, LinkState>, SourceError> {
        link::states(ifindices).map_err(SourceError::unusable)
    }

    fn check(&self, ifindex: u32, link: &LinkState) -> Result<HookState, SourceError> {
        let Some(captured) = self.captured.get(&ifindex) else {
            return Ok(HookState::default());
        };
        let checked = captured.attached.check(ifindex, link);
        checked.map_err(|error| SourceError::attach(&link.name, error))
    }

    fn reattach(
        &mut self,
        interface: &Interface,
        config: &InterfaceConfig,
    ) -> Result<Attachment, SourceError> {
        let refuse = |error: AttachError| SourceError::attach(&interface.name, error);
        let ifindex = interface.ifindex;
        let state = self.link_questions.state(ifindex);
        let state = state.map_err(|error| refuse(error.into()))?;
        let state = state.ok_or_else(|| refuse(AttachError::Gone))?;
        let lost = self.check(ifindex, &state)?.lost;
        let link = self.link_questions.by_index(ifindex);
        let link = link.map_err(|error| refuse(error.into()))?;
        let Some(captured) = self.captured.get_mut(&ifindex) else {
            return Err(refuse(AttachError::NotCaptured));
        };
        let attached = &mut captured.attached;
        attach::reattach(&mut self.object, attached, &lost, config, &link).map_err(refuse)
    }
}

impl SourceStatistics for EbpfSource {
    fn costs(&self) -> Costs {
        Costs {
            programs: self.object.program_costs(),
            maps: self.map_bytes.clone(),
            records: self.handed.records(),
            ring_fill: Some(self.fill.peak(Instant::now())),
            drain_lag: None,
        }
    }

    fn unattributed(&self) -> Result<Unattributed, SourceError> {
        Ok(Unattributed {
            unknown_interface: self.unknown_interface()?,
            undecodable: self.undecodable(),
        })
    }
}

impl Source for EbpfSource {
    fn supervised_hooks(&mut self) -> Option<&mut dyn SupervisedHooks> {
        Some(self)
    }

    fn statistics(&self) -> Option<&dyn SourceStatistics> {
        Some(self)
    }
}

fn map_bytes(options: LoadOptions) -> Vec<(String, u64)> {
    match map_memory::of_embedded(options) {
        Ok(map_memory) => {
            let maps = map_memory.maps.into_iter();
            maps.map(|map| (map.map, map.bytes)).collect()
        }
        Err(error) => {
            tracing::warn!(%error, "the memory of the maps is not known");
            Vec::new()
        }
    }
}

impl From<DatapathError> for SourceError {
    fn from(error: DatapathError) -> Self {
        Self::unusable(error)
    }
}
