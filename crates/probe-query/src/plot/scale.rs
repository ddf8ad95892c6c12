//! Axes of numbers: linear, from zero, with ticks at round numbers.

use super::chart::Unit;

/// The number as a float, which is good to more digits than anybody sees.
#[expect(clippy::cast_precision_loss, reason = "for drawing")]
pub(crate) const fn float(number: usize) -> f64 {
    number as f64
}

/// The whole number nearest to it; 0 for what is below.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the conversion saturates, and what is no number is 0"
)]
pub(crate) fn nearest(number: f64) -> usize {
    number.round() as usize
}

/// Distances of ticks that people count by, from one not above `least` on.
fn steps(unit: Unit, least: f64) -> impl Iterator<Item = f64> {
    let is_binary = unit.is_binary();
    let base: f64 = if is_binary { 2.0 } else { 10.0 };
    let mantissas: &[f64] = if is_binary { &[1.0] } else { &[1.0, 2.0, 5.0] };
    let least = if unit.is_whole() {
        least.max(1.0)
    } else {
        least
    };
    // No rate of a stored flow is smaller.
    let first = least.max(1e-9).log(base).floor() - 1.0;
    let powers = (0..80_u32).map(move |power| base.powf(first + f64::from(power)));
    let all = powers.flat_map(move |power| mantissas.iter().map(move |it| it * power));
    all.filter(move |step| !unit.is_whole() || *step >= 1.0)
}

/// An axis whose length is free: so many ticks at most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Axis {
    /// Distance of the ticks.
    pub(crate) step: f64,
    /// Number of ticks above zero.
    pub(crate) up: usize,
    /// Number of ticks below zero.
    pub(crate) down: usize,
}

impl Axis {
    /// An axis up to these numbers on both sides of zero, with at most so many ticks beside zero.
    pub(crate) fn new(unit: Unit, up: f64, down: f64, most: usize) -> Self {
        let ticks = |number: f64, step: f64| nearest((number / step).ceil());
        let fits = |step: &f64| ticks(up, *step) + ticks(down, *step) <= most.max(2);
        let least = (up + down) / float(most.max(2));
        let step = steps(unit, least)
            .find(fits)
            .unwrap_or(up.max(down).max(1.0));
        Self {
            step,
            up: ticks(up, step).max(usize::from(down <= 0.0)),
            down: ticks(down, step),
        }
    }

    /// The largest number above zero.
    pub(crate) fn top(&self) -> f64 {
        self.step * float(self.up)
    }

    /// From the lowest to the highest.
    pub(crate) fn length(&self) -> f64 {
        self.step * float(self.up + self.down)
    }
}

/// An axis in rows of a terminal, whose ticks are where rows end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rows {
    /// What a row stands for.
    pub(crate) per_row: f64,
    /// Rows from tick to tick.
    pub(crate) every: usize,
    /// Number of rows above zero.
    pub(crate) up: usize,
    /// Number of rows below zero.
    pub(crate) down: usize,
}

impl Rows {
    /// The finest rows that reach these numbers on both sides of zero.
    pub(crate) fn new(unit: Unit, up: f64, down: f64, most: usize) -> Self {
        let most = most.max(2);
        let least = (up + down) / float(most);
        let rows = |number: f64, per_row: f64| nearest((number / per_row).ceil());
        let mut best: Option<Self> = None;
        for step in steps(unit, least).take(24) {
            for every in [5, 4, 3, 2, 1] {
                let per_row = step / float(every);
                let found = Self {
                    per_row,
                    every,
                    up: rows(up, per_row),
                    down: rows(down, per_row),
                };
                // A tick beside zero is seen at least.
                let found = found.with_a_tick(up >= down);
                let is_better = best.is_none_or(|best| per_row < best.per_row);
                if found.up + found.down <= most && is_better {
                    best = Some(found);
                }
            }
        }
        best.unwrap_or(Self {
            per_row: (up.max(down) / float(most / 2)).max(1.0),
            every: 1,
            up: most / 2,
            down: if down > 0.0 { most / 2 } else { 0 },
        })
    }

    fn with_a_tick(mut self, is_up: bool) -> Self {
        let side = if is_up { &mut self.up } else { &mut self.down };
        *side = (*side).max(self.every);
        self
    }

    /// The number that a row ends at, counted from zero.
    pub(crate) fn number(&self, row: usize) -> f64 {
        self.per_row * float(row)
    }
}

/// A number at a tick, with all its digits and no more: `512Ki`, `1.5Mi`, `20M`, `0`.
pub(crate) fn tick(unit: Unit, number: f64) -> String {
    const PREFIXES: [&str; 7] = ["", "k", "M", "G", "T", "P", "E"];
    let base = if unit.is_binary() { 1024.0 } else { 1000.0 };
    let mut scaled = number;
    let mut place = 0;
    while scaled >= base * (1.0 - 1e-9) && place + 1 < PREFIXES.len() {
        scaled /= base;
        place += 1;
    }
    let mut digits = format!("{scaled:.9}");
    // Steps such as 0.1 have no end as binary fractions.
    if scaled > 1e-3 {
        digits = format!("{scaled:.6}");
    }
    let digits = digits.trim_end_matches('0').trim_end_matches('.');
    let prefix = match (PREFIXES[place], unit.is_binary()) {
        ("", _) => String::new(),
        ("k", true) => "Ki".to_owned(),
        (prefix, true) => format!("{prefix}i"),
        (prefix, false) => prefix.to_owned(),
    };
    format!("{digits}{prefix}")
}
