//! The lines of one interval's flows, octet for octet as [`FlowView::line`] serializes them.
//!
//! [`FlowView::line`]: probe_flow::schema::FlowView::line
//!
//! A file has a line for each flow, and only some of a line differs from flow to flow. Names of
//! fields, interface and bounds are rendered once for all of them; the rest is appended by value.

use std::{io, mem::take};

use jiff::Timestamp;
use probe_flow::{
    flow::FlowRow,
    interval::Interval,
    schema::{FIELDS, Read},
    ticks::TickClock,
};

use crate::address_text::push_address;

/// Writes the lines of one interval.
pub(super) struct LineWriter<'a> {
    values: Vec<Value>,
    /// What stands behind the last value.
    end: Vec<u8>,
    tick_clock: &'a TickClock,
    days: Days,
}

/// A value that differs from flow to flow, and all text before it.
struct Value {
    before: Vec<u8>,
    read: Read,
}

impl<'a> LineWriter<'a> {
    /// Renders what the interval's flows share.
    pub(super) fn new(interval: &'a Interval, host: &str) -> io::Result<Self> {
        let bounds = interval.bounds();
        let mut values = Vec::with_capacity(FIELDS.len());
        let mut text = br#"{"type":"flow""#.to_vec();
        for field in &FIELDS {
            text.push(b',');
            push_json(&mut text, field.name)?;
            text.push(b':');
            match field.read {
                Read::Host => push_json(&mut text, host)?,
                Read::Iface => push_json(&mut text, &interval.iface)?,
                Read::Bound(bound) => push_json(&mut text, &bound(&bounds).to_string())?,
                // Never null, and of characters that need no escape: the quotes are part of the text.
                Read::Address(_) => {
                    text.push(b'"');
                    let before = take(&mut text);
                    values.push(Value {
                        before,
                        read: field.read,
                    });
                    text.push(b'"');
                }
                read => values.push(Value {
                    before: take(&mut text),
                    read,
                }),
            }
        }
        text.extend_from_slice(b"}\n");
        Ok(Self {
            values,
            end: text,
            tick_clock: &interval.tick_clock,
            days: Days::default(),
        })
    }

    /// Appends the line of a flow.
    pub(super) fn push(&mut self, out: &mut Vec<u8>, row: &FlowRow) -> io::Result<()> {
        for Value { before, read } in &self.values {
            out.extend_from_slice(before);
            match read {
                // Part of the text.
                Read::Host | Read::Iface | Read::Bound(_) => {}
                Read::Tick(tick) => match self.tick_clock.known_time_of(tick(row)) {
                    Some(time) => self.days.push_time(out, time),
                    None => out.extend_from_slice(b"null"),
                },
                Read::Address(address) => push_address(out, address(row)),
                Read::Name(name) => push_json(out, name(row))?,
                Read::U8(number) => push_number(out, number(row)),
                Read::U16(number) => push_number(out, number(row)),
                Read::U64(number) => push_number(out, number(row)),
                Read::Bool(value) => {
                    out.extend_from_slice(if value(row) { b"true" } else { b"false" });
                }
            }
        }
        out.extend_from_slice(&self.end);
        Ok(())
    }
}

fn push_json(out: &mut Vec<u8>, text: &str) -> io::Result<()> {
    Ok(serde_json::to_writer(out, text)?)
}

fn push_number(out: &mut Vec<u8>, number: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

const SECONDS_PER_DAY: i64 = 24 * 60 * 60;

/// Formats times of few days: the date comes from the calendar once a day, the time of day is
/// arithmetic. Two days, since an interval may hold a midnight.
#[derive(Default)]
struct Days([Day; 2]);

/// A day and its date: a quote and all up to the `T`.
#[derive(Default)]
struct Day {
    /// Counted from 1970-01-01, which is 0.
    number: i64,
    /// Empty as long as there is no day.
    date: Vec<u8>,
}

impl Days {
    /// Appends a time in quotes, as [`probe_flow::schema::rfc3339_millis`] writes it.
    fn push_time(&mut self, out: &mut Vec<u8>, time: Timestamp) {
        // Both parts have the sign of the time: before 1970 the second began earlier.
        let (mut seconds, mut nanoseconds) = (time.as_second(), time.subsec_nanosecond());
        if nanoseconds < 0 {
            (seconds, nanoseconds) = (seconds - 1, nanoseconds + 1_000_000_000);
        }
        let number = seconds.div_euclid(SECONDS_PER_DAY);
        let day = &mut self.0[usize::from(number & 1 != 0)];
        if day.number != number || day.date.is_empty() {
            *day = Day::of(number, time);
        }
        out.extend_from_slice(&day.date);
        let second = seconds.rem_euclid(SECONDS_PER_DAY);
        let mut clock = *b"00:00:00.000Z\"";
        put_digits(&mut clock[0..2], second / 3600);
        put_digits(&mut clock[3..5], second / 60 % 60);
        put_digits(&mut clock[6..8], second % 60);
        put_digits(&mut clock[9..12], i64::from(nanoseconds / 1_000_000));
        out.extend_from_slice(&clock);
    }
}

impl Day {
    fn of(number: i64, time: Timestamp) -> Self {
        let mut date = format!("\"{time}").into_bytes();
        let end = date.iter().position(|octet| *octet == b'T');
        date.truncate(end.map_or(0, |end| end + 1));
        Self { number, date }
    }
}

/// Writes the last decimal digits of a number over these.
fn put_digits(digits: &mut [u8], mut number: i64) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).unwrap_or_default();
        number /= 10;
    }
}

#[cfg(test)]
mod tests;
