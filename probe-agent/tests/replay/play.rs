//! Plays a capture file through its source and adds the records up.

use std::{collections::BTreeMap, net::IpAddr, path::Path};

use probe_capture::{
    interface::{Interface, InterfaceConfig},
    source::{Drained, Hooks, RecordSource},
};
use probe_common::record::{EGRESS, FLAG_LATER_FRAGMENT, Record};
use probe_flow::ledger::{Ledger, Loss};
use probe_pcap::{Ending, PcapError, PcapOptions, PcapSource, Playback};

/// A unidirectional flow key.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Key {
    pub(crate) src: IpAddr,
    pub(crate) dst: IpAddr,
    pub(crate) src_port: u16,
    pub(crate) dst_port: u16,
    pub(crate) ip_protocol: u8,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Count {
    pub(crate) packets: u64,
    pub(crate) octets: u64,
}

impl Count {
    pub(crate) fn add(&mut self, packets: u64, octets: u64) {
        self.packets += packets;
        self.octets += octets;
    }
}

pub(crate) type Table = BTreeMap<Key, Count>;

/// What a replay came to.
pub(crate) struct Played {
    pub(crate) interfaces: Vec<Interface>,
    /// Records but those of later fragments.
    pub(crate) flows: Table,
    /// Records of later fragments, which have no ports.
    pub(crate) fragments: Table,
    /// Packets by interface name and direction.
    pub(crate) packets: BTreeMap<(String, u8), u64>,
    pub(crate) ledger: Ledger,
    pub(crate) ending: Ending,
    pub(crate) playback: Playback,
}

impl Played {
    pub(crate) fn loss(&self, loss: Loss) -> u64 {
        self.ledger.loss(loss).packets
    }

    pub(crate) fn sent(&self, interface: &str) -> u64 {
        let key = (interface.to_owned(), EGRESS);
        self.packets.get(&key).copied().unwrap_or(0)
    }
}

pub(crate) fn play(path: &Path) -> Played {
    play_with(path, &InterfaceConfig::default())
}

pub(crate) fn play_with(path: &Path, config: &InterfaceConfig) -> Played {
    play_source(PcapSource::open(path), config)
}

pub(crate) fn play_as(path: &Path, options: PcapOptions) -> Played {
    let opened = PcapSource::open_with(path, options);
    play_source(opened, &InterfaceConfig::default())
}

fn play_source(
    opened: Result<(PcapSource, Vec<Interface>), PcapError>,
    config: &InterfaceConfig,
) -> Played {
    let (mut source, interfaces) = opened.unwrap_or_else(|error| panic!("{error}"));
    let playback = source.playback();
    let mut stream = source.take_streams().pop().expect("a stream");
    for interface in &interfaces {
        source.attach(interface, config).expect("attached");
    }
    let mut played = Played {
        interfaces,
        flows: Table::new(),
        fragments: Table::new(),
        packets: BTreeMap::new(),
        ledger: Ledger::default(),
        ending: Ending::Complete,
        playback: playback.clone(),
    };
    while stream
        .drain(&mut |records| records.iter().for_each(|it| played.on_record(*it)))
        .expect("drained")
        != Drained::End
    {}
    played.ending = playback.ending().expect("the replay is over");
    for interface in &played.interfaces {
        let banks = source.counters(interface.ifindex).expect("counters");
        for counters in banks.iter().flatten() {
            played.ledger.on_source_counters(counters);
        }
    }
    played
}

impl Played {
    fn on_record(&mut self, record: Record<'_>) {
        let key = match record {
            Record::V4(record) => Key {
                src: record.key.src_addr.into(),
                dst: record.key.dst_addr.into(),
                src_port: record.key.src_port(),
                dst_port: record.key.dst_port(),
                ip_protocol: record.key.ip_protocol,
            },
            Record::V6(record) => Key {
                src: record.key.src_addr.into(),
                dst: record.key.dst_addr.into(),
                src_port: record.key.src_port(),
                dst_port: record.key.dst_port(),
                ip_protocol: record.key.ip_protocol,
            },
        };
        let head = record.head();
        let packets = u64::from(head.packets);
        let table = if head.flags & FLAG_LATER_FRAGMENT == 0 {
            &mut self.flows
        } else {
            &mut self.fragments
        };
        table.entry(key).or_default().add(packets, head.octets);
        self.ledger.flows.add(packets, head.octets);
        let interface = &self.interfaces[head.ifindex as usize - 1];
        *self
            .packets
            .entry((interface.name.to_string(), head.direction()))
            .or_default() += packets;
    }
}
