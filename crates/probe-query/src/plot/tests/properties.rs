//! Whatever is drawn, it fits, and no name breaks it.

use proptest::prelude::*;
use unicode_width::UnicodeWidthStr;

use super::charts::{bars, hours, over, series};
use crate::plot::{
    TextSize,
    chart::{Chart, Kind, Unit},
    svg, text,
};

fn unit() -> impl Strategy<Value = Unit> {
    prop::sample::select(vec![
        Unit::Bytes,
        Unit::BitsPerSecond,
        Unit::Packets,
        Unit::PacketsPerSecond,
        Unit::Flows,
    ])
}

/// Counts and rates of all sizes, zero and the largest among them.
fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        Just(0.0),
        Just(f64::from(u32::MAX) * f64::from(u32::MAX) * 8.0),
        Just(1.0),
        1e-3..1.0,
        0.0..1e4,
        0.0..1e19,
    ]
}

/// Names with what breaks terminals, documents and widths.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z0-9.:]{0,40}",
        "\\PC{0,20}",
        Just("<&>\"'\u{1b}[31m\u{7}\u{0}]]>\u{ffff}\n\u{202e}".to_owned()),
        Just("網路介面卡網路介面卡網路介面卡網路介面卡".to_owned()),
        Just("👩‍👩‍👧‍👦e\u{301}\u{301}\u{301}🏳️‍🌈".to_owned()),
    ]
}

fn over_time() -> impl Strategy<Value = Chart> {
    let kinds = prop::sample::select(vec![Kind::One, Kind::Mirrored, Kind::Groups]);
    (unit(), kinds, 1_usize..400, 1_usize..12).prop_flat_map(|(unit, kind, parts, groups)| {
        let groups = match kind {
            Kind::One => 1,
            Kind::Mirrored => 2,
            Kind::Groups => groups,
        };
        let values = prop::collection::vec(number(), parts);
        let all = prop::collection::vec((name(), values), groups);
        let has_data = prop::collection::vec(any::<bool>(), parts);
        (all, has_data).prop_map(move |(all, has_data)| {
            let all = all.iter().map(|(name, values)| series(name, values));
            over(unit, kind, hours(&has_data), all.collect())
        })
    })
}

fn beside() -> impl Strategy<Value = Chart> {
    (unit(), 1_usize..3).prop_flat_map(|(unit, pieces)| {
        let row = (name(), prop::collection::vec(number(), pieces));
        prop::collection::vec(row, 0..60).prop_map(move |rows| {
            let rows: Vec<_> = rows
                .iter()
                .map(|(name, pieces)| (name.as_str(), pieces.clone()))
                .collect();
            bars(unit, &rows)
        })
    })
}

fn fits(chart: &Chart, width: usize, height: usize) -> Result<(), TestCaseError> {
    let size = TextSize {
        width,
        height,
        has_colour: false,
    };
    for line in text::lines(chart, size) {
        let line = line.text(false);
        prop_assert!(
            line.width() <= width.max(20),
            "{} columns: {line}",
            line.width()
        );
        prop_assert!(!line.chars().any(char::is_control), "{line:?}");
    }
    Ok(())
}

fn is_well_formed(chart: &Chart) -> Result<(), TestCaseError> {
    let document = svg::document(chart);
    let parsed = roxmltree::Document::parse(&document);
    let Ok(parsed) = parsed else {
        return Err(TestCaseError::fail(format!("{parsed:?}: {document}")));
    };
    // Not in texts: a name may be anything.
    let mut attributes = parsed.descendants().flat_map(|node| node.attributes());
    prop_assert!(
        attributes.all(|it| !it.value().contains("NaN") && !it.value().contains("inf")),
        "{document}"
    );
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn series_fit_and_are_well_formed(chart in over_time(), width in 1_usize..220, height in 1_usize..60) {
        fits(&chart, width, height)?;
        is_well_formed(&chart)?;
    }

    #[test]
    fn bars_fit_and_are_well_formed(chart in beside(), width in 1_usize..220, height in 1_usize..60) {
        fits(&chart, width, height)?;
        is_well_formed(&chart)?;
    }
}

#[test]
fn a_picture_over_time_is_no_higher_than_the_terminal() {
    let values: Vec<_> = (0..100).map(f64::from).collect();
    for (width, height) in [(80, 24), (200, 50), (40, 16)] {
        let size = TextSize {
            width,
            height,
            has_colour: false,
        };
        for groups in [1, 2, size.groups() + 1] {
            let kind = match groups {
                1 => Kind::One,
                2 => Kind::Mirrored,
                _ => Kind::Groups,
            };
            let all = vec![series("a", &values); groups];
            let mut timeline = hours(&[true; 100]);
            timeline.parts[3].marks.push(crate::plot::Mark::Lost);
            let mut chart = over(Unit::Bytes, kind, timeline, all);
            chart.report = vec!["a line".to_owned(); 13];
            let lines = text::lines(&chart, size).len();
            assert!(lines < height, "{lines} lines of {height}, {groups} series");
        }
    }
}

#[test]
fn a_thousand_series_are_drawn() {
    let values: Vec<_> = (0..50).map(f64::from).collect();
    let all = (0..1000).map(|number| series(&format!("series {number}"), &values));
    let chart = over(Unit::Bytes, Kind::Groups, hours(&[true; 50]), all.collect());
    fits(&chart, 80, 24).unwrap();
    is_well_formed(&chart).unwrap();
}
