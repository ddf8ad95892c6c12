//! The screen of `top`: interfaces, the ledger, the list, and a line for the keys.

use std::collections::HashMap;

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style, Stylize},
    text::{Line, Text},
    widgets::Paragraph,
};

use super::{
    keys::{KEYS, LEGEND},
    model::{Reading, Top, View},
};
use crate::{
    cli::status::{
        findings,
        table::{colour, ledger_line, lines},
    },
    term::{
        flow_format::{Numbers, flow_lines},
        human,
        page::{Colour, fold, wrap},
    },
};
use probe_api::v1::{ledger::LedgerCounts, status::StatusReport};
use probe_flow::text::{counted, printable};

/// A reading that is no colour for those who asked for none (<https://no-color.org>).
fn coloured(style: Style, colour: Color) -> Style {
    if std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) {
        style.add_modifier(Modifier::BOLD)
    } else {
        style.fg(colour)
    }
}

/// The style of a line that `status` paints in this colour.
fn style_of(colour: Colour) -> Style {
    let style = Style::new();
    match colour {
        Colour::None => style,
        Colour::Bold => style.add_modifier(Modifier::BOLD),
        Colour::Red => coloured(style, Color::Red),
        Colour::Green => coloured(style, Color::Green),
        Colour::Yellow => coloured(style, Color::Yellow),
    }
}

pub(super) fn draw(frame: &mut Frame<'_>, top: &Top) {
    let area = frame.area();
    let Some((earlier, now)) = top.readings() else {
        return;
    };
    if top.with_help {
        return draw_help(frame, top, &now.status);
    }
    let (width, height) = (usize::from(area.width), usize::from(area.height));
    // At most a third of the screen, with a line that says how many more there are.
    let interfaces = now.status.interfaces.len();
    let shown = interfaces.min((height / 3).max(1));
    let rows = 1 + shown + usize::from(shown < interfaces);
    let messages = messages(top, width);
    // A sixth of the screen, and what the list leaves free.
    let ledger_text = wrap(&ledger_line(&ledger_sum(&now.status)), width);
    let others = 2 + ledger_text.len() + rows + LIST_HEAD + top.list().len() + messages.len();
    let room = (height / 6).max(1).max(height.saturating_sub(others));
    let trouble = fitted(&troubles(&earlier.status, &now.status, width), room);
    let parts = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(length(rows)),
        Constraint::Length(length(ledger_text.len() + trouble.len())),
        Constraint::Fill(1),
        Constraint::Length(length(1 + messages.len())),
    ]);
    let [title, table, ledger, list, keys] = parts.areas(area);
    frame.render_widget(title_line(top, &now.status, title), title);
    frame.render_widget(interface_table(top, [earlier, now], shown, table), table);
    frame.render_widget(ledger_lines(ledger_text, trouble), ledger);
    draw_list(frame, top, list);
    if top.silence().is_some() {
        // What is no longer true does not look so.
        let old = Rect {
            height: area.height.saturating_sub(title.height + keys.height),
            y: table.y,
            ..area
        };
        let style = Style::new()
            .fg(Color::Reset)
            .remove_modifier(Modifier::all())
            .add_modifier(Modifier::DIM);
        frame.buffer_mut().set_style(old, style);
    }
    frame.render_widget(key_lines(top, messages, width), keys);
}

/// Lines of the list above its first flow.
const LIST_HEAD: usize = 3;

fn length(lines: usize) -> u16 {
    u16::try_from(lines).unwrap_or(u16::MAX)
}

/// The lines of each trouble, what is wrong now before what will be.
fn troubles(earlier: &StatusReport, now: &StatusReport, width: usize) -> Vec<Vec<String>> {
    let findings = findings::compare(now, Some(earlier)).into_iter();
    let troubles = findings.filter(|it| it.is_trouble);
    troubles
        .map(|it| wrap(&printable(&it.text), width))
        .collect()
}

/// As many troubles as there is room for, each to its end, and how many more there are. The first is cut where
/// it alone is too long.
fn fitted(troubles: &[Vec<String>], room: usize) -> Vec<String> {
    if troubles.iter().map(Vec::len).sum::<usize>() <= room {
        return troubles.concat();
    }
    let mut lines = Vec::new();
    let mut whole = 0;
    for trouble in troubles {
        if lines.len() + trouble.len() >= room {
            break;
        }
        lines.extend(trouble.iter().cloned());
        whole += 1;
    }
    if whole == 0 {
        let first = troubles.first().into_iter().flatten();
        lines.extend(first.take(room.saturating_sub(1)).cloned());
    }
    lines.push(match (whole, troubles.len() - whole) {
        (0, 1) => "… `probe-agent status` tells the rest".to_owned(),
        (0, more) => format!("… and {} more; `probe-agent status` tells all", more - 1),
        (_, more) => format!("and {more} more; `probe-agent status` tells all"),
    });
    lines
}

fn title_line(top: &Top, now: &StatusReport, area: Rect) -> Paragraph<'static> {
    let width = usize::from(area.width);
    let clock = now.at.strftime("%H:%M:%S");
    if let Some((silent, _)) = top.silence() {
        let text = format!(
            "NO ANSWER since {clock}Z, for {}; probe-agent",
            human::duration(silent)
        );
        let red = coloured(Style::new().add_modifier(Modifier::REVERSED), Color::Red);
        return Paragraph::new(format!("{text:<width$}")).style(red);
    }
    let up = now.at.duration_since(now.started_at).unsigned_abs();
    let memory = now
        .memory
        .resident_bytes
        .map_or_else(String::new, |it| format!(", {}", human::bytes(it)));
    let state = if top.paused { "PAUSED" } else { "" };
    let left = format!("probe-agent  up {}{memory}", human::duration(up));
    let right = format!(
        "{state}  every {}  {clock}Z",
        humantime::format_duration(top.interval),
    );
    let gap = width.saturating_sub(left.len() + right.len());
    let text = if gap > 0 {
        format!("{left}{}{right}", " ".repeat(gap))
    } else {
        format!("{left}  {state}")
    };
    Paragraph::new(text).reversed()
}

/// A line for each of the busiest interfaces, and one that counts the others.
fn interface_table(
    top: &Top,
    [earlier, now]: [&Reading; 2],
    shown: usize,
    area: Rect,
) -> Paragraph<'static> {
    let (earlier, now) = (&earlier.status, &now.status);
    let (head, rows) = lines(Some(usize::from(area.width)), earlier, now);
    let rows: HashMap<_, _> = now.interfaces.keys().zip(rows).collect();
    let mut text = vec![Line::from(head).bold()];
    let busiest = top.busiest();
    let more = busiest.len().saturating_sub(shown);
    for iface in busiest.into_iter().take(shown) {
        let Some((state, row)) = rows.get(&iface.to_owned()) else {
            continue;
        };
        text.push(Line::styled(printable(row), style_of(colour(state))));
    }
    if more > 0 {
        let rest = format!("and {more} with less traffic; name some to see only those");
        text.push(Line::from(rest).dim());
    }
    Paragraph::new(Text::from(text))
}

/// The ledgers of all interfaces as one.
fn ledger_sum(now: &StatusReport) -> LedgerCounts {
    let mut sum = LedgerCounts::default();
    for it in now.interfaces.values() {
        sum.seen += it.ledger.seen;
        sum.flows += it.ledger.flows;
        sum.residue += it.ledger.residue;
        for (name, packets) in &it.ledger.losses {
            *sum.losses.entry(name.clone()).or_default() += packets;
        }
    }
    sum
}

/// The ledger, and what is wrong.
fn ledger_lines(ledger: Vec<String>, trouble: Vec<String>) -> Paragraph<'static> {
    let red = style_of(Colour::Red);
    let ledger = ledger.into_iter().map(|it| Line::from(it).dim());
    let trouble = trouble.into_iter().map(|it| Line::styled(it, red));
    Paragraph::new(ledger.chain(trouble).collect::<Text<'_>>())
}

fn draw_list(frame: &mut Frame<'_>, top: &Top, area: Rect) {
    let Some((_, now)) = top.readings() else {
        return;
    };
    let flows = top.list();
    let room = usize::from(area.height).saturating_sub(LIST_HEAD);
    let first = top.scrolled.min(flows.len().saturating_sub(room));
    let visible = flows.get(first..).unwrap_or_default();
    let visible = visible.get(..room.min(visible.len())).unwrap_or_default();
    let with_iface = now.status.interfaces.len() > 1 && top.view == View::Flows;
    let width = Some(usize::from(area.width));
    let numbers = if top.shows_rates() {
        Numbers::Rates
    } else {
        Numbers::Human
    };
    let (head, lines) = flow_lines(width, numbers, with_iface, visible);

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
    let noun = match top.view {
        View::Flows => "flow",
        View::Talkers => "talker",
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
        "{} by {}, {kind}{filter}{}",
        counted(count as u64, noun),
        top.order.name(),
        " ".repeat(300)
    )
}

/// Why the agent does not answer, and what is wrong with what is typed. The place of a mistake is
/// marked below an excerpt of the filter, which is short.
fn messages(top: &Top, width: usize) -> Vec<String> {
    let silence = top.silence().map(|(_, reason)| reason);
    let mistake = top.mistake.as_deref();
    let lines = silence.into_iter().chain(mistake).flat_map(str::lines);
    lines
        .map(printable)
        .flat_map(|line| fold(&line, width))
        .collect()
}

fn key_lines(top: &Top, messages: Vec<String>, width: usize) -> Paragraph<'static> {
    const KEYS: &str = "q quit  p pause  s sort  r rates/counts  t talkers/flows  f filter  ? help";
    let red = style_of(Colour::Red);
    let messages = messages.into_iter();
    let mut text: Vec<_> = messages.map(|it| Line::styled(it, red)).collect();
    text.push(match &top.input {
        Some(input) => Line::from(input_line(input, width)).bold(),
        None => Line::from(KEYS).dim(),
    });
    Paragraph::new(Text::from(text))
}

/// What is being typed, with its end in sight.
fn input_line(input: &str, width: usize) -> String {
    const PROMPT: &str = "filter: ";
    let input = printable(input);
    let room = width.saturating_sub(PROMPT.len() + 1);
    let count = input.chars().count();
    if count <= room {
        return format!("{PROMPT}{input}_");
    }
    let hidden = count - room.saturating_sub(1);
    let end: String = input.chars().skip(hidden).collect();
    format!("{PROMPT}…{end}_")
}

/// The whole screen, since on a small one nothing else would have room beside it.
fn draw_help(frame: &mut Frame<'_>, top: &Top, now: &StatusReport) {
    let parts = Layout::vertical([
        Constraint::Length(1),
        Constraint::Fill(1),
        Constraint::Length(1),
    ]);
    let [title, body, bottom] = parts.areas(frame.area());
    let mut text = vec![Line::from("")];
    for (key, what) in KEYS {
        text.push(Line::from(format!("  {key:<24}{what}")));
    }
    text.push(Line::from(""));
    let width = usize::from(body.width).saturating_sub(2);
    let legend = LEGEND.iter().flat_map(|it| wrap(it, width));
    text.extend(legend.map(|line| Line::from(format!("  {line}"))));
    frame.render_widget(title_line(top, now, title), title);
    frame.render_widget(Paragraph::new(Text::from(text)), body);
    frame.render_widget(Line::from("any key closes this list").dim(), bottom);
}

#[cfg(test)]
mod tests;
