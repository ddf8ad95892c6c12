//! The status for people.

use std::io::{self, Write};

use super::{
    findings::Finding,
    stores,
    table::{colour, ledger_line, lines},
};
use crate::term::{
    human,
    page::{Colour, TableStyle, padded, paint, width_of, wrap},
};
use probe_api::v1::{
    info::Info,
    status::{InterfaceStatus, StatusReport},
};
use probe_flow::{ledger::Loss, text::printable};

/// Of hosts with more interfaces only the table is shown, unless they are asked for by name.
const DETAILED: usize = 4;
const LABEL: usize = 12;

/// What the columns of the table count.
const LEGEND: &str =
    "(packets and lost since capturing began; flows of the running interval and the one before)";

/// Writes two readings, of which the second is now.
pub(in crate::cli) fn write(
    out: &mut impl Write,
    style: TableStyle,
    info: &Info,
    [earlier, now]: [&StatusReport; 2],
    findings: &[Finding],
) -> io::Result<()> {
    let width = style.page_width();
    for line in wrap(&summary(info, now), width) {
        writeln!(out, "{line}")?;
    }
    if !now.interfaces.is_empty() {
        let (head, rows) = lines(style.width, earlier, now);
        writeln!(out, "\n{}", paint(style, Colour::Bold, &head))?;
        for (state, line) in rows {
            writeln!(out, "{}", paint(style, colour(&state), &printable(&line)))?;
        }
        for line in wrap(LEGEND, width) {
            writeln!(out, "{line}")?;
        }
    }
    if now.interfaces.len() <= DETAILED {
        for (iface, it) in &now.interfaces {
            details(out, style, width, iface, it)?;
        }
    }
    let stores = stores::lines(now);
    if !stores.is_empty() {
        writeln!(out, "\n{}", paint(style, Colour::Bold, "stored"))?;
    }
    for (sink, text) in stores {
        entry(out, width, sink, LABEL, &text)?;
    }
    for (title, is_trouble, colour) in [
        ("notes", false, Colour::Yellow),
        ("trouble", true, Colour::Red),
    ] {
        let mut shown = findings
            .iter()
            .filter(|it| it.is_trouble == is_trouble)
            .peekable();
        if shown.peek().is_some() {
            writeln!(out, "\n{}", paint(style, colour, title))?;
        }
        for finding in shown {
            entry(out, width, "-", 2, &finding.text)?;
        }
    }
    if !findings.iter().any(|it| it.is_trouble) {
        writeln!(out, "\n{}", paint(style, Colour::Green, good(now)))?;
    }
    Ok(())
}

/// The last line where nothing is wrong now.
fn good(now: &StatusReport) -> &'static str {
    let has_missed = now.interfaces.values().any(|it| {
        let mut losses = Loss::ALL.iter().filter(|loss| loss.remedy().is_some());
        let ledger = &it.ledger;
        it.reattached > 0
            || it.detached_ms > 0
            || it.uncovered_packets > 0
            || ledger.overflow_packets > 0
            || losses.any(|loss| ledger.losses.get(loss.name()).is_some_and(|lost| *lost > 0))
    });
    let has_lost = now.sinks.values().any(|it| it.failed + it.dropped > 0);
    if has_missed || has_lost {
        "good now: every packet seen now has an address; the notes tell what had none, was lost or was not seen before"
    } else {
        "good: every packet seen has an address"
    }
}

fn summary(info: &Info, now: &StatusReport) -> String {
    let up = now.at.duration_since(now.started_at).unsigned_abs();
    let rotated = if now.last_rotation == now.started_at {
        "no rotation yet".to_owned()
    } else {
        let ago = now.at.duration_since(now.last_rotation).unsigned_abs();
        format!("last rotation {} ago", human::duration(ago))
    };
    let memory = &now.memory;
    let resident = memory
        .resident_bytes
        .map_or_else(|| "?".to_owned(), human::bytes);
    let maps = memory
        .maps_bytes
        .map(|it| format!(" and {} in the kernel", human::bytes(it)));
    let queued: u64 = now.sinks.values().map(|sink| sink.queue_length).sum();
    let queued = match queued {
        0 => String::new(),
        1 => ", 1 interval waits for its sink".to_owned(),
        more => format!(
            ", {} wait for their sinks",
            human::counted(more, "interval")
        ),
    };
    format!(
        "probe-agent {}, process {}, up {}; {rotated}{queued}; memory {resident}{}",
        info.version,
        info.pid,
        human::duration(up),
        maps.unwrap_or_default()
    )
}

fn details(
    out: &mut impl Write,
    style: TableStyle,
    width: usize,
    iface: &str,
    it: &InterfaceStatus,
) -> io::Result<()> {
    writeln!(out, "\n{}", paint(style, Colour::Bold, &printable(iface)))?;
    let traffic = format!(
        "received {} in {}, sent {} in {}",
        human::bytes(it.bytes_rcvd),
        human::counted(it.packets_rcvd, "packet"),
        human::bytes(it.bytes_sent),
        human::count(it.packets_sent)
    );
    entry(out, width, "traffic", LABEL, &traffic)?;
    entry(out, width, "ledger", LABEL, &ledger_line(&it.ledger))?;
    entry(out, width, "hooks", LABEL, &it.attachment.reason)
}

fn entry(
    out: &mut impl Write,
    width: usize,
    label: &str,
    indent: usize,
    text: &str,
) -> io::Result<()> {
    // Sinks have longer names than what else stands there.
    let indent = indent.max(width_of(label) + 1);
    let mut label = label;
    for line in wrap(&printable(text), width.saturating_sub(indent)) {
        writeln!(out, "{}{line}", padded(label, indent))?;
        label = "";
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{super::table::tests::report, good, summary};
    use probe_api::v1::{
        info::Info,
        status::{InterfaceStatus, SinkStatus},
    };

    #[test]
    fn what_was_lost_before_is_not_said_to_be_good() {
        let mut now = report();
        assert_eq!(good(&now), "good: every packet seen has an address");
        let eth0 = now.interfaces.get_mut("eth0").expect("it is captured");
        eth0.reattached = 1;
        assert!(good(&now).starts_with("good now: "));
        let changes: [fn(&mut InterfaceStatus); 3] = [
            |it| it.uncovered_packets = 1,
            |it| it.ledger.overflow_packets = 1,
            |it| {
                it.ledger.losses.insert("ring_full".to_owned(), 1);
            },
        ];
        for change in changes {
            let mut now = report();
            change(now.interfaces.get_mut("eth0").expect("it is captured"));
            assert!(good(&now).starts_with("good now: "));
        }

        let mut now = report();
        let sink = SinkStatus {
            failed: 1,
            ..SinkStatus::default()
        };
        now.sinks.insert("parquet".to_owned(), sink);
        assert!(good(&now).starts_with("good now: "));
    }

    /// What ended before the first rotation is written: "nothing written" would be untrue.
    #[test]
    fn the_first_rotation_is_told_as_missing_until_it_comes() {
        let mut now = report();
        let info = Info {
            version: "1".to_owned(),
            commit: String::new(),
            object: String::new(),
            kernel: String::new(),
            architecture: String::new(),
            pid: 7,
            config_path: None,
            started_at: now.started_at,
            uptime_seconds: 0,
        };
        assert!(summary(&info, &now).contains("; last rotation 5m"));
        now.last_rotation = now.started_at;
        assert!(summary(&info, &now).contains("; no rotation yet;"));
    }
}
