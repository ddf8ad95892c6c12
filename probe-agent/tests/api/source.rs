//! A source that hands over what a test gives it.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use parking_lot::{Mutex, RwLock};
use probe_capture::{
    interface::{Interface, InterfaceConfig},
    manager::Manager,
    source::{
        Attachment, BankCounters, Drained, Hooks, PolledStream, RecordSource, RecordStream, Source,
        SourceError, SourceStatistics, SupervisedHooks,
    },
};
use probe_common::{
    ephash::EpHashV4,
    headers::ip_protocol::TCP,
    loss::Loss,
    record::{EGRESS, INGRESS, IntoRecord, Record, RecordHead, RecordV4, origin_flags},
};
use probe_flow::ticks::TickClock;

/// Packets that are counted and handed over as soon as they are given.
#[derive(Clone, Default)]
pub(crate) struct Script(Arc<ScriptState>);

#[derive(Default)]
struct ScriptState {
    bank: RwLock<u8>,
    records: Mutex<VecDeque<RecordV4>>,
    counters: Mutex<BTreeMap<u32, BankCounters>>,
    attached: Mutex<BTreeMap<u32, InterfaceConfig>>,
}

impl Script {
    /// Sees a TCP packet from 198.18.0.1 to port 5000 of 198.18.1.`server`: a flow for each server.
    pub(crate) fn packet(&self, ifindex: u32, server: u8, octets: u64, sent: bool) {
        let bank = self.0.bank.read();
        let direction = if sent { EGRESS } else { INGRESS };
        let mut counters = self.0.counters.lock();
        let counters =
            &mut counters.entry(ifindex).or_default()[usize::from(*bank)][usize::from(direction)];
        counters.seen.add(1, octets + 14);
        counters.recorded.add(1, octets);
        let head = RecordHead {
            octets,
            packets: 1,
            ifindex,
            flags: origin_flags(direction, *bank),
            ..RecordHead::default()
        };
        let key = EpHashV4 {
            src_addr: [198, 18, 0, 1],
            src_port: 40_000_u16.to_be_bytes(),
            dst_addr: [198, 18, 1, server],
            dst_port: 5000_u16.to_be_bytes(),
            ip_protocol: TCP,
        };
        self.0.records.lock().push_back(key.into_record(head));
    }

    /// Sees a packet whose record finds the ring full.
    pub(crate) fn lose(&self, ifindex: u32) {
        let bank = self.0.bank.read();
        let mut counters = self.0.counters.lock();
        let counters =
            &mut counters.entry(ifindex).or_default()[usize::from(*bank)][usize::from(INGRESS)];
        counters.seen.add(1, 114);
        counters.recorded.add(1, 100);
        counters.losses[Loss::RingFull as usize].add(1, 100);
    }

    /// Sees one packet each of so many flows, and waits until all are in flows.
    pub(crate) fn many_flows(&self, ifindex: u32, flows: u32) {
        for first in 0..flows {
            let bank = self.0.bank.read();
            let mut counters = self.0.counters.lock();
            let counters =
                &mut counters.entry(ifindex).or_default()[usize::from(*bank)][usize::from(INGRESS)];
            counters.seen.add(1, 100);
            counters.recorded.add(1, 86);
            let head = RecordHead {
                octets: 86,
                packets: 1,
                ifindex,
                flags: origin_flags(INGRESS, *bank),
                ..RecordHead::default()
            };
            let key = EpHashV4 {
                src_addr: (u32::from_be_bytes([198, 18, 0, 0]) + first).to_be_bytes(),
                src_port: 40_000_u16.to_be_bytes(),
                dst_addr: [198, 19, 255, 1],
                dst_port: 5000_u16.to_be_bytes(),
                ip_protocol: TCP,
            };
            self.0.records.lock().push_back(key.into_record(head));
        }
        self.settle();
    }

    /// Captures these interfaces, with the indices 1, 2, …
    pub(crate) fn capture(manager: &Manager, names: &[&str]) {
        let links = names.iter().zip(1..).map(|(name, ifindex)| {
            let name = Arc::from(*name);
            (Interface { name, ifindex }, InterfaceConfig::default())
        });
        let changes = manager.update(links).expect("updated");
        assert_eq!(changes.failures().count(), 0);
    }

    /// The settings with which this interface is attached, if it is.
    pub(crate) fn attached(&self, ifindex: u32) -> Option<InterfaceConfig> {
        self.0.attached.lock().get(&ifindex).cloned()
    }

    /// Waits until all packets are in flows.
    pub(crate) fn settle(&self) {
        while !self.0.records.lock().is_empty() {
            std::thread::yield_now();
        }
    }
}

impl RecordSource for Script {
    fn take_streams(&mut self) -> Vec<Box<dyn RecordStream>> {
        let script = self.clone();
        let stream =
            PolledStream::new(
                move |handle: &mut dyn FnMut(&[Record<'_>])| Ok(script.drain(handle)),
            );
        vec![Box::new(stream)]
    }

    fn switch_bank(&mut self) -> Result<u8, SourceError> {
        let mut bank = self.0.bank.write();
        let closed = *bank;
        *bank = 1 - closed;
        Ok(closed)
    }

    fn counters(&self, ifindex: u32) -> Result<BankCounters, SourceError> {
        let counters = self.0.counters.lock();
        Ok(counters.get(&ifindex).copied().unwrap_or_default())
    }

    fn tick_clock(&self) -> TickClock {
        TickClock::default()
    }
}

impl Hooks for Script {
    fn attach(
        &mut self,
        interface: &Interface,
        config: &InterfaceConfig,
    ) -> Result<Attachment, SourceError> {
        let mut attached = self.0.attached.lock();
        attached.insert(interface.ifindex, config.clone());
        self.0
            .counters
            .lock()
            .insert(interface.ifindex, BankCounters::default());
        Ok(Attachment {
            ingress: "script",
            egress: "script",
            reason: "script: attached".to_owned(),
        })
    }

    fn detach(&mut self, ifindices: &[u32]) -> Result<(), SourceError> {
        let mut attached = self.0.attached.lock();
        for ifindex in ifindices {
            attached.remove(ifindex);
        }
        Ok(())
    }

    fn release(&mut self, _ifindex: u32) {}
}

impl Source for Script {
    fn supervised_hooks(&mut self) -> Option<&mut dyn SupervisedHooks> {
        None
    }

    fn statistics(&self) -> Option<&dyn SourceStatistics> {
        None
    }
}

impl Script {
    fn drain(&self, handle: &mut dyn FnMut(&[Record<'_>])) -> Drained {
        let there = self.0.records.lock().len();
        for _ in 0..there {
            // Taken out when it is handled: an empty queue means that all are in flows.
            let record = *self.0.records.lock().front().expect("one reader");
            handle(&[Record::V4(&record)]);
            self.0.records.lock().pop_front();
        }
        if there == 0 {
            Drained::Idle
        } else {
            Drained::Records(there)
        }
    }
}
