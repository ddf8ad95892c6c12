//! Which flows are shown, in which order and form: the same options for `flows`, `top` and `replay`.

use clap::{
    Args,
    builder::{PossibleValue, TypedValueParser},
    error::ErrorKind,
};

use crate::{config::did_you_mean, term::flow_format::FlowFormat};
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
    #[arg(short = 'n', long, value_name = "N", allow_negative_numbers = true)]
    #[arg(value_parser = number::<u32, MAX_LIMIT>)]
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

/// Most flows of an answer.
const MAX_LIMIT: u64 = 100_000;

/// A whole number up to the largest. The error is the end of a sentence.
pub(super) fn number<T: TryFrom<u64>, const MAX: u64>(text: &str) -> Result<T, String> {
    let number = text.parse().ok().filter(|number| *number <= MAX);
    let number = number.and_then(|number| T::try_from(number).ok());
    number.ok_or_else(|| format!("must be a whole number from 0 to {MAX}"))
}

/// The words are those of the API, and the short ones of filters.
fn sort_parser() -> impl TypedValueParser<Value = Sort> {
    Words(&Sort::ALL)
}

/// Names of fields with what they mean, and the [short ones](short_words) of filters.
#[derive(Clone, Copy)]
pub(super) struct Words<T: 'static>(pub(super) &'static [(&'static str, T)]);

/// What people say for fields that have other names here.
const SAID: [(&str, &str); 5] = [
    ("source", "src"),
    ("destination", "dst"),
    ("dest", "dst"),
    ("port", "dport"),
    ("service", "dport"),
];

impl<T: Clone + Send + Sync + 'static> TypedValueParser for Words<T> {
    type Value = T;

    fn parse_ref(
        &self,
        command: &clap::Command,
        arg: Option<&clap::Arg>,
        value: &std::ffi::OsStr,
    ) -> Result<T, clap::Error> {
        let typed = value.to_string_lossy();
        let is_typed = |word: &str| word == typed || short_words(word).contains(&&*typed);
        let found = self.0.iter().find(|(word, _)| is_typed(word));
        found.map(|(_, meaning)| meaning.clone()).ok_or_else(|| {
            let arg = arg.map_or_else(String::new, |arg| format!(" for '{arg}'"));
            let message = format!("invalid value '{typed}'{arg}: {}", self.unknown(&typed));
            command.clone().error(ErrorKind::InvalidValue, message)
        })
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let words = self.0.iter();
        let words = words.map(|(word, _)| PossibleValue::new(*word).aliases(short_words(word)));
        Some(Box::new(words))
    }
}

impl<T> Words<T> {
    fn unknown(&self, typed: &str) -> String {
        let known = self.0.iter().map(|(word, _)| *word);
        let spellings = known.clone().flat_map(|word| {
            let short = short_words(word).iter().copied();
            short.chain([word])
        });
        let said = SAID.iter().find(|(said, _)| *said == typed);
        let meant = said.map(|(_, meant)| *meant);
        let meant = meant.or_else(|| did_you_mean(typed, spellings));
        let hint = meant.map_or_else(String::new, |meant| format!("did you mean `{meant}`? "));
        let words = known.map(|word| match short_words(word) {
            [] => word.to_owned(),
            short => format!("{word} ({})", short.join(", ")),
        });
        let words: Vec<_> = words.collect();
        format!("{hint}It is one of {}", words.join(", "))
    }
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
    let Some(word) = rest.first() else {
        return Ok((ifaces.to_vec(), select.filter_with(rest)?));
    };
    let begins_filter = match rest.join(" ").parse::<Filter>() {
        Ok(_) => true,
        // What is wrong is another word. Where one lacks, this one may be a name.
        Err(error) => error.column() > word.chars().count() + 1,
    };
    match select.filter_with(rest) {
        Err(error) if !begins_filter => Err(UsageError(format!(
            "{}, and begins no filter: {error}",
            not_captured(word, captured)
        ))),
        filter => Ok((ifaces.to_vec(), filter?)),
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

    #[test]
    fn what_a_number_or_field_may_be_is_said() {
        for (arguments, told) in [
            (["-n", "x"], "must be a whole number from 0 to 100000"),
            (["-n", "-1"], "must be a whole number from 0 to 100000"),
            (["-n", "100001"], "must be a whole number from 0 to 100000"),
            (
                ["--sort", "source"],
                "did you mean `src`? It is one of bytes",
            ),
            (["--sort", "x"], "ip_protocol (proto, protocol)"),
            (["--sort", "packtes"], "did you mean `packets`?"),
        ] {
            let words = ["probe"].into_iter().chain(arguments);
            let error = Line::try_parse_from(words).err().expect("it is wrong");
            let error = error.to_string();
            assert!(error.contains(told), "{error}");
            assert!(!error.contains("tip:"), "{error}");
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
        // The word is a filter, and what follows is none.
        let error = split("udp prt 5").expect_err("no word").to_string();
        let expected = "column 5: expected `and`, `or` or the end, found `prt`, which is unknown; did you \
                        mean `port`?";
        assert!(error.starts_with(expected), "{error}");
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
