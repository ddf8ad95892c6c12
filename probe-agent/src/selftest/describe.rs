//! What a program did, field by field.

use std::{borrow::Cow, net::IpAddr};

use probe_common::{
    control::{Counters, Tally},
    ephash::EpHash,
    loss::Loss,
    record::{EGRESS, Record, RecordHead, origin_flags},
};
use zerocopy::IntoBytes;

use super::{FieldDifference, bench::Ran};

/// A field of a record or counter, and what is in it.
type Field = (Cow<'static, str>, String);

/// All fields in a line.
pub(super) fn describe(ran: &Ran) -> String {
    let fields = fields(ran);
    let fields: Vec<_> = fields
        .iter()
        .map(|(name, value)| format!("{name} {value}"))
        .collect();
    fields.join(", ")
}

/// The fields in which two runs differ.
pub(super) fn differing(expected: &Ran, got: &Ran) -> Vec<FieldDifference> {
    let sides = [fields(expected), fields(got)];
    let value = |side: usize, field: &str| {
        let found = sides[side].iter().find(|(name, _)| *name == field);
        found.map_or_else(|| "none".to_owned(), |(_, value)| value.clone())
    };
    let only_got = sides[1]
        .iter()
        .filter(|(name, _)| sides[0].iter().all(|(other, _)| other != name));
    let mut differing: Vec<_> = sides[0]
        .iter()
        .chain(only_got)
        .map(|(field, _)| FieldDifference {
            field: field.clone(),
            expected: value(0, field),
            got: value(1, field),
        })
        .filter(|field| field.expected != field.got)
        .collect();
    if differing.is_empty() {
        // Both are no records, say.
        differing.push(FieldDifference {
            field: "bytes of the record".into(),
            expected: super::hex(expected.record.as_deref().unwrap_or_default()),
            got: super::hex(got.record.as_deref().unwrap_or_default()),
        });
    }
    differing
}

fn fields(ran: &Ran) -> Vec<Field> {
    let mut fields = Vec::new();
    match &ran.record {
        None => fields.push(("record".into(), "none".to_owned())),
        Some(bytes) => {
            // As in the ring, where entries are aligned; a vector's bytes need not be.
            let mut aligned = vec![0_u64; bytes.len().div_ceil(8)];
            let room = aligned.as_mut_slice().as_mut_bytes();
            room[..bytes.len()].copy_from_slice(bytes);
            match Record::from_bytes(room) {
                Some(Record::V4(record)) => {
                    fields.push(("record".into(), "IPv4".to_owned()));
                    push_key(&mut fields, &record.key);
                    push_head(&mut fields, &record.head());
                }
                Some(Record::V6(record)) => {
                    fields.push(("record".into(), "IPv6".to_owned()));
                    push_key(&mut fields, &record.key);
                    push_head(&mut fields, &record.head());
                }
                None => fields.push(("record".into(), format!("{} strange bytes", bytes.len()))),
            }
        }
    }
    push_counters(&mut fields, &ran.counted);
    fields.push(("answer".into(), ran.action.cast_signed().to_string()));
    fields
}

fn push_key<const N: usize>(fields: &mut Vec<Field>, key: &EpHash<N>)
where
    IpAddr: From<[u8; N]>,
{
    let address = |address| IpAddr::from(address).to_string();
    let port = |port| u16::from_be_bytes(port).to_string();
    extend(
        fields,
        [
            ("src_addr", address(key.src_addr)),
            ("src_port", port(key.src_port)),
            ("dst_addr", address(key.dst_addr)),
            ("dst_port", port(key.dst_port)),
            ("ip_protocol", key.ip_protocol.to_string()),
        ],
    );
}

fn push_head(fields: &mut Vec<Field>, head: &RecordHead) {
    // Destructured, so that a new field cannot be forgotten.
    let RecordHead {
        octets,
        packets,
        ifindex,
        // Set to 0 if they are right.
        first,
        last_or_fragment_id: _,
        tcp_flags,
        aux,
        flags,
    } = head;
    let own_flags = flags & !origin_flags(EGRESS, 1);
    extend(
        fields,
        [
            ("octets", octets.to_string()),
            ("packets", packets.to_string()),
            ("ifindex", ifindex.to_string()),
            ("direction", head.direction().to_string()),
            ("tcp_flags", format!("{tcp_flags:#04x}")),
            ("aux", format!("{aux:#04x}")),
            ("flags", format!("{own_flags:#04x}")),
            ("first", first.to_string()),
            ("last", head.last().to_string()),
            ("fragment_id", format!("{:#x}", head.fragment_id())),
            ("bank", head.bank().to_string()),
        ],
    );
}

fn extend<const N: usize>(fields: &mut Vec<Field>, named: [(&'static str, String); N]) {
    fields.extend(named.map(|(name, value)| (name.into(), value)));
}

/// The counters that moved.
fn push_counters(fields: &mut Vec<Field>, counters: &Counters) {
    let Counters {
        seen,
        recorded,
        losses: _,
        later_fragments,
        short_transports,
        further_segments,
        beyond_frame,
    } = counters;
    let losses = Loss::ALL.map(|loss| (loss.name(), counters.loss(loss)));
    let beyond_frame = ("length beyond frame", *beyond_frame);
    let tallies = [("seen", *seen), ("recorded", *recorded)]
        .into_iter()
        .chain(losses)
        .chain([beyond_frame])
        .filter(|(_, tally)| *tally != Tally::default());
    fields.extend(tallies.map(|(name, Tally { packets, bytes })| {
        let name = format!("counted as {name}");
        (name.into(), format!("{packets} of {bytes} octets"))
    }));
    for (name, count) in [
        ("counted as later fragment", later_fragments),
        ("counted as short transport", short_transports),
        ("counted as further segments", further_segments),
    ] {
        if *count > 0 {
            fields.push((name.into(), count.to_string()));
        }
    }
}

#[cfg(test)]
mod tests {
    use probe_common::{control::Counters, loss::Loss};

    use super::{describe, differing};
    use crate::selftest::{
        bench::{PROGRAMS, Ran},
        expected::expected_of,
        packets,
    };

    fn udp() -> Ran {
        let cases = packets::cases();
        let case = cases.iter().find(|case| case.name == "ethernet ipv4");
        let case = case.expect("it is in the set");
        expected_of(PROGRAMS[0], &case.expected, case.frame.len())
    }

    #[test]
    fn only_what_differs_is_named() {
        let mut got = udp();
        let record = got.record.as_mut().expect("a record");
        // Behind the head of 24 bytes: source address and port.
        record[28..30].copy_from_slice(&[0, 0]);
        let differing = differing(&udp(), &got);
        assert_eq!(differing.len(), 1, "{differing:?}");
        assert_eq!(differing[0].field, "src_port");
        assert_eq!(differing[0].expected, "1111");
        assert_eq!(differing[0].got, "0");
    }

    #[test]
    fn strange_bytes_are_compared_too() {
        let strange = |byte| Ran {
            record: Some(vec![byte; 3]),
            ..udp()
        };
        let differing = differing(&strange(0), &strange(1));
        assert_eq!(differing[0].field, "bytes of the record");
    }

    #[test]
    fn a_loss_is_named() {
        let mut counted = Counters::default();
        counted.losses[Loss::Truncated as usize].add(1, 60);
        let lost = Ran {
            action: 2,
            record: None,
            counted,
        };
        assert_eq!(
            describe(&lost),
            "record none, counted as truncated 1 of 60 octets, answer 2"
        );
        let fields = differing(&udp(), &lost);
        assert!(
            fields
                .iter()
                .any(|it| it.field == "counted as truncated" && it.expected == "none")
        );
    }
}
