//! A flow as serializers show it: the values of its fields, with or without their names.

use std::net::IpAddr;

use jiff::Timestamp;
use serde::{
    Serialize, Serializer,
    ser::{SerializeMap, SerializeSeq},
};

use super::{FIELDS, Field, Read};
use crate::{
    flow::FlowRow,
    interval::{Bounds, Interval},
    ticks::TickClock,
};

/// A flow with all that its fields are read from.
#[derive(Clone, Copy, Debug)]
pub struct FlowView<'a> {
    /// Name of the interface.
    pub iface: &'a str,
    /// The interval of a stored flow. `None` leaves out the fields of the interval.
    pub bounds: Option<Bounds>,
    /// Name of the host of a stored flow. `None` leaves out the field.
    pub host: Option<&'a str>,
    /// Key, counts and evidence.
    pub row: &'a FlowRow,
    /// The clock of the flow's ticks.
    pub tick_clock: &'a TickClock,
}

impl<'a> FlowView<'a> {
    /// A flow of an interval that has ended, as a host of this name stores it.
    pub fn stored(interval: &'a Interval, host: &'a str, row: &'a FlowRow) -> Self {
        Self {
            iface: &interval.iface,
            bounds: Some(interval.bounds()),
            host: Some(host),
            row,
            tick_clock: &interval.tick_clock,
        }
    }

    /// The fields that the flow has, in their order, with its values.
    fn values(&self) -> impl Iterator<Item = (&'static str, Value<'a>)> {
        let flow = *self;
        FIELDS
            .iter()
            .filter_map(move |field| Some((field.name, flow.value(field)?)))
    }

    fn value(&self, field: &Field) -> Option<Value<'a>> {
        let row = self.row;
        Some(match field.read {
            Read::Host => Value::Text(self.host?),
            Read::Iface => Value::Text(self.iface),
            Read::Bound(read) => Value::Bound(read(self.bounds.as_ref()?)),
            Read::Tick(read) => Value::Tick(self.tick_clock.known_time_of(read(row))),
            Read::Address(read) => Value::Address(read(row)),
            Read::Name(read) => Value::Text(read(row)),
            Read::U8(read) => Value::Number(read(row).into()),
            Read::U16(read) => Value::Number(read(row).into()),
            Read::U64(read) => Value::Number(read(row)),
            Read::Bool(read) => Value::Bool(read(row)),
        })
    }

    /// The flow as a JSON line: `{"type":"flow", …}` with all fields it has.
    pub const fn line(self) -> FlowLine<'a> {
        FlowLine(self)
    }

    /// The flow as a line of a table: the values alone, in the order of the fields.
    pub const fn cells(self) -> FlowCells<'a> {
        FlowCells(self)
    }
}

/// Serializes a flow as a map from names to values, with `type` first; see [`FlowView::line`].
#[derive(Clone, Copy, Debug)]
pub struct FlowLine<'a>(FlowView<'a>);

impl Serialize for FlowLine<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut line = serializer.serialize_map(None)?;
        line.serialize_entry("type", "flow")?;
        for (name, value) in self.0.values() {
            line.serialize_entry(name, &value)?;
        }
        line.end()
    }
}

/// Serializes a flow as a sequence of values; see [`FlowView::cells`].
#[derive(Clone, Copy, Debug)]
pub struct FlowCells<'a>(FlowView<'a>);

impl Serialize for FlowCells<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut cells = serializer.serialize_seq(None)?;
        for (_, value) in self.0.values() {
            cells.serialize_element(&value)?;
        }
        cells.end()
    }
}

/// A value of a field.
#[derive(Clone, Copy, Debug)]
enum Value<'a> {
    Text(&'a str),
    Address(IpAddr),
    Number(u64),
    Bool(bool),
    Bound(Timestamp),
    Tick(Option<Timestamp>),
}

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Text(text) => serializer.serialize_str(text),
            Value::Address(address) => address.serialize(serializer),
            Value::Number(number) => serializer.serialize_u64(*number),
            Value::Bool(bool) => serializer.serialize_bool(*bool),
            Value::Bound(time) => serializer.collect_str(time),
            Value::Tick(Some(time)) => rfc3339_millis(time, serializer),
            Value::Tick(None) => serializer.serialize_none(),
        }
    }
}

/// As RFC 3339 writes it, always with milliseconds: a tick is no shorter.
///
/// # Errors
///
/// Those of the serializer.
pub fn rfc3339_millis<S: Serializer>(
    timestamp: &Timestamp,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{timestamp:.3}"))
}
