//! The screen of `top`: interfaces, the ledger, the list, and a line for the keys.

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style, Stylize},
    text::{Line, Text},
    widgets::{Clear, Paragraph},
};

use super::{
    keys::KEYS,
    model::{Top, View},
};
use crate::{
    cli::status::{
        findings,
        table::{ledger_line, lines},
    },
    term::{
        flow_format::{Numbers, flow_lines},
        human,
    },
};
use probe_api::v1::status::StatusReport;
use probe_flow::text::printable;

/// A reading that is no colour for those who asked for none (<https://no-color.org>).
fn coloured(style: Style, colour: Color) -> Style {
    if std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) {
        style.add_modifier(Modifier::BOLD)
    } else {
        style.fg(colour)
    }
}

pub(super) fn draw(frame: &mut Frame<'_>, top: &Top) {
    let area = frame.area();
    let Some((earlier, now)) = top.readings() else {
        return;
    };
    let trouble = troubles(&earlier.status, &now.status);
    let height = usize::from(area.height);
    let interfaces = now.status.interfaces.len();
    // At most a third of the screen, with a line that says how many more there are.
    let shown = interfaces.min((height / 3).max(1));
    let failure = failure_lines(top);
    let bottom = 1 + failure.len();
    let parts = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(length(1 + shown + usize::from(shown < interfaces))),
        Constraint::Length(length(1 + trouble.len().min(3))),
        Constraint::Fill(1),
        Constraint::Length(length(bottom)),
    ]);
    let [title, table, ledger, list, keys] = parts.areas(area);
    frame.render_widget(title_line(top, &now.status, title), title);
    frame.render_widget(
        interface_table(&earlier.status, &now.status, shown, table),
        table,
    );
    frame.render_widget(ledger_lines(&now.status, &trouble), ledger);
    draw_list(frame, top, list);
    frame.render_widget(key_lines(top, failure), keys);
    if top.with_help {
        draw_help(frame, area);
    }
}

fn length(lines: usize) -> u16 {
    u16::try_from(lines).unwrap_or(u16::MAX)
}

fn troubles(earlier: &StatusReport, now: &StatusReport) -> Vec<String> {
    let findings = findings::compare(now, Some(earlier)).into_iter();
    let troubles = findings.filter(|it| it.is_trouble);
    troubles.map(|it| printable(&it.text)).collect()
}

fn title_line(top: &Top, now: &StatusReport, area: Rect) -> Paragraph<'static> {
    let up = now.at.duration_since(now.started_at).unsigned_abs();
    let memory = now
        .memory
        .resident_bytes
        .map_or_else(String::new, |it| format!(", {}", human::bytes(it)));
    let state = if top.paused { "PAUSED" } else { "" };
    let left = format!("probe-agent  up {}{memory}", human::duration(up));
    let right = format!(
        "{state}  every {}  {}Z",
        humantime::format_duration(top.interval),
        now.at.strftime("%H:%M:%S")
    );
    let gap = usize::from(area.width).saturating_sub(left.len() + right.len());
    let text = if gap > 0 {
        format!("{left}{}{right}", " ".repeat(gap))
    } else {
        format!("{left}  {state}")
    };
    Paragraph::new(text).reversed()
}

fn interface_table(
    earlier: &StatusReport,
    now: &StatusReport,
    shown: usize,
    area: Rect,
) -> Paragraph<'static> {
    let (head, rows) = lines(Some(usize::from(area.width)), earlier, now);
    let mut text = vec![Line::from(head).bold()];
    let more = rows.len().saturating_sub(shown);
    for (state, row) in rows.into_iter().take(shown) {
        let style = match state.as_str() {
            "ok" | "idle" => Style::new(),
            "partial" => coloured(Style::new(), Color::Yellow),
            _ => coloured(Style::new(), Color::Red),
        };
        text.push(Line::styled(printable(&row), style));
    }
    if more > 0 {
        text.push(Line::from(format!("and {more} more; name some to see only those")).dim());
    }
    Paragraph::new(Text::from(text))
}

/// The ledgers of all interfaces as one, and what is wrong.
fn ledger_lines(now: &StatusReport, trouble: &[String]) -> Paragraph<'static> {
    let mut sum = probe_api::v1::ledger::LedgerCounts::default();
    for it in now.interfaces.values() {
        sum.seen += it.ledger.seen;
        sum.flows += it.ledger.flows;
        sum.residue += it.ledger.residue;
        for (name, packets) in &it.ledger.losses {
            *sum.losses.entry(name.clone()).or_default() += packets;
        }
    }
    let mut text = vec![Line::from(ledger_line(&sum)).dim()];
    let red = coloured(Style::new(), Color::Red);
    let trouble = trouble.iter().take(3);
    text.extend(trouble.map(|it| Line::styled(it.clone(), red)));
    Paragraph::new(Text::from(text))
}

fn draw_list(frame: &mut Frame<'_>, top: &Top, area: Rect) {
    let Some((_, now)) = top.readings() else {
        return;
    };
    let flows = top.list();
    let room = usize::from(area.height).saturating_sub(3);
    let first = top.scrolled.min(flows.len().saturating_sub(room));
    let visible = flows.get(first..).unwrap_or_default();
    let visible = visible.get(..room.min(visible.len())).unwrap_or_default();
    let with_iface = now.status.interfaces.len() > 1 && top.view == View::Flows;
    let width = Some(usize::from(area.width));
    let (head, lines) = flow_lines(width, Numbers::Human, with_iface, visible);

    let mut text = vec![Line::from(list_title(top, flows.len())).reversed()];
    text.extend(head.into_iter().map(|line| Line::from(line).bold()));
    text.extend(lines.into_iter().map(|line| Line::from(printable(&line))));
    if flows.is_empty() {
        let nothing = if top.filter.is_empty() {
            "no traffic since the last sample"
        } else {
            "no flow passes the filter (c clears it)"
        };
        text.truncate(1);
        text.push(Line::from(nothing).dim());
    }
    frame.render_widget(Paragraph::new(Text::from(text)), area);
}

fn list_title(top: &Top, count: usize) -> String {
    let what = match (top.view, count) {
        (View::Flows, 1) => "flow",
        (View::Flows, _) => "flows",
        (View::Talkers, 1) => "talker",
        (View::Talkers, _) => "talkers",
    };
    let kind = if top.shows_rates() {
        "a second"
    } else {
        "since the last rotation"
    };
    let filter = if top.filter.is_empty() {
        String::new()
    } else {
        format!(", {}", printable(&top.filter.to_string()))
    };
    // Filled up, so that the bar is as wide as the screen.
    format!(
        "{count} {what} by {}, {kind}{filter}{}",
        top.order.name(),
        " ".repeat(300)
    )
}

/// What failed, in lines. The place of an error in a filter is marked below what is being typed.
fn failure_lines(top: &Top) -> Vec<String> {
    let lines = top.failure.iter().flat_map(|failure| failure.lines());
    lines.map(printable).collect()
}

fn key_lines(top: &Top, failure: Vec<String>) -> Paragraph<'static> {
    let red = coloured(Style::new(), Color::Red);
    let mut text: Vec<_> = failure
        .into_iter()
        .map(|it| Line::styled(it, red))
        .collect();
    text.push(match &top.input {
        Some(input) => Line::from(format!("filter: {}_", printable(input))).bold(),
        None => {
            Line::from("q quit  p pause  s sort  r rates/counts  t talkers/flows  f filter  ? help")
                .dim()
        }
    });
    Paragraph::new(Text::from(text))
}

fn draw_help(frame: &mut Frame<'_>, area: Rect) {
    let width = 76.min(area.width);
    let height = length(KEYS.len() + 2).min(area.height);
    let place = Rect {
        x: (area.width - width) / 2,
        y: (area.height - height) / 2,
        width,
        height,
    };
    let keys = KEYS
        .iter()
        .map(|(key, what)| Line::from(format!("  {key:<24}{what}")));
    let text: Vec<_> = [Line::from("")].into_iter().chain(keys).collect();
    frame.render_widget(Clear, place);
    frame.render_widget(Paragraph::new(Text::from(text)).reversed(), place);
}

#[cfg(test)]
mod tests;
