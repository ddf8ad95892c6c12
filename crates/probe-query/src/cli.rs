//! The command line.

use std::{
    io::{self, IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::{ArgAction, Parser, ValueEnum};
use jiff::{Timestamp, tz::TimeZone};
use probe_flow::filter::Filter;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    ask::{Question, Sums, What, ask},
    columns::{By, Directions, Sort},
    completeness::{Report, text::TextStyle},
    engine::Limits,
    error::QueryError,
    live::DEFAULT_SOCKET,
    names::{Named, Names},
    output::{Csv, Json, JsonLines, ParquetFile, Sink, Table, TableStyle},
    place::Place,
    plot::Picture,
    progress::Progress,
    time::Now,
};

/// Where the agent's Parquet sink stores flows unless it is configured otherwise.
pub(crate) const DEFAULT_STORE: &str = "/var/lib/probe/flows";
/// Exit code of `--strict` where the answer is not complete.
pub const EXIT_INCOMPLETE: u8 = 3;

const AFTER_HELP: &str = "\
Columns: src, sport, dst, dport, proto, iface, host, time, time=1h, and the other fields of a flow. Lists \
of columns: talk_conv (src,dst), talk_src, talk_dst, apps_port (dport,proto), agg_talk_port \
(src,dst,dport,proto), raw.

Times: -24h, -1d12h, today, yesterday 02:15, 02:15, 2026-11-27, \"2026-11-27 02:00\", RFC 3339, now; \
--since all is all that is stored. Flows are stored by intervals: an interval is asked for if more than a \
second of it lies in the time.

`probe-query serve` shows the same on a page in the browser: `probe-query serve --help`.

Exit codes:
  0    done
  1    failed while running
  2    wrong command line, filter or statement
  3    --strict: the answer is not complete
  130  cancelled";

/// Asks stored flows of probe: who talked to whom, when, how much, and how complete the answer is
#[derive(Debug, Parser)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
#[command(name = "probe-query", version, after_help = AFTER_HELP)]
pub struct Cli {
    /// Directory of a store: `path` of a Parquet sink. May be given several times
    #[arg(long = "store", value_name = "DIR", default_value = DEFAULT_STORE)]
    stores: Vec<PathBuf>,

    /// Columns that flows are added up by, or the name of a list of columns
    #[arg(long, value_name = "COLUMNS", default_value = "talk_conv")]
    by: String,

    /// Only flows that pass this filter, in the language of `probe-agent flows` (docs/FILTER.md)
    #[arg(short, long, value_name = "FILTER", conflicts_with = "words")]
    filter: Option<String>,

    /// The filter, as words
    #[arg(value_name = "FILTER")]
    words: Vec<String>,

    /// Start of the time
    #[arg(
        long,
        value_name = "TIME",
        default_value = "-24h",
        allow_hyphen_values = true
    )]
    since: String,

    /// End of the time, which is not part of it; now unless given
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    until: Option<String>,

    /// Read and show times in UTC instead of the local time zone
    #[arg(long)]
    utc: bool,

    /// Most rows, 0 for all. 25 unless given, but all of a time series
    #[arg(short = 'n', long = "limit", value_name = "N")]
    limit: Option<usize>,

    /// Sort by bytes, packets, flows or a column. By bytes unless given, time series by time
    #[arg(long, value_name = "COLUMN")]
    sort: Option<String>,

    /// Rows with the smallest come first
    #[arg(long)]
    asc: bool,

    /// The largest first, also of times
    #[arg(long, conflicts_with = "asc")]
    desc: bool,

    /// Bits and packets of a second, over the time that has data
    #[arg(long)]
    rate: bool,

    /// Count received packets only
    #[arg(long = "in", group = "directions")]
    rcvd: bool,

    /// Count sent packets only
    #[arg(long = "out", group = "directions")]
    sent: bool,

    /// Both directions added up
    #[arg(long, group = "directions")]
    sum: bool,

    /// Format of the answer
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,

    /// Draw a picture instead of a table: bars, or a time series with `time` in --by. In the terminal, or
    /// to FILE, which ends with .svg or .png
    #[expect(
        clippy::option_option,
        reason = "clap's type of an option with a value that may be left out"
    )]
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, conflicts_with_all = ["format", "sql"])]
    plot: Option<Option<PathBuf>>,

    /// Add names of addresses or ports, as this host knows them
    #[arg(long, value_enum, value_name = "WHAT", value_delimiter = ',')]
    names: Vec<Names>,

    /// Write the answer to a file, which is there when it is whole
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// A statement of SQL over the views `flows` and `ledgers`, instead of columns and filter. Asks all
    /// that is stored unless --since is given
    #[arg(long, value_name = "STATEMENT", conflicts_with_all = ["filter", "words", "by", "sort", "limit", "rate"])]
    sql: Option<String>,

    /// Socket of the agent, which is asked for its running interval if the time ends now
    #[arg(long, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    socket: PathBuf,

    /// Only what is stored: ask no agent
    #[arg(long)]
    no_live: bool,

    /// Memory for groups and rows, such as 512MiB; what does not fit goes to disk (TMPDIR)
    #[arg(long, value_name = "SIZE", default_value = "128MiB")]
    memory: String,

    /// Exit with code 3 if the answer is not complete
    #[arg(long, action = ArgAction::SetTrue)]
    strict: bool,
}

/// Formats that answers have.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Format {
    /// Aligned columns, for people
    Table,
    /// One object with rows, totals and completeness
    Json,
    /// An object a line: rows, then totals and completeness
    Ndjson,
    /// Rows; completeness goes to standard error
    Csv,
    /// A file of typed columns, with completeness in its metadata; not to a terminal
    Parquet,
}

impl Cli {
    /// Answers what was asked on standard output, and gives the exit code.
    pub fn run(&self, is_since_given: bool) -> ExitCode {
        match self.answer(is_since_given) {
            Ok(report) if self.strict && !report.complete => ExitCode::from(EXIT_INCOMPLETE),
            Ok(_) => ExitCode::SUCCESS,
            // Who reads has gone, as with `| head`.
            Err(QueryError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("error: {error}");
                ExitCode::from(error.exit_code())
            }
        }
    }

    fn answer(&self, is_since_given: bool) -> Result<Report, QueryError> {
        let zone = if self.utc {
            TimeZone::UTC
        } else {
            TimeZone::system()
        };
        let mut question =
            self.question(Now::new(Timestamp::now(), zone.clone()), is_since_given)?;
        let style = TextStyle {
            zone,
            names_hosts: self.stores.len() > 1,
        };
        let place = self.place()?;
        let mut sink = self.sink(&mut question, &style, place.writer()?)?;
        let progress = Progress::of_terminal();
        let threads = question.limits.threads;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .enable_all()
            .build()?;
        runtime.spawn(cancel_on_signal(progress.clone()));
        let outcome = runtime.block_on(ask(&question, &mut *sink, &progress));
        progress.clear();
        // What still runs is of no use to anybody.
        runtime.shutdown_timeout(std::time::Duration::from_secs(1));
        let report = outcome?;
        drop(sink);
        place.keep()?;
        if matches!(self.format, Format::Csv | Format::Parquet)
            || matches!(self.plot, Some(Some(_)))
        {
            for line in report.lines(&style) {
                eprintln!("{line}");
            }
        }
        Ok(report)
    }

    fn place(&self) -> Result<Place, QueryError> {
        let is_binary = self.format == Format::Parquet;
        if is_binary && self.output.is_none() && io::stdout().is_terminal() {
            return Err(QueryError::Usage(
                "--format parquet: a terminal cannot show it; give a file by --output, or a pipe"
                    .to_owned(),
            ));
        }
        Place::of(self.output.as_deref())
    }

    fn sink(
        &self,
        question: &mut Question,
        style: &TextStyle,
        out: Box<dyn Write + Send>,
    ) -> Result<Box<dyn Sink>, QueryError> {
        if let (Some(file), What::Sums(sums)) = (&self.plot, &mut question.what) {
            let picture = Picture::wanted(file.as_deref(), self.limit, sums, style);
            return match picture {
                Ok(picture) => Ok(Box::new(picture)),
                Err(error) => Err(QueryError::Usage(format!("--plot: {error}"))),
            };
        }
        let sink = self.plain_sink(style, out);
        if self.names.is_empty() {
            return Ok(sink);
        }
        Ok(Box::new(Named::new(sink, self.names.clone())))
    }

    fn plain_sink(&self, style: &TextStyle, out: Box<dyn Write + Send>) -> Box<dyn Sink> {
        match self.format {
            Format::Table => Box::new(Table::new(
                out,
                TableStyle {
                    width: columns_of_terminal().filter(|_| self.output.is_none()),
                    names_hosts: style.names_hosts,
                },
            )),
            Format::Json => Box::new(Json::new(out)),
            Format::Ndjson => Box::new(JsonLines::new(out)),
            Format::Csv => Box::new(Csv::new(out)),
            Format::Parquet => Box::new(ParquetFile::new(out)),
        }
    }

    /// The question, as of a moment.
    ///
    /// # Errors
    ///
    /// [`QueryError::Usage`]: a word of it is wrong.
    pub fn question(&self, now: Now, is_since_given: bool) -> Result<Question, QueryError> {
        let time = |option: &str, text: &str| {
            now.read(text)
                .map_err(|error| QueryError::Usage(format!("--{option}: {error}")))
        };
        let wants_all = self.since == "all" || self.sql.is_some() && !is_since_given;
        let since = if wants_all {
            None
        } else {
            Some(time("since", &self.since)?)
        };
        let until = self
            .until
            .as_deref()
            .map(|until| time("until", until))
            .transpose()?;
        let what = match &self.sql {
            Some(statement) => What::Sql(statement.clone()),
            None => What::Sums(self.sums()?),
        };
        let memory_bytes = memory(&self.memory).map_err(QueryError::Usage)?;
        Ok(Question {
            stores: self.stores.clone(),
            since,
            until,
            now,
            live: (!self.no_live).then(|| self.socket.clone()),
            what,
            limits: Limits {
                memory_bytes,
                threads: std::thread::available_parallelism().map_or(1, usize::from),
            },
        })
    }

    fn sums(&self) -> Result<Sums, QueryError> {
        let usage = |option: &'static str| {
            move |error: String| QueryError::Usage(format!("--{option}: {error}"))
        };
        let by = By::read_list(&self.by).map_err(usage("by"))?;
        let filter = self.filter.clone().unwrap_or_else(|| self.words.join(" "));
        let filter: Filter = filter
            .parse()
            .map_err(|error| QueryError::Usage(format!("the filter cannot be read: {error}")))?;
        let time = by.iter().position(|column| matches!(column, By::Time(_)));
        let sort = match (&self.sort, time) {
            (Some(word), _) => Sort::read(word, &by).map_err(usage("sort"))?,
            (None, Some(place)) => Sort::Column(place),
            (None, None) => Sort::Bytes,
        };
        let is_by_column = matches!(sort, Sort::Column(_));
        let is_series = time.is_some() && sort == Sort::Column(time.unwrap_or_default());
        Ok(Sums {
            directions: match (self.rcvd, self.sent, self.sum) {
                (true, ..) => Directions::Rcvd,
                (_, true, _) => Directions::Sent,
                (.., true) => Directions::Sum,
                _ => Directions::Both,
            },
            is_ascending: self.asc || is_by_column && !self.desc,
            limit: match self.limit {
                Some(0) => None,
                None if is_series => None,
                limit => Some(limit.unwrap_or(25)),
            },
            is_rate: self.rate,
            by,
            filter,
            sort,
        })
    }
}

/// The value of `--memory` in bytes, or what was expected.
pub(crate) fn memory(text: &str) -> Result<usize, String> {
    size(text).ok_or_else(|| {
        let found = probe_flow::text::quoted(text);
        format!("--memory: expected a size such as 512MiB, at least 16MiB, found {found}")
    })
}

/// Ctrl-C and SIGTERM cancel, so that what was spilled is removed. Where who reads the answer takes no more
/// of it, nothing can be cancelled: the second signal ends the program at once.
async fn cancel_on_signal(progress: Progress) {
    let signals = [SignalKind::interrupt(), SignalKind::terminate()].map(signal);
    let [Ok(mut interrupt), Ok(mut terminate)] = signals else {
        return;
    };
    for is_last in [false, true] {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        if is_last {
            std::process::exit(QueryError::Cancelled.exit_code().into());
        }
        progress.cancel();
    }
}

/// `512MiB`, `2G`; at least what the engine needs to get anywhere.
fn size(text: &str) -> Option<usize> {
    const LEAST: usize = 16 << 20;
    let end = text
        .find(|char: char| !char.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let shift = match unit
        .to_ascii_lowercase()
        .trim_end_matches("ib")
        .trim_end_matches('b')
    {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return None,
    };
    let bytes = number.parse::<usize>().ok()?.checked_mul(1 << shift)?;
    (bytes >= LEAST).then_some(bytes)
}

fn columns_of_terminal() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::{Cli, size};

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!(size("128MiB"), Some(128 << 20));
        assert_eq!(size("2G"), Some(2 << 30));
        assert_eq!(size("20000000"), Some(20_000_000));
        for wrong in ["", "MiB", "1", "1.5G", "128 MiB", "-1G", "1X"] {
            assert_eq!(size(wrong), None, "{wrong}");
        }
    }
}
