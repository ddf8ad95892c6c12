//! Scalars: booleans, numbers, sizes, durations and choices, each with what it may be.
//!
//! The errors are the end of a sentence that starts with the key: "must be …".

use std::{ops::RangeInclusive, time::Duration};

use probe_flow::text::quoted;

use super::tree::Value;

/// Units of sizes, largest first.
const UNITS: [(&str, u64); 5] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];

/// The candidate that a typing error may have been meant as.
pub(super) fn did_you_mean<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let name = name.to_lowercase().replace('-', "_");
    let allowed = (name.chars().count() / 3).clamp(1, 3);
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&name, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

pub(super) fn boolean(value: &Value) -> Result<bool, String> {
    match value {
        Value::Bool(value) => Ok(*value),
        other => Err(format!("must be true or false, found {other}")),
    }
}

pub(super) fn text(value: &Value) -> Result<&str, String> {
    match value {
        Value::Text(text) => Ok(text),
        other => Err(format!("must be text, found {other}; quote it")),
    }
}

/// A whole number in the range.
pub(super) fn integer(
    range: RangeInclusive<usize>,
) -> impl FnOnce(&Value) -> Result<usize, String> {
    move |value| {
        let number = match value {
            Value::Integer(number) => usize::try_from(*number).ok(),
            _ => None,
        };
        number.filter(|it| range.contains(it)).ok_or_else(|| {
            let (least, most) = (range.start(), range.end());
            format!("must be a whole number from {least} to {most}, found {value}")
        })
    }
}

/// One of the names.
pub(super) fn choice<T: Copy>(
    choices: &[(&'static str, T)],
) -> impl FnOnce(&Value) -> Result<T, String> {
    move |value| {
        let found = match value {
            Value::Text(text) => choices.iter().find(|(name, _)| name == text),
            _ => None,
        };
        found.map(|(_, choice)| *choice).ok_or_else(|| {
            let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
            format!("must be one of {}, found {value}", names.join(", "))
        })
    }
}

/// A number of bytes with a binary unit, such as `16MiB`, in the range.
pub(super) fn size(range: RangeInclusive<u64>) -> impl FnOnce(&Value) -> Result<u64, String> {
    move |value| {
        let Value::Text(text) = value else {
            return Err(format!(
                "must be a size with its unit, such as 16MiB, found {value}"
            ));
        };
        let bytes = parse_size(text)?;
        if range.contains(&bytes) {
            return Ok(bytes);
        }
        let (least, most) = (size_text(*range.start()), size_text(*range.end()));
        Err(format!(
            "must be from {least} to {most}, found {}",
            quoted(text)
        ))
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
pub(super) fn size_text(bytes: u64) -> String {
    let fits = UNITS
        .iter()
        .find(|(_, factor)| bytes.is_multiple_of(*factor));
    match fits {
        Some((unit, factor)) if bytes > 0 => format!("{}{unit}", bytes / factor),
        _ => format!("{bytes}B"),
    }
}

/// Time with its unit, such as `300s`, `5m` or `90d`, in the range and of whole seconds.
pub(super) fn duration(
    range: RangeInclusive<Duration>,
) -> impl FnOnce(&Value) -> Result<Duration, String> {
    move |value| {
        let Value::Text(text) = value else {
            return Err(format!(
                "must be a duration with its unit, such as 300s, found {value}"
            ));
        };
        let duration = humantime::parse_duration(text).map_err(|error| {
            let found = quoted(text);
            format!("must be a duration such as 300s, 5m or 90d, found {found} ({error})")
        })?;
        if range.contains(&duration) && duration.subsec_nanos() == 0 {
            return Ok(duration);
        }
        let [least, most] = [range.start(), range.end()].map(|it| duration_text(*it));
        Err(format!(
            "must be whole seconds from {least} to {most}, found {}",
            quoted(text)
        ))
    }
}

/// A duration as the file would have it: in its largest unit up to days that needs no fraction.
pub(super) fn duration_text(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let units = [("d", 86_400), ("h", 3600), ("m", 60)];
    match units.iter().find(|(_, unit)| seconds.is_multiple_of(*unit)) {
        Some((name, unit)) if seconds > 0 => format!("{}{name}", seconds / unit),
        _ => format!("{seconds}s"),
    }
}

/// The value, or `None` for the word `none`.
pub(super) fn unless_none<T>(
    parse: impl FnOnce(&Value) -> Result<T, String>,
) -> impl FnOnce(&Value) -> Result<Option<T>, String> {
    move |value| match value {
        Value::Text(text) if text == "none" => Ok(None),
        value => parse(value).map(Some),
    }
}
