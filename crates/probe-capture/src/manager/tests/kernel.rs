//! A kernel in a box, as the source of a manager.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
    thread,
    time::Duration,
};

use parking_lot::{Mutex, RwLock};
use probe_common::{
    ephash::EpHashV4,
    record::{INGRESS, IntoRecord, Record, RecordHead, RecordV4, origin_flags},
};
use zerocopy::FromZeros;

use crate::{
    interface::{Hook, Interface, InterfaceConfig},
    source::{
        Attachment, BankCounters, Drained, Hooks, PolledStream, RecordSource, RecordStream, Source,
        SourceError, SourceStatistics, SupervisedHooks,
    },
};
use probe_flow::{ledger::Loss, ticks::TickClock};

/// Records that the ring of the box holds.
const RING_RECORDS: usize = 2000;

/// A kernel in a box: a ring, counters in two banks, and programs that hold the bank (as a program
/// run holds the RCU read lock) while they count and submit.
#[derive(Clone, Default)]
pub(super) struct Kernel(pub(super) Arc<KernelState>);

#[derive(Default)]
pub(super) struct KernelState {
    bank: RwLock<u8>,
    ring: Mutex<VecDeque<RecordV4>>,
    pub(super) counters: Mutex<[BankCounters; 8]>,
    pub(super) attached: Mutex<BTreeSet<u32>>,
    /// Indices of the calls of `attach` and `detach`, in their order.
    pub(super) calls: Mutex<Vec<u32>>,
    /// The next switch of the bank fails, after a packet of this interface in the other bank.
    pub(super) fails_to_switch: Mutex<Option<u32>>,
    /// Interfaces that refuse hooks other than `auto`.
    pub(super) picky: Mutex<BTreeSet<u32>>,
    /// What loading the programs of a hook takes, once.
    pub(super) loading: Mutex<Duration>,
    loaded: Mutex<Vec<Hook>>,
}

impl Kernel {
    fn load(&self, hook: Hook) {
        let mut loaded = self.0.loaded.lock();
        if !loaded.contains(&hook) {
            thread::sleep(*self.0.loading.lock());
            loaded.push(hook);
        }
    }

    pub(super) fn packet(&self, ifindex: u32, flow: u16) {
        let bank = self.0.bank.read();
        if !self.0.attached.lock().contains(&ifindex) {
            return;
        }
        let counters = &mut self.0.counters.lock()[ifindex as usize][usize::from(*bank)][0];
        counters.seen.add(1, 114);
        if flow.is_multiple_of(7) {
            counters.losses[Loss::NonIp as usize].add(1, 114);
            return;
        }
        counters.recorded.add(1, 100);
        let mut ring = self.0.ring.lock();
        if ring.len() >= RING_RECORDS {
            counters.losses[Loss::RingFull as usize].add(1, 100);
            return;
        }
        let head = RecordHead {
            octets: 100,
            packets: 1,
            ifindex,
            flags: origin_flags(INGRESS, *bank),
            ..RecordHead::default()
        };
        let key = EpHashV4 {
            src_port: flow.to_be_bytes(),
            ..EpHashV4::new_zeroed()
        };
        ring.push_back(key.into_record(head));
    }

    fn drain(&self, handle: &mut dyn FnMut(&[Record<'_>])) -> Drained {
        let there = self.0.ring.lock().len();
        for _ in 0..there {
            let record = self.0.ring.lock().pop_front().expect("one reader");
            handle(&[Record::V4(&record)]);
        }
        if there == 0 {
            Drained::Idle
        } else {
            Drained::Records(there)
        }
    }
}

impl RecordSource for Kernel {
    fn take_streams(&mut self) -> Vec<Box<dyn RecordStream>> {
        let kernel = self.clone();
        let stream =
            PolledStream::new(
                move |handle: &mut dyn FnMut(&[Record<'_>])| Ok(kernel.drain(handle)),
            );
        vec![Box::new(stream)]
    }

    fn switch_bank(&mut self) -> Result<u8, SourceError> {
        let closed = *self.0.bank.read();
        *self.0.bank.write() = 1 - closed;
        if let Some(ifindex) = self.0.fails_to_switch.lock().take() {
            self.packet(ifindex, 1);
            *self.0.bank.write() = closed;
            return Err(SourceError::unusable("no grace period"));
        }
        Ok(closed)
    }

    fn counters(&self, ifindex: u32) -> Result<BankCounters, SourceError> {
        Ok(self.0.counters.lock()[ifindex as usize])
    }

    fn tick_clock(&self) -> TickClock {
        TickClock::default()
    }
}

impl Hooks for Kernel {
    fn prepare(&mut self, _: &Interface, config: &InterfaceConfig) {
        self.load(config.hook);
    }

    fn attach(
        &mut self,
        interface: &Interface,
        config: &InterfaceConfig,
    ) -> Result<Attachment, SourceError> {
        self.load(config.hook);
        self.0.calls.lock().push(interface.ifindex);
        if config.hook != Hook::Auto && self.0.picky.lock().contains(&interface.ifindex) {
            return Err(SourceError::attach(&interface.name, "refused"));
        }
        self.0.counters.lock()[interface.ifindex as usize] = BankCounters::default();
        self.0.attached.lock().insert(interface.ifindex);
        Ok(Attachment {
            ingress: "box",
            egress: "none",
            reason: String::new(),
        })
    }

    fn detach(&mut self, ifindices: &[u32]) -> Result<(), SourceError> {
        for ifindex in ifindices {
            self.0.calls.lock().push(*ifindex);
            self.0.attached.lock().remove(ifindex);
        }
        Ok(())
    }

    fn release(&mut self, _: u32) {}
}

impl Source for Kernel {
    fn supervised_hooks(&mut self) -> Option<&mut dyn SupervisedHooks> {
        None
    }

    fn statistics(&self) -> Option<&dyn SourceStatistics> {
        None
    }
}
