//! Charts that are made up.

use jiff::{SignedDuration, Timestamp, tz::TimeZone};

use crate::plot::{
    chart::{Bar, Bars, Body, Chart, Kind, Over, Series, Unit},
    timeline::{Mark, Part, Timeline},
};

/// Hours, of which those with `None` are holes.
pub(super) fn hours(parts: &[bool]) -> Timeline {
    let start: Timestamp = "2026-11-27T00:00:00Z".parse().unwrap();
    let at = |hour: usize| start + SignedDuration::from_hours(i64::try_from(hour).unwrap());
    let parts = parts.iter().enumerate().map(|(hour, has_data)| Part {
        since: at(hour),
        until: at(hour + 1),
        marks: if *has_data {
            Vec::new()
        } else {
            vec![Mark::NoData]
        },
    });
    Timeline {
        parts: parts.collect(),
    }
}

pub(super) fn series(name: &str, values: &[f64]) -> Series {
    Series {
        name: name.to_owned(),
        is_other: name == "other",
        values: values.to_vec(),
        amount: values.iter().sum(),
        share: 0.5,
    }
}

pub(super) fn over(unit: Unit, kind: Kind, timeline: Timeline, series: Vec<Series>) -> Chart {
    chart(
        unit,
        Body::Over(Over {
            timeline,
            series,
            kind,
        }),
    )
}

pub(super) fn bars(unit: Unit, rows: &[(&str, Vec<f64>)]) -> Chart {
    let pieces = if rows.first().is_some_and(|(_, pieces)| pieces.len() > 1) {
        vec!["received", "sent"]
    } else {
        vec!["received and sent"]
    };
    let bars = rows.iter().map(|(name, pieces)| Bar {
        names: vec![(*name).to_owned(), "443".to_owned()],
        pieces: pieces.clone(),
        sum: 1,
        share: 0.25,
    });
    chart(
        unit,
        Body::Bars(Bars {
            headings: vec!["src".to_owned(), "dport".to_owned()],
            pieces,
            rows: bars.collect(),
        }),
    )
}

fn chart(unit: Unit, body: Body) -> Chart {
    Chart {
        title: format!("{} by <something> & \"more\"", unit.words()),
        filter: "host 192.0.2.1".to_owned(),
        unit,
        body,
        totals: "in all 1.0GiB".to_owned(),
        report: vec!["complete: 2026-11-27".to_owned()],
        is_complete: true,
        zone: TimeZone::UTC,
    }
}
