//! The columns of an answer.

use datafusion::arrow::{datatypes::Schema, record_batch::RecordBatch};
use jiff::tz::TimeZone;
use probe_flow::protocols;

use super::{Rates, cell::Cell};
use crate::{
    ask::Sums,
    columns::{By, Measure},
};

/// What the values of a column are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// A column that rows are made by, or any of a statement.
    Plain,
    /// The number of a protocol, for which people have names.
    Protocol,
    /// A sum over flows.
    Sum(Measure),
}

/// A column of an answer.
#[derive(Clone, Debug)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) heading: String,
    pub(super) kind: Kind,
}

/// The columns of an answer, and what their numbers mean.
#[derive(Debug)]
pub struct Shape {
    pub(super) columns: Vec<Column>,
    pub(super) zone: TimeZone,
    rates: Option<Rates>,
    time: Option<usize>,
}

impl Shape {
    /// The shape of sums by columns.
    pub fn of_sums(sums: &Sums, rates: Option<Rates>, zone: TimeZone) -> Self {
        let keys = sums.by.iter().map(|column| Column {
            name: column.name().to_owned(),
            heading: column.heading().to_owned(),
            kind: match column {
                By::Field(field) if field.name == "ip_protocol" => Kind::Protocol,
                _ => Kind::Plain,
            },
        });
        let is_rate = rates.is_some();
        let measures = sums.directions.measures().iter().map(|measure| Column {
            name: name(*measure, is_rate),
            heading: heading(*measure, is_rate),
            kind: Kind::Sum(*measure),
        });
        Self {
            columns: keys.chain(measures).collect(),
            zone,
            rates,
            time: sums
                .by
                .iter()
                .position(|column| matches!(column, By::Time(_))),
        }
    }

    /// The shape of whatever a statement gives.
    pub fn of_schema(schema: &Schema, zone: TimeZone) -> Self {
        let columns = schema.fields().iter().map(|field| Column {
            name: field.name().clone(),
            heading: field.name().clone(),
            kind: Kind::Plain,
        });
        Self {
            columns: columns.collect(),
            zone,
            rates: None,
            time: None,
        }
    }

    /// Whether the numbers are those of a second.
    pub(super) const fn is_rate(&self) -> bool {
        self.rates.is_some()
    }

    /// Names of the columns.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|column| column.name.as_str())
    }

    /// The values of a row.
    pub(crate) fn row(&self, batch: &RecordBatch, row: usize) -> Vec<Cell> {
        let arrays = batch.columns().iter();
        let mut cells: Vec<_> = arrays.map(|array| Cell::of(array.as_ref(), row)).collect();
        let Some(rates) = &self.rates else {
            return cells;
        };
        let time = match self.time.and_then(|place| cells.get(place)) {
            Some(Cell::Time(time)) => Some(time.as_microsecond()),
            _ => None,
        };
        let seconds = rates.seconds(time);
        for (cell, column) in cells.iter_mut().zip(&self.columns) {
            let Kind::Sum(measure) = column.kind else {
                continue;
            };
            if let (Some(number), false) = (cell.number(), measure == Measure::Flows) {
                let factor = if measure.is_bytes() { 8.0 } else { 1.0 };
                *cell = Cell::Float(per_second(number, seconds) * factor);
            }
        }
        cells
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a rate, good to more digits than it is read with"
)]
fn per_second(number: u64, seconds: f64) -> f64 {
    if seconds > 0.0 {
        number as f64 / seconds
    } else {
        0.0
    }
}

fn name(measure: Measure, is_rate: bool) -> String {
    match measure {
        Measure::Flows => "flows".to_owned(),
        measure if is_rate => format!("{}_per_second", measure.name().replace("bytes", "bits")),
        measure => measure.name().to_owned(),
    }
}

fn heading(measure: Measure, is_rate: bool) -> String {
    let words = measure.name().replace('_', " ");
    match measure {
        Measure::Flows => words,
        measure if is_rate && measure.is_bytes() => words.replace("bytes", "bit/s"),
        _ if is_rate => words.replace("packets", "packets/s"),
        _ => words,
    }
}

/// The name of a protocol, as tables show it.
pub(super) fn protocol(cell: &Cell) -> Option<String> {
    let number = u8::try_from(cell.number()?).ok()?;
    Some(protocols::protocol_or_number(number).into_owned())
}
