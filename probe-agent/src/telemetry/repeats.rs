//! Warnings and errors that repeat: the same line is told once a minute.
//!
//! A disk that is full or a table that the kernel does not give is met anew at every check. Lines
//! that differ in anything (the interface, the cause) are different lines, and those about changes
//! of state (`info`) are never held back.

use std::{
    collections::HashMap,
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::layer::{Context, Layer};

/// A line is told again after this.
const WINDOW: Duration = Duration::from_mins(1);

/// Different lines that are remembered; beyond this the memory starts anew.
const MAX_LINES: usize = 1024;

/// Holds back lines of the log that repeat.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    told: Mutex<HashMap<u64, Instant>>,
}

impl Repeats {
    fn is_repeat(&self, line: u64, now: Instant) -> bool {
        let mut told = self.told.lock();
        if told.len() >= MAX_LINES {
            told.retain(|_, at| now.saturating_duration_since(*at) < WINDOW);
            if told.len() >= MAX_LINES {
                told.clear();
            }
        }
        let at = told.get(&line);
        if at.is_some_and(|at| now.saturating_duration_since(*at) < WINDOW) {
            return true;
        }
        told.insert(line, now);
        false
    }
}

impl<S: Subscriber> Layer<S> for Repeats {
    fn event_enabled(&self, event: &Event<'_>, _context: Context<'_, S>) -> bool {
        if *event.metadata().level() > Level::WARN {
            return true;
        }
        let mut line = Line(DefaultHasher::new());
        event.metadata().callsite().hash(&mut line.0);
        event.record(&mut line);
        !self.is_repeat(line.0.finish(), Instant::now())
    }
}

/// The text of a line, hashed.
struct Line(DefaultHasher);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        field.name().hash(&mut self.0);
        // Hashing cannot fail.
        let _ = fmt::write(&mut *self, format_args!("{value:?}"));
    }
}

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::Arc,
        time::{Duration, Instant},
    };

    use parking_lot::Mutex;
    use tracing_subscriber::{fmt, layer::SubscriberExt};

    use super::{MAX_LINES, Repeats, WINDOW};

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_same_warning_is_told_once_and_different_ones_each() {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = fmt()
            .with_writer(move || writer.clone())
            .finish()
            .with(Repeats::default());
        tracing::subscriber::with_default(subscriber, || {
            for _ in 0..5 {
                for iface in ["eth0", "eth1"] {
                    tracing::warn!(iface, "cannot check");
                }
                tracing::info!("a change of state");
            }
        });
        let text = String::from_utf8(log.0.lock().clone()).unwrap();
        assert_eq!(text.matches("cannot check").count(), 2, "{text}");
        assert_eq!(text.matches("a change of state").count(), 5, "{text}");
    }

    #[test]
    fn a_warning_is_told_again_after_a_while_and_memory_is_bounded() {
        let (repeats, start) = (Repeats::default(), Instant::now());
        assert!(!repeats.is_repeat(1, start));
        assert!(repeats.is_repeat(1, start + WINDOW / 2));
        assert!(!repeats.is_repeat(1, start + WINDOW));
        for line in 0..3 * MAX_LINES as u64 {
            repeats.is_repeat(line, start + WINDOW + Duration::from_secs(1));
        }
        assert!(repeats.told.lock().len() <= MAX_LINES);
    }
}
