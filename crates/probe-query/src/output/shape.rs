//! The columns of an answer.

use datafusion::arrow::{datatypes::Schema, record_batch::RecordBatch};
use jiff::{Timestamp, tz::TimeZone};
use probe_flow::protocols;

use super::{Rates, cell::Cell};
use crate::{
    ask::Sums,
    columns::{By, Measure},
    time::Step,
};

/// What the values of a column are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    /// A column that rows are made by, or any of a statement.
    Plain,
    /// The number of a protocol, for which people have names.
    Protocol,
    /// A sum over flows.
    Sum(Measure),
}

/// A column of an answer.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    pub(super) name: String,
    pub(super) heading: String,
    pub(super) kind: Kind,
}

/// The columns of an answer, and what their numbers mean.
#[derive(Debug)]
pub struct Shape {
    pub(crate) columns: Vec<Column>,
    pub(crate) zone: TimeZone,
    rates: Option<Rates>,
    time: Option<usize>,
    step: Option<Step>,
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
            step: sums.by.iter().find_map(|column| match column {
                By::Time(step) => step.clone(),
                By::Field(_) => None,
            }),
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
            step: None,
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
        if self.rates.is_none() {
            return cells;
        }
        let time = match self.time.and_then(|place| cells.get(place)) {
            Some(Cell::Time(time)) => Some(*time),
            _ => None,
        };
        for (cell, column) in cells.iter_mut().zip(&self.columns) {
            let Kind::Sum(measure) = column.kind else {
                continue;
            };
            if let (Some(number), false) = (cell.number(), measure == Measure::Flows) {
                *cell = Cell::Float(self.scaled(measure, number, time));
            }
        }
        cells
    }

    /// A count, or with rates what it is in a second of the part of the time that begins then, or of all.
    pub(crate) fn scaled(&self, measure: Measure, count: u64, part: Option<Timestamp>) -> f64 {
        let seconds = match (&self.rates, measure) {
            (Some(rates), measure) if measure != Measure::Flows => {
                rates.seconds(part.map(Timestamp::as_microsecond))
            }
            _ => return exact(count),
        };
        let factor = if measure.is_bytes() { 8.0 } else { 1.0 };
        per_second(count, seconds) * factor
    }

    /// How long the parts of a time series are, as it was asked; empty if nobody said.
    pub(crate) fn step(&self) -> String {
        self.step
            .as_ref()
            .map_or(String::new(), ToString::to_string)
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "good to more digits than it is read with"
)]
const fn exact(number: u64) -> f64 {
    number as f64
}

fn per_second(number: u64, seconds: f64) -> f64 {
    if seconds > 0.0 {
        exact(number) / seconds
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
