//! Scalars: booleans, numbers, sizes, durations, choices and paths.

use std::{ops::RangeInclusive, path::PathBuf, time::Duration};

use probe_flow::text::quoted;

use super::{kind::Scalar, tree::Value};

/// Units of sizes, largest first.
const UNITS: [(&str, u64); 5] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];

/// Distances to long names cost their length, and no key is near to them.
const LONGEST_NEAR: usize = 64;

/// The candidate that a typing error may have been meant as.
pub(crate) fn did_you_mean<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    if name.len() > LONGEST_NEAR {
        return None;
    }
    let name = name.to_lowercase().replace('-', "_");
    let allowed = (name.chars().count() / 3).clamp(1, 3);
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&name, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Text; what it means, the key says.
pub(super) fn text(value: &Value) -> Result<&str, String> {
    match value {
        Value::Text(text) => Ok(text),
        other => Err(format!("must be text, found {other}; quote it")),
    }
}

/// A boolean value: `true` or `false`.
pub(super) struct Boolean;

impl Scalar for Boolean {
    type Value = bool;

    fn parse(&self, value: &Value) -> Result<bool, String> {
        match value {
            Value::Bool(value) => Ok(*value),
            other => Err(format!("must be true or false, found {other}")),
        }
    }

    fn text(&self, value: &bool) -> String {
        value.to_string()
    }

    fn range(&self) -> String {
        "boolean".to_owned()
    }
}

/// A whole number in the range.
pub(super) struct Integer(pub(super) RangeInclusive<usize>);

impl Scalar for Integer {
    type Value = usize;

    fn parse(&self, value: &Value) -> Result<usize, String> {
        let number = match value {
            Value::Integer(number) => usize::try_from(*number).ok(),
            _ => None,
        };
        number.filter(|it| self.0.contains(it)).ok_or_else(|| {
            let (least, most) = (self.0.start(), self.0.end());
            let has_unit = |text: &str| text.starts_with(|c: char| c.is_ascii_digit());
            let remedy = match value {
                Value::Text(text) if has_unit(text) => "; write digits alone, or a power as in 1e6",
                _ => "",
            };
            format!("must be a whole number from {least} to {most}, found {value}{remedy}")
        })
    }

    fn text(&self, value: &usize) -> String {
        value.to_string()
    }

    fn range(&self) -> String {
        format!("number, {} to {}", self.0.start(), self.0.end())
    }
}

/// One of the names, each with what it means.
pub(super) struct Choice<T: 'static>(pub(super) &'static [(&'static str, T)]);

impl<T: Copy + PartialEq> Scalar for Choice<T> {
    type Value = T;

    fn parse(&self, value: &Value) -> Result<T, String> {
        let found = match value {
            Value::Text(text) => self.0.iter().find(|(name, _)| name == text),
            _ => None,
        };
        found.map(|(_, choice)| *choice).ok_or_else(|| {
            let names: Vec<_> = self.0.iter().map(|(name, _)| *name).collect();
            format!("must be one of {}, found {value}", names.join(", "))
        })
    }

    fn text(&self, value: &T) -> String {
        let found = self.0.iter().find(|(_, choice)| choice == value);
        found.map_or_else(String::new, |(name, _)| (*name).to_owned())
    }

    fn range(&self) -> String {
        let names: Vec<_> = self.0.iter().map(|(name, _)| format!("`{name}`")).collect();
        names.join(", ")
    }
}

/// A number of bytes with a binary unit, such as `16MiB`, in the range.
pub(super) struct Size(pub(super) RangeInclusive<u64>);

impl Scalar for Size {
    type Value = u64;

    fn parse(&self, value: &Value) -> Result<u64, String> {
        let Value::Text(text) = value else {
            return Err(format!(
                "must be a size with its unit, such as 16MiB, found {value}"
            ));
        };
        let bytes = parse_size(text)?;
        if self.0.contains(&bytes) {
            return Ok(bytes);
        }
        let (least, most) = (size_text(*self.0.start()), size_text(*self.0.end()));
        Err(format!(
            "must be from {least} to {most}, found {}",
            quoted(text)
        ))
    }

    fn text(&self, value: &u64) -> String {
        size_text(*value)
    }

    fn range(&self) -> String {
        let (least, most) = (size_text(*self.0.start()), size_text(*self.0.end()));
        format!("size, {least} to {most}")
    }
}

/// A size of memory of this process.
pub(super) struct MemorySize(pub(super) Size);

impl Scalar for MemorySize {
    type Value = usize;

    fn parse(&self, value: &Value) -> Result<usize, String> {
        let bytes = self.0.parse(value)?;
        usize::try_from(bytes).map_err(|_| "is more than this machine can address".to_owned())
    }

    fn text(&self, value: &usize) -> String {
        size_text(*value as u64)
    }

    fn range(&self) -> String {
        self.0.range()
    }
}

fn parse_size(text: &str) -> Result<u64, String> {
    let refused = || {
        format!(
            "must be a whole number with one of the units B, KiB, MiB, GiB, TiB, such as 16MiB, \
             found {}",
            quoted(text)
        )
    };
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim_start();
    let (_, factor) = UNITS
        .iter()
        .find(|(name, _)| *name == unit)
        .ok_or_else(refused)?;
    let number: u64 = number.parse().map_err(|_| refused())?;
    number.checked_mul(*factor).ok_or_else(refused)
}

/// Bytes with the largest unit that needs no fraction.
fn size_text(bytes: u64) -> String {
    let fits = UNITS
        .iter()
        .find(|(_, factor)| bytes.is_multiple_of(*factor));
    match fits {
        Some((unit, factor)) if bytes > 0 => format!("{}{unit}", bytes / factor),
        _ => format!("{bytes}B"),
    }
}

/// Time with its unit, such as `300s`, `5m` or `90d`, in the range and of whole seconds.
pub(super) struct WholeSeconds(pub(super) RangeInclusive<Duration>);

impl Scalar for WholeSeconds {
    type Value = Duration;

    fn parse(&self, value: &Value) -> Result<Duration, String> {
        let Value::Text(text) = value else {
            return Err(format!(
                "must be a duration with its unit, such as 300s, found {value}"
            ));
        };
        let duration = humantime::parse_duration(text).map_err(|error| {
            let found = quoted(text);
            format!("must be a duration such as 300s, 5m or 90d, found {found} ({error})")
        })?;
        if self.0.contains(&duration) && duration.subsec_nanos() == 0 {
            return Ok(duration);
        }
        let [least, most] = [self.0.start(), self.0.end()].map(|it| duration_text(*it));
        let months = months(text).map_or_else(String::new, |months| format!("; {months}"));
        Err(format!(
            "must be whole seconds from {least} to {most}, found {}{months}",
            quoted(text)
        ))
    }

    fn doubt(&self, value: &Value) -> Option<String> {
        let Value::Text(text) = value else {
            return None;
        };
        let months = months(text)?;
        Some(format!("{months}, and a size as `max_size: 90MiB`"))
    }

    fn text(&self, value: &Duration) -> String {
        duration_text(*value)
    }

    fn range(&self) -> String {
        let [least, most] = [self.0.start(), self.0.end()].map(|it| duration_text(*it));
        format!("duration, whole seconds, {least} to {most}")
    }
}

/// What a duration in months says, which few mean.
fn months(text: &str) -> Option<String> {
    let months = text.contains('M').then(|| humantime::parse_duration(text));
    let days = months?.ok()?.as_secs() / 86_400;
    Some(format!(
        "{} is read as months, {days} days; write days (90d) or minutes (90m)",
        quoted(text)
    ))
}

/// A path from the root.
pub(super) struct AbsolutePath;

impl Scalar for AbsolutePath {
    type Value = PathBuf;

    fn parse(&self, value: &Value) -> Result<PathBuf, String> {
        let path = text(value)?;
        let usable = path.starts_with('/') && !path.contains('\0');
        usable
            .then(|| PathBuf::from(path))
            .ok_or_else(|| format!("must be an absolute path, found {}", quoted(path)))
    }

    fn text(&self, value: &PathBuf) -> String {
        value.display().to_string()
    }

    fn range(&self) -> String {
        "absolute path".to_owned()
    }
}

/// A duration as the file would have it: in its largest unit up to days that needs no fraction.
fn duration_text(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let units = [("d", 86_400), ("h", 3600), ("m", 60)];
    match units.iter().find(|(_, unit)| seconds.is_multiple_of(*unit)) {
        Some((name, unit)) if seconds > 0 => format!("{}{name}", seconds / unit),
        _ => format!("{seconds}s"),
    }
}
