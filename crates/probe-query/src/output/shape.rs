//! The columns of an answer.

use std::sync::Arc;

use datafusion::arrow::{
    array::{ArrayRef, Float64Array},
    compute::cast,
    datatypes::{DataType, Field, Schema, SchemaRef},
    error::ArrowError,
    record_batch::RecordBatch,
};
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
    /// Types of the columns, with their names in the answer.
    schema: SchemaRef,
    rates: Option<Rates>,
    time: Option<usize>,
    step: Option<Step>,
}

impl Shape {
    /// The shape of sums by columns. `schema` has the types of the rows.
    pub fn of_sums(sums: &Sums, schema: &Schema, rates: Option<Rates>, zone: TimeZone) -> Self {
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
        let columns: Vec<_> = keys.chain(measures).collect();
        Self {
            schema: typed_schema(schema, &columns, is_rate),
            columns,
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
        let columns: Vec<_> = columns.collect();
        Self {
            schema: typed_schema(schema, &columns, false),
            columns,
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

    /// The shape with columns of text behind those at these places, in order.
    #[must_use]
    pub(crate) fn with_texts(&self, texts: &[(usize, &str)]) -> Self {
        let (mut columns, mut fields) = (Vec::new(), Vec::new());
        let known = self.columns.iter().zip(self.schema.fields()).enumerate();
        for (place, (column, field)) in known {
            columns.push(column.clone());
            fields.push(Arc::clone(field));
            for (_, name) in texts.iter().filter(|(behind, _)| *behind == place) {
                columns.push(Column {
                    name: (*name).to_owned(),
                    heading: name.replace('_', " "),
                    kind: Kind::Plain,
                });
                fields.push(Arc::new(Field::new(*name, DataType::Utf8, true)));
            }
        }
        let before = |time: usize| texts.iter().filter(|(place, _)| *place < time).count();
        Self {
            columns,
            zone: self.zone.clone(),
            schema: Arc::new(Schema::new(fields)),
            rates: self.rates.clone(),
            time: self.time.map(|time| time + before(time)),
            step: self.step.clone(),
        }
    }

    /// Types of the columns, with their names in the answer.
    pub(super) fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// Rows as columns of these types.
    pub(super) fn typed(&self, batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let columns = batch.columns().iter().enumerate();
        let columns = columns.map(|(place, array)| {
            let field = self.schema.field(place);
            if array.data_type() == field.data_type() {
                return Ok(Arc::clone(array));
            }
            if !self.is_rate() {
                return cast(array, field.data_type());
            }
            let values = (0..batch.num_rows()).map(|row| match self.row(batch, row).get(place) {
                Some(Cell::Float(value)) => Some(*value),
                _ => None,
            });
            Ok(Arc::new(values.collect::<Float64Array>()) as ArrayRef)
        });
        RecordBatch::try_new(self.schema(), columns.collect::<Result<_, _>>()?)
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

/// The types of the rows, but for rates, which are divided.
fn typed_schema(schema: &Schema, columns: &[Column], is_rate: bool) -> SchemaRef {
    let fields = schema.fields().iter().zip(columns);
    let fields = fields.map(|(field, column)| {
        let is_divided = is_rate
            && !matches!(
                column.kind,
                Kind::Plain | Kind::Protocol | Kind::Sum(Measure::Flows)
            );
        let kind = if is_divided {
            DataType::Float64
        } else {
            field.data_type().clone()
        };
        Field::new(&column.name, kind, field.is_nullable() || is_divided)
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
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
