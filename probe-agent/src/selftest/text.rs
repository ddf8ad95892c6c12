//! The report for people.

use std::io::{self, Write};

use super::{Difference, ProgramReport, Report};
use crate::flow_format::TableStyle;

/// Differences that are shown; JSON has all.
const SHOWN: usize = 5;

const BOLD: &str = "\x1b[1m";
const RED: &str = "\x1b[31m";
const GREEN: &str = "\x1b[32m";
const PLAIN: &str = "\x1b[0m";

/// Writes the report.
pub fn write_text(out: &mut impl Write, style: TableStyle, report: &Report) -> io::Result<()> {
    let paint = |colour: &str, text: &str| {
        if style.colour {
            format!("{colour}{text}{PLAIN}")
        } else {
            text.to_owned()
        }
    };
    let Report {
        object,
        kernel,
        architecture,
        packets,
        ..
    } = report;
    writeln!(out, "object    {object}")?;
    writeln!(out, "kernel    {kernel} on {architecture}")?;
    writeln!(out, "packets   {packets}, with known answers")?;
    writeln!(out)?;
    let header = format!(
        "{:<25} {:>8} {:>8} {:>6} {:>6} {:>7} {:>7}",
        "program", "verified", "machine", "agree", "differ", "not run", "ns/run"
    );
    writeln!(out, "{}", paint(BOLD, &header))?;
    for program in &report.programs {
        writeln!(out, "{}", row(program))?;
    }
    writeln!(out)?;
    for difference in report.differences.iter().take(SHOWN) {
        write_difference(out, &paint(RED, difference.packet), difference)?;
    }
    let hidden = report.differences.len().saturating_sub(SHOWN);
    if hidden > 0 {
        writeln!(out, "and {hidden} more differences (--json has all)\n")?;
    }
    let Report {
        runs,
        agreed,
        elapsed_ms,
        ..
    } = report;
    let verdict = if report.ok {
        let text = format!("good: all {agreed} runs agree with the host, in {elapsed_ms} ms");
        paint(GREEN, &text)
    } else {
        let differ = report.differences.len();
        let text = format!("failed: {differ} of {runs} runs differ, in {elapsed_ms} ms");
        paint(RED, &text)
    };
    writeln!(out, "{verdict}")
}

/// Instructions that the verifier walked, bytes of machine code, and runs.
fn row(program: &ProgramReport) -> String {
    let ProgramReport {
        program: name,
        left_out,
        verified_instructions,
        jited_bytes,
        runs,
        agreed,
        unfit,
        median_run_ns,
    } = program;
    if let Some(reason) = left_out {
        return format!("{name:<25} not used here: {reason}");
    }
    let verified = verified_instructions.map_or_else(|| "?".to_owned(), |count| count.to_string());
    format!(
        "{name:<25} {verified:>8} {jited_bytes:>8} {agreed:>6} {:>6} {unfit:>7} \
         {median_run_ns:>7}",
        runs - agreed
    )
}

fn write_difference(out: &mut impl Write, packet: &str, difference: &Difference) -> io::Result<()> {
    writeln!(out, "{packet}: {} differs", difference.program)?;
    for (label, said) in [("expected", &difference.expected), ("got", &difference.got)] {
        let mut label = label;
        for part in said.text.split("; ") {
            writeln!(out, "  {label:<10}{part}")?;
            label = "";
        }
        if let Some(record) = &said.record {
            writeln!(out, "  {:<10}{record}", "")?;
        }
    }
    writeln!(out)
}
