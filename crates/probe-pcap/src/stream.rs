//! The data side: packets become counters and records, a batch at a time.

use std::{mem, sync::Arc};

use parking_lot::Mutex;
use probe_common::{
    loss::Loss,
    parse::{Observation, Packet, ParseError},
    record::{
        AsRecord, FLAG_FIRST_FRAGMENT, FLAG_LATER_FRAGMENT, FLAG_SHORT_TRANSPORT, INGRESS,
        IntoRecord, Record, RecordHead, RecordV4, RecordV6, origin_flags,
    },
};

use super::{
    Shared, Slot,
    error::Ending,
    ifindex,
    link_type::Part,
    local::{self, Local},
    playback::{Facts, Playback},
    reader::{FilePacket, PacketReader},
};
use probe_capture::source::{Drained, PolledStream, RecordStream};
use probe_flow::ticks::{NO_TIME, TickTable};

/// Packets read per call of `drain`, so that it always returns soon.
const BATCH_PACKETS: usize = 1024;

/// Reads the file. Owned by the drain thread.
pub(super) struct PcapStream {
    reader: PacketReader,
    shared: Arc<Mutex<Shared>>,
    playback: Playback,
    /// Emptied by each call, kept for its room.
    batch: Vec<Parsed>,
    records: Vec<OwnedRecord>,
    meaning: Meaning,
}

/// What it takes to tell time and direction of a packet.
pub(super) struct Meaning {
    pub(super) ticks: Arc<TickTable>,
    pub(super) local: Vec<Local>,
}

/// A packet that was read and parsed but not yet counted.
struct Parsed {
    interface: usize,
    direction: u8,
    /// First and last tick: the same one, or [`NO_TIME`].
    ticks: (u32, u32),
    wire_len: u64,
    is_vlan_tagged: bool,
    outcome: Result<Packet, ParseError>,
}

enum OwnedRecord {
    V4(RecordV4),
    V6(RecordV6),
}

impl AsRecord for OwnedRecord {
    fn as_record(&self) -> Record<'_> {
        match self {
            Self::V4(record) => Record::V4(record),
            Self::V6(record) => Record::V6(record),
        }
    }
}

impl PcapStream {
    /// The stream of what is in the file.
    pub(super) fn open(
        reader: PacketReader,
        shared: Arc<Mutex<Shared>>,
        meaning: Meaning,
        playback: Playback,
    ) -> impl RecordStream + 'static {
        let mut stream = Self {
            reader,
            shared,
            playback,
            batch: Vec::new(),
            records: Vec::new(),
            meaning,
        };
        PolledStream::new(move |handle: &mut dyn FnMut(&[Record<'_>])| Ok(stream.drain(handle)))
    }

    /// Fills the batch; says so if the file is over.
    fn read_batch(&mut self) -> Option<Ending> {
        let mut facts = Facts::default();
        let mut ending = None;
        let (batch, meaning) = (&mut self.batch, &self.meaning);
        while batch.len() < BATCH_PACKETS && ending.is_none() {
            let read = self.reader.read_packet(&mut |packet| {
                let parts = packet.parts();
                for part in parts {
                    let (parsed, is_of_local) = Parsed::new(packet, &part, meaning);
                    facts.add(packet.timestamp, is_of_local, part.is_encrypted());
                    batch.push(parsed);
                }
            });
            ending = read.err();
        }
        self.playback.on_batch(self.reader.offset(), facts);
        ending
    }

    /// Counts the batch and makes its records, all in one bank.
    fn count_batch(&mut self) {
        let mut shared = self.shared.lock();
        let Shared { bank, slots } = &mut *shared;
        for packet in self.batch.drain(..) {
            // An interface that appeared after opening, in a file that still grows, has no slot.
            let slot = slots.get_mut(packet.interface);
            self.records
                .extend(slot.and_then(|slot| packet.count(slot, *bank)));
        }
    }

    /// Reads a batch, counts it, and hands its records over: each packet is one, and none is kept back.
    fn drain(&mut self, handle: &mut dyn FnMut(&[Record<'_>])) -> Drained {
        if self.playback.ending().is_some() {
            return Drained::End;
        }
        if !self.playback.has_begun() {
            return Drained::Idle;
        }
        let ending = self.read_batch();
        self.count_batch();
        // Outside the lock: a consumer that takes the records may be waiting for a switch of the bank.
        let mut records = mem::take(&mut self.records);
        let count = records.len();
        handle(
            &records
                .iter()
                .map(OwnedRecord::as_record)
                .collect::<Vec<_>>(),
        );
        records.clear();
        self.records = records;
        if let Some(ending) = ending {
            self.playback.on_end(ending);
        }
        Drained::Records(count)
    }
}

impl Parsed {
    /// And whether the addresses of the host told its direction.
    fn new(packet: &FilePacket<'_>, part: &Part<'_>, meaning: &Meaning) -> (Self, bool) {
        let frame = &part.frame;
        let tick = packet.timestamp.map(|at| meaning.ticks.tick_of(at));
        let link_type = part.link_type;
        // A link type that is not supported leads to no IP header.
        let outcome = link_type.map_or(Err(ParseError::NonIp), |link_type| link_type.parse(frame));
        let by_local = if meaning.local.is_empty() {
            None
        } else {
            let mac_pair = link_type.map(|link_type| link_type.mac_pair(frame));
            local::direction(&meaning.local, mac_pair.unwrap_or_default(), &outcome)
        };
        let parsed = Self {
            interface: packet.interface,
            direction: by_local
                .or(packet.direction)
                .or_else(|| link_type?.direction(frame))
                .unwrap_or(INGRESS),
            ticks: tick.map_or(NO_TIME, |tick| (tick, tick)),
            wire_len: part.wire_bytes as u64,
            is_vlan_tagged: link_type.is_some_and(|link_type| link_type.is_vlan_tagged(frame)),
            outcome,
        };
        (parsed, by_local.is_some())
    }

    /// Does what the programs do: counts the packet and returns its record, if it makes one.
    fn count(self, slot: &mut Slot, bank: u8) -> Option<OwnedRecord> {
        if !slot.is_attached {
            return None;
        }
        let counters = &mut slot.counters[usize::from(bank)][usize::from(self.direction)];
        counters.see(1, self.wire_len);
        if slot.ignore_vlans && self.is_vlan_tagged {
            counters.losses[Loss::Filtered as usize].add(1, self.wire_len);
            return None;
        }
        let (octets, beyond_frame, flags) = match &self.outcome {
            Ok(Packet::V4(seen)) => (seen.octets, seen.octets_beyond_frame, seen.flags),
            Ok(Packet::V6(seen)) => (seen.octets, seen.octets_beyond_frame, seen.flags),
            Err(error) => {
                error.of_mut(&mut counters.losses).add(1, self.wire_len);
                return None;
            }
        };
        counters.recorded.add(1, u64::from(octets));
        counters.later_fragments += u64::from(flags & FLAG_LATER_FRAGMENT != 0);
        counters.short_transports += u64::from(flags & FLAG_SHORT_TRANSPORT != 0);
        if beyond_frame != 0 {
            counters.beyond_frame.add(1, beyond_frame.into());
        }
        match self.outcome.ok()? {
            Packet::V4(observation) => Some(OwnedRecord::V4(self.record(observation, bank))),
            Packet::V6(observation) => Some(OwnedRecord::V6(self.record(observation, bank))),
        }
    }

    fn record<K: IntoRecord>(&self, observation: Observation<K>, bank: u8) -> K::Record {
        let (first, last) = self.ticks;
        let is_fragment = observation.flags & (FLAG_FIRST_FRAGMENT | FLAG_LATER_FRAGMENT) != 0;
        observation.key.into_record(RecordHead {
            octets: u64::from(observation.octets),
            packets: 1,
            ifindex: ifindex(self.interface),
            tcp_flags: observation.tcp_flags,
            aux: observation.aux,
            flags: observation.flags | origin_flags(self.direction, bank),
            first,
            last_or_fragment_id: if is_fragment {
                observation.fragment_id
            } else {
                last
            },
        })
    }
}
