//! Reload: from the configuration in force to another one, without a restart.
//!
//! Everything is read, checked and compared before anything is touched. If one setting needs a
//! restart, nothing is applied. What is applied then can only fail interface by interface; one
//! whose new settings fail is captured with the old ones again.

mod report;
mod watch;

use std::{sync::Arc, time::Instant};

use parking_lot::Mutex;

pub use self::{
    report::{Action, InterfaceChange, Outcome, ReloadError, ReloadReport},
    watch::{ConfigFile, FileWatch, Fingerprint},
};
use crate::{
    config::{Config, InterfaceSelector},
    flow_log::FlowBudget,
    reconcile::Reconciler,
    schedule::IntervalSetting,
    telemetry,
};

/// Reloads the agent's configuration; what the signal, the API and the tests speak to. Its methods
/// block, for seconds if hundreds of interfaces are attached.
pub trait Reload: Send + Sync {
    /// Reads the agent's configuration file again and applies it. A dry run only compares.
    fn reload(&self, dry_run: bool) -> Result<ReloadReport, ReloadError>;

    /// Applies a document (YAML) instead of the file, which stays as it is and counts again at the
    /// next [`Self::reload`]. A dry run only compares.
    fn reload_text(&self, text: &str, dry_run: bool) -> Result<ReloadReport, ReloadError>;

    /// The configuration in force.
    fn config(&self) -> Config;
}

/// The parts of a running agent that a reload changes.
pub struct Reloader {
    file: Option<ConfigFile>,
    /// Held for the whole of a reload: one at a time.
    reloading: Mutex<()>,
    config: Mutex<Config>,
    live: LiveSettings,
}

/// What of a running agent takes over new settings.
pub(crate) struct LiveSettings {
    pub(crate) reconciler: Arc<Mutex<Reconciler>>,
    pub(crate) interval: IntervalSetting,
    pub(crate) flow_budget: Arc<FlowBudget>,
}

impl Reloader {
    pub(crate) const fn new(file: Option<ConfigFile>, config: Config, live: LiveSettings) -> Self {
        Self {
            file,
            reloading: Mutex::new(()),
            config: Mutex::new(config),
            live,
        }
    }

    /// Reloads because of `cause`, and logs how it went: for callers that nobody listens to.
    pub fn reload_and_log(&self, cause: &str) {
        match self.reload(false) {
            Ok(report) if report.is_clean() => {
                tracing::info!(cause, took_ms = report.took_ms, "reloaded: {report}");
            }
            Ok(report) => {
                tracing::warn!(
                    cause,
                    took_ms = report.took_ms,
                    "reloaded in part: {report}"
                );
            }
            Err(error) => tracing::error!(cause, "not reloaded: {error}"),
        }
    }

    /// The file that is read again, in its state at the start.
    pub const fn file(&self) -> Option<&ConfigFile> {
        self.file.as_ref()
    }

    fn change_to(&self, wanted: Config, dry_run: bool) -> Result<ReloadReport, ReloadError> {
        let begin = Instant::now();
        let settings = self.config.lock().changes_to(&wanted);
        let selector = InterfaceSelector::new(&wanted).map_err(ReloadError::Selector)?;
        let mut report = if dry_run {
            let (plan, missing) = self.live.reconciler.lock().plan(&selector)?;
            ReloadReport::planned(settings, &plan, missing)
        } else {
            let (live, restart): (Vec<_>, Vec<_>) = settings.into_iter().partition(|it| it.live);
            if !restart.is_empty() {
                return Err(ReloadError::NeedsRestart(restart));
            }
            let mut reconciler = self.live.reconciler.lock();
            let (changes, untouched) = reconciler.change_selector(selector)?;
            let missing = reconciler.missing().to_vec();
            drop(reconciler);
            self.live.interval.set(wanted.rotation.interval);
            let total = wanted.capture.max_flows_total;
            self.live.flow_budget.set_limit(total);
            telemetry::set_level(wanted.logging.level);
            *self.config.lock() = wanted;
            ReloadReport::done(live, &changes, untouched, missing)
        };
        report.took_ms = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(report)
    }
}

impl Reload for Reloader {
    fn reload(&self, dry_run: bool) -> Result<ReloadReport, ReloadError> {
        let _reloading = self.reloading.lock();
        let file = self.file.as_ref().ok_or(ReloadError::NoFile)?;
        if dry_run {
            return self.change_to(Config::load(&file.path)?, true);
        }
        let _told = service::reloading();
        self.change_to(Config::load(&file.path)?, false)
    }

    fn reload_text(&self, text: &str, dry_run: bool) -> Result<ReloadReport, ReloadError> {
        let wanted = Config::parse(text).map_err(ReloadError::Invalid)?;
        let _reloading = self.reloading.lock();
        self.change_to(wanted, dry_run)
    }

    fn config(&self) -> Config {
        self.config.lock().clone()
    }
}

/// What systemd is told, if it started us.
mod service {
    use sd_notify::NotifyState;

    /// Says that the agent is ready again when it is dropped, however the reload went.
    pub(super) struct Reloading;

    /// With `Type=notify-reload` systemd waits for the end, and recognises its beginning by a time
    /// stamp that is not older than its signal.
    pub(super) fn reloading() -> Reloading {
        let since = NotifyState::monotonic_usec_now();
        let since = since.inspect_err(|error| tracing::warn!(%error, "cannot read the clock"));
        let mut states = vec![NotifyState::Reloading];
        states.extend(since.ok());
        notify(&states);
        Reloading
    }

    impl Drop for Reloading {
        fn drop(&mut self) {
            notify(&[NotifyState::Ready]);
        }
    }

    fn notify(states: &[NotifyState<'_>]) {
        if let Err(error) = sd_notify::notify(states) {
            tracing::warn!(%error, "cannot notify the service manager");
        }
    }
}
