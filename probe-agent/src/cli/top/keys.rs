//! What the keys do.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::model::{Top, View};
use probe_flow::filter::{Filter, MAX_LENGTH};

/// The keys, for the screen of help.
pub(super) const KEYS: [(&str, &str); 10] = [
    ("q, Esc, Ctrl-C", "end"),
    ("p, space", "pause, and go on"),
    ("s", "sort by the next: bytes, packets, received, sent"),
    ("r", "rates a second, or counts since the last rotation"),
    ("t, Tab", "talkers (addresses), or flows"),
    ("f, /", "type a filter: tcp port https and not net 10/8"),
    ("c", "clear the filter"),
    ("j k, arrows, PgUp PgDn", "scroll"),
    ("Enter", "read again now"),
    ("?, h", "this list"),
];

/// What the signs and units mean, below the keys.
pub(super) const LEGEND: [&str; 3] = [
    "* the direction is certain, + stands for many flows, :* any or no port",
    "rates in bit/s by thousands, sizes in bytes by 1024 (KiB, MiB)",
    "interfaces with the most traffic come first; rcvd and sent are seen from them",
];

impl Top {
    /// A key was pressed.
    pub(super) fn on_key(&mut self, key: KeyEvent) {
        if key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c') {
            self.ended = true;
            return;
        }
        if let Some(input) = self.input.take() {
            self.on_typed(input, key.code);
            return;
        }
        if self.with_help {
            self.with_help = false;
            return;
        }
        match key.code {
            KeyCode::Char('q') | KeyCode::Esc => self.ended = true,
            KeyCode::Char('p' | ' ') => self.paused = !self.paused,
            KeyCode::Char('s') => self.order = self.order.next(),
            KeyCode::Char('r') => self.with_rates = !self.with_rates,
            KeyCode::Char('t') | KeyCode::Tab => {
                self.view = match self.view {
                    View::Flows => View::Talkers,
                    View::Talkers => View::Flows,
                };
                self.scrolled = 0;
            }
            KeyCode::Char('f' | '/') => self.input = Some(self.filter.to_string()),
            KeyCode::Char('c') => self.filter_by(Filter::default()),
            KeyCode::Char('j') | KeyCode::Down => self.scrolled += 1,
            KeyCode::Char('k') | KeyCode::Up => self.scrolled = self.scrolled.saturating_sub(1),
            KeyCode::PageDown => self.scrolled += 10,
            KeyCode::PageUp => self.scrolled = self.scrolled.saturating_sub(10),
            KeyCode::Home => self.scrolled = 0,
            KeyCode::Enter => self.wants_refresh = true,
            KeyCode::Char('?' | 'h') => self.with_help = true,
            _ => {}
        }
    }

    fn on_typed(&mut self, mut input: String, code: KeyCode) {
        match code {
            KeyCode::Esc => {
                self.mistake = None;
                return;
            }
            KeyCode::Enter => match input.parse() {
                Ok(filter) => {
                    self.mistake = None;
                    self.filter_by(filter);
                    return;
                }
                Err(error) => self.mistake = Some(error.to_string()),
            },
            KeyCode::Backspace => {
                input.pop();
            }
            KeyCode::Char(char) if input.len() < MAX_LENGTH && !char.is_control() => {
                input.push(char);
            }
            _ => {}
        }
        self.input = Some(input);
    }

    fn filter_by(&mut self, filter: Filter) {
        self.filter = filter;
        self.scrolled = 0;
        self.wants_refresh = true;
    }
}
