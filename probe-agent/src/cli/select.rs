//! Which flows are shown, in which order and form: the same options for `flows`, `top` and `replay`.

use clap::{
    Args,
    builder::{PossibleValue, PossibleValuesParser, TypedValueParser},
};

use crate::term::flow_format::FlowFormat;
use probe_api::v1::flows::Sort;
use probe_flow::{
    filter::{Filter, FilterError},
    text::quoted,
};

/// The command line is wrong, and only the command, not clap, could tell: a sentence.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub(super) String);

/// The beginning of a sentence on a word that should be the name of an interface.
pub(super) fn not_captured(word: &str, captured: &[String]) -> String {
    /// So many are named.
    const NAMED: usize = 8;
    let named = captured.get(..NAMED).unwrap_or(captured).join(", ");
    let captured = match captured.len() {
        0 => "none is".to_owned(),
        1..=NAMED => named,
        all => format!("{named} and {} more", all - NAMED),
    };
    format!(
        "{} is no interface that is captured ({captured})",
        quoted(word)
    )
}

/// Which flows, and in which order.
#[derive(Args, Clone, Debug, Default)]
pub struct SelectArgs {
    /// Only flows that pass, as in 'tcp port https and not host 192.0.2.1' (docs/FILTER.md)
    #[arg(
        short,
        long,
        value_name = "FILTER",
        default_value_t,
        hide_default_value = true
    )]
    pub filter: Filter,
    /// Most flows that are shown
    #[arg(short = 'n', long, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u32).range(..=100_000))]
    pub limit: Option<u32>,
    /// Field by which flows are sorted: traffic with the most first, else from small to large
    #[arg(long, value_parser = sort_parser())]
    pub sort: Option<Sort>,
}

/// In which form flows are written: a table, JSON lines or CSV.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct FormatArgs {
    /// How to write the flows
    #[arg(long, value_enum, default_value_t)]
    pub format: FlowFormat,
    /// The same as --format json
    #[arg(long, conflicts_with = "format")]
    pub json: bool,
    /// The same as --format csv
    #[arg(long, conflicts_with_all = ["format", "json"])]
    pub csv: bool,
}

impl FormatArgs {
    /// The form that was asked for.
    pub fn format(self) -> FlowFormat {
        match (self.json, self.csv) {
            (true, _) => FlowFormat::Json,
            (_, true) => FlowFormat::Csv,
            _ => self.format,
        }
    }
}

/// The words are those of the API, and the short ones of filters.
fn sort_parser() -> impl TypedValueParser<Value = Sort> {
    let words = Sort::ALL.map(|(word, _)| PossibleValue::new(word).aliases(short_words(word)));
    PossibleValuesParser::new(words).map(|typed| {
        let is_typed = |word| word == typed || short_words(word).contains(&typed.as_str());
        let found = Sort::ALL.iter().find(|(word, _)| is_typed(*word));
        found.map_or(Sort::default(), |(_, sort)| *sort)
    })
}

/// What filters and options take for the name of a field, too.
pub(super) fn short_words(name: &str) -> &'static [&'static str] {
    match name {
        "iface" => &["interface"],
        "ip_protocol" => &["proto", "protocol"],
        "src_addr" => &["src", "sip"],
        "src_port" => &["sport"],
        "dst_addr" => &["dst", "dip"],
        "dst_port" => &["dport"],
        _ => &[],
    }
}

impl SelectArgs {
    /// The filter, which may also stand as words behind everything else.
    ///
    /// # Errors
    ///
    /// The words are no filter, or there is one already.
    pub(super) fn filter_with(&self, words: &[String]) -> Result<Filter, UsageError> {
        let typed = words.join(" ");
        match (words.is_empty(), self.filter.is_empty()) {
            (true, _) => Ok(self.filter.clone()),
            (false, true) => {
                let filter = typed.parse();
                filter.map_err(|error: FilterError| UsageError(error.to_string()))
            }
            (false, false) => Err(UsageError(format!(
                "the filter is given twice, by --filter and as `{typed}`: join them by `and`"
            ))),
        }
    }
}

/// Names of interfaces first, from the first other word on a filter.
///
/// # Errors
///
/// The first other word is no captured interface, and what begins there is no filter.
pub(super) fn split(
    words: &[String],
    captured: &[String],
    select: &SelectArgs,
) -> Result<(Vec<String>, Filter), UsageError> {
    let names = words.iter().take_while(|word| captured.contains(word));
    let names = names.count();
    let (ifaces, rest) = words.split_at(names);
    let filter = select.filter_with(rest);
    match (filter, rest.first()) {
        (Ok(filter), _) => Ok((ifaces.to_vec(), filter)),
        (Err(error), None) => Err(error),
        (Err(error), Some(word)) => Err(UsageError(format!(
            "{}, and begins no filter: {error}",
            not_captured(word, captured)
        ))),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use probe_flow::filter::Filter;

    use super::{SelectArgs, short_words, split};
    use probe_api::v1::flows::Sort;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        select: SelectArgs,
    }

    #[test]
    fn flows_are_sorted_by_the_words_of_filters() {
        for (word, sort) in Sort::ALL {
            for word in [word].iter().chain(short_words(word)) {
                let line = Line::try_parse_from(["probe", "--sort", *word]).expect(word);
                assert_eq!(line.select.sort, Some(sort), "{word}");
            }
            for short in short_words(word) {
                let value = if word.ends_with("_addr") { "::1" } else { "1" };
                let filters = [word, *short].map(|it| format!("{it} {value}").parse::<Filter>());
                assert_eq!(filters[0], filters[1], "{short}");
            }
        }
    }

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn words_behind_the_interfaces_are_a_filter() {
        let captured = words("eth0 eth1 tcp");
        let split = |line| split(&words(line), &captured, &SelectArgs::default());
        for (line, ifaces, filter) in [
            ("", "", ""),
            ("eth1 eth0", "eth1 eth0", ""),
            ("eth0 port https", "eth0", "port 443"),
            (
                "udp and dst net 10/8",
                "",
                "ip_protocol udp and dst_addr 10.0.0.0/8",
            ),
            ("tcp udp", "tcp", "ip_protocol udp"),
        ] {
            let (found, shown) = split(line).expect(line);
            assert_eq!(
                (found, shown.to_string()),
                (words(ifaces), filter.to_owned()),
                "{line}"
            );
        }
        let error = split("eth7 eth0").expect_err("neither").to_string();
        let expected = "`eth7` is no interface that is captured (eth0, eth1, tcp), and begins no \
                        filter: column 1: ";
        assert!(error.starts_with(expected), "{error}");
    }

    #[test]
    fn two_filters_are_told() {
        let select = SelectArgs {
            filter: "tcp".parse().expect("a filter"),
            ..SelectArgs::default()
        };
        let error = select.filter_with(&words("port 53")).expect_err("two");
        assert!(error.to_string().contains("join them by `and`"), "{error}");
    }
}
