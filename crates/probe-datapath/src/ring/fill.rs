//! How full the fullest ring was: the most that their reader found in one of them, of late.
//!
//! A poll of the rings at a scrape would miss the peaks. Kept by time and not since the last reader,
//! so that any number of readers see the same.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Peaks are remembered for one to two of these.
const WINDOW: Duration = Duration::from_secs(30);

/// See the module documentation.
#[derive(Debug, Default)]
pub struct Fill(Mutex<Peaks>);

#[derive(Debug, Default)]
struct Peaks {
    window_start: Option<Instant>,
    current: f64,
    previous: f64,
}

impl Peaks {
    fn advance(&mut self, now: Instant) {
        let start = *self.window_start.get_or_insert(now);
        let age = now.saturating_duration_since(start);
        if age >= WINDOW {
            self.previous = if age < 2 * WINDOW { self.current } else { 0.0 };
            self.current = 0.0;
            self.window_start = Some(now);
        }
    }
}

impl Fill {
    /// A pass found this share of a ring filled, and no other more.
    pub(super) fn on_pass(&self, share: f64, now: Instant) {
        let mut peaks = self.0.lock();
        peaks.advance(now);
        peaks.current = peaks.current.max(share);
    }

    /// The largest share, 0 to 1, that was found in the last half minute or a little longer.
    pub fn peak(&self, now: Instant) -> f64 {
        let mut peaks = self.0.lock();
        peaks.advance(now);
        peaks.current.max(peaks.previous)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::Fill;

    #[test]
    fn a_peak_is_remembered_for_a_while_and_reading_does_not_change_it() {
        let (fill, start) = (Fill::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        let peak = |seconds| (fill.peak(after(seconds)) * 100.0).round();
        fill.on_pass(0.25, start);
        fill.on_pass(0.1, after(1));
        assert!((peak(2) - 25.0).abs() < 1e-9 && (peak(2) - 25.0).abs() < 1e-9);
        fill.on_pass(0.05, after(31));
        assert!((peak(32) - 25.0).abs() < 1e-9, "of the window before");
        assert!((peak(62) - 5.0).abs() < 1e-9);
        assert!(peak(200).abs() < 1e-9);
    }
}
