//! Reload: from the configuration in force to another one, without a restart.
//!
//! Everything is read, checked and compared before anything is touched. If one setting needs a
//! restart, nothing is applied. What is applied then can only fail interface by interface; one
//! whose new settings fail is captured with the old ones again.

mod watch;

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use parking_lot::Mutex;

pub use self::watch::{ConfigFile, FileWatch, Fingerprint};
use crate::{
    config::{Config, ConfigError, FileProblems},
    privileges::needs_more_rights,
    telemetry,
};
use probe_api::{
    ConfigProblem,
    reload::{Reload, ReloadError, ReloadReport},
};
use probe_capture::{
    reconcile::Reconciler,
    schedule::IntervalSetting,
    trouble::{Finder, Trouble, TroubleKind, Troubles},
};
use probe_flow::flow_log::FlowBudget;

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
    pub(crate) troubles: Arc<Troubles>,
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

    /// Reloads because of `cause`: for callers that show no answer. The log says how it went.
    pub fn reload_and_log(&self, cause: &str) {
        drop(self.reload_because(cause));
    }

    fn reload_because(&self, cause: &str) -> Result<ReloadReport, ReloadError> {
        let outcome = self.reload_file();
        log(cause, &outcome);
        outcome
    }

    /// Reads the file again and applies it.
    fn reload_file(&self) -> Result<ReloadReport, ReloadError> {
        let _reloading = self.reloading.lock();
        let file = self.file.as_ref().ok_or(ReloadError::NoFile)?;
        let _told = service::reloading();
        let wanted = Config::load(&file.path).map_err(unusable_file);
        let outcome = wanted.and_then(|wanted| self.change_to(wanted, false));
        let refusal = outcome.as_ref().err().map(|error| refusal(file, error));
        let found = refusal.into_iter().collect();
        self.live.troubles.set(Finder::Reload, found);
        outcome
    }

    /// The configuration in force.
    pub fn config(&self) -> Config {
        self.config.lock().clone()
    }

    /// The file that is read again, in its state at the start.
    pub const fn file(&self) -> Option<&ConfigFile> {
        self.file.as_ref()
    }

    fn change_to(&self, wanted: Config, dry_run: bool) -> Result<ReloadReport, ReloadError> {
        let begin = Instant::now();
        let mut settings = self.config.lock().changes_to(&wanted);
        for change in &mut settings {
            change.live &= !needs_more_rights(change);
        }
        let selector = wanted.selector().map_err(ReloadError::Selector)?;
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
        if !dry_run {
            return self.reload_because("POST /api/v1/reload");
        }
        let _reloading = self.reloading.lock();
        let file = self.file.as_ref().ok_or(ReloadError::NoFile)?;
        self.change_to(Config::load(&file.path).map_err(unusable_file)?, true)
    }

    fn reload_text(&self, text: &str, dry_run: bool) -> Result<ReloadReport, ReloadError> {
        let wanted = Config::parse(text).map_err(unusable_document);
        let outcome = wanted.and_then(|wanted| {
            let _reloading = self.reloading.lock();
            let report = self.change_to(wanted, dry_run)?;
            if let (Some(file), false) = (&self.file, dry_run) {
                self.live.troubles.set(Finder::Reload, vec![over_api(file)]);
            }
            Ok(report)
        });
        if !dry_run {
            log("PUT /api/v1/config", &outcome);
        }
        outcome
    }

    fn settings(&self) -> BTreeMap<String, String> {
        self.config().settings()
    }
}

/// The one place that tells how a reload went, for every cause and whatever was read.
fn log(cause: &str, outcome: &Result<ReloadReport, ReloadError>) {
    match outcome {
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

/// Until a reload of the file succeeds. What becomes of single interfaces the reconciler tells.
fn refusal(file: &ConfigFile, error: &ReloadError) -> Trouble {
    let path = file.path.display();
    let remedy = match error {
        ReloadError::NeedsRestart(_) => {
            "restart the agent, or take the settings back and reload".to_owned()
        }
        _ => format!("correct the file (`probe-agent check -c {path}`) and reload"),
    };
    let cause =
        format!("the configuration in force is not that of {path}, which was refused: {error}");
    Trouble::new(TroubleKind::ReloadRefused, None, &cause, &remedy)
}

/// Until the next reload of the file.
fn over_api(file: &ConfigFile) -> Trouble {
    let path = file.path.display();
    Trouble::new(
        TroubleKind::ConfigOverApi,
        None,
        &format_args!(
            "the configuration in force was given over the API; {path} is in force again after a reload"
        ),
        "write it to the file as well if it is to stay; `probe-agent reload --dry-run` tells what the file would change",
    )
}

/// The error of a reload whose file cannot be used.
pub fn unusable_file(error: ConfigError) -> ReloadError {
    let text = error.to_string();
    match error {
        ConfigError::Invalid { problems, .. } => invalid(text, problems),
        error => ReloadError::Read(Box::new(error)),
    }
}

/// The error of a reload whose document is not good.
pub fn unusable_document(problems: FileProblems) -> ReloadError {
    invalid(problems.to_string(), problems)
}

fn invalid(text: String, FileProblems(problems): FileProblems) -> ReloadError {
    let problems = problems.into_iter().map(|problem| ConfigProblem {
        line: problem.place.map(|place| place.line),
        column: problem.place.map(|place| place.column),
        key: problem.key,
        message: problem.message,
    });
    ReloadError::Invalid {
        text,
        problems: problems.collect(),
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
