//! The report as text: one line when all is well, else a small table.

use std::collections::BTreeMap;

use jiff::{Timestamp, tz::TimeZone};
use serde::Serialize;

use super::{Blind, IfaceReport, Outage, Report, Span, Why};
use crate::live::State;

/// Lines of the table, of which there is no end where interfaces come and go.
const MOST_LINES: usize = 12;

/// How text is written.
#[derive(Clone, Debug)]
pub struct TextStyle {
    /// The zone of the times.
    pub zone: TimeZone,
    /// Whether there is more than one host or store, which are then named.
    pub names_hosts: bool,
}

/// The report as text, in full.
#[derive(Clone, Debug, Serialize)]
pub struct Text {
    /// Whether the answer is complete, and what it is made of.
    pub head: String,
    /// A line for each lack, and for files of a newer schema.
    pub details: Vec<String>,
}

impl Report {
    /// The lines of the report, of which a terminal has space for a few.
    pub fn lines(&self, style: &TextStyle) -> Vec<String> {
        let Text { head, mut details } = self.text(style);
        if self.complete {
            return vec![head];
        }
        if details.len() > MOST_LINES {
            let more = details.len() - (MOST_LINES - 1);
            details.truncate(MOST_LINES - 1);
            details.push(format!("… and {more} more: --format json has all of them"));
        }
        let details = details.into_iter().map(|line| format!("  {line}"));
        [head].into_iter().chain(details).collect()
    }

    /// The report as text, in full.
    pub fn text(&self, style: &TextStyle) -> Text {
        let intervals: usize = self.interfaces.iter().map(|iface| iface.intervals).sum();
        let with_data = self
            .interfaces
            .iter()
            .filter(|iface| iface.intervals > 0)
            .count();
        let of = format!(
            "{}, {}, {}",
            shown(self.asked, &style.zone),
            counted(with_data, "interface"),
            counted(intervals, "interval"),
        );
        let of = match self.live {
            State::Merged { intervals: 1.., .. } => format!("{of}, the last of them running"),
            _ => of,
        };
        let word = if self.complete {
            "complete"
        } else {
            "INCOMPLETE"
        };
        Text {
            head: format!("{word}: {of}{}", self.unwritten(style)),
            details: self.details(style),
        }
    }

    /// What the running interval has is not in the store; why it is not in the answer, where that can be
    /// helped.
    fn unwritten(&self, style: &TextStyle) -> String {
        let why = match &self.live {
            State::Refused { why } => format!("; what came since is missing: {why}"),
            _ => String::new(),
        };
        match self.data_until {
            Some(until) if until < self.asked.until => {
                format!("; stored until {}{why}", time(until, &style.zone))
            }
            _ => why,
        }
    }

    fn of_running(&self, style: &TextStyle) -> Vec<String> {
        let State::Merged {
            left_out,
            unwritten,
            ..
        } = &self.live
        else {
            return Vec::new();
        };
        let left_out = left_out.iter().map(|left| {
            format!(
                "the running interval has {} more flows, of {} packets and {} bytes, than the agent gives: \
                 ask with a filter, or when it has ended",
                left.flows, left.packets, left.bytes
            )
        });
        let unwritten = unwritten.iter().map(|it| {
            let iface = probe_flow::text::printable(&it.iface);
            let span = shown(it.span, &style.zone);
            format!(
                "{iface}: {span} has ended and waits to be stored (`probe-agent status` tells why)"
            )
        });
        left_out.chain(unwritten).collect()
    }

    fn details(&self, style: &TextStyle) -> Vec<String> {
        let zone = &style.zone;
        let mut lines = Vec::new();
        if self.data_until.is_none() {
            lines.push("nothing is stored of this time".to_owned());
        }
        lines.extend(self.of_running(style));
        let outages = self.outages.iter().filter(|_| self.data_until.is_some());
        lines.extend(outages.map(|outage| outage.line(style)));
        for iface in &self.interfaces {
            let name = iface.shown(style);
            let holes = iface.holes.iter().filter(|_| iface.intervals > 0);
            lines.extend(holes.map(|hole| format!("{name}: no data {}", shown(*hole, zone))));
            if iface.intervals == 0 && self.stored_until.is_some() {
                lines.push(format!("{name}: no data in the asked time"));
            }
            lines.extend(
                iface
                    .blind
                    .iter()
                    .map(|blind| format!("{name}: {}", blind.line(zone))),
            );
            if iface.missed > 0 {
                lines.push(format!("{name}: packets lost: {}", losses(&iface.losses)));
            }
            if iface.residue != 0 {
                lines.push(format!(
                    "{name}: residue of {} packets: report it",
                    iface.residue
                ));
            }
            if iface.overflow_packets > 0 {
                let packets = iface.overflow_packets;
                lines.push(format!(
                    "{name}: {packets} packets are in overflow flows, without their hosts"
                ));
            }
            lines.extend(iface.overlaps.iter().map(|span| {
                let span = shown(*span, zone);
                format!("{name}: intervals overlap {span}, whose flows count twice (clock set back, or two agents)")
            }));
        }
        lines.extend(
            self.skipped
                .iter()
                .map(|file| format!("left out {}: {}", file.path.display(), file.why)),
        );
        if let Some(first) = self.newer_schema.first() {
            let files = counted(self.newer_schema.len(), "file");
            lines.push(format!(
                "{files} of a newer schema, such as {}: what is new is not shown",
                first.display()
            ));
        }
        lines
    }
}

impl Outage {
    fn line(&self, style: &TextStyle) -> String {
        let span = shown(self.span, &style.zone);
        let why = match self.why {
            Why::BeforeTheFirst => "nothing is stored before",
            Why::NotRunning => "the agent was not running",
            Why::AfterTheLast => "nothing is stored since",
        };
        if style.names_hosts {
            format!("{}: no data {span}: {why}", self.host)
        } else {
            format!("no data {span}: {why}")
        }
    }
}

impl IfaceReport {
    fn shown(&self, style: &TextStyle) -> String {
        let iface = probe_flow::text::printable(&self.iface);
        if style.names_hosts && !self.host.is_empty() {
            format!("{}/{iface}", probe_flow::text::printable(&self.host))
        } else {
            iface
        }
    }
}

impl Blind {
    fn line(&self, zone: &TimeZone) -> String {
        let shares = [
            ("received", self.coverage_rcvd),
            ("sent", self.coverage_sent),
        ];
        let shares = shares.into_iter().filter_map(|(word, share)| {
            let share = share.filter(|share| *share < 1.0)?;
            Some(format!("{} of the packets {word}", percent(share)))
        });
        let mut parts: Vec<_> = shares.collect();
        if self.detached_ms > 0 {
            parts.push(format!(
                "programs missing for {} s",
                seconds(self.detached_ms)
            ));
        }
        let parts = parts.join(", ");
        format!("seen {parts}, {}", shown(self.span, zone)).replace("seen programs", "programs")
    }
}

fn seconds(ms: u64) -> String {
    format!("{}.{}", ms / 1000, ms % 1000 / 100)
}

/// Rounded down: nearly all is not all.
fn percent(share: f64) -> String {
    format!("{:.1} %", (share * 1000.0).floor() / 10.0)
}

fn losses(losses: &BTreeMap<String, u64>) -> String {
    let missed = losses
        .iter()
        .filter(|(name, _)| !crate::ledger::is_by_design(name));
    let missed = missed.map(|(name, packets)| format!("{name} {packets}"));
    missed.collect::<Vec<_>>().join(", ")
}

fn counted(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// `2026-11-27 02:00:00 – 03:10:00`: the day once, where it is the same.
fn shown(span: Span, zone: &TimeZone) -> String {
    let (since, until) = (
        span.since.to_zoned(zone.clone()),
        span.until.to_zoned(zone.clone()),
    );
    let until = if since.date() == until.date() {
        until.strftime("%H:%M:%S").to_string()
    } else {
        time(span.until, zone)
    };
    format!("{} – {until}", time(span.since, zone))
}

fn time(time: Timestamp, zone: &TimeZone) -> String {
    time.to_zoned(zone.clone())
        .strftime("%Y-%m-%d %H:%M:%S")
        .to_string()
}
