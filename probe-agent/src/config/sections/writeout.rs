//! The section `writeout`: a list of sinks.

use std::{
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};

use probe_store::options::{MinFree, Retention, SinkConfig, SinkFormat};

use super::super::{
    declare::{Section, section},
    kind::{Kind, OrNone, Scalar, nested, required},
    mapping::{Collector, items, join},
    on_host::{Named, OnHost},
    reference::Row,
    settings::Settings,
    tree::{Node, Value},
    value::{AbsolutePath, Boolean, Choice, Size, WholeSeconds},
};

const MIB: u64 = 1 << 20;
const TIB: u64 = 1 << 40;
const CENTURY: Duration = Duration::from_hours(24 * 36_500);

section! {
    /// One sink, as the file has it.
    struct Sink {
        /// Format: Parquet files, partitioned by interface and date, or JSON lines.
        #[key("type", Restart, required(Choice(&SinkFormat::ALL)))]
        pub format: Option<SinkFormat> = None,

        /// Directory of the sink. No two sinks may share one, or have one inside the other.
        #[key("path", Restart, required(Directory))]
        pub path: Option<PathBuf> = None,

        /// What is deleted when.
        #[key("retention", OfItsKeys, nested())]
        pub retention: StandardRetention = StandardRetention::default(),

        /// Makes one sorted file of the files of each closed day, in the background. Parquet only.
        #[key("compact", Restart, Boolean)]
        pub compact: bool = true,
    }
}

section! {
    /// [`Retention`] with its standard as the default.
    struct StandardRetention {
        /// Intervals older than this are deleted.
        #[key("max_age", Restart, OrNone(WholeSeconds(Duration::from_mins(1)..=CENTURY)))]
        pub max_age: Option<Duration> = Retention::STANDARD.max_age,

        /// If the intervals take more on disk, the oldest are deleted.
        #[key("max_size", Restart, OrNone(Size(MIB..=1024 * TIB)))]
        pub max_size_bytes: Option<u64> = Retention::STANDARD.max_size_bytes,

        /// If less than this is free on the file system, the oldest intervals are deleted, even
        /// if other files use the rest.
        #[key("min_free", Restart, OrNone(FreeSpace))]
        pub min_free: Option<MinFree> = Retention::STANDARD.min_free,
    }
}

impl From<Retention> for StandardRetention {
    fn from(retention: Retention) -> Self {
        let Retention {
            max_age,
            max_size_bytes,
            min_free,
        } = retention;
        Self {
            max_age,
            max_size_bytes,
            min_free,
        }
    }
}

impl From<StandardRetention> for Retention {
    fn from(retention: StandardRetention) -> Self {
        let StandardRetention {
            max_age,
            max_size_bytes,
            min_free,
        } = retention;
        Self {
            max_age,
            max_size_bytes,
            min_free,
        }
    }
}

impl Sink {
    fn into_config(self) -> Option<SinkConfig> {
        let path = self.path?;
        Some(SinkConfig {
            format: self.format?,
            path,
            retention: self.retention.into(),
            compact: self.compact,
        })
    }
}

impl From<&SinkConfig> for Sink {
    fn from(config: &SinkConfig) -> Self {
        Self {
            format: Some(config.format),
            path: Some(config.path.clone()),
            retention: config.retention.into(),
            compact: config.compact,
        }
    }
}

/// The sinks where the file names none.
pub(in super::super) fn standard() -> Vec<SinkConfig> {
    vec![SinkConfig {
        format: SinkFormat::Parquet,
        path: PathBuf::from("/var/lib/probe/flows"),
        retention: Retention::STANDARD,
        compact: true,
    }]
}

/// A list of sinks, each with a directory of its own.
pub(in super::super) struct Sinks;

impl Kind<Vec<SinkConfig>> for Sinks {
    fn read(&self, node: &Node, path: &str, problems: &mut Collector) -> Option<Vec<SinkConfig>> {
        if matches!(node.value, Value::Null) {
            return None;
        }
        let mut sinks = Vec::new();
        let mut paths: Vec<(PathBuf, String)> = Vec::new();
        for (at, item) in items(node, path, problems) {
            let sink: Option<Sink> = nested().read(item, &at, problems);
            let Some(sink) = sink else { continue };
            if let Some(path) = &sink.path {
                name(&sink, path, item, &at, problems);
                let mut taken = paths.iter();
                let clash = taken.find_map(|(taken, first)| clash(path, taken, first));
                if let Some(message) = clash {
                    let named = item.entry("path").unwrap_or(item);
                    problems.refuse(named, &join(&at, "path"), message);
                } else {
                    paths.push((path.clone(), at));
                }
            }
            sinks.extend(sink.into_config());
        }
        Some(sinks)
    }

    fn show(&self, sinks: &Vec<SinkConfig>, path: &str, settings: &mut Settings) {
        for (position, sink) in sinks.iter().enumerate() {
            Sink::from(sink).show(&format!("{path}[{position}]"), settings);
        }
    }

    fn describe(&self) -> String {
        "list".to_owned()
    }

    /// Without the retention, which is the standard one.
    fn yaml(&self, default: &Vec<SinkConfig>) -> String {
        let sinks = default.iter().map(|sink| {
            let (format, path) = (sink.format.name(), sink.path.display());
            format!("{{ type: {format}, path: {path} }}")
        });
        format!("[{}]", sinks.collect::<Vec<_>>().join(", "))
    }

    fn refer(&self, path: &str, rows: &mut Vec<Row>) {
        Sink::refer(&format!("{path}[]"), rows);
    }
}

/// Space to be left free: a size, or a share of the file system.
struct FreeSpace;

const FREE_BYTES: Size = Size(MIB..=1024 * TIB);
const FREE_PERCENT: RangeInclusive<u8> = 1..=90;

impl Scalar for FreeSpace {
    type Value = MinFree;

    fn parse(&self, value: &Value) -> Result<MinFree, String> {
        let percent = match value {
            Value::Text(text) => text.strip_suffix('%'),
            _ => None,
        };
        let Some(percent) = percent else {
            return FREE_BYTES.parse(value).map(MinFree::Bytes);
        };
        let percent = percent.trim_end().parse().ok();
        let percent = percent.filter(|percent| FREE_PERCENT.contains(percent));
        percent.map(MinFree::Percent).ok_or_else(|| {
            let (least, most) = (FREE_PERCENT.start(), FREE_PERCENT.end());
            format!("must be whole percent from {least}% to {most}%, found {value}")
        })
    }

    fn text(&self, value: &MinFree) -> String {
        match value {
            MinFree::Bytes(bytes) => FREE_BYTES.text(bytes),
            MinFree::Percent(percent) => format!("{percent}%"),
        }
    }

    fn range(&self) -> String {
        let (least, most) = (FREE_PERCENT.start(), FREE_PERCENT.end());
        format!("{}, or {least}% to {most}%", FREE_BYTES.range())
    }
}

/// Why a sink cannot have this directory, if another has that one.
fn clash(path: &Path, taken: &Path, first: &str) -> Option<String> {
    if path == taken {
        Some(format!(
            "is the directory of {first} too; give each sink its own"
        ))
    } else if path.starts_with(taken) {
        Some(format!(
            "is inside the directory of {first}; give each sink its own, beside it"
        ))
    } else if taken.starts_with(path) {
        Some(format!(
            "has the directory of {first} inside; give each sink its own, beside it"
        ))
    } else {
        None
    }
}

/// Records the standard sinks as named where they are left out.
pub(in super::super) fn name_standard(place: &Node, problems: &mut Collector) {
    for sink in standard() {
        let limit = sink.retention.max_size_bytes;
        let named = [
            Some(directory(Some(sink.format), &sink.path)),
            limit.map(|limit| size_limit(limit, &sink.path)),
        ];
        for what in named.into_iter().flatten() {
            problems.names(OnHost {
                number: place.number,
                key: "writeout".to_owned(),
                what,
            });
        }
    }
}

fn directory(format: Option<SinkFormat>, path: &Path) -> Named {
    let path = path.to_owned();
    Named::Directory { format, path }
}

fn size_limit(max_size_bytes: u64, path: &Path) -> Named {
    let path = path.to_owned();
    Named::SizeLimit {
        path,
        max_size_bytes,
    }
}

/// Records what a sink names, as far as it could be read.
fn name(sink: &Sink, path: &Path, item: &Node, at: &str, problems: &mut Collector) {
    let named = item.entry("path").unwrap_or(item);
    let key = join(at, "path");
    problems.names(OnHost {
        number: named.number,
        key,
        what: directory(sink.format, path),
    });
    let retention = join(at, "retention");
    let [key, min_free] = ["max_size", "min_free"].map(|key| join(&retention, key));
    let is_wrong = [&retention, &key, &min_free]
        .iter()
        .any(|key| problems.is_refused(key));
    let limits = &sink.retention;
    if let Some(limit) = limits.max_size_bytes
        && limits.min_free.is_none()
        && !is_wrong
    {
        let at = item
            .entry("retention")
            .and_then(|retention| retention.entry("max_size"));
        let number = at.unwrap_or(named).number;
        problems.names(OnHost {
            number,
            key,
            what: size_limit(limit, path),
        });
    }
}

/// An absolute path, rebuilt from its components, so that `/a` and `/a/` are seen to be the same.
struct Directory;

impl Scalar for Directory {
    type Value = PathBuf;

    fn parse(&self, value: &Value) -> Result<PathBuf, String> {
        let path = AbsolutePath.parse(value)?;
        Ok(path.components().collect())
    }

    fn text(&self, value: &PathBuf) -> String {
        AbsolutePath.text(value)
    }

    fn range(&self) -> String {
        AbsolutePath.range()
    }
}
