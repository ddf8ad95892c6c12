//! Names of directories and files: `iface=<name>/date=<day>/<start>-<end>.<extension>`.
//!
//! All in UTC. Names sort by time, and only names that this module would have made are ever
//! deleted.

use std::fmt;

use jiff::{
    Timestamp,
    civil::{Date, DateTime},
    tz::TimeZone,
};

const IFACE_PREFIX: &str = "iface=";
const DATE_PREFIX: &str = "date=";
const TIME_FORMAT: &str = "%Y%m%dT%H%M%S.%3fZ";
/// Octets of a time in a file name: `20260301T000000.000Z`.
const TIME_LEN: usize = 20;

/// `iface=<name>`, with the name percent-encoded as readers of hive partitions expect it. A link's
/// name may hold any byte but `/` and white space.
pub(super) fn iface_dir(iface: &str) -> String {
    let encode = |byte: u8| {
        if byte.is_ascii_alphanumeric() || b"-._".contains(&byte) {
            char::from(byte).to_string()
        } else {
            format!("%{byte:02X}")
        }
    };
    IFACE_PREFIX.to_owned() + &iface.bytes().map(encode).collect::<String>()
}

/// Whether a directory's name is of the form that [`iface_dir`] gives.
pub(super) fn is_iface_dir(name: &str) -> bool {
    name.strip_prefix(IFACE_PREFIX).is_some_and(|iface| {
        !iface.is_empty()
            && iface
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-._%".contains(&byte))
    })
}

/// `date=<day>`, the day on which an interval starts.
pub(super) fn date_dir(start: Timestamp) -> String {
    format!("{DATE_PREFIX}{}", start.to_zoned(TimeZone::UTC).date())
}

/// The day of a directory named by [`date_dir`].
pub(super) fn parse_date_dir(name: &str) -> Option<Date> {
    let date: Date = name.strip_prefix(DATE_PREFIX)?.parse().ok()?;
    (format!("{DATE_PREFIX}{date}") == name).then_some(date)
}

/// Name of the file of one interval.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct FileName<'a> {
    /// End of the interval, to the millisecond. First, because retention goes by it.
    pub(super) end: Timestamp,
    /// Start of the interval, to the millisecond.
    pub(super) start: Timestamp,
    /// 0 unless a file of the same bounds was there before: then 1, 2 …
    pub(super) serial: u32,
    /// Extension of the file name, without the dot.
    pub(super) extension: &'a str,
}

impl fmt::Display for FileName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (start, end) = (
            self.start.strftime(TIME_FORMAT),
            self.end.strftime(TIME_FORMAT),
        );
        write!(f, "{start}-{end}")?;
        if self.serial > 0 {
            write!(f, "-{}", self.serial)?;
        }
        write!(f, ".{}", self.extension)
    }
}

impl<'a> FileName<'a> {
    /// Reads a name; `None` if it is not exactly one that this type writes.
    pub(super) fn parse(name: &'a str) -> Option<Self> {
        let (start, rest) = name.split_at_checked(TIME_LEN)?;
        let (end, rest) = rest.strip_prefix('-')?.split_at_checked(TIME_LEN)?;
        let (serial, extension) = rest.split_once('.')?;
        let parsed = Self {
            end: parse_time(end)?,
            start: parse_time(start)?,
            serial: match serial.strip_prefix('-') {
                Some(serial) => serial.parse().ok()?,
                None => 0,
            },
            extension,
        };
        (parsed.to_string() == name).then_some(parsed)
    }
}

fn parse_time(text: &str) -> Option<Timestamp> {
    let time = DateTime::strptime("%Y%m%dT%H%M%S.%fZ", text).ok()?;
    Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

/// Name that a file of final name `name` has while it is written. Hidden, and without the
/// extension that readers expect.
pub(super) fn temporary_name(name: &FileName<'_>, unique: u64) -> String {
    format!(".{name}.{unique:x}.tmp")
}

/// The final name behind a [`temporary_name`].
pub(super) fn parse_temporary_name(name: &str) -> Option<FileName<'_>> {
    let (name, unique) = name
        .strip_prefix('.')?
        .strip_suffix(".tmp")?
        .rsplit_once('.')?;
    u64::from_str_radix(unique, 16).ok()?;
    FileName::parse(name)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::{
        FileName, date_dir, iface_dir, is_iface_dir, parse_date_dir, parse_temporary_name,
        temporary_name,
    };

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn name() -> FileName<'static> {
        FileName {
            end: time("2026-03-01T00:05:00Z"),
            start: time("2026-03-01T00:00:00.25Z"),
            serial: 0,
            extension: "parquet",
        }
    }

    #[test]
    fn names_are_written_as_documented_and_read_back() {
        let plain = "20260301T000000.250Z-20260301T000500.000Z.parquet";
        assert_eq!(name().to_string(), plain);
        assert_eq!(FileName::parse(plain), Some(name()));
        let second = FileName {
            serial: 12,
            ..name()
        };
        assert_eq!(
            second.to_string(),
            "20260301T000000.250Z-20260301T000500.000Z-12.parquet"
        );
        assert_eq!(FileName::parse(&second.to_string()), Some(second));
    }

    #[test]
    fn foreign_names_are_not_ours() {
        for foreign in [
            "",
            "flows.parquet",
            "20260301T000000.250Z.parquet",
            "20260301T000000.250Z-20260301T000500.000Z",
            "20260301T000000.25Z-20260301T000500.000Z.parquet",
            "20260231T000000.250Z-20260301T000500.000Z.parquet",
            "20260301T000000.250Z-20260301T000500.000Z-0.parquet",
            "20260301T000000.250Z-20260301T000500.000Z-01.parquet",
            "20260301T000000.250Z-20260301T000500.000Z copy.parquet",
            "20260301T000000.250Ä-20260301T000500.000Z.parquet",
        ] {
            assert_eq!(FileName::parse(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn a_file_in_the_making_matches_no_glob_of_readers() {
        let temporary = temporary_name(&name(), 0xabc);
        assert_eq!(
            temporary,
            ".20260301T000000.250Z-20260301T000500.000Z.parquet.abc.tmp"
        );
        assert_eq!(parse_temporary_name(&temporary), Some(name()));
        assert_eq!(parse_temporary_name(&name().to_string()), None);
        assert_eq!(parse_temporary_name(".bashrc.1.tmp"), None);
    }

    #[test]
    fn interface_names_stay_inside_their_directory() {
        assert_eq!(iface_dir("eth0.100"), "iface=eth0.100");
        assert_eq!(iface_dir("a/b=%é"), "iface=a%2Fb%3D%25%C3%A9");
        assert_eq!(iface_dir(".."), "iface=..");
        for name in ["eth0.100", "a/b=%é", ".."] {
            assert!(is_iface_dir(&iface_dir(name)), "{name}");
        }
        for foreign in ["iface=", "eth0", "iface=a b", "Iface=eth0"] {
            assert!(!is_iface_dir(foreign), "{foreign}");
        }
    }

    #[test]
    fn day_is_that_of_the_start_in_utc() {
        let dir = date_dir(time("2026-03-01T00:30:00+01:00"));
        assert_eq!(dir, "date=2026-02-28");
        assert_eq!(parse_date_dir(&dir), Some(jiff::civil::date(2026, 2, 28)));
        for foreign in ["date=2026-02-31", "date=20260228", "date=", "2026-02-28"] {
            assert_eq!(parse_date_dir(foreign), None, "{foreign}");
        }
    }
}
