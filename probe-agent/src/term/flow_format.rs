//! Flows and ledgers as people and programs read them: a text table, JSON lines, CSV.
//!
//! Pure functions from rows to an `impl Write`: they know no terminal and no clock.

mod csv;
mod json;
mod rates;
mod table;

use std::{
    io::{self, Write},
    time::Duration,
};

pub(crate) use self::rates::{RatedFlow, named_counts, per_second};
pub(crate) use self::table::{
    Numbers, ShownFlow, count_columns, endpoint, flow_lines, marks, named_endpoint, no_rows,
    passed, tcp_flags, write_table,
};
use crate::term::page::TableStyle;
use probe_flow::{flow::FlowRow, ledger::Ledger, schema::FlowView, ticks::TickClock};

/// How flows are written.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, clap::ValueEnum)]
pub enum FlowFormat {
    /// For people: aligned columns, then the ledger.
    #[default]
    Table,
    /// One object a line: the flows, then the ledger.
    Json,
    /// Comma-separated with a header; without the ledger.
    Csv,
}

/// The flows of one interface, in the order they are to be written, with their ledger.
#[derive(Clone, Debug)]
pub struct InterfaceFlows {
    /// Name of the interface.
    pub iface: String,
    /// Flows to show, in order.
    pub flows: Vec<FlowRow>,
    /// How many passed the filter.
    pub matched: u64,
    /// How many there were.
    pub all: u64,
    /// When their ticks were.
    pub tick_clock: TickClock,
    /// Where every packet went.
    pub ledger: Ledger,
}

impl InterfaceFlows {
    /// One of the flows with all that its fields are read from, without an interval: the caller
    /// for these flows knows it.
    fn view<'a>(&'a self, row: &'a FlowRow) -> FlowView<'a> {
        FlowView {
            iface: &self.iface,
            bounds: None,
            host: None,
            row,
            tick_clock: &self.tick_clock,
        }
    }
}

/// Writes flows and ledgers in the given format: counts, or the rates over a time.
///
/// # Errors
///
/// `out` cannot be written; [`is_closed_by_reader`] tells whether its reader has gone.
pub fn write_flows(
    out: &mut impl Write,
    format: FlowFormat,
    style: TableStyle,
    over: Option<Duration>,
    interfaces: &[InterfaceFlows],
) -> io::Result<()> {
    match format {
        FlowFormat::Table => table::write(out, style, over, interfaces),
        FlowFormat::Json => json::write(out, over, interfaces),
        FlowFormat::Csv => csv::write(out, over, interfaces),
    }?;
    out.flush()
}

/// Writes the ledgers alone; CSV has none.
///
/// # Errors
///
/// As [`write_flows`].
pub fn write_ledgers(
    out: &mut impl Write,
    format: FlowFormat,
    style: TableStyle,
    interfaces: &[InterfaceFlows],
) -> io::Result<()> {
    match format {
        FlowFormat::Table => table::write_ledgers(out, style, interfaces),
        FlowFormat::Json => json::write_ledgers(out, interfaces),
        FlowFormat::Csv => Ok(()),
    }?;
    out.flush()
}

/// The ledgers of all interfaces added up.
pub fn total_ledger(interfaces: &[InterfaceFlows]) -> Ledger {
    let mut total = Ledger::default();
    for interface in interfaces {
        total += interface.ledger;
    }
    total
}

/// Whether writing failed because the reader has had enough (`| head`), which is no failure.
pub fn is_closed_by_reader(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}

#[cfg(test)]
mod tests;
