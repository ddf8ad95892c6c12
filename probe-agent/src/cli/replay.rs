//! `replay`: the agent's pipeline over a capture file, without a kernel.

mod progress;
mod stop;

use std::{
    collections::HashMap,
    io::{self, BufWriter, IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use parking_lot::Mutex;

use super::{
    group::{GroupArgs, Shown},
    select::{FormatArgs, SelectArgs, UsageError, number},
};
use crate::term::{
    flow_format::{
        FlowFormat, InterfaceFlows, Numbers, is_closed_by_reader, no_rows, passed, total_ledger,
        write_flows, write_ledgers,
    },
    page::{TableStyle, tell, wrap},
};
use probe_capture::{
    interface::{Interface, InterfaceConfig},
    manager::{Manager, ManagerError, ManagerOptions},
    source::SourceError,
};
use probe_flow::{filter::Filter, flow_log::FlowLogOptions, interval::Interval, text::counted};
use probe_pcap::{Ending, Local, PcapError, PcapOptions, PcapSource, Playback};

/// As many flows as a configuration may have.
const MAX_FLOWS: u64 = 100_000_000;

/// Exit status when the file is cut or damaged and what was readable has been shown.
pub(super) const EXIT_INCOMPLETE: u8 = 3;

/// Show the flows of a capture file (pcap, pcapng), through the same pipeline without a kernel
///
/// The addresses of --local tell which packets were sent. Else the file does, where it says so: by
/// the packet flags of pcapng, or by the header of a capture of the `any` device. All other packets
/// count as received. Bytes are IP octets. All flows are shown, those with the most bytes first, unless
/// --limit and --sort say otherwise. --limit is for each interface, and with --by for the groups of all.
/// Times are those of the file, to the millisecond.
///
/// In the table `*` marks flows whose direction is certain (handshake, ICMP type, multicast) and `+`
/// those that stand for many. A port `*` is one that was aggregated away or that a fragment does not
/// have.
#[derive(Clone, Debug, clap::Args)]
#[command(
    after_help = "Exit status: 0 when every packet of the file was counted. 1 when the file \
                        cannot be replayed. 3 when it is cut or damaged and only the packets \
                        before that place were counted."
)]
pub struct ReplayArgs {
    /// Capture file, pcap or pcapng; `-` is the standard input. A pipe is read to its end, or up to
    /// SIGINT (Ctrl-C) or SIGTERM
    pub file: PathBuf,
    /// Words of a filter, as by --filter
    #[arg(value_name = "FILTER")]
    pub words: Vec<String>,
    /// In which form the flows are written.
    #[command(flatten)]
    pub output: FormatArgs,
    /// Keep each direction and each client port apart: unidirectional flows by their five fields
    #[arg(long)]
    pub raw: bool,
    /// Address of the host that captured: an IP address, a network or a MAC address. Packets from it
    /// count as sent, packets for it as received. It can be given several times
    #[arg(long, value_name = "ADDR")]
    pub local: Vec<Local>,
    /// Flows kept apart; further ones are folded into overflow flows
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    #[arg(default_value_t = FlowLogOptions::default().max_flows)]
    #[arg(value_parser = number::<usize, MAX_FLOWS>)]
    pub max_flows: usize,
    /// Which flows are shown; the limit is that of each interface.
    #[command(flatten)]
    pub select: SelectArgs,
    /// Whether sums of flows are shown.
    #[command(flatten)]
    pub group: GroupArgs,
}

/// What a replay came to.
#[derive(Clone, Debug)]
pub struct Replayed {
    /// The interfaces in the order of the file, their flows as asked for, by octets if not.
    pub interfaces: Vec<InterfaceFlows>,
    /// Whether the file was whole.
    pub ending: Ending,
    /// Earliest and latest packet, by the time stamps of the file.
    pub time_range: Option<(Timestamp, Timestamp)>,
    /// Packets without a time, or with one that cannot be.
    pub packets_without_time: u64,
    /// What the user should know, as sentences.
    pub warnings: Vec<String>,
}

/// Why a replay failed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The words of a filter are none, or groups cannot be sorted like that.
    #[error(transparent)]
    Usage(#[from] UsageError),
    /// Rates are asked for, and all packets came at one time or at none.
    #[error(
        "no rates: no time passes between the packets of the file, or it does not tell their times; \
         leave out --rate to see the counts"
    )]
    NoRates,
    /// The file cannot be replayed.
    #[error(transparent)]
    File(#[from] PcapError),
    /// The pipeline behind the file failed.
    #[error(transparent)]
    Manager(#[from] ManagerError),
    /// The source failed on the way.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// Signals cannot be received.
    #[error("cannot wait for signals: {0}")]
    Signals(io::Error),
    /// The flows cannot be written.
    #[error("cannot write the flows: {0}")]
    Output(io::Error),
}

/// Runs the command: flows to stdout, all else to stderr.
///
/// # Errors
///
/// As [`replay`]; [`ReplayError::NoRates`]: rates are asked for, and there is no time between the packets.
/// [`ReplayError::Output`]: standard output cannot be written. A reader that has
/// gone is no error.
pub fn run(args: &ReplayArgs) -> Result<ExitCode, ReplayError> {
    let format = args.output.format();
    let grouping = args.group.grouping(args.select.sort)?;
    let playback = Playback::default();
    stop::on_signals(&playback).map_err(ReplayError::Signals)?;
    let progress = progress::Progress::spawn(playback.clone(), io::stderr().is_terminal());
    let replayed = replay(args, &playback);
    drop(progress);
    let replayed = replayed?;
    for warning in &replayed.warnings {
        tell(format_args!("warning: {warning}"));
    }
    let stdout = io::stdout();
    let style = TableStyle::of_terminal(stdout.is_terminal());
    let mut out = BufWriter::new(stdout.lock());
    let over = match over(args, &replayed) {
        // What is missing in the file may have had other times.
        Err(error @ ReplayError::NoRates) if !replayed.ending.is_complete() => {
            let ended = ended(args, &replayed);
            tell(format_args!("error: {error}"));
            return Ok(ended);
        }
        over => over?,
    };
    let interfaces = &replayed.interfaces;
    let written = match &grouping {
        None => write_flows(&mut out, format, style, over, interfaces),
        Some(grouping) => {
            let flows = interfaces.iter().flat_map(|it| {
                let rows = it.flows.iter();
                rows.map(|row| (it.iface.as_str(), row))
            });
            let groups = grouping.groups(flows);
            let groups = groups.first(limit(&args.select), over);
            write_groups(&mut out, format, style, &groups, interfaces)
        }
    };
    match written.and_then(|()| write_times(&mut out, format, style, &replayed)) {
        Err(error) if !is_closed_by_reader(&error) => return Err(ReplayError::Output(error)),
        _ => {}
    }
    if format != FlowFormat::Table && grouping.is_none() {
        tell_cut(interfaces);
    }
    if format == FlowFormat::Csv {
        // The other formats have it at their end.
        tell(total_ledger(&replayed.interfaces));
    }
    Ok(ended(args, &replayed))
}

/// Tells programs' callers of flows that the limit has left out; tables have a line for that.
fn tell_cut(interfaces: &[InterfaceFlows]) {
    for it in interfaces {
        let shown = it.flows.len();
        if (shown as u64) < it.matched {
            let (iface, of) = (&it.iface, passed(it.matched, it.all));
            tell(format_args!("{iface}: {shown} of {of}, as --limit says"));
        }
    }
}

/// Tells of a file that ends too early.
fn ended(args: &ReplayArgs, replayed: &Replayed) -> ExitCode {
    if replayed.ending.is_complete() {
        return ExitCode::SUCCESS;
    }
    let file = args.file.display();
    tell(format_args!("incomplete: {file}: {}", replayed.ending));
    ExitCode::from(EXIT_INCOMPLETE)
}

/// The time over which rates are asked for: that between the first packet and the last.
fn over(args: &ReplayArgs, replayed: &Replayed) -> Result<Option<Duration>, ReplayError> {
    if !args.group.rate {
        return Ok(None);
    }
    let over = replayed
        .time_range
        .map(|(first, last)| last.duration_since(first).unsigned_abs());
    match over.filter(|over| !over.is_zero()) {
        None => Err(ReplayError::NoRates),
        over => Ok(over),
    }
}

/// The groups over all interfaces, and the ledgers.
fn write_groups(
    out: &mut impl Write,
    format: FlowFormat,
    style: TableStyle,
    groups: &Shown<'_>,
    interfaces: &[InterfaceFlows],
) -> io::Result<()> {
    match format {
        FlowFormat::Csv => groups.write_csv(out),
        FlowFormat::Json => {
            groups.write_json(out)?;
            write_ledgers(out, format, style, interfaces)
        }
        FlowFormat::Table => {
            groups.write_table(out, style, Numbers::Exact, &HashMap::new())?;
            let sum = |read: fn(&InterfaceFlows) -> u64| interfaces.iter().map(read).sum();
            let (matched, all) = (sum(|it| it.matched), sum(|it| it.all));
            match matched {
                0 => writeln!(out, "{}", no_rows(matched, all))?,
                _ => writeln!(out, "{}, of {}", groups.count(), passed(matched, all))?,
            }
            write_ledgers(out, format, style, interfaces)
        }
    }
}

/// When the packets were captured: people are told, programs have the times of the flows.
fn write_times(
    out: &mut impl Write,
    format: FlowFormat,
    style: TableStyle,
    replayed: &Replayed,
) -> io::Result<()> {
    if format != FlowFormat::Table {
        return Ok(());
    }
    let text = match (replayed.time_range, replayed.packets_without_time) {
        (Some((first, last)), 0) => format!("captured from {first:.3} to {last:.3}"),
        (Some((first, last)), without) => {
            let have = if without == 1 { "has" } else { "have" };
            let without = counted(without, "packet");
            format!("captured from {first:.3} to {last:.3}; {without} {have} no time")
        }
        (None, 0) => return out.flush(),
        (None, _) => "no times: the file does not say when its packets were captured".to_owned(),
    };
    for line in wrap(&text, style.sentence_width()) {
        writeln!(out, "{line}")?;
    }
    out.flush()
}

/// Plays the file through a [`Manager`] and collects the flows of all its interfaces.
///
/// # Errors
///
/// [`ReplayError::Usage`]: the words are no filter, or there is one already.
/// [`ReplayError::File`]: the file cannot be opened, or is no capture. [`ReplayError::Manager`]: the
/// system starts no thread. [`ReplayError::Source`]: the stream of packets failed. A file that is
/// cut or damaged on the way is no error: [`Replayed::ending`] tells it.
pub fn replay(args: &ReplayArgs, playback: &Playback) -> Result<Replayed, ReplayError> {
    let filter = args.select.filter_with(&args.words)?;
    let options = PcapOptions {
        local: args.local.clone(),
        playback: playback.clone(),
    };
    let (source, interfaces) = PcapSource::open_with(&args.file, options)?;
    let intervals: Arc<Mutex<Vec<Interval>>> = Arc::default();
    let sink = Arc::clone(&intervals);
    let options = ManagerOptions {
        flow_log: FlowLogOptions {
            port_aggregation: !args.raw,
            bidirectional: !args.raw,
            max_flows: args.max_flows,
        },
        writeout: Box::new(move |interval| sink.lock().push(interval)),
        ..ManagerOptions::default()
    };
    let manager = Manager::new(Box::new(source), options)?;
    let wanted = interfaces.iter().cloned();
    manager.update(wanted.map(|interface| (interface, InterfaceConfig::default())))?;
    let failures = manager.wait_for_end();
    if let Some(failure) = failures.into_iter().next() {
        return Err(failure.into());
    }
    manager.close(&[])?;
    let intervals = std::mem::take(&mut *intervals.lock());
    Ok(Replayed {
        interfaces: in_file_order(&interfaces, intervals, args, &filter),
        // The stream has ended, so its ending is known.
        ending: playback.ending().unwrap_or(Ending::Complete),
        time_range: playback.time_range(),
        packets_without_time: playback.packets_without_time(),
        warnings: warnings(args, playback),
    })
}

fn warnings(args: &ReplayArgs, playback: &Playback) -> Vec<String> {
    let mut warnings = playback.warnings();
    if !args.local.is_empty() && playback.packets_of_local() == 0 {
        let named: Vec<_> = args.local.iter().map(Local::to_string).collect();
        warnings.push(format!(
            "no packet goes from or to {}, which --local names, with its other end elsewhere; \
             directions are as without it",
            named.join(", ")
        ));
    }
    warnings
}

fn limit(select: &SelectArgs) -> usize {
    let limit = select.limit.map(usize::try_from);
    limit.and_then(Result::ok).unwrap_or(usize::MAX)
}

fn in_file_order(
    interfaces: &[Interface],
    intervals: Vec<Interval>,
    args: &ReplayArgs,
    filter: &Filter,
) -> Vec<InterfaceFlows> {
    // Groups are of all flows.
    let is_grouped = !args.group.by.is_empty();
    let limit = if is_grouped {
        usize::MAX
    } else {
        limit(&args.select)
    };
    let position = |iface: &str| interfaces.iter().position(|known| *known.name == *iface);
    let mut flows: Vec<_> = intervals
        .into_iter()
        .map(|interval| {
            let mut flows = interval.flows.sorted_rows();
            let all = flows.len() as u64;
            flows.retain(|row| filter.matches(&interval.iface, row));
            // As `flows` sorts; a stable order of equal ones is by packets.
            let sort = args.select.sort.unwrap_or_default();
            flows.sort_by(|a, b| sort.compare_rows(a, b));
            let matched = flows.len() as u64;
            flows.truncate(limit);
            InterfaceFlows {
                iface: interval.iface.to_string(),
                flows,
                matched,
                all,
                tick_clock: interval.tick_clock,
                ledger: interval.ledger,
            }
        })
        .collect();
    flows.sort_by_key(|interface| position(&interface.iface));
    flows
}
