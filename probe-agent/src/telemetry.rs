//! Logging on standard error.

use std::{
    env,
    io::{self, IsTerminal},
    sync::{Arc, LazyLock, OnceLock},
};

use tracing::Level;
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, reload, util::SubscriberInitExt};

use crate::config::{LogFormat, LoggingConfig};

mod background;
mod repeats;

use background::{Background, LineWriter};
use repeats::Repeats;

/// The environment variable that overrides the configured level.
const FILTER_VARIABLE: &str = "RUST_LOG";

type ChangeFilter = dyn Fn(EnvFilter) -> Result<(), reload::Error> + Send + Sync;

/// Changes the filter of the log, whatever its format is.
static FILTER: OnceLock<Box<ChangeFilter>> = OnceLock::new();

/// The way of all lines to standard error.
static BACKGROUND: LazyLock<Arc<Background>> = LazyLock::new(Arc::default);

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The variable cannot be read.
    #[error(
        "the environment variable RUST_LOG is no log filter: {0}; \
         write for example RUST_LOG=probe=debug, or unset it"
    )]
    Filter(String),
    /// The process has a subscriber.
    #[error("logging is set up already: {0}; do it once, at the start")]
    Installed(String),
}

/// Sets up logging for the whole process, also for what comes through the crate `log` (aya-log).
///
/// # Errors
///
/// [`TelemetryError::Filter`]: `RUST_LOG` is no log filter. [`TelemetryError::Installed`]: the
/// process has a log already.
pub fn init(config: &LoggingConfig) -> Result<(), TelemetryError> {
    let filter = filter(config.level, env::var(FILTER_VARIABLE).ok().as_deref())?;
    let colour = has_colour(
        io::stderr().is_terminal(),
        env::var("NO_COLOR").ok().as_deref(),
    );
    // A line that cannot be written (`run 2>&1 | head`, a full disk) must not end the capture. Told
    // by default with `eprintln!`, which panics on just that.
    let builder = fmt()
        .with_env_filter(filter)
        .with_writer(|| LineWriter(Arc::clone(&BACKGROUND)))
        .log_internal_errors(false);
    let installed = match config.format {
        LogFormat::Text => {
            let builder = builder.with_ansi(colour).with_filter_reloading();
            let handle = builder.reload_handle();
            remember(move |filter| handle.reload(filter));
            builder.finish().with(Repeats::default()).try_init()
        }
        LogFormat::Json => {
            let builder = builder.json().flatten_event(true).with_filter_reloading();
            let handle = builder.reload_handle();
            remember(move |filter| handle.reload(filter));
            builder.finish().with(Repeats::default()).try_init()
        }
    };
    installed.map_err(|error| TelemetryError::Installed(error.to_string()))
}

fn remember(change: impl Fn(EnvFilter) -> Result<(), reload::Error> + Send + Sync + 'static) {
    // A second one would be a second log, which is refused.
    drop(FILTER.set(Box::new(change)));
}

/// Writes the last lines when it is dropped, within two seconds.
#[derive(Debug)]
pub struct InBackground(());

/// From now on a thread writes the lines of the log: nobody waits for a pipe that is not read. Lines that find
/// a megabyte waiting are lost, counted and told.
///
/// # Errors
///
/// The system starts no thread: lines are written at once, as before.
pub fn write_in_background() -> io::Result<InBackground> {
    BACKGROUND.start(io::stderr())?;
    Ok(InBackground(()))
}

impl Drop for InBackground {
    fn drop(&mut self) {
        flush();
    }
}

/// Waits until all lines of the log are written, two seconds at most: for callers that end the process.
pub fn flush() {
    BACKGROUND.flush();
}

/// Lines of the log that were lost because nobody read standard error.
pub fn lost_lines() -> u64 {
    BACKGROUND.lost()
}

/// Changes the level of the log, if it has been set up. `RUST_LOG` goes on overriding it.
pub fn set_level(level: Level) {
    let Some(change) = FILTER.get() else {
        return;
    };
    let changed = filter(level, env::var(FILTER_VARIABLE).ok().as_deref())
        .and_then(|filter| change(filter).map_err(|it| TelemetryError::Filter(it.to_string())));
    if let Err(error) = changed {
        tracing::warn!(%error, "cannot change the level of the log");
    }
}

/// Below `info` only this agent speaks: the libraries' details drown it.
fn filter(level: Level, variable: Option<&str>) -> Result<EnvFilter, TelemetryError> {
    let directives = match variable {
        Some(directives) if !directives.is_empty() => directives.to_owned(),
        // A directive holds for every target that begins like it: all crates of the house, and the
        // programs' messages.
        _ if level > Level::INFO => format!("info,probe={level}"),
        _ => level.to_string(),
    };
    EnvFilter::try_new(directives).map_err(|error| TelemetryError::Filter(error.to_string()))
}

/// Whether the log is coloured; see <https://no-color.org>.
fn has_colour(is_terminal: bool, no_color: Option<&str>) -> bool {
    is_terminal && no_color.is_none_or(str::is_empty)
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::{filter, has_colour};

    #[test]
    fn the_environment_overrides_the_level() {
        let text = |level, variable| filter(level, variable).expect("a filter").to_string();
        assert_eq!(text(Level::WARN, None), "warn");
        assert_eq!(text(Level::WARN, Some("")), "warn");
        assert_eq!(
            text(Level::WARN, Some("probe_capture=trace")),
            "probe_capture=trace"
        );
        let detailed = text(Level::DEBUG, None);
        assert!(
            detailed.contains("probe=debug") && detailed.contains("info"),
            "{detailed}"
        );
        let error = filter(Level::INFO, Some("a=b=c=")).expect_err("no filter");
        assert!(
            error
                .to_string()
                .starts_with("the environment variable RUST_LOG is no log filter")
        );
    }

    #[test]
    fn colour_is_for_terminals_that_want_it() {
        assert!(has_colour(true, None));
        assert!(has_colour(true, Some("")));
        assert!(!has_colour(true, Some("1")));
        assert!(!has_colour(false, None));
    }
}
