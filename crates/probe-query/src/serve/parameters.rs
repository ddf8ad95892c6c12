//! Parameters of a URL as the words of a command line.

use std::{ffi::OsString, path::PathBuf};

use clap::Parser;
use jiff::{Timestamp, tz::TimeZone};
use probe_flow::{filter::Filter, text::quoted};

use super::{MOST_ROWS, problem::Problem};
use crate::{ask::Question, cli::Cli, time::Now};

/// Parameters that are options of the command line, with the same values.
const OPTIONS: [&str; 5] = ["since", "until", "by", "filter", "sort"];
/// All others, which have few values each.
const OTHERS: [&str; 7] = [
    "zone",
    "limit",
    "order",
    "directions",
    "rate",
    "format",
    "interfaces",
];

/// What a request asks.
#[derive(Debug, Default)]
pub(super) struct Parameters(Vec<(&'static str, String)>);

impl Parameters {
    /// Reads the query of a URL, of which only these parameters are known.
    pub(super) fn read(query: &str, known: &[&str]) -> Result<Self, Problem> {
        let mut read = Vec::<(&'static str, String)>::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let mut all = OPTIONS.iter().chain(&OTHERS);
            let place = all.find(|place| **place == name && known.contains(place));
            let Some(place) = place else {
                let detail = format!(
                    "unknown parameter {}; there are {}",
                    quoted(&name),
                    known.join(", ")
                );
                return Err(Problem::new(axum::http::StatusCode::BAD_REQUEST, detail));
            };
            if read.iter().any(|(name, _)| name == place) {
                let detail = format!("parameter `{place}` is given twice");
                return Err(Problem::parameter(place, detail));
            }
            read.push((place, value.into_owned()));
        }
        Ok(Self(read))
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let mut all = self.0.iter();
        all.find(|(known, _)| *known == name)
            .map(|(_, value)| value.as_str())
    }

    /// The parameter as one of a few words; the first if it is not given.
    pub(super) fn one_of<'a>(
        &self,
        name: &'static str,
        words: &[&'a str],
    ) -> Result<&'a str, Problem> {
        let Some(value) = self.get(name) else {
            return Ok(words.first().copied().unwrap_or_default());
        };
        let word = words.iter().find(|word| **word == value);
        word.copied().ok_or_else(|| {
            let found = quoted(value);
            let detail = format!("{name}: expected {}, found {found}", words.join(" or "));
            Problem::parameter(name, detail)
        })
    }

    /// The parameter as a number of things.
    pub(super) fn number(
        &self,
        name: &'static str,
        most: usize,
        default: usize,
    ) -> Result<usize, Problem> {
        let Some(value) = self.get(name) else {
            return Ok(default);
        };
        let number = value.parse().ok();
        number
            .filter(|number| (1..=most).contains(number))
            .ok_or_else(|| {
                let detail = format!(
                    "{name}: expected a number from 1 to {most}, found {}",
                    quoted(value)
                );
                Problem::parameter(name, detail)
            })
    }

    /// The zone of times and days; that of this host if none is given.
    pub(super) fn zone(&self) -> Result<TimeZone, Problem> {
        match self.get("zone") {
            None => Ok(TimeZone::system()),
            Some("UTC" | "Etc/UTC") => Ok(TimeZone::UTC),
            Some(name) => TimeZone::get(name).map_err(|_| {
                let detail = format!(
                    "zone: expected the name of a time zone that this host knows, such as Europe/Berlin or UTC, \
                     found {}",
                    quoted(name)
                );
                Problem::parameter("zone", detail)
            }),
        }
    }

    /// The question of a table.
    pub(super) fn question(
        &self,
        stores: &[PathBuf],
        memory: &str,
        zone: &TimeZone,
    ) -> Result<Question, Problem> {
        let mut words = Vec::new();
        match self.one_of("order", &["", "asc", "desc"])? {
            "" => {}
            order => words.push(format!("--{order}")),
        }
        match self.one_of("directions", &["both", "in", "out", "sum"])? {
            "both" => {}
            directions => words.push(format!("--{directions}")),
        }
        if self.one_of("rate", &["false", "true"])? == "true" {
            words.push("--rate".to_owned());
        }
        if self.get("limit").is_some() {
            let limit = self.number("limit", MOST_ROWS, MOST_ROWS)?;
            words.push(format!("--limit={limit}"));
        }
        self.asked(stores, memory, zone, words)
    }

    /// The question that these words and the options among the parameters are.
    pub(super) fn asked(
        &self,
        stores: &[PathBuf],
        memory: &str,
        zone: &TimeZone,
        more: impl IntoIterator<Item = String>,
    ) -> Result<Question, Problem> {
        // For its column; the command line says the same.
        if let Some(Err(error)) = self.get("filter").map(str::parse::<Filter>) {
            return Err(Problem::filter(&error));
        }
        let mut words: Vec<OsString> = vec!["probe-query".into()];
        for store in stores {
            words.extend(["--store".into(), store.clone().into_os_string()]);
        }
        words.push(format!("--memory={memory}").into());
        words.extend(more.into_iter().map(OsString::from));
        for name in OPTIONS {
            // An empty field of a form says nothing.
            if let Some(value) = self.get(name).filter(|value| !value.is_empty()) {
                words.push(format!("--{name}={value}").into());
            }
        }
        let cli = Cli::try_parse_from(words).map_err(|error| {
            Problem::new(axum::http::StatusCode::BAD_REQUEST, error.to_string())
        })?;
        let now = Now::new(Timestamp::now(), zone.clone());
        Ok(cli.question(now, true)?)
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::Parameters;
    use crate::{ask::What, columns::By};

    const KNOWN: [&str; 7] = ["since", "by", "filter", "limit", "order", "rate", "zone"];

    fn told(query: &str) -> String {
        let read = Parameters::read(query, &KNOWN).and_then(|parameters| {
            parameters.question(&["/none".into()], "128MiB", &parameters.zone()?)
        });
        serde_json::to_string(&read.unwrap_err()).unwrap()
    }

    #[test]
    fn words_of_the_command_line_cannot_be_smuggled_in() {
        let parameters = Parameters::read("by=src&filter=&since=-1h&limit=7", &KNOWN).unwrap();
        let stores = ["/none".into()];
        let question = parameters
            .question(&stores, "128MiB", &TimeZone::UTC)
            .unwrap();
        let What::Sums(sums) = question.what else {
            panic!("sums are asked for")
        };
        let names: Vec<_> = sums.by.iter().map(By::name).collect();
        assert_eq!((names, sums.limit), (vec!["src_addr"], Some(7)));
        for filter in ["--sql=SELECT+1", "--memory=1T", "-n+0"] {
            let error = told(&format!("filter={filter}"));
            assert!(error.contains("the filter cannot be read"), "{error}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_by_its_parameter() {
        for (query, expected) in [
            ("sql=SELECT+1", "unknown parameter `sql`; there are since"),
            ("by=src&by=dst", "parameter `by` is given twice"),
            ("limit=0", "expected a number from 1 to 10000, found `0`"),
            ("limit=10001", "expected a number from 1 to 10000"),
            ("order=up", r#""parameter":"order""#),
            ("rate=1", "expected false or true, found `1`"),
            ("zone=Nowhere/At_All", r#""parameter":"zone""#),
            ("zone=../../etc/passwd", r#""parameter":"zone""#),
            ("since=soon", r#""parameter":"since""#),
            ("by=prot", "did you mean `proto`"),
            ("filter=tcp+port+htps", r#""column":10"#),
        ] {
            let error = told(query);
            assert!(error.contains(expected), "{query}: {error}");
            assert!(error.contains(r#""status":400"#), "{query}: {error}");
        }
    }
}
