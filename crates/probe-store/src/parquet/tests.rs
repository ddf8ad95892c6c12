use std::{
    fs::File,
    net::{IpAddr, Ipv6Addr},
};

use ::parquet::{
    file::{
        metadata::RowGroupMetaData,
        reader::{FileReader, SerializedFileReader},
    },
    record::{Field, Row},
    schema::printer::print_schema,
};
use probe_common::ephash::EpHash;
use proptest::prelude::*;

use super::{Parquet, ROWS_PER_GROUP};
use crate::{file_sink::FileFormat, fixture, host};
use probe_flow::{
    flow::{Flow, FlowRow},
    interval::Interval,
    schema::FIELDS,
};

fn encode(interval: &Interval) -> SerializedFileReader<File> {
    let mut file = tempfile::tempfile().unwrap();
    Parquet::new().encode(interval, &mut file).unwrap();
    SerializedFileReader::new(file).unwrap()
}

fn rows(reader: &SerializedFileReader<File>) -> Vec<Row> {
    reader
        .get_row_iter(None)
        .unwrap()
        .map(Result::unwrap)
        .collect()
}

fn metadata(reader: &SerializedFileReader<File>, key: &str) -> String {
    let pairs = reader
        .metadata()
        .file_metadata()
        .key_value_metadata()
        .unwrap();
    let pair = pairs.iter().find(|pair| pair.key == key).unwrap();
    pair.value.clone().unwrap()
}

fn micros(time: jiff::Timestamp) -> Field {
    Field::TimestampMicros(time.as_microsecond())
}

/// The row as the file must have it, said a second time.
fn expected(interval: &Interval, row: &FlowRow) -> Vec<Field> {
    let counters = row.flow.counters;
    let evidence = row.flow.evidence;
    let confidence = if evidence.is_high_confidence() {
        "high"
    } else {
        "low"
    };
    vec![
        micros(interval.start),
        micros(interval.end),
        Field::UByte(if matches!(row.src_addr, IpAddr::V4(_)) {
            4
        } else {
            6
        }),
        Field::UByte(row.ip_protocol),
        Field::Str(row.src_addr.to_string()),
        Field::UShort(row.src_port),
        Field::Str(row.dst_addr.to_string()),
        Field::UShort(row.dst_port),
        Field::ULong(counters.packets_rcvd),
        Field::ULong(counters.packets_sent),
        Field::ULong(counters.bytes_rcvd),
        Field::ULong(counters.bytes_sent),
        Field::UByte(row.flow.tcp_flags),
        Field::Str(evidence.name().to_owned()),
        Field::Str(confidence.to_owned()),
        Field::Bool(row.flow.is_overflow),
        micros(interval.tick_clock.time_of(row.flow.first)),
        micros(interval.tick_clock.time_of(row.flow.last)),
        Field::Str(host::name()),
    ]
}

fn by_text(rows: impl Iterator<Item = Vec<Field>>) -> Vec<String> {
    let mut rows: Vec<_> = rows.map(|row| format!("{row:?}")).collect();
    rows.sort_unstable();
    rows
}

fn fields(row: Row) -> Vec<Field> {
    row.into_columns()
        .into_iter()
        .map(|(_, field)| field)
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_is_read_back(
        flows in fixture::flows(0..80),
    ) {
        let interval = Interval {
            flows,
            ..fixture::interval("eth0", "2026-03-01T00:00:00.000001Z", 0)
        };
        let read = by_text(rows(&encode(&interval)).into_iter().map(fields));
        let written = by_text(interval.flows.rows().map(|row| expected(&interval, &row)));
        prop_assert_eq!(read, written);
    }
}

#[test]
fn large_intervals_are_cut_into_row_groups() {
    let flows = u32::try_from(ROWS_PER_GROUP).unwrap() + 1;
    let reader = encode(&fixture::interval("eth0", "2026-03-01T00:00:00Z", flows));
    let groups = reader.metadata().row_groups();
    let sizes: Vec<_> = groups.iter().map(RowGroupMetaData::num_rows).collect();
    assert_eq!(sizes, [i64::from(flows) - 1, 1]);
}

#[test]
fn a_quiet_interval_is_a_file_with_a_ledger_and_no_rows() {
    let interval = fixture::interval("wg0", "2026-03-01T00:00:00Z", 0);
    let reader = encode(&interval);
    assert_eq!(reader.metadata().file_metadata().num_rows(), 0);
    assert_eq!(metadata(&reader, "probe.schema_version"), "3");
    assert_eq!(metadata(&reader, "probe.iface"), "wg0");
    assert_eq!(
        metadata(&reader, "probe.interval_end"),
        "2026-03-01T00:05:00Z"
    );
    let ledger: serde_json::Value =
        serde_json::from_str(&metadata(&reader, "probe.ledger")).unwrap();
    assert_eq!(
        (&ledger["seen"], &ledger["residue"]),
        (&1.into(), &0.into())
    );
    assert_eq!(ledger["losses"]["non_ip"], 1);
}

#[test]
fn addresses_are_in_canonical_text() {
    let mut interval = fixture::interval("eth0", "2026-03-01T00:00:00Z", 0);
    let key = EpHash {
        src_addr: Ipv6Addr::LOCALHOST.octets(),
        src_port: [0, 0],
        dst_addr: [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x0a],
        dst_port: [0, 0],
        ip_protocol: 58,
    };
    interval.flows.v6.push((key, Flow::default()));
    let row = fields(rows(&encode(&interval)).remove(0));
    assert_eq!(row[4], Field::Str("::1".to_owned()));
    assert_eq!(row[6], Field::Str("fd00::a".to_owned()));
}

/// Stored files depend on these: a new column is added here, none changes.
const MESSAGE: &str = "\
message flows {
  REQUIRED INT64 interval_start (TIMESTAMP(MICROS,true));
  REQUIRED INT64 interval_end (TIMESTAMP(MICROS,true));
  REQUIRED INT32 ip_version (INTEGER(8,false));
  REQUIRED INT32 ip_protocol (INTEGER(8,false));
  REQUIRED BYTE_ARRAY src_addr (STRING);
  REQUIRED INT32 src_port (INTEGER(16,false));
  REQUIRED BYTE_ARRAY dst_addr (STRING);
  REQUIRED INT32 dst_port (INTEGER(16,false));
  REQUIRED INT64 packets_rcvd (INTEGER(64,false));
  REQUIRED INT64 packets_sent (INTEGER(64,false));
  REQUIRED INT64 bytes_rcvd (INTEGER(64,false));
  REQUIRED INT64 bytes_sent (INTEGER(64,false));
  REQUIRED INT32 tcp_flags (INTEGER(8,false));
  REQUIRED BYTE_ARRAY direction_evidence (STRING);
  REQUIRED BYTE_ARRAY direction_confidence (STRING);
  REQUIRED BOOLEAN overflow;
  REQUIRED INT64 first_seen (TIMESTAMP(MICROS,true));
  REQUIRED INT64 last_seen (TIMESTAMP(MICROS,true));
  REQUIRED BYTE_ARRAY host (STRING);
}
";

#[test]
fn columns_are_those_of_the_files_there_are() {
    let reader = encode(&fixture::interval("eth0", "2026-03-01T00:00:00Z", 1));
    let mut message = Vec::new();
    print_schema(
        &mut message,
        reader
            .metadata()
            .file_metadata()
            .schema_descr()
            .root_schema(),
    );
    assert_eq!(String::from_utf8(message).unwrap(), MESSAGE);
}

#[test]
fn columns_are_the_fields_but_the_interface() {
    let reader = encode(&fixture::interval("eth0", "2026-03-01T00:00:00Z", 0));
    let columns = reader.metadata().file_metadata().schema_descr().columns();
    let columns = columns.iter().map(|column| column.name());
    let fields = FIELDS.iter().map(|field| field.name);
    assert!(columns.eq(fields.filter(|name| *name != "iface")));
}
