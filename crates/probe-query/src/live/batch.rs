//! Live flows with the columns of stored ones.

use std::{collections::HashMap, sync::Arc};

use datafusion::arrow::{
    array::{
        ArrayRef, BooleanArray, Date32Array, StringViewArray, TimestampMicrosecondArray,
        UInt8Array, UInt16Array, UInt64Array,
    },
    error::ArrowError,
    record_batch::RecordBatch,
};
use jiff::{Timestamp, tz::TimeZone};

use super::{
    answer::{Answer, Flow},
    client::Refusal,
};
use crate::engine::{days_since_1970, flow_schema};

/// All flows of the answer, with the bounds of the running interval of their interface.
pub(super) fn of(answer: &Answer<'_>) -> Result<RecordBatch, Refusal> {
    let schema = flow_schema();
    let bounds = answer.interfaces.iter();
    let bounds: HashMap<_, _> = bounds
        .map(|it| (it.iface.as_str(), (it.ledger.start, it.ledger.end)))
        .collect();
    let rows: Vec<_> = answer
        .flows
        .iter()
        .filter_map(|flow| {
            let (start, end) = *bounds.get(&*flow.iface)?;
            Some(Row { flow, start, end })
        })
        .collect();
    if rows.len() != answer.flows.len() {
        return Err(Refusal::Other(
            "the agent's answer has flows of an interface without a ledger; report it".to_owned(),
        ));
    }
    let columns = schema.fields().iter();
    let columns = columns.map(|field| column(field.name(), &rows, &answer.host));
    let batch = columns
        .collect::<Result<Vec<_>, _>>()
        .and_then(|columns| RecordBatch::try_new(schema, columns));
    batch.map_err(|error| {
        Refusal::Other(format!(
            "the agent's flows are not understood ({error}); report it"
        ))
    })
}

struct Row<'a> {
    flow: &'a Flow<'a>,
    start: Timestamp,
    end: Timestamp,
}

fn column(name: &str, rows: &[Row<'_>], host: &str) -> Result<ArrayRef, ArrowError> {
    Ok(match name {
        "interval_start" => time(rows, |row| row.start),
        "interval_end" => time(rows, |row| row.end),
        "ip_version" => Arc::new(numbers::<UInt8Array, _>(rows, |flow| flow.ip_version)),
        "ip_protocol" => Arc::new(numbers::<UInt8Array, _>(rows, |flow| flow.ip_protocol)),
        "src_addr" => text(rows, |flow| &flow.src_addr),
        "src_port" => Arc::new(numbers::<UInt16Array, _>(rows, |flow| flow.src_port)),
        "dst_addr" => text(rows, |flow| &flow.dst_addr),
        "dst_port" => Arc::new(numbers::<UInt16Array, _>(rows, |flow| flow.dst_port)),
        "packets_rcvd" => Arc::new(numbers::<UInt64Array, _>(rows, |flow| flow.packets_rcvd)),
        "packets_sent" => Arc::new(numbers::<UInt64Array, _>(rows, |flow| flow.packets_sent)),
        "bytes_rcvd" => Arc::new(numbers::<UInt64Array, _>(rows, |flow| flow.bytes_rcvd)),
        "bytes_sent" => Arc::new(numbers::<UInt64Array, _>(rows, |flow| flow.bytes_sent)),
        "tcp_flags" => Arc::new(numbers::<UInt8Array, _>(rows, |flow| flow.tcp_flags)),
        "direction_evidence" => text(rows, |flow| &flow.direction_evidence),
        "direction_confidence" => text(rows, |flow| &flow.direction_confidence),
        "overflow" => {
            let values = rows.iter().map(|row| Some(row.flow.overflow));
            Arc::new(values.collect::<BooleanArray>())
        }
        "first_seen" => time(rows, |row| row.flow.first_seen),
        "last_seen" => time(rows, |row| row.flow.last_seen),
        "host" => text(rows, |_| host),
        "iface" => text(rows, |flow| &flow.iface),
        "date" => {
            let day = |row: &Row<'_>| days_since_1970(row.start.to_zoned(TimeZone::UTC).date());
            Arc::new(Date32Array::from_iter_values(rows.iter().map(day)))
        }
        unknown => {
            return Err(ArrowError::SchemaError(format!(
                "no live flow has a column {unknown}"
            )));
        }
    })
}

fn numbers<A: From<Vec<N>>, N>(rows: &[Row<'_>], value: impl Fn(&Flow<'_>) -> N) -> A {
    A::from(rows.iter().map(|row| value(row.flow)).collect::<Vec<_>>())
}

fn text<'a>(rows: &'a [Row<'a>], value: impl Fn(&'a Flow<'a>) -> &'a str) -> ArrayRef {
    let values = rows.iter().map(|row| value(row.flow));
    Arc::new(StringViewArray::from_iter_values(values))
}

fn time(rows: &[Row<'_>], value: impl Fn(&Row<'_>) -> Timestamp) -> ArrayRef {
    let values = rows.iter().map(|row| value(row).as_microsecond());
    Arc::new(TimestampMicrosecondArray::from_iter_values(values).with_timezone("UTC"))
}
