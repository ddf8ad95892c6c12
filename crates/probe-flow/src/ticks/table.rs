//! Ticks of a source that knows all its times beforehand, as a capture file does.
//!
//! The times of a file may be years apart, and a single wrong one may be decades off. A tick has 32
//! bits, and two ticks are compared within half of that range: 24 days of milliseconds. So pauses are
//! left out: a table gives ticks to the spans of time in which there were packets, and to nothing
//! else. Ticks keep the order of the times, and the table turns them back into times.

use std::collections::BTreeMap;

use jiff::Timestamp;

/// Tick that is before all times of a table.
const BEFORE_ALL: u32 = 0;

/// Tick that is after all times of a table. [`probe_common::record::tick_after`] compares up to this
/// distance.
const AFTER_ALL: u32 = i32::MAX.cast_unsigned();

/// Ticks that are times.
const TIME_TICKS: u64 = AFTER_ALL as u64 - 1;

/// Pauses up to this length do not end a span.
const SHORT_PAUSE_MS: i64 = 10_000;

/// Spans that are kept, 6 MiB of them. Where there are more, longer pauses are taken into them.
const MAX_SPANS: usize = 1 << 18;

/// First and last tick of a packet without a time: neither changes what is known of its flow.
pub const NO_TIME: (u32, u32) = (AFTER_ALL, BEFORE_ALL);

/// Milliseconds of the Unix epoch, both included.
type SpanMs = (i64, i64);

/// Takes in all times, in any order, and makes a [`TickTable`].
#[derive(Debug)]
pub struct TickTableBuilder {
    /// The span of the last time. It is not in `spans`, so that times in order cost little.
    current: Option<SpanMs>,
    /// The others, by their start. They do not touch each other.
    spans: BTreeMap<i64, i64>,
    pause_ms: i64,
    max_spans: usize,
}

impl Default for TickTableBuilder {
    fn default() -> Self {
        Self::with_limit(MAX_SPANS)
    }
}

impl TickTableBuilder {
    const fn with_limit(max_spans: usize) -> Self {
        Self {
            current: None,
            spans: BTreeMap::new(),
            pause_ms: SHORT_PAUSE_MS,
            max_spans,
        }
    }

    /// Takes in the time of a packet.
    pub fn add(&mut self, at: Timestamp) {
        let ms = at.as_millisecond();
        if let Some((start, end)) = &mut self.current
            && ms >= *start - self.pause_ms
            && ms <= *end + self.pause_ms
        {
            *start = ms.min(*start);
            *end = ms.max(*end);
            return;
        }
        let past = self.current.replace((ms, ms));
        self.put_away(past);
    }

    /// Makes the table of the times that were taken in.
    pub fn build(mut self) -> TickTable {
        let current = self.current.take();
        self.put_away(current);
        let spans = self.spans;
        let ms: u64 = spans
            .iter()
            .map(|(start, end)| length_ms(*start, *end))
            .sum();
        // Each span may need one tick more than its length, rounded down.
        let ms_per_tick = ms.div_ceil(TIME_TICKS - spans.len() as u64).max(1);
        let mut next_tick = u64::from(BEFORE_ALL) + 1;
        let spans = spans
            .into_iter()
            .map(|(start_ms, end_ms)| {
                let first_tick = tick(next_tick);
                next_tick += length_ms(start_ms, end_ms).div_ceil(ms_per_tick);
                Span {
                    first_tick,
                    start_ms,
                    end_ms,
                }
            })
            .collect();
        TickTable { spans, ms_per_tick }
    }

    /// Puts a span to the others, together with those that are as near as a pause.
    fn put_away(&mut self, span: Option<SpanMs>) {
        let Some((mut start, mut end)) = span else {
            return;
        };
        while let Some((&other, &other_end)) = self.spans.range(..=end + self.pause_ms).next_back()
            && other_end >= start - self.pause_ms
        {
            self.spans.remove(&other);
            start = start.min(other);
            end = end.max(other_end);
        }
        self.spans.insert(start, end);
        while self.spans.len() > self.max_spans {
            self.lengthen_pauses();
        }
    }

    /// Makes fewer spans, until half of the room is free again.
    fn lengthen_pauses(&mut self) {
        while self.spans.len() > self.max_spans / 2 {
            self.pause_ms *= 2;
            let mut joined: Vec<SpanMs> = Vec::new();
            for (&start, &end) in &self.spans {
                match joined.last_mut() {
                    Some((_, last)) if start - *last <= self.pause_ms => *last = end,
                    _ => joined.push((start, end)),
                }
            }
            self.spans = joined.into_iter().collect();
        }
    }
}

const fn length_ms(start: i64, end: i64) -> u64 {
    end.abs_diff(start) + 1
}

/// Which tick is which time, for the times that a [`TickTableBuilder`] has taken in.
///
/// A tick is a millisecond long. Only where the spans with packets make more than 24 days, it is as
/// many as [`Self::ms_per_tick`] says.
#[derive(Debug)]
pub struct TickTable {
    /// By time, and so by tick.
    spans: Box<[Span]>,
    ms_per_tick: u64,
}

/// A span of time with packets.
#[derive(Debug)]
struct Span {
    /// Tick of its start.
    first_tick: u32,
    start_ms: i64,
    end_ms: i64,
}

impl TickTable {
    /// The tick of a time. Of a time that was not taken in: that of a time next to it that was.
    pub fn tick_of(&self, at: Timestamp) -> u32 {
        let ms = at.as_millisecond();
        let later = self.spans.partition_point(|span| span.start_ms <= ms);
        let Some(span) = self.spans.get(later.saturating_sub(1)) else {
            return BEFORE_ALL + 1;
        };
        let ms = ms.clamp(span.start_ms, span.end_ms);
        let ticks = ms.abs_diff(span.start_ms) / self.ms_per_tick;
        tick(u64::from(span.first_tick) + ticks)
    }

    /// The time of a tick; `None` for [`NO_TIME`].
    pub fn time_of(&self, tick: u32) -> Option<Timestamp> {
        if tick == BEFORE_ALL || tick == AFTER_ALL {
            return None;
        }
        let later = self.spans.partition_point(|span| span.first_tick <= tick);
        let span = self.spans.get(later.checked_sub(1)?)?;
        let ms = u64::from(tick - span.first_tick) * self.ms_per_tick;
        Timestamp::from_millisecond(span.start_ms.checked_add_unsigned(ms)?).ok()
    }

    /// Length of a tick in milliseconds: how exact times are.
    pub const fn ms_per_tick(&self) -> u64 {
        self.ms_per_tick
    }
}

/// All ticks are below [`AFTER_ALL`].
fn tick(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(AFTER_ALL - 1)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use probe_common::record::tick_after;
    use proptest::prelude::*;

    use super::{AFTER_ALL, NO_TIME, TickTable, TickTableBuilder};

    const DAY_MS: i64 = 86_400_000;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millisecond(ms).unwrap()
    }

    fn table(mut builder: TickTableBuilder, times: &[i64]) -> TickTable {
        for ms in times {
            builder.add(at(*ms));
        }
        builder.build()
    }

    fn assert_is_exact_within(table: &TickTable, times: &[i64], most_ms: i64) {
        for &ms in times {
            let tick = table.tick_of(at(ms));
            assert!(tick_after(tick, NO_TIME.1) && tick_after(NO_TIME.0, tick));
            let told = table.time_of(tick).expect("a time").as_millisecond();
            assert!(
                (0..=most_ms).contains(&(ms - told)),
                "{ms} is told as {told}"
            );
        }
        let mut sorted = times.to_vec();
        sorted.sort_unstable();
        for pair in sorted.windows(2) {
            let [tick, next] = [pair[0], pair[1]].map(|ms| table.tick_of(at(ms)));
            assert!(!tick_after(tick, next), "{pair:?}: {tick}, {next}");
        }
    }

    #[test]
    fn one_stray_time_takes_one_tick() {
        let times = [
            0,
            1_700_000_000_000,
            -(900 * 365 * DAY_MS),
            1_700_000_000_001,
        ];
        let table = table(TickTableBuilder::default(), &times);
        assert_eq!(table.ms_per_tick(), 1);
        assert_is_exact_within(&table, &times, 0);
        assert_eq!(table.tick_of(at(times[3])), 4);
    }

    #[test]
    fn what_has_no_time_is_told_apart() {
        let table = table(TickTableBuilder::default(), &[]);
        assert_eq!(
            [NO_TIME.0, NO_TIME.1].map(|tick| table.time_of(tick)),
            [None; 2]
        );
        assert_eq!(table.time_of(table.tick_of(at(7))), None);
    }

    #[test]
    fn traffic_without_pause_for_longer_than_the_range_has_longer_ticks() {
        let times: Vec<_> = (0..60 * DAY_MS / 9_000).map(|step| step * 9_000).collect();
        let table = table(TickTableBuilder::default(), &times);
        assert_eq!(table.ms_per_tick(), 3);
        assert_is_exact_within(&table, &times, 2);
        assert!(table.tick_of(at(60 * DAY_MS)) < AFTER_ALL);
    }

    #[test]
    fn memory_is_bounded_and_times_stay_in_order() {
        let mut state = 1_u64;
        let times: Vec<_> = (0..5_000)
            .map(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                i64::try_from(state >> 24).unwrap() % (100 * 365 * DAY_MS)
            })
            .collect();
        let mut builder = TickTableBuilder::with_limit(64);
        for &ms in &times {
            builder.add(at(ms));
            assert!(builder.spans.len() <= 64);
        }
        let table = builder.build();
        let most = i64::try_from(table.ms_per_tick()).unwrap();
        assert!(most < 1_500, "{most}");
        assert_is_exact_within(&table, &times, most);
    }

    proptest! {
        #[test]
        fn times_in_any_order_are_told_exactly(
            times in prop::collection::vec(-377_000_000_000_000_i64..253_000_000_000_000, 1..60),
            near in prop::collection::vec((any::<prop::sample::Index>(), -30_000..30_000_i64), 0..60),
        ) {
            let mut all = times.clone();
            all.extend(near.iter().map(|(index, offset)| index.get(&times) + offset));
            let table = table(TickTableBuilder::default(), &all);
            prop_assert_eq!(table.ms_per_tick(), 1);
            assert_is_exact_within(&table, &all, 0);
        }
    }
}
