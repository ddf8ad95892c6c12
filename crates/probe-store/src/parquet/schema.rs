//! Columns of the files: names, types, and where the values come from. docs/STORAGE.md explains
//! them; a test compares the two.

use std::{net::IpAddr, sync::Arc};

use jiff::Timestamp;
use parquet::{
    basic::{LogicalType, Repetition, TimeUnit, Type as PhysicalType},
    errors::Result,
    schema::types::{Type, TypePtr},
};

use probe_flow::{flow::FlowRow, flow_json::confidence, interval::Interval};

/// A column. No column is ever null.
pub(super) struct Column {
    pub(super) name: &'static str,
    pub(super) values: Values,
}

/// Type of a column, and its value in a row.
#[derive(Clone, Copy)]
pub(super) enum Values {
    /// The same in all rows. Microseconds in UTC.
    Time(fn(&Interval) -> Timestamp),
    /// A tick, written as its time. Microseconds in UTC.
    Tick(fn(&FlowRow) -> u32),
    /// As text: every reader prints and compares it.
    Address(fn(&FlowRow) -> IpAddr),
    /// One of a few names.
    Name(fn(&FlowRow) -> &'static str),
    /// Unsigned, 8 bits.
    U8(fn(&FlowRow) -> u8),
    /// Unsigned, 16 bits.
    U16(fn(&FlowRow) -> u16),
    /// Unsigned, 64 bits.
    U64(fn(&FlowRow) -> u64),
    /// Boolean.
    Bool(fn(&FlowRow) -> bool),
}

/// All columns, in the order of the file.
#[rustfmt::skip]
pub(super) const COLUMNS: [Column; 18] = [
    Column { name: "interval_start", values: Values::Time(|interval| interval.start) },
    Column { name: "interval_end", values: Values::Time(|interval| interval.end) },
    Column { name: "ip_version", values: Values::U8(|row| if row.src_addr.is_ipv4() { 4 } else { 6 }) },
    Column { name: "ip_protocol", values: Values::U8(|row| row.ip_protocol) },
    Column { name: "src_addr", values: Values::Address(|row| row.src_addr) },
    Column { name: "src_port", values: Values::U16(|row| row.src_port) },
    Column { name: "dst_addr", values: Values::Address(|row| row.dst_addr) },
    Column { name: "dst_port", values: Values::U16(|row| row.dst_port) },
    Column { name: "packets_rcvd", values: Values::U64(|row| row.flow.counters.packets_rcvd) },
    Column { name: "packets_sent", values: Values::U64(|row| row.flow.counters.packets_sent) },
    Column { name: "bytes_rcvd", values: Values::U64(|row| row.flow.counters.bytes_rcvd) },
    Column { name: "bytes_sent", values: Values::U64(|row| row.flow.counters.bytes_sent) },
    Column { name: "tcp_flags", values: Values::U8(|row| row.flow.tcp_flags) },
    Column { name: "direction_evidence", values: Values::Name(|row| row.flow.evidence.name()) },
    Column { name: "direction_confidence", values: Values::Name(|row| confidence(row.flow.evidence)) },
    Column { name: "overflow", values: Values::Bool(|row| row.flow.is_overflow) },
    Column { name: "first_seen", values: Values::Tick(|row| row.flow.first) },
    Column { name: "last_seen", values: Values::Tick(|row| row.flow.last) },
];

/// The schema as Parquet has it.
pub(super) fn message_type() -> Result<TypePtr> {
    let fields = COLUMNS.iter().map(|column| {
        let (physical, logical) = match column.values {
            Values::Time(_) | Values::Tick(_) => (
                PhysicalType::INT64,
                Some(LogicalType::timestamp(true, TimeUnit::MICROS)),
            ),
            Values::Address(_) | Values::Name(_) => {
                (PhysicalType::BYTE_ARRAY, Some(LogicalType::String))
            }
            Values::U8(_) => (PhysicalType::INT32, Some(LogicalType::integer(8, false))),
            Values::U16(_) => (PhysicalType::INT32, Some(LogicalType::integer(16, false))),
            Values::U64(_) => (PhysicalType::INT64, Some(LogicalType::integer(64, false))),
            Values::Bool(_) => (PhysicalType::BOOLEAN, None),
        };
        let field = Type::primitive_type_builder(column.name, physical)
            .with_repetition(Repetition::REQUIRED)
            .with_logical_type(logical);
        field.build().map(Arc::new)
    });
    let message = Type::group_type_builder("flows").with_fields(fields.collect::<Result<_>>()?);
    message.build().map(Arc::new)
}
