//! What a picture shows, before it is known how it is drawn.

use jiff::tz::TimeZone;
use unicode_width::UnicodeWidthStr;

use super::timeline::Timeline;
use crate::{columns::Measure, output::human::short};

/// What numbers are of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Unit {
    Bytes,
    BitsPerSecond,
    Packets,
    PacketsPerSecond,
    Flows,
}

impl Unit {
    pub(crate) const fn of(measure: Measure, is_rate: bool) -> Self {
        match measure {
            Measure::Flows => Self::Flows,
            measure if measure.is_bytes() && is_rate => Self::BitsPerSecond,
            measure if measure.is_bytes() => Self::Bytes,
            _ if is_rate => Self::PacketsPerSecond,
            _ => Self::Packets,
        }
    }

    /// What it is called in titles.
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::BitsPerSecond => "bit/s",
            Self::Packets => "packets",
            Self::PacketsPerSecond => "packets/s",
            Self::Flows => "flows",
        }
    }

    /// What stands behind the prefix of a number.
    pub(crate) const fn symbol(self) -> &'static str {
        match self {
            Self::Bytes => "B",
            Self::BitsPerSecond => "bit/s",
            Self::Packets | Self::PacketsPerSecond | Self::Flows => "",
        }
    }

    /// Whether its prefixes are Ki, Mi and Gi, as in tables.
    pub(crate) const fn is_binary(self) -> bool {
        matches!(self, Self::Bytes)
    }

    /// Whether there is nothing between 0 and 1.
    pub(crate) const fn is_whole(self) -> bool {
        matches!(self, Self::Bytes | Self::Packets | Self::Flows)
    }

    /// Whether it is of a second.
    pub(crate) const fn is_rate(self) -> bool {
        matches!(self, Self::BitsPerSecond | Self::PacketsPerSecond)
    }

    /// A number as columns of tables show it, where the unit stands elsewhere: `34M`, `1.2k`; octets, whose
    /// prefixes are others, keep theirs: `5.2GiB`.
    pub(crate) fn short(self, number: f64) -> String {
        if self.is_binary() {
            short(number, 1024.0, "i") + "B"
        } else {
            short(number, 1000.0, "")
        }
    }

    /// A number with its unit: `5.2GiB`, `34Mbit/s`, `1.2k`.
    pub(crate) fn amount(self, number: f64) -> String {
        let symbol = if self.is_binary() { "" } else { self.symbol() };
        self.short(number) + symbol
    }
}

/// A picture with all that is written around it.
#[derive(Clone, Debug)]
pub(crate) struct Chart {
    pub(crate) title: String,
    /// The filter; empty if all flows are shown.
    pub(crate) filter: String,
    pub(crate) unit: Unit,
    pub(crate) body: Body,
    /// What there is over all, in one line.
    pub(crate) totals: String,
    /// Lines of the report.
    pub(crate) report: Vec<String>,
    pub(crate) is_complete: bool,
    pub(crate) zone: TimeZone,
}

/// What is drawn between title and totals.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    /// Numbers over the time.
    Over(Over),
    /// Numbers beside each other.
    Bars(Bars),
}

/// Numbers of all series over the time.
#[derive(Clone, Debug)]
pub(crate) struct Over {
    pub(crate) timeline: Timeline,
    /// One for each direction, or one for each group of flows.
    pub(crate) series: Vec<Series>,
    pub(crate) kind: Kind,
}

/// What the series of a picture are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    /// A series that is alone.
    One,
    /// Received, which is drawn upwards, and sent, which is drawn downwards.
    Mirrored,
    /// Groups of flows, which add up.
    Groups,
}

/// The numbers of one thing over time.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    pub(crate) name: String,
    /// Whether it is what the others are not.
    pub(crate) is_other: bool,
    /// One for each part of the time.
    pub(crate) values: Vec<f64>,
    /// The sum over all, or with rates the mean over the time that has data.
    pub(crate) amount: f64,
    /// Of all that passes the filter, from 0 to 1.
    pub(crate) share: f64,
}

impl Series {
    /// The largest of all parts that have data.
    pub(crate) fn max(&self, timeline: &Timeline) -> f64 {
        let known = self.values.iter().zip(&timeline.parts);
        let known = known.filter(|(_, part)| !part.is_hole());
        known.fold(0.0, |max, (value, _)| max.max(*value))
    }
}

/// Numbers beside each other.
#[derive(Clone, Debug)]
pub(crate) struct Bars {
    /// Rows of an answer, whose numbers stand beside each other.
    pub(crate) headings: Vec<String>,
    /// What the pieces of a bar are.
    pub(crate) pieces: Vec<&'static str>,
    pub(crate) rows: Vec<Bar>,
}

/// The bar of a row.
#[derive(Clone, Debug)]
pub(crate) struct Bar {
    /// A text for each heading.
    pub(crate) names: Vec<String>,
    /// A number for each piece.
    pub(crate) pieces: Vec<f64>,
    /// The counts of all pieces.
    pub(crate) sum: u64,
    /// Of all that passes the filter, from 0 to 1.
    pub(crate) share: f64,
}

impl Bar {
    pub(crate) fn length(&self) -> f64 {
        self.pieces.iter().sum()
    }
}

/// Whole percent; less than one and more than nothing is told as that.
pub(crate) fn percent(share: f64) -> String {
    if share > 0.0 && share < 0.01 {
        "<1%".to_owned()
    } else {
        format!("{:.0}%", (share * 100.0).floor())
    }
}

/// Widths of the columns of names, which together have at most so much.
pub(crate) fn widths(bars: &Bars, most: usize) -> Vec<usize> {
    /// Characters that a name keeps at least.
    const LEAST: usize = 7;

    let heading = bars.headings.iter().enumerate();
    let natural = heading.map(|(place, heading)| {
        let names = bars.rows.iter().filter_map(|bar| bar.names.get(place));
        let widest = names.map(|name| name.width()).max();
        widest.unwrap_or(0).max(heading.width())
    });
    let mut widths: Vec<_> = natural.collect();
    while widths.iter().map(|it| it + 1).sum::<usize>() > most {
        let widest = widths.iter_mut().max_by_key(|width| **width);
        match widest.filter(|width| **width > LEAST) {
            Some(width) => *width -= 1,
            None => break,
        }
    }
    // Where even that is too much, the last columns go.
    while widths.len() > 1 && widths.iter().map(|it| it + 1).sum::<usize>() > most {
        widths.pop();
    }
    widths
}
