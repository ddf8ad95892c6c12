//! The text table: one line a flow, columns aligned, numbers to the right.
//!
//! Where the lines are too long for the terminal, service names go first, then counts are scaled;
//! addresses are always whole. JSON and CSV have the exact numbers.

use std::{
    fmt::Write as _,
    io::{self, Write},
    net::IpAddr,
};

use super::{InterfaceFlows, names, total_ledger};
use crate::{flow::FlowRow, ledger::Ledger};

/// How a table looks.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct TableStyle {
    /// Columns of the terminal; `None` where there is none, so that lines are as long as they are.
    pub width: Option<usize>,
    /// With ANSI colours.
    pub colour: bool,
}

impl TableStyle {
    /// The style for standard output: as wide as the terminal, if it is one, and in colour unless
    /// `NO_COLOR` is set (<https://no-color.org>) or the terminal is a dumb one.
    pub fn of_terminal(is_terminal: bool) -> Self {
        if !is_terminal {
            return Self::default();
        }
        let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let size = rustix::termios::tcgetwinsize(io::stdout());
        Self {
            width: size
                .ok()
                .map(|size| usize::from(size.ws_col))
                .filter(|&width| width > 0),
            colour: !is_set("NO_COLOR") && !is_dumb,
        }
    }
}

const COLUMNS: usize = 9;
const COLUMN_GAP: &str = " ";
/// From this one on columns are numbers.
const FIRST_NUMBER: usize = 5;

/// What two columns of numbers each have in common.
const GROUPS: [&str; 2] = ["bytes", "packets"];
const HEADER: [&str; COLUMNS] = [
    "",
    "source",
    "",
    "destination",
    "proto",
    "rcvd",
    "sent",
    "rcvd",
    "sent",
];

const BOLD: &str = "\x1b[1m";
const RED: &str = "\x1b[31m";
const PLAIN: &str = "\x1b[0m";

/// How much of a row is shown.
#[derive(Clone, Copy)]
struct Detail {
    services: bool,
    exact: bool,
}

/// From the most to the least.
const DETAILS: [Detail; 3] = [
    Detail {
        services: true,
        exact: true,
    },
    Detail {
        services: false,
        exact: true,
    },
    Detail {
        services: false,
        exact: false,
    },
];

pub(super) fn write(
    out: &mut impl Write,
    style: TableStyle,
    interfaces: &[InterfaceFlows],
) -> io::Result<()> {
    let is_one_of_many = interfaces.len() > 1;
    for InterfaceFlows {
        iface,
        flows,
        ledger,
    } in interfaces
    {
        if is_one_of_many {
            writeln!(out, "{}", paint(style, BOLD, iface))?;
        }
        write_table(out, style, flows)?;
        if is_one_of_many {
            write_ledger(out, style, ledger)?;
            writeln!(out)?;
        }
    }
    if is_one_of_many {
        write!(out, "all interfaces: ")?;
    }
    write_ledger(out, style, &total_ledger(interfaces))
}

fn write_table(out: &mut impl Write, style: TableStyle, flows: &[FlowRow]) -> io::Result<()> {
    if flows.is_empty() {
        return writeln!(out, "no flows");
    }
    let fits = |widths: &[usize; COLUMNS]| {
        let line: usize = widths.iter().sum::<usize>() + COLUMN_GAP.len() * (COLUMNS - 1);
        style.width.is_none_or(|width| line <= width)
    };
    let candidates = DETAILS.map(|detail| (detail, widths(flows, detail)));
    let [.., least] = candidates;
    let (detail, widths) = candidates
        .into_iter()
        .find(|(_, widths)| fits(widths))
        .unwrap_or(least);
    writeln!(out, "{}", paint(style, BOLD, &group_line(&widths)))?;
    let header = line(&HEADER.map(str::to_owned), &widths);
    writeln!(out, "{}", paint(style, BOLD, &header))?;
    for row in flows {
        writeln!(out, "{}", line(&cells(row, detail), &widths))?;
    }
    Ok(())
}

fn write_ledger(out: &mut impl Write, style: TableStyle, ledger: &Ledger) -> io::Result<()> {
    let text = ledger.to_string();
    if ledger.residue() == 0 {
        writeln!(out, "{text}")
    } else {
        writeln!(out, "{}", paint(style, RED, &text))
    }
}

fn widths(flows: &[FlowRow], detail: Detail) -> [usize; COLUMNS] {
    let mut widths = HEADER.map(str::len);
    for row in flows {
        for (width, cell) in widths.iter_mut().zip(cells(row, detail)) {
            *width = (*width).max(cell.chars().count());
        }
    }
    widths
}

fn group_line(widths: &[usize; COLUMNS]) -> String {
    let (texts, numbers) = widths.split_at(FIRST_NUMBER);
    let text_width = texts.iter().sum::<usize>() + COLUMN_GAP.len() * (FIRST_NUMBER - 1);
    let mut line = " ".repeat(text_width);
    for (group, pair) in GROUPS.iter().zip(numbers.chunks(2)) {
        let width = COLUMN_GAP.len() * pair.len() + pair.iter().sum::<usize>();
        // Writing to a string cannot fail.
        let _ = write!(line, "{group:>width$}");
    }
    line
}

fn line(cells: &[String; COLUMNS], widths: &[usize; COLUMNS]) -> String {
    let mut line = String::new();
    for (column, (cell, &width)) in cells.iter().zip(widths).enumerate() {
        if column > 0 {
            line.push_str(COLUMN_GAP);
        }
        // Writing to a string cannot fail.
        let _ = if column >= FIRST_NUMBER {
            write!(line, "{cell:>width$}")
        } else {
            write!(line, "{cell:<width$}")
        };
    }
    line
}

fn cells(row: &FlowRow, detail: Detail) -> [String; COLUMNS] {
    let counters = row.flow.counters;
    let count = |number| {
        if detail.exact {
            number_exact(number)
        } else {
            number_scaled(number)
        }
    };
    [
        marks(row),
        endpoint(row.src_addr, row.src_port, row.ip_protocol),
        "→".to_owned(),
        endpoint(row.dst_addr, row.dst_port, row.ip_protocol),
        protocol(row, detail),
        count(counters.bytes_rcvd),
        count(counters.bytes_sent),
        count(counters.packets_rcvd),
        count(counters.packets_sent),
    ]
}

/// `!` idle, `*` direction known for sure, `+` stands for many flows.
fn marks(row: &FlowRow) -> String {
    let mark = |is_set, char| if is_set { char } else { ' ' };
    let sure = if row.flow.is_overflow { '+' } else { '*' };
    [
        mark(row.flow.is_idle(), '!'),
        mark(
            row.flow.evidence.is_high_confidence() || row.flow.is_overflow,
            sure,
        ),
    ]
    .iter()
    .collect()
}

/// Address and port; `*` for a port that was aggregated away or is not known.
fn endpoint(address: IpAddr, port: u16, ip_protocol: u8) -> String {
    let has_ports = matches!(ip_protocol, 6 | 17 | 132);
    let port = match port {
        0 if !has_ports => return address.to_string(),
        0 => "*".to_owned(),
        port => port.to_string(),
    };
    match address {
        IpAddr::V4(address) => format!("{address}:{port}"),
        IpAddr::V6(address) => format!("[{address}]:{port}"),
    }
}

fn protocol(row: &FlowRow, detail: Detail) -> String {
    let name =
        names::protocol(row.ip_protocol).map_or_else(|| row.ip_protocol.to_string(), str::to_owned);
    match names::service(row.ip_protocol, row.dst_port) {
        Some(service) if detail.services => format!("{name}/{service}"),
        _ => name,
    }
}

fn number_exact(number: u64) -> String {
    number.to_string()
}

/// At most five characters: `99999`, `100k`, `1.2M`.
fn number_scaled(number: u64) -> String {
    const UNITS: [&str; 6] = ["k", "M", "G", "T", "P", "E"];
    if number < 100_000 {
        return number.to_string();
    }
    let (mut whole, mut rest, mut unit) = (number, 0, "");
    for next in UNITS {
        if whole < 1000 {
            break;
        }
        (whole, rest, unit) = (whole / 1000, whole % 1000, next);
    }
    if whole < 10 {
        format!("{whole}.{}{unit}", rest / 100)
    } else {
        format!("{whole}{unit}")
    }
}

fn paint(style: TableStyle, colour: &str, text: &str) -> String {
    if style.colour {
        format!("{colour}{text}{PLAIN}")
    } else {
        text.to_owned()
    }
}
