//! The text table: one line a flow, columns aligned, numbers to the right.
//!
//! Where the lines are too long for the terminal, service names go first, then counts are scaled,
//! long addresses give way in the middle, and at last columns are left out: a line never wraps. A
//! terminal of 80 columns has room for all counts of any two addresses. Where there is more room than
//! that, further fields follow, which nothing has to give way for. JSON and CSV have everything.

use std::{
    io::{self, Write},
    net::IpAddr,
    time::Duration,
};

use super::{InterfaceFlows, per_second, total_ledger};
use crate::term::{
    human,
    page::{Colour, TableStyle, paint, wrap},
    text_table::{Column, fits, lay_out},
};
use probe_flow::{
    flow::{FlowCounters, FlowRow},
    ledger::Ledger,
    protocols as names,
    schema::field,
    text::counted,
};

/// An address may be shortened to so many characters, with its port: `[fd0…8]:65535`.
const ENDPOINT: usize = 14;
/// The same in a terminal that is narrower than [`NARROW`].
const NARROW_ENDPOINT: usize = 7;
/// Columns of a terminal in which all of a shortened row but the packets has its place.
const NARROW: usize = 66;
/// What stands before the ledger of all.
const ALL: &str = "all interfaces: ";
/// How many of the further fields are shown, from those that need most room on.
const FURTHER: [usize; 4] = [4, 2, 1, 0];

/// How counts are written where there is room.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Numbers {
    /// To the last digit.
    Exact,
    /// `1.2 GiB`, `3.4 k`.
    Human,
    /// Those of a second: bits and packets.
    Rates,
}

/// A flow as a table shows it.
#[derive(Clone, Debug, Default)]
pub(crate) struct ShownFlow {
    /// Shown if the table is of several interfaces.
    pub(crate) iface: String,
    pub(crate) marks: String,
    pub(crate) source: String,
    pub(crate) destination: String,
    pub(crate) protocol: String,
    pub(crate) service: Option<&'static str>,
    pub(crate) counters: FlowCounters,
    /// The fields of [`further_columns`], or as many of them as are known.
    pub(crate) further: Vec<String>,
}

impl ShownFlow {
    fn of_row(row: &FlowRow) -> Self {
        let evidence = row.flow.evidence;
        let is_sure = evidence.is_high_confidence();
        Self {
            iface: String::new(),
            marks: marks(row.flow.is_idle(), is_sure, row.flow.is_overflow),
            source: endpoint(row.src_addr, row.src_port, row.ip_protocol),
            destination: endpoint(row.dst_addr, row.dst_port, row.ip_protocol),
            protocol: names::protocol_or_number(row.ip_protocol).into_owned(),
            service: names::service(row.ip_protocol, row.dst_port),
            counters: row.flow.counters,
            further: vec![
                tcp_flags(row.ip_protocol, row.flow.tcp_flags),
                evidence.name().to_owned(),
            ],
        }
    }

    /// The same with the rates over a time, if one is given.
    pub(crate) fn over(self, over: Option<Duration>) -> Self {
        let counters = match over {
            Some(over) => per_second(self.counters, over),
            None => self.counters,
        };
        Self { counters, ..self }
    }

    fn cells(&self, detail: Detail, with_iface: bool) -> Vec<String> {
        let protocol = match self.service {
            Some(service) if detail.services => format!("{}/{service}", self.protocol),
            _ => self.protocol.clone(),
        };
        let iface = with_iface.then(|| self.iface.clone());
        let ends = [
            self.marks.clone(),
            self.source.clone(),
            "→".to_owned(),
            self.destination.clone(),
            protocol,
        ];
        let further = self.further.iter().take(detail.further).cloned();
        iface
            .into_iter()
            .chain(ends)
            .chain(detail.numbers.cells(&self.counters, detail.is_short))
            .chain(further)
            .collect()
    }
}

/// How much of a row is shown.
#[derive(Clone, Copy)]
struct Detail {
    services: bool,
    numbers: Numbers,
    is_short: bool,
    further: usize,
}

impl Numbers {
    /// Those of rates, if there is a time.
    pub(crate) const fn over(self, over: Option<Duration>) -> Self {
        match over {
            Some(_) => Self::Rates,
            None => self,
        }
    }

    /// The cells below [`count_columns`].
    pub(crate) fn cells(self, counters: &FlowCounters, is_short: bool) -> [String; 4] {
        let FlowCounters {
            bytes_rcvd,
            bytes_sent,
            packets_rcvd,
            packets_sent,
        } = *counters;
        [
            self.octets(bytes_rcvd, is_short),
            self.octets(bytes_sent, is_short),
            self.packets(packets_rcvd, is_short),
            self.packets(packets_sent, is_short),
        ]
    }

    /// A count of something that is not counted by the second.
    pub(crate) fn count(self, number: u64, is_short: bool) -> String {
        match self {
            Self::Rates => Self::Human.packets(number, is_short),
            Self::Exact | Self::Human => self.packets(number, is_short),
        }
    }

    fn octets(self, number: u64, is_short: bool) -> String {
        match (self, is_short) {
            (Self::Exact, false) => number.to_string(),
            (Self::Human, false) => human::bytes(number),
            (Self::Rates, false) => human::bits(number),
            (Self::Exact | Self::Human, true) => human::short_bytes(number),
            (Self::Rates, true) => human::short_bits(number),
        }
    }

    fn packets(self, number: u64, is_short: bool) -> String {
        match (self, is_short) {
            (Self::Exact, false) => number.to_string(),
            (Self::Human | Self::Rates, false) => human::count(number),
            (_, true) => human::short_count(number),
        }
    }
}

/// What else is known of a flow, in the order of its worth.
const fn further_columns() -> [Column; 4] {
    [
        Column::of_text_field(field("tcp_flags")),
        Column::of_text_field(field("direction_evidence")),
        Column::of_text_field(field("first_seen")),
        Column::of_text_field(field("last_seen")),
    ]
}

fn columns(
    with_iface: bool,
    width: Option<usize>,
    numbers: Numbers,
    further: usize,
) -> Vec<Column> {
    const IFACE: Column = Column::of_text_field(field("iface"));
    const PROTOCOL: Column = Column::of_text_field(field("ip_protocol"));
    // Addresses with their ports.
    const SOURCE: Column = Column::of_text_field(field("src_addr"));
    const DESTINATION: Column = Column::of_text_field(field("dst_addr"));
    let is_narrow = width.is_some_and(|width| width < NARROW);
    let least = if is_narrow { NARROW_ENDPOINT } else { ENDPOINT };
    let iface = with_iface.then_some(IFACE.left_out(4).shortened_to(6));
    let others = [
        Column::text("").left_out(3),
        SOURCE.shortened_to(least),
        Column::text(""),
        DESTINATION.shortened_to(least),
        PROTOCOL.left_out(2),
    ];
    let further = further_columns().into_iter().take(further);
    let counts = count_columns(numbers);
    iface
        .into_iter()
        .chain(others)
        .chain(counts)
        .chain(further)
        .collect()
}

/// The columns of [`FlowCounters`], in their order.
pub(crate) fn count_columns(numbers: Numbers) -> [Column; 4] {
    const BYTES_RCVD: Column = Column::of_count(field("bytes_rcvd"));
    const BYTES_SENT: Column = Column::of_count(field("bytes_sent"));
    const PACKETS_RCVD: Column = Column::of_count(field("packets_rcvd"));
    const PACKETS_SENT: Column = Column::of_count(field("packets_sent"));
    let of_unit = |column: Column, rate| match numbers {
        Numbers::Rates => column.in_group(rate),
        Numbers::Exact | Numbers::Human => column,
    };
    [
        of_unit(BYTES_RCVD, "bit/s"),
        of_unit(BYTES_SENT.left_out(1), "bit/s"),
        of_unit(PACKETS_RCVD.left_out(5), "packets/s"),
        of_unit(PACKETS_SENT.left_out(6), "packets/s"),
    ]
}

/// The lines of a table of flows: those of the head, and one a flow.
pub(crate) fn flow_lines(
    width: Option<usize>,
    numbers: Numbers,
    with_iface: bool,
    flows: &[ShownFlow],
) -> (Vec<String>, Vec<String>) {
    let known = flows.iter().map(|flow| flow.further.len()).max();
    let known = known.filter(|_| width.is_some()).unwrap_or(0);
    let laid = |services, is_short, further| {
        let detail = Detail {
            services,
            numbers,
            is_short,
            further,
        };
        let rows = flows.iter().map(|flow| flow.cells(detail, with_iface));
        let rows: Vec<_> = rows.collect();
        (columns(with_iface, width, numbers, further), rows)
    };
    let further = FURTHER.into_iter().filter(|further| *further <= known);
    let ladder = further.map(|further| (true, further)).chain([(false, 0)]);
    let (columns, rows) = ladder
        .map(|(services, further)| laid(services, false, further))
        .find(|(columns, rows)| width.is_none_or(|width| fits(columns, rows, width)))
        .unwrap_or_else(|| laid(false, true, 0));
    let layout = lay_out(&columns, &rows, width);
    let head = layout.group_line(&columns).into_iter();
    let head = head.chain([layout.header_line(&columns)]).collect();
    let lines = rows.iter().map(|row| layout.line(&columns, row));
    (head, lines.collect())
}

pub(super) fn write(
    out: &mut impl Write,
    style: TableStyle,
    over: Option<Duration>,
    interfaces: &[InterfaceFlows],
) -> io::Result<()> {
    let is_one_of_many = interfaces.len() > 1;
    for InterfaceFlows {
        iface,
        flows,
        ledger,
        matched,
        all,
        tick_clock: _,
    } in interfaces
    {
        if is_one_of_many {
            writeln!(out, "{}", paint(style, Colour::Bold, iface))?;
        }
        let flows = flows.iter().map(ShownFlow::of_row);
        let flows: Vec<_> = flows.map(|flow| flow.over(over)).collect();
        if flows.is_empty() {
            writeln!(out, "{}", no_rows(*matched, *all))?;
        }
        let numbers = Numbers::Exact.over(over);
        write_table(out, style, numbers, false, &flows)?;
        if !flows.is_empty() {
            let shown = format!("{} of {}", flows.len(), passed(*matched, *all));
            for line in wrap(&shown, style.sentence_width()) {
                writeln!(out, "{line}")?;
            }
        }
        if is_one_of_many {
            write_ledger(out, style, "", ledger)?;
            writeln!(out)?;
        }
    }
    let whose = if is_one_of_many { ALL } else { "" };
    write_ledger(out, style, whose, &total_ledger(interfaces))
}

/// The ledgers without flows.
pub(super) fn write_ledgers(
    out: &mut impl Write,
    style: TableStyle,
    interfaces: &[InterfaceFlows],
) -> io::Result<()> {
    if interfaces.len() < 2 {
        return write_ledger(out, style, "", &total_ledger(interfaces));
    }
    for it in interfaces {
        write_ledger(out, style, &format!("{}: ", it.iface), &it.ledger)?;
    }
    write_ledger(out, style, ALL, &total_ledger(interfaces))
}

/// What stands in the place of a table that has no rows, of so many flows.
pub(crate) fn no_rows(matched: u64, all: u64) -> String {
    match (matched, all) {
        (_, 0) => "no flows".to_owned(),
        (0, 1) => "the one flow does not pass the filter".to_owned(),
        (0, all) => format!("none of {all} flows passes the filter"),
        (matched, all) => format!("0 of {}", passed(matched, all)),
    }
}

/// `7 flows`, or how many of them pass the filter.
pub(crate) fn passed(matched: u64, all: u64) -> String {
    let flows = counted(matched, "flow");
    match matched {
        _ if matched == all => flows,
        1 => format!("{flows} that passes, of {all}"),
        _ => format!("{flows} that pass, of {all}"),
    }
}

/// Writes a table of flows; nothing where there are none.
pub(crate) fn write_table(
    out: &mut impl Write,
    style: TableStyle,
    numbers: Numbers,
    with_iface: bool,
    flows: &[ShownFlow],
) -> io::Result<()> {
    if flows.is_empty() {
        return Ok(());
    }
    let (head, lines) = flow_lines(style.width, numbers, with_iface, flows);
    for line in head {
        writeln!(out, "{}", paint(style, Colour::Bold, &line))?;
    }
    for line in lines {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

fn write_ledger(
    out: &mut impl Write,
    style: TableStyle,
    whose: &str,
    ledger: &Ledger,
) -> io::Result<()> {
    let is_good = ledger.residue() == 0;
    let colour = if is_good { Colour::None } else { Colour::Red };
    let text = format!("{whose}{}", paint(style, colour, &ledger.to_string()));
    for line in wrap(&text, style.sentence_width()) {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

/// The flags that were seen in a TCP flow, by the letters of tshark: `FSPA`.
pub(crate) fn tcp_flags(ip_protocol: u8, flags: u8) -> String {
    const TCP: u8 = 6;
    if ip_protocol != TCP {
        return String::new();
    }
    let letters = "FSRPAUEC".chars().enumerate();
    let seen = letters.filter(|(bit, _)| flags & (1 << bit) != 0);
    seen.map(|(_, letter)| letter).collect()
}

/// `!` idle, `*` direction known for sure, `+` stands for many flows.
pub(crate) fn marks(is_idle: bool, is_sure: bool, is_overflow: bool) -> String {
    let idle = if is_idle { '!' } else { ' ' };
    let sure = match (is_overflow, is_sure) {
        (true, _) => '+',
        (false, true) => '*',
        (false, false) => ' ',
    };
    [idle, sure].iter().collect()
}

/// Address and port; `*` for a port that was aggregated away or is not known.
pub(crate) fn endpoint(address: IpAddr, port: u16, ip_protocol: u8) -> String {
    match (port_text(port, ip_protocol), address) {
        (None, address) => address.to_string(),
        (Some(port), IpAddr::V4(address)) => format!("{address}:{port}"),
        (Some(port), IpAddr::V6(address)) => format!("[{address}]:{port}"),
    }
}

/// The same with a name for the address.
pub(crate) fn named_endpoint(name: &str, port: u16, ip_protocol: u8) -> String {
    match port_text(port, ip_protocol) {
        None => name.to_owned(),
        Some(port) => format!("{name}:{port}"),
    }
}

/// A port as tables show it; none where the protocol has none.
fn port_text(port: u16, ip_protocol: u8) -> Option<String> {
    if names::has_ports(ip_protocol) || port != 0 {
        Some(if port == 0 {
            "*".to_owned()
        } else {
            port.to_string()
        })
    } else {
        None
    }
}
