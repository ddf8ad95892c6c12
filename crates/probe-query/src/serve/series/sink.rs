//! Gathers rows and ledgers by interface and part of the time.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::Arc,
};

use datafusion::arrow::record_batch::RecordBatch;
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use serde::Serialize;

use crate::{
    completeness::{Report, Told},
    engine::Bucket,
    error::QueryError,
    output::{Cell, Shape, Sink, Totals},
    store::LONGEST_DAYS,
    time::{Range, Step},
};

/// Points of all interfaces together.
const MOST_POINTS: usize = 1_000_000;

/// The parts of a time.
pub(super) struct Parts(Bucket);

impl Parts {
    /// Parts of this length. An interval may begin before the time.
    pub(super) fn new(step: &Step, range: Range, zone: &TimeZone) -> Result<Self, QueryError> {
        let before = SignedDuration::from_hours(24 * LONGEST_DAYS);
        let first = range.since.checked_sub(before).unwrap_or(range.since);
        let last = range.until.max(range.since);
        let bounds = step.bounds(first, last, zone).ok_or_else(|| {
            QueryError::Usage("the asked time is too long: ask for a shorter one".to_owned())
        })?;
        let starts = bounds.iter().map(|bound| bound.as_microsecond());
        Ok(Self(Bucket::new(starts.collect())))
    }
}

/// One part of the time of an interface that has data.
#[derive(Debug, Default, Serialize)]
pub(super) struct Point {
    /// Start of the part.
    time: Timestamp,
    bits_rcvd_per_second: f64,
    bits_sent_per_second: f64,
    packets_rcvd_per_second: f64,
    packets_sent_per_second: f64,
    /// Packets that the programs were handed, of all flows, whether they pass the filter or not.
    seen: u64,
    /// Of these, packets that are in no flow and should be.
    missed: u64,
}

/// Traffic of an interface over time.
#[derive(Debug, Serialize)]
pub(super) struct Lane {
    host: Arc<str>,
    iface: Arc<str>,
    points: Vec<Point>,
}

/// An interface of a host.
type Key = (Arc<str>, Arc<str>);

/// Gathers what the chart shows.
pub(super) struct SeriesSink {
    parts: Parts,
    lanes: BTreeMap<Key, BTreeMap<i64, Point>>,
    points: usize,
    longest: SignedDuration,
    has_begun: bool,
}

impl SeriesSink {
    pub(super) const fn new(parts: Parts) -> Self {
        Self {
            parts,
            lanes: BTreeMap::new(),
            points: 0,
            longest: SignedDuration::ZERO,
            has_begun: false,
        }
    }

    /// Length of the longest interval of any interface.
    pub(super) const fn longest(&self) -> SignedDuration {
        self.longest
    }

    /// How many interfaces have data.
    pub(super) fn lanes(&self) -> usize {
        self.lanes.len()
    }

    /// The interfaces with most traffic, in the order of their names.
    pub(super) fn finish(self, most: usize) -> Vec<Lane> {
        let traffic = |points: &BTreeMap<i64, Point>| -> f64 {
            let bits = |point: &Point| point.bits_rcvd_per_second + point.bits_sent_per_second;
            points.values().map(bits).sum()
        };
        let mut lanes: Vec<_> = self.lanes.into_iter().collect();
        lanes.sort_by(|(_, a), (_, b)| traffic(b).total_cmp(&traffic(a)));
        lanes.truncate(most);
        lanes.sort_by(|(a, _), (b, _)| a.cmp(b));
        let lane = |((host, iface), points): (Key, BTreeMap<i64, Point>)| Lane {
            host,
            iface,
            points: points.into_values().collect(),
        };
        lanes.into_iter().map(lane).collect()
    }

    /// The point of an interface at the part that starts then.
    fn point(&mut self, key: &Key, start: i64) -> io::Result<&mut Point> {
        if !self.lanes.contains_key(key) {
            self.lanes.insert(key.clone(), BTreeMap::new());
        }
        let points = self.lanes.entry(key.clone()).or_default();
        if !points.contains_key(&start) {
            self.points += 1;
        }
        if self.points > MOST_POINTS {
            return Err(io::Error::other(format!(
                "it has more than {MOST_POINTS} points; ask for a shorter time, or for fewer interfaces (`iface …`)"
            )));
        }
        Ok(points.entry(start).or_insert_with(|| Point {
            time: Timestamp::from_microsecond(start).unwrap_or_default(),
            ..Point::default()
        }))
    }
}

impl Sink for SeriesSink {
    fn has_begun(&self) -> bool {
        self.has_begun
    }

    fn begin(&mut self, _: &Shape) -> io::Result<()> {
        self.has_begun = true;
        Ok(())
    }

    fn batch(&mut self, shape: &Shape, batch: &RecordBatch) -> io::Result<()> {
        let mut names = BTreeSet::<Arc<str>>::new();
        let mut shared = |text: &str| {
            if let Some(name) = names.get(text) {
                return Arc::clone(name);
            }
            let name: Arc<str> = text.into();
            names.insert(Arc::clone(&name));
            name
        };
        for row in 0..batch.num_rows() {
            let cells = shape.row(batch, row);
            let [time, host, iface, numbers @ ..] = &cells[..] else {
                continue;
            };
            let (Cell::Time(time), Cell::Text(host), Cell::Text(iface)) = (time, host, iface)
            else {
                continue;
            };
            let key = (shared(host), shared(iface));
            let point = self.point(&key, time.as_microsecond())?;
            for (name, cell) in shape.names().skip(3).zip(numbers) {
                let (Cell::Float(number), Some(place)) = (cell, point.place(name)) else {
                    continue;
                };
                *place = *number;
            }
        }
        Ok(())
    }

    fn end(&mut self, _: &Shape, _: Option<&Totals>, _: &Report) -> io::Result<()> {
        Ok(())
    }

    fn interval(&mut self, told: &Told<'_>) -> io::Result<()> {
        let ledger = told.ledger;
        let length = ledger.end.duration_since(ledger.start);
        self.longest = self.longest.max(length);
        let start = self.parts.0.start_of(ledger.start.as_microsecond());
        let key = (Arc::clone(told.host), Arc::clone(told.iface));
        let point = self.point(&key, start)?;
        point.seen += ledger.seen;
        point.missed += ledger.missed();
        Ok(())
    }
}

impl Point {
    /// Where the number of a column goes.
    fn place(&mut self, name: &str) -> Option<&mut f64> {
        match name {
            "bits_rcvd_per_second" => Some(&mut self.bits_rcvd_per_second),
            "bits_sent_per_second" => Some(&mut self.bits_sent_per_second),
            "packets_rcvd_per_second" => Some(&mut self.packets_rcvd_per_second),
            "packets_sent_per_second" => Some(&mut self.packets_sent_per_second),
            _ => None,
        }
    }
}
