//! What files hold: documents whose drawing has the numbers, and pixels that are no blank sheet.

use std::collections::HashSet;

use super::charts::{bars, hours, over, series};
use crate::plot::{
    PictureFile,
    chart::{Chart, Kind, Unit},
    scale::float,
    svg,
};

/// The y of each step of the outlines of areas of a class: upper bounds from left to right, and lower
/// ones.
fn outline(document: &str, class: &str) -> (Vec<f64>, Vec<f64>) {
    let document = roxmltree::Document::parse(document).unwrap();
    let mut paths = document
        .descendants()
        .filter(|node| node.tag_name().name() == "path" && node.attribute("class") == Some(class));
    let path = paths.next().unwrap().attribute("d").unwrap();
    let (mut upper, mut lower) = (Vec::new(), Vec::new());
    for run in path.split('Z').filter(|run| !run.is_empty()) {
        let (start, rest) = run[1..].split_once(' ').unwrap();
        let mut x: f64 = start.parse().unwrap();
        let mut back = Vec::new();
        for step in rest.split('V') {
            let (y, to) = step.split_once('H').unwrap();
            let (y, to): (f64, f64) = (y.parse().unwrap(), to.parse().unwrap());
            if to > x {
                upper.push(y);
            } else {
                back.push(y);
            }
            x = to;
        }
        lower.extend(back.into_iter().rev());
    }
    (upper, lower)
}

/// What a pixel of the axis stands for, by the labels of its ticks: the number at a y.
fn axis(document: &str, read: impl Fn(&str) -> f64) -> impl Fn(f64) -> f64 {
    let document = roxmltree::Document::parse(document).unwrap();
    let labels = document.descendants().filter(|node| {
        node.tag_name().name() == "text" && node.attribute("class") == Some("muted end")
    });
    let mut ticks: Vec<(f64, f64)> = labels
        .filter_map(|node| {
            let text = node.text()?;
            let y: f64 = node.attribute("y")?.parse().ok()?;
            text.starts_with(|char: char| char.is_ascii_digit())
                .then(|| (y - 4.0, read(text)))
        })
        .collect();
    ticks.sort_by(|left, right| left.0.total_cmp(&right.0));
    let (top, zero) = (
        ticks[0],
        *ticks.iter().find(|(_, number)| *number == 0.0).unwrap(),
    );
    move |y| (y - zero.0) / (top.0 - zero.0) * top.1
}

fn kibibytes(label: &str) -> f64 {
    let number = label.trim_end_matches("KiB").trim_end_matches('B');
    let number: f64 = number.parse().unwrap();
    if label.ends_with("KiB") {
        number * 1024.0
    } else {
        number
    }
}

#[test]
fn numbers_are_read_back_from_the_drawing() {
    let rcvd = [0.0, 1000.0, 2500.0, 0.0, 4000.0];
    let sent = [300.0, 0.0, 1234.0, 0.0, 2048.0];
    let all = vec![series("received", &rcvd), series("sent", &sent)];
    let timeline = hours(&[true, true, true, false, true]);
    let document = svg::document(&over(Unit::Bytes, Kind::Mirrored, timeline, all));
    let number = axis(&document, kibibytes);
    let near = |found: &[f64], expected: &[f64]| {
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (found, expected) in found.iter().zip(expected) {
            // Coordinates have two digits behind the point.
            assert!(
                (number(*found) - expected).abs() < 1.0,
                "{found} {expected}"
            );
        }
    };
    // The hole has no step at all.
    let (upper, lower) = outline(&document, "s0");
    near(&upper, &[0.0, 1000.0, 2500.0, 4000.0]);
    near(&lower, &[0.0; 4]);
    let (upper, lower) = outline(&document, "s1");
    near(&upper, &[0.0; 4]);
    near(&lower, &[-300.0, 0.0, -1234.0, -2048.0]);
    assert_eq!(
        document.matches("class=\"hole\"").count(),
        2,
        "picture and lane"
    );
}

#[test]
fn groups_stand_on_each_other() {
    let all = vec![
        series("eth0", &[1000.0, 500.0]),
        series("other", &[24.0, 1548.0]),
    ];
    let chart = over(Unit::Bytes, Kind::Groups, hours(&[true, true]), all);
    let document = svg::document(&chart);
    let number = axis(&document, kibibytes);
    let (first, _) = outline(&document, "s0");
    let (top, base) = outline(&document, "other");
    for (found, expected) in [
        (&first, [1000.0, 500.0]),
        (&base, [1000.0, 500.0]),
        (&top, [1024.0, 2048.0]),
    ] {
        for (found, expected) in found.iter().zip(expected) {
            assert!(
                (number(*found) - expected).abs() < 1.0,
                "{found} {expected}"
            );
        }
    }
}

/// Bounds of all texts, as far as a monospaced font has them.
fn boxes(document: &str) -> Vec<(f64, f64, f64, String)> {
    let document = roxmltree::Document::parse(document).unwrap();
    let texts = document
        .descendants()
        .filter(|node| node.tag_name().name() == "text");
    let of = |node: roxmltree::Node<'_, '_>| {
        let text = node.text().unwrap_or_default().to_owned();
        let class = node.attribute("class").unwrap();
        let number = |name: &str| node.attribute(name).unwrap().parse::<f64>().unwrap();
        let size = if class.contains("title") { 16.0 } else { 12.0 };
        let width = float(unicode_width::UnicodeWidthStr::width(&*text)) * size * 0.605;
        let left = match class {
            class if class.contains("end") => number("x") - width,
            class if class.contains("middle") => number("x") - width / 2.0,
            _ => number("x"),
        };
        (number("y"), left, left + width, text)
    };
    texts.map(of).collect()
}

fn labels_do_not_touch(chart: &Chart) {
    let document = svg::document(chart);
    let boxes = boxes(&document);
    for (place, (y, left, right, text)) in boxes.iter().enumerate() {
        assert!(*left >= 0.0 && *right <= 960.0, "{text} leaves the sheet");
        for (other_y, other_left, other_right, other) in &boxes[place + 1..] {
            let is_beside =
                (y - other_y).abs() >= 12.0 || right <= other_left || other_right <= left;
            assert!(is_beside, "{text:?} touches {other:?}");
        }
    }
}

#[test]
fn labels_touch_nothing() {
    let wide = "2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff 2001:db8:1111:2222:3333:4444:5555:6666";
    for parts in [1, 2, 24, 30, 100, 169, 1000] {
        let values: Vec<_> = (0..parts)
            .map(|part| f64::from(part * 7919 % 1000) * 1e9)
            .collect();
        let mut has_data = vec![true; values.len()];
        has_data[values.len() / 2] = values.len() == 1;
        let all: Vec<_> = (0..10)
            .map(|number| series(&format!("{wide}{number}"), &values))
            .collect();
        for (kind, all) in [
            (Kind::Mirrored, &all[..2]),
            (Kind::Groups, &all),
            (Kind::One, &all[..1]),
        ] {
            labels_do_not_touch(&over(Unit::Bytes, kind, hours(&has_data), all.to_vec()));
        }
    }
    let rows: Vec<_> = (0..25)
        .map(|row| (wide, vec![1e12 / f64::from(row + 1), 5e11]))
        .collect();
    labels_do_not_touch(&bars(Unit::BitsPerSecond, &rows));
}

#[test]
fn documents_say_what_they_are() {
    let all = vec![series("<&>\"\u{1b}", &[1.0])];
    let document = svg::document(&over(Unit::Flows, Kind::One, hours(&[true]), all));
    let parsed = roxmltree::Document::parse(&document).unwrap();
    let child = |name: &str| {
        let mut children = parsed.root_element().children();
        let found = children
            .find(|node| node.tag_name().name() == name)
            .unwrap();
        found.text().unwrap().to_owned()
    };
    assert_eq!(child("title"), "flows by <something> & \"more\"");
    assert!(
        child("desc").starts_with("<&>\"\u{fffd}: 1"),
        "{}",
        child("desc")
    );
    assert_eq!(parsed.root_element().attribute("role"), Some("img"));
}

#[test]
fn pixels_show_the_picture() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("picture.PNG");
    let all = vec![series("received", &[5.0, 9.0]), series("sent", &[3.0, 4.0])];
    let chart = over(Unit::Bytes, Kind::Mirrored, hours(&[true, true]), all);
    PictureFile::new(&path).unwrap().write(&chart).unwrap();
    let file = std::io::BufReader::new(std::fs::File::open(&path).unwrap());
    let mut reader = png::Decoder::new(file).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let frame = reader.next_frame(&mut pixels).unwrap();
    let svg = svg::document(&chart);
    let svg = roxmltree::Document::parse(&svg).unwrap();
    let height: f64 = svg
        .root_element()
        .attribute("height")
        .unwrap()
        .parse()
        .unwrap();
    assert_eq!(frame.width, 1920);
    assert!(
        (f64::from(frame.height) - 2.0 * height).abs() <= 2.0,
        "{frame:?}"
    );
    let colours: HashSet<[u8; 4]> = pixels
        .chunks_exact(4)
        .map(|it| it.try_into().unwrap())
        .collect();
    for colour in [
        [0xff; 4],
        [0x3b, 0x78, 0xb5, 0xff],
        [0xe0, 0x82, 0x14, 0xff],
        [0x1f, 0x23, 0x28, 0xff],
    ] {
        assert!(
            colours.contains(&colour),
            "sheet, received, sent and text have {colour:x?}"
        );
    }
}

#[test]
fn what_is_no_picture_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let error = |name: &str| PictureFile::new(&directory.path().join(name)).unwrap_err();
    for name in ["picture.pdf", "picture", "svg", ".svg"] {
        assert!(error(name).contains(".svg or .png"), "{}", error(name));
    }
    assert!(error("none/picture.svg").contains("there is no directory"));
    std::fs::create_dir(directory.path().join("a.svg")).unwrap();
    assert!(error("a.svg").contains("is no file"));
}
