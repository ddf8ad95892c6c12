//! The section `writeout`: a list of sinks.

use std::{path::PathBuf, time::Duration};

use probe_flow::text::quoted;
use probe_store::options::{Retention, SinkConfig};

use super::{
    super::Config, Collector, Node, Section, Value, choice, duration, items, join, size, text,
    unless_none,
};

const MIB: u64 = 1 << 20;
const TIB: u64 = 1 << 40;

/// Reads the list of sinks.
pub(super) fn sinks(node: &Node, problems: &mut Collector) -> Vec<SinkConfig> {
    if matches!(node.value, Value::Null) {
        return Config::default().writeout;
    }
    let mut sinks = Vec::new();
    let mut paths: Vec<(PathBuf, String)> = Vec::new();
    for (at, item) in items(node, "writeout", problems) {
        let Some(sink) = sink(item, &at, problems) else {
            continue;
        };
        let (SinkConfig::Parquet { path, .. } | SinkConfig::Json { path, .. }) = &sink;
        match paths.iter().find(|(taken, _)| taken == path) {
            Some((_, first)) => {
                let message = format!("is the directory of {first} too; give each sink its own");
                problems.refuse(item, &join(&at, "path"), message);
            }
            None => paths.push((path.clone(), at)),
        }
        sinks.push(sink);
    }
    sinks
}

fn sink(node: &Node, at: &str, problems: &mut Collector) -> Option<SinkConfig> {
    #[derive(Clone, Copy)]
    enum Format {
        Parquet,
        Json,
    }
    let formats = [("parquet", Format::Parquet), ("json", Format::Json)];
    let section = Section::open(node, at, "writeout[]", problems);
    let format = section.require("type", problems, choice(&formats));
    let path = section.require("path", problems, |value| {
        let path = text(value)?;
        // Rebuilt from its components, so that `/a` and `/a/` are seen to be the same.
        let clean: PathBuf = PathBuf::from(path).components().collect();
        let usable = clean.is_absolute() && !path.contains('\0');
        usable
            .then_some(clean)
            .ok_or_else(|| format!("must be an absolute path, found {}", quoted(path)))
    });
    let retention = match section.node("retention") {
        Some(node) => retention(node, section.path("retention"), problems),
        None => Retention::STANDARD,
    };
    let path = path?;
    Some(match format? {
        Format::Parquet => SinkConfig::Parquet { path, retention },
        Format::Json => SinkConfig::Json { path, retention },
    })
}

fn retention(node: &Node, path: String, problems: &mut Collector) -> Retention {
    const CENTURY: Duration = Duration::from_hours(24 * 36_500);
    let section = Section::open(node, path, "writeout[].retention", problems);
    let age = unless_none(duration(Duration::from_mins(1)..=CENTURY));
    let bytes = unless_none(size(MIB..=1024 * TIB));
    let standard = Retention::STANDARD;
    Retention {
        max_age: section
            .read("max_age", problems, age)
            .unwrap_or(standard.max_age),
        max_size_bytes: section
            .read("max_size", problems, bytes)
            .unwrap_or(standard.max_size_bytes),
    }
}
