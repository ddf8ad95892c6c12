//! Gathers the rows of an answer for a picture, and draws it when all are there.

mod gathered;

use std::io;

use datafusion::arrow::{
    array::{ArrayRef, AsArray},
    datatypes::UInt64Type,
    record_batch::RecordBatch,
};
use gathered::Gathered;
use jiff::Timestamp;

use super::{
    Target,
    chart::{Bar, Bars, Body, Chart, Kind, Over, Series, Unit},
    timeline::Timeline,
};
use crate::{
    ask::Sums,
    columns::{By, Measure, Sort},
    completeness::{Report, text::TextStyle},
    output::{Cell, Shape, Sink, Totals, shown},
};

/// An answer as a picture.
pub struct Picture {
    target: Target,
    style: TextStyle,
    asked: Asked,
    has_begun: bool,
    bars: Vec<Bar>,
    series: Gathered,
}

/// What is asked, as far as a picture tells it.
struct Asked {
    keys: Vec<&'static str>,
    time: Option<usize>,
    is_rate: bool,
    filter: String,
    measures: Vec<Measure>,
    /// Places of these in the rows.
    places: Vec<usize>,
    most: usize,
}

impl Picture {
    /// A picture of these sums, with so many bars or series.
    pub fn new(target: Target, sums: &Sums, most: usize, style: TextStyle) -> Self {
        let wanted: fn(Measure) -> bool = match sums.sort {
            Sort::Packets => |measure| !measure.is_bytes() && measure != Measure::Flows,
            Sort::Flows => |measure| measure == Measure::Flows,
            Sort::Bytes | Sort::Column(_) => Measure::is_bytes,
        };
        let all = sums.directions.measures().iter().copied().enumerate();
        let (places, measures) = all
            .filter(|(_, measure)| wanted(*measure))
            .map(|(place, measure)| (sums.by.len() + place, measure))
            .unzip();
        let is_time = |column: &By| matches!(column, By::Time(_));
        let time = sums.by.iter().position(is_time);
        let keys = sums.by.iter().filter(|column| !is_time(column));
        Self {
            target,
            style,
            asked: Asked {
                keys: keys.map(By::heading).collect(),
                time,
                is_rate: sums.is_rate && sums.sort != Sort::Flows,
                filter: sums.filter.to_string(),
                measures,
                places,
                most,
            },
            has_begun: false,
            bars: Vec::new(),
            series: Gathered::default(),
        }
    }

    fn chart(&self, shape: &Shape, totals: Option<&Totals>, report: &Report) -> Chart {
        let sum = totals.map_or(0, |totals| self.asked.sum_of(totals));
        let body = if self.asked.time.is_some() {
            Body::Over(self.over(shape, sum))
        } else {
            Body::Bars(Bars {
                headings: self
                    .asked
                    .keys
                    .iter()
                    .map(|key| (*key).to_owned())
                    .collect(),
                pieces: self.asked.pieces(),
                rows: self.bars.clone(),
            })
        };
        Chart {
            title: self.asked.title(shape),
            filter: self.asked.filter.clone(),
            unit: self.asked.unit(),
            totals: self.asked.totals(shape, sum, self.bars.len(), totals),
            body,
            report: report.lines(&self.style),
            is_complete: report.complete,
            zone: shape.zone.clone(),
        }
    }

    fn over(&self, shape: &Shape, sum: u64) -> Over {
        let timeline = self.series.timeline.clone();
        let scaled = |count: u64, part: Option<Timestamp>| self.asked.scaled(shape, count, part);
        let names = self.series.names.iter().enumerate();
        let series = names.map(|(number, name)| {
            let counts = &self.series.counts[number];
            let own = counts.iter().copied().fold(0, u64::saturating_add);
            let parts = counts.iter().zip(&timeline.parts);
            Series {
                name: name.clone(),
                is_other: self.series.leaders.is_some() && number + 1 == self.series.names.len(),
                values: parts
                    .map(|(count, part)| scaled(*count, Some(part.since)))
                    .collect(),
                amount: scaled(own, None),
                share: share(own, sum),
            }
        });
        let mut series: Vec<_> = series.collect();
        series.retain(|series| !series.is_other || series.amount > 0.0);
        let kind = match (&self.series.leaders, series.len()) {
            (Some(_), _) => Kind::Groups,
            (None, 2) => Kind::Mirrored,
            (None, _) => Kind::One,
        };
        Over {
            timeline,
            series,
            kind,
        }
    }
}

impl Asked {
    fn unit(&self) -> Unit {
        let measure = self.measures.first().copied().unwrap_or(Measure::Flows);
        Unit::of(measure, self.is_rate)
    }

    /// Words for the pieces of bars, or the series of the directions.
    fn pieces(&self) -> Vec<&'static str> {
        let words = |measure: &Measure| match measure {
            Measure::BytesRcvd | Measure::PacketsRcvd => "received",
            Measure::BytesSent | Measure::PacketsSent => "sent",
            Measure::Bytes | Measure::Packets => "received and sent",
            Measure::Flows => "flows",
        };
        self.measures.iter().map(words).collect()
    }

    fn title(&self, shape: &Shape) -> String {
        let unit = self.unit();
        let mut title = unit.words().to_owned();
        if unit != Unit::Flows {
            title = format!("{title} {}", self.pieces().join(" and "));
        }
        if !self.keys.is_empty() {
            title = format!("{title} by {}", self.keys.join(", "));
        }
        if self.time.is_some() {
            let kind = if unit.is_rate() { "means" } else { "sums" };
            title = format!("{title}, {kind} of {}", shape.step());
        }
        title
    }

    fn totals(&self, shape: &Shape, sum: u64, shown: usize, totals: Option<&Totals>) -> String {
        let all = self.unit().amount(self.scaled(shape, sum, None));
        let all = match self.unit() {
            Unit::Bytes | Unit::BitsPerSecond => all,
            unit => format!("{all} {}", unit.words()),
        };
        let rows = totals.map_or(0, |totals| totals.rows);
        if rows == 0 {
            "no flows".to_owned()
        } else if self.time.is_some() {
            let kind = if self.unit().is_rate() {
                "on average"
            } else {
                "in all"
            };
            format!("{kind} {all}")
        } else {
            format!("{shown} of {rows} rows; in all {all}")
        }
    }

    fn sum_of(&self, totals: &Totals) -> u64 {
        let wanted = totals.sums.iter();
        let wanted = wanted.filter(|(measure, _)| self.measures.contains(measure));
        wanted.fold(0, |sum, (_, more)| sum.saturating_add(*more))
    }

    /// A count, or what it is in a second of the part of the time, or of all.
    fn scaled(&self, shape: &Shape, count: u64, part: Option<Timestamp>) -> f64 {
        let measure = self.measures.first().copied().unwrap_or(Measure::Flows);
        shape.scaled(measure, count, part)
    }

    /// Counts of the columns that are drawn, by row. The engine counts rows with a sign.
    fn counts(&self, batch: &RecordBatch) -> Vec<Vec<u64>> {
        let columns = self
            .places
            .iter()
            .filter_map(|place| batch.columns().get(*place));
        let count = |array: &ArrayRef, row: usize| Cell::of(array.as_ref(), row).number();
        let rows = 0..batch.num_rows();
        let all = columns.map(|array| {
            if let Some(numbers) = array.as_primitive_opt::<UInt64Type>() {
                return numbers.values().to_vec();
            }
            rows.clone()
                .map(|row| count(array, row).unwrap_or(0))
                .collect()
        });
        all.collect()
    }

    fn keys_of(&self, batch: &RecordBatch) -> Vec<ArrayRef> {
        let number = self.keys.len() + usize::from(self.time.is_some());
        let columns = batch.columns().iter().take(number).enumerate();
        let keys = columns.filter(|(place, _)| Some(*place) != self.time);
        keys.map(|(_, array)| array.clone()).collect()
    }

    fn add_bars(&self, bars: &mut Vec<Bar>, shape: &Shape, batch: &RecordBatch) {
        let counts = self.counts(batch);
        for row in 0..batch.num_rows() {
            let cells = shape.row(batch, row);
            let keys = cells.iter().zip(&shape.columns).take(self.keys.len());
            let counts = counts.iter().map(|counts| counts[row]);
            bars.push(Bar {
                names: keys
                    .map(|(cell, column)| shown(cell, column, shape, false))
                    .collect(),
                pieces: counts
                    .clone()
                    .map(|count| self.scaled(shape, count, None))
                    .collect(),
                // Of how much, is known at the end.
                sum: counts.fold(0, u64::saturating_add),
                share: 0.0,
            });
        }
    }
}

impl Sink for Picture {
    fn has_begun(&self) -> bool {
        self.has_begun
    }

    fn groups(&self) -> Option<usize> {
        self.asked.time.map(|_| self.asked.most)
    }

    fn series(
        &mut self,
        shape: &Shape,
        timeline: Timeline,
        leaders: Option<&RecordBatch>,
    ) -> io::Result<()> {
        self.series.begin(&self.asked, shape, timeline, leaders)
    }

    fn begin(&mut self, _: &Shape) -> io::Result<()> {
        self.has_begun = true;
        Ok(())
    }

    fn batch(&mut self, shape: &Shape, batch: &RecordBatch) -> io::Result<()> {
        if self.asked.time.is_some() {
            return self.series.add(&self.asked, batch);
        }
        self.asked.add_bars(&mut self.bars, shape, batch);
        Ok(())
    }

    fn end(&mut self, shape: &Shape, totals: Option<&Totals>, report: &Report) -> io::Result<()> {
        let sum = totals.map_or(0, |totals| self.asked.sum_of(totals));
        for bar in &mut self.bars {
            bar.share = share(bar.sum, sum);
        }
        let chart = self.chart(shape, totals, report);
        self.target.draw(&chart)
    }
}

#[expect(clippy::cast_precision_loss, reason = "shown in whole percent")]
fn share(part: u64, all: u64) -> f64 {
    if all == 0 {
        return 0.0;
    }
    part as f64 / all as f64
}
