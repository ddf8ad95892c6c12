//! Records from the eBPF programs.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use probe_common::control::{MAX_INTERFACES, SLOT_IGNORE_VLANS, Slot, Tally};

use super::{
    Attachment, BankCounters, HookState, Interface, LinkState, RecordStream, Source, SourceError,
    Strays,
};
use crate::{
    config::{Config, InterfaceConfig},
    datapath::{
        DatapathError,
        attach::{self, Attached},
        bank::BankSwitch,
        counters::KernelCounters,
        detach_leftovers,
        link::{self, Link},
        load::{LoadError, LoadOptions, Object},
        promisc::Promiscuous,
        ring::RingStream,
        slots::Slots,
    },
};

/// Slots for a configuration with few interfaces; 38 KiB per CPU.
const LEAST_INTERFACES: u32 = 64;

/// The programs of one loaded object, attached to any number of interfaces.
///
/// When it is dropped nothing stays attached.
pub struct EbpfSource {
    // Fields are dropped in this order: first what is attached, then the programs.
    captured: HashMap<u32, Captured>,
    slots: Slots,
    counters: KernelCounters,
    bank: BankSwitch,
    stream: Option<RingStream>,
    undecodable: Arc<AtomicU64>,
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
    pub fn load(config: &Config) -> Result<Self, SourceError> {
        match detach_leftovers() {
            Ok(0) => {}
            Ok(filters) => tracing::warn!(filters, "removed the filters of an earlier run"),
            Err(error) => tracing::warn!(%error, "an earlier run may have left filters behind"),
        }
        Self::with_options(load_options(config))
            .map_err(|error| SourceError::Unusable(error.to_string()))
    }

    /// Loads the object and nothing else.
    pub fn with_options(options: LoadOptions) -> Result<Self, LoadError> {
        Self::with_loaded(Object::load(options)?, options)
    }

    /// Loads another object than the embedded one, for `selftest`.
    pub fn with_object(object: &[u8], options: LoadOptions) -> Result<Self, LoadError> {
        Self::with_loaded(Object::load_bytes(object, options)?, options)
    }

    fn with_loaded(mut object: Object, options: LoadOptions) -> Result<Self, LoadError> {
        let stream = RingStream::new(&mut object)?;
        Ok(Self {
            captured: HashMap::new(),
            slots: Slots::new(&mut object, options.interfaces)?,
            counters: KernelCounters::new(&mut object)?,
            bank: BankSwitch::new(&mut object)?,
            undecodable: stream.undecodable(),
            stream: Some(stream),
            object,
        })
    }

    /// Ring entries that were no record. Anything but 0 is a defect.
    pub fn undecodable(&self) -> u64 {
        self.undecodable.load(Ordering::Relaxed)
    }

    /// Frames that a program saw on an interface that is not captured.
    pub fn unclaimed(&self) -> Result<Tally, SourceError> {
        Ok(self.counters.unclaimed()?)
    }

    /// Gives an interface a slot with counters of 0, so that its frames are recorded once a program
    /// is attached or run for it. `None` if all slots are taken. [`Source::attach`] does it itself.
    pub fn claim(&mut self, ifindex: u32, ignore_vlans: bool) -> Result<Option<()>, SourceError> {
        let Some(slot) = self.slots.reserve() else {
            return Ok(None);
        };
        self.counters.clear_slot(slot)?;
        let published = self.slots.publish(Slot {
            ifindex,
            slot,
            flags: if ignore_vlans { SLOT_IGNORE_VLANS } else { 0 },
        });
        if let Err(error) = published {
            self.slots.free(ifindex);
            return Err(error.into());
        }
        Ok(Some(()))
    }

    fn no_slot(&self) -> String {
        format!(
            "all {} interface slots are taken: restart the agent after adding many interfaces by \
             name; {MAX_INTERFACES} are the most",
            self.slots.len()
        )
    }

    /// The loaded object, for running its programs in tests and `selftest`.
    pub fn object(&mut self) -> &mut Object {
        &mut self.object
    }

    fn attach_link(
        &mut self,
        interface: &Interface,
        config: &InterfaceConfig,
    ) -> Result<(Captured, Attachment), String> {
        let link = Link::by_index(interface.ifindex).map_err(|error| error.to_string())?;
        let promiscuous = config
            .promisc
            .then(|| Promiscuous::enter(interface.ifindex))
            .transpose()
            .map_err(|error| error.to_string())?;
        let (attached, attachment) =
            attach::attach(&mut self.object, config, &link).map_err(|error| error.to_string())?;
        let captured = Captured {
            attached,
            _promiscuous: promiscuous,
        };
        Ok((captured, attachment))
    }
}

impl Source for EbpfSource {
    fn take_streams(&mut self) -> Vec<Box<dyn RecordStream>> {
        let stream = self.stream.take();
        stream
            .map(|stream| Box::new(stream) as Box<dyn RecordStream>)
            .into_iter()
            .collect()
    }

    fn attach(
        &mut self,
        interface: &Interface,
        config: &InterfaceConfig,
    ) -> Result<Attachment, SourceError> {
        let refuse = |reason: String| SourceError::Attach {
            interface: interface.name.to_string(),
            reason,
        };
        if self.slots.slot(interface.ifindex).is_some() {
            return Err(refuse(
                "it is captured already: detach and release it first".to_owned(),
            ));
        }
        self.claim(interface.ifindex, config.ignore_vlans)?
            .ok_or_else(|| refuse(self.no_slot()))?;
        match self.attach_link(interface, config) {
            Ok((captured, attachment)) => {
                self.captured.insert(interface.ifindex, captured);
                Ok(attachment)
            }
            Err(reason) => {
                self.slots.withdraw(interface.ifindex)?;
                self.slots.free(interface.ifindex);
                Err(refuse(reason))
            }
        }
    }

    fn detach(&mut self, ifindex: u32) -> Result<(), SourceError> {
        if self.captured.remove(&ifindex).is_none() {
            return Ok(());
        }
        self.bank.wait()?;
        self.slots.withdraw(ifindex)?;
        Ok(())
    }

    fn release(&mut self, ifindex: u32) {
        if !self.captured.contains_key(&ifindex) {
            self.slots.free(ifindex);
        }
    }

    fn switch_bank(&mut self) -> Result<u8, SourceError> {
        Ok(self.bank.switch()?)
    }

    fn counters(&self, ifindex: u32) -> Result<BankCounters, SourceError> {
        let slot = self.slots.slot(ifindex).ok_or_else(|| {
            SourceError::Unusable(format!(
                "interface index {ifindex} is not captured, so it has no counters"
            ))
        })?;
        Ok(self.counters.of_slot(slot)?)
    }

    fn links(&self) -> Result<HashMap<u32, LinkState>, SourceError> {
        link::states().map_err(|error| SourceError::Unusable(error.to_string()))
    }

    fn check(&self, ifindex: u32, link: &LinkState) -> Result<HookState, SourceError> {
        let Some(captured) = self.captured.get(&ifindex) else {
            return Ok(HookState::default());
        };
        let refuse = |error: attach::CheckError| SourceError::Attach {
            interface: link.name.clone(),
            reason: error.to_string(),
        };
        captured.attached.check(ifindex, link).map_err(refuse)
    }

    fn reattach(
        &mut self,
        interface: &Interface,
        config: &InterfaceConfig,
    ) -> Result<Attachment, SourceError> {
        let refuse = |reason: String| SourceError::Attach {
            interface: interface.name.to_string(),
            reason,
        };
        let ifindex = interface.ifindex;
        let state = self.links()?.remove(&ifindex);
        let state = state.ok_or_else(|| refuse("it is gone".to_owned()))?;
        let lost = self.check(ifindex, &state)?.lost;
        let link = Link::by_index(ifindex).map_err(|error| refuse(error.to_string()))?;
        let Some(captured) = self.captured.get_mut(&ifindex) else {
            return Err(refuse("it is not captured".to_owned()));
        };
        attach::reattach(
            &mut self.object,
            &mut captured.attached,
            &lost,
            config,
            &link,
        )
        .map_err(|error| refuse(error.to_string()))
    }

    fn strays(&self) -> Result<Strays, SourceError> {
        Ok(Strays {
            unclaimed: self.unclaimed()?,
            undecodable: self.undecodable(),
        })
    }
}

/// Sizes that a configuration asks for.
pub fn load_options(config: &Config) -> LoadOptions {
    LoadOptions {
        ring_buffer_bytes: config.capture.ring_buffer_bytes,
        interfaces: slots_for(config),
    }
}

/// Slots that a configuration may need. Named interfaces are counted, with room for those that a
/// reload adds; a pattern may match any number.
fn slots_for(config: &Config) -> u32 {
    let has_pattern = config
        .interfaces
        .keys()
        .any(|name| name.starts_with('/') && name.ends_with('/'));
    if config.autodetection.enabled || has_pattern {
        return MAX_INTERFACES;
    }
    let named = u32::try_from(config.interfaces.len()).unwrap_or(MAX_INTERFACES);
    named
        .saturating_mul(2)
        .clamp(LEAST_INTERFACES, MAX_INTERFACES)
}

impl From<DatapathError> for SourceError {
    fn from(error: DatapathError) -> Self {
        Self::Unusable(error.to_string())
    }
}
