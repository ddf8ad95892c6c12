//! What a program did, in a line.

use std::net::IpAddr;

use probe_common::{
    control::{Counters, Tally},
    parse::ParseError,
    record::{Record, RecordHead},
};

use super::bench::Ran;

/// The record field by field, and the counters that moved. Two runs that differ have different
/// lines, but for bytes that mean nothing, which the record's own digits show.
pub fn describe(ran: &Ran) -> String {
    format!(
        "{}; counted {}; answers {}",
        record(ran),
        counters(&ran.counted),
        ran.action.cast_signed()
    )
}

fn record(ran: &Ran) -> String {
    let Some(bytes) = &ran.record else {
        return "no record".to_owned();
    };
    // From the ring, where entries are aligned; a vector's bytes may not be.
    let mut aligned = vec![0_u64; bytes.len().div_ceil(8)];
    let room = zerocopy::IntoBytes::as_mut_bytes(aligned.as_mut_slice());
    room[..bytes.len()].copy_from_slice(bytes);
    match Record::from_bytes(room) {
        Some(Record::V4(record)) => {
            let (key, head) = (&record.key, &record.head);
            let ends = ends(
                (key.src_addr.into(), key.src_port),
                (key.dst_addr.into(), key.dst_port),
            );
            format!("{ends} protocol {}{}", key.ip_protocol, of_head(head))
        }
        Some(Record::V6(record)) => {
            let (key, head) = (&record.key, &record.head);
            let ends = ends(
                (key.src_addr.into(), key.src_port),
                (key.dst_addr.into(), key.dst_port),
            );
            format!("{ends} protocol {}{}", key.ip_protocol, of_head(head))
        }
        None => format!("{} bytes that are no record", bytes.len()),
    }
}

fn ends(src: (IpAddr, [u8; 2]), dst: (IpAddr, [u8; 2])) -> String {
    let [src_port, dst_port] = [src.1, dst.1].map(u16::from_be_bytes);
    let (src, dst) = (src.0, dst.0);
    format!("{src} port {src_port} -> {dst} port {dst_port}")
}

fn of_head(head: &RecordHead) -> String {
    let RecordHead {
        octets,
        packets,
        ifindex,
        family: _,
        direction,
        tcp_flags,
        aux,
        notes,
        bank,
        reserved: _,
    } = head;
    format!(
        " octets {octets} packets {packets} interface {ifindex} direction {direction} TCP flags \
         {tcp_flags:#04x} aux {aux:#04x} notes {notes:#04x} bank {bank}"
    )
}

fn counters(counters: &Counters) -> String {
    let Counters {
        seen,
        recorded,
        ring_full,
        filtered,
        unparsed,
        later_fragments,
        short_transports,
        frames,
    } = counters;
    let mut tallies = vec![
        ("seen", *seen),
        ("recorded", *recorded),
        ("ring_full", *ring_full),
        ("filtered", *filtered),
    ];
    tallies.extend(ParseError::ALL.map(|error| (error.name(), unparsed[error.index()])));
    let tallies = tallies
        .into_iter()
        .filter(|(_, it)| *it != Tally::default());
    let mut parts: Vec<_> = tallies
        .map(|(name, tally)| format!("{name} {} ({} octets)", tally.packets, tally.bytes))
        .collect();
    for (name, count) in [
        ("later_fragments", later_fragments),
        ("short_transports", short_transports),
        ("frames", frames),
    ] {
        if *count > 0 {
            parts.push(format!("{name} {count}"));
        }
    }
    if parts.is_empty() {
        return "nothing".to_owned();
    }
    parts.join(", ")
}
