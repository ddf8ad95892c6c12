//! Counts of a time series, added up by group and by part of the time.

use std::{collections::HashMap, io};

use datafusion::arrow::{
    array::{ArrayRef, AsArray},
    datatypes::TimestampMicrosecondType,
    record_batch::RecordBatch,
    row::{RowConverter, SortField},
};
use jiff::Timestamp;

use super::Asked;
use crate::{
    output::{Cell, Shape, shown},
    plot::timeline::Timeline,
};

/// Counts of a time series: by group or direction, and by part of the time.
#[derive(Default)]
pub(super) struct Gathered {
    pub(super) timeline: Timeline,
    pub(super) names: Vec<String>,
    pub(super) counts: Vec<Vec<u64>>,
    pub(super) leaders: Option<Leaders>,
}

/// The groups that have their own series, found by their columns.
pub(super) struct Leaders {
    converter: RowConverter,
    numbers: HashMap<Box<[u8]>, usize>,
}

impl Gathered {
    pub(super) fn begin(
        &mut self,
        asked: &Asked,
        shape: &Shape,
        timeline: Timeline,
        leaders: Option<&RecordBatch>,
    ) -> io::Result<()> {
        *self = Self {
            timeline,
            ..Self::default()
        };
        if asked.keys.is_empty() {
            self.names = asked
                .pieces()
                .iter()
                .map(|word| (*word).to_owned())
                .collect();
        } else {
            let groups = leaders.map_or(0, RecordBatch::num_rows);
            for row in 0..groups {
                let cells = leaders.into_iter().flat_map(|batch| {
                    batch
                        .columns()
                        .iter()
                        .take(asked.keys.len())
                        .map(|array| Cell::of(array.as_ref(), row))
                });
                let columns = shape.columns.iter().enumerate();
                let columns = columns.filter(|(place, _)| Some(*place) != asked.time);
                let words = cells
                    .zip(columns)
                    .map(|(cell, (_, column))| shown(&cell, column, shape, false));
                self.names.push(words.collect::<Vec<_>>().join(" "));
            }
            self.names.push("other".to_owned());
            self.leaders = leaders
                .map(|batch| Leaders::new(&batch.columns()[..asked.keys.len()]))
                .transpose()?;
        }
        self.counts = vec![vec![0; self.timeline.parts.len()]; self.names.len()];
        Ok(())
    }

    pub(super) fn add(&mut self, asked: &Asked, batch: &RecordBatch) -> io::Result<()> {
        let Some(times) = asked.time.and_then(|place| batch.columns().get(place)) else {
            return Ok(());
        };
        let Some(times) = times.as_primitive_opt::<TimestampMicrosecondType>() else {
            return Ok(());
        };
        let counts = asked.counts(batch);
        let numbers = match &self.leaders {
            Some(leaders) => Some(leaders.numbers_of(&asked.keys_of(batch), self.names.len() - 1)?),
            None => None,
        };
        for (row, time) in times.values().iter().enumerate() {
            let time = Timestamp::from_microsecond(*time).ok();
            let Some(part) = time.and_then(|time| self.timeline.place(time)) else {
                continue;
            };
            for (direction, counts) in counts.iter().enumerate() {
                let number = numbers.as_ref().map_or(direction, |numbers| numbers[row]);
                if let Some(sum) = self.counts.get_mut(number).and_then(|it| it.get_mut(part)) {
                    *sum = sum.saturating_add(counts[row]);
                }
            }
        }
        Ok(())
    }
}

impl Leaders {
    fn new(keys: &[ArrayRef]) -> io::Result<Self> {
        let fields = keys
            .iter()
            .map(|array| SortField::new(array.data_type().clone()));
        let converter = RowConverter::new(fields.collect()).map_err(io::Error::other)?;
        let rows = converter.convert_columns(keys).map_err(io::Error::other)?;
        let numbers = rows.iter().enumerate();
        let numbers = numbers.map(|(number, row)| (row.as_ref().into(), number));
        Ok(Self {
            numbers: numbers.collect(),
            converter,
        })
    }

    /// The series of each row, `other` where it has none of its own.
    fn numbers_of(&self, keys: &[ArrayRef], other: usize) -> io::Result<Vec<usize>> {
        let rows = self
            .converter
            .convert_columns(keys)
            .map_err(io::Error::other)?;
        let number = |row: &[u8]| self.numbers.get(row).copied().unwrap_or(other);
        Ok(rows.iter().map(|row| number(row.as_ref())).collect())
    }
}
