//! The report for people.

use std::io::{self, Write};

use super::{Difference, ProgramReport, Report};
use crate::term::page::{Colour, TableStyle, paint, wrap};

/// Packets with differences that are shown; JSON has all.
const SHOWN: usize = 5;
const INDENT: usize = 2;

/// Writes the report as text, in sections.
///
/// # Errors
///
/// `out` cannot be written.
pub fn write_text(out: &mut impl Write, style: TableStyle, report: &Report) -> io::Result<()> {
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
    writeln!(out, "{}", paint(style, Colour::Bold, &header))?;
    for program in &report.programs {
        write_row(out, style, program)?;
    }
    writeln!(out)?;
    let alike = alike(&report.differences);
    for group in alike.iter().take(SHOWN) {
        write_alike(out, style, group)?;
    }
    let hidden = alike.len().saturating_sub(SHOWN);
    if hidden > 0 {
        writeln!(out, "and {hidden} more like these (--json has all)\n")?;
    }
    verdict(out, style, report)
}

/// Instructions that the verifier walked, bytes of machine code, and runs.
fn write_row(out: &mut impl Write, style: TableStyle, program: &ProgramReport) -> io::Result<()> {
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
        const NAME: usize = 26;
        let reason = format!("not used here: {reason}");
        let mut name = *name;
        for line in wrap(&reason, style.sentence_width().saturating_sub(NAME)) {
            writeln!(out, "{name:<NAME$}{line}")?;
            name = "";
        }
        return Ok(());
    }
    let verified = verified_instructions.map_or_else(|| "?".to_owned(), |count| count.to_string());
    writeln!(
        out,
        "{name:<25} {verified:>8} {jited_bytes:>8} {agreed:>6} {:>6} {unfit:>7} \
         {median_run_ns:>7}",
        runs - agreed
    )
}

/// Differences of one packet that are the same in several programs, in the order of the packets.
fn alike(differences: &[Difference]) -> Vec<Vec<&Difference>> {
    let mut groups: Vec<Vec<&Difference>> = Vec::new();
    for difference in differences {
        let same = groups.iter_mut().find(|group| {
            group[0].packet == difference.packet && group[0].fields == difference.fields
        });
        match same {
            Some(group) => group.push(difference),
            None => groups.push(vec![difference]),
        }
    }
    groups
}

fn write_alike(out: &mut impl Write, style: TableStyle, group: &[&Difference]) -> io::Result<()> {
    writeln!(out, "{}", paint(style, Colour::Red, group[0].packet))?;
    let width = style.page_width() - INDENT;
    let programs: Vec<_> = group.iter().map(|difference| difference.program).collect();
    for line in wrap(&format!("in {}", programs.join(", ")), width) {
        writeln!(out, "{:INDENT$}{line}", "")?;
    }
    for field in &group[0].fields {
        let text = format!(
            "{}: expected {}, got {}",
            field.field, field.expected, field.got
        );
        for line in wrap(&text, width) {
            writeln!(out, "{:INDENT$}{line}", "")?;
        }
    }
    writeln!(out)
}

fn verdict(out: &mut impl Write, style: TableStyle, report: &Report) -> io::Result<()> {
    let Report {
        runs,
        agreed,
        elapsed_ms,
        ..
    } = report;
    let (colour, text) = if report.ok {
        (
            Colour::Green,
            format!("good: all {agreed} runs agree with the host, in {elapsed_ms} ms"),
        )
    } else if *runs == 0 {
        (
            Colour::Red,
            "failed: no program could be run on any packet".to_owned(),
        )
    } else {
        let differ = report.differences.len();
        (
            Colour::Red,
            format!("failed: {differ} of {runs} runs differ, in {elapsed_ms} ms"),
        )
    };
    writeln!(out, "{}", paint(style, colour, &text))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::{
        super::{FieldDifference, Said},
        Difference, ProgramReport, Report, TableStyle, write_text,
    };
    use crate::term::captures::assert_capture;

    #[rstest]
    #[case::small(80, 24)]
    #[case::large(200, 50)]
    fn a_selftest_is_as_captured(#[case] width: u16, #[case] height: u16) {
        let program = |program, left_out| ProgramReport {
            program,
            left_out,
            verified_instructions: Some(999_999),
            jited_bytes: 65_535,
            runs: 300,
            agreed: 299,
            median_run_ns: 123_456,
            ..ProgramReport::default()
        };
        let field = FieldDifference {
            field: "addresses".into(),
            expected: "2001:db8:1234:5678:9abc:def0:1234:5678 2001:db8:1234:5678:9abc:def0::1"
                .to_owned(),
            got: "nothing".to_owned(),
        };
        // For programs that read JSON.
        let said = || Said {
            text: String::new(),
            record: None,
        };
        let report = Report {
            format: 1,
            ok: false,
            object: "embedded".to_owned(),
            kernel: "5.15.0-1062-azure-fde".to_owned(),
            architecture: "x86_64",
            packets: 300,
            runs: 600,
            agreed: 598,
            programs: vec![
                program("probe_tc_ingress_l3", None),
                program(
                    "probe_xdp_ingress_frags",
                    Some("this kernel's drivers hand over no packets in several buffers (5.18)"),
                ),
            ],
            differences: vec![Difference {
                program: "probe_tc_ingress_l3",
                packet: "IPv6 with every extension header, as a later fragment",
                expected: said(),
                got: said(),
                fields: vec![field],
            }],
            elapsed_ms: 1234,
        };
        let style = TableStyle {
            width: Some(width.into()),
            colour: false,
        };
        let mut text = Vec::new();
        write_text(&mut text, style, &report).expect("a vector takes all");
        let text = String::from_utf8(text).expect("UTF-8");
        let lines: Vec<_> = text.lines().map(str::to_owned).collect();
        assert_capture(&format!("selftest-{width}x{height}"), width, &lines);
    }
}
