//! A reload without an agent around it: real configurations are read, compared and refused, and
//! what would be applied is counted.

use std::{collections::BTreeMap, path::Path};

use parking_lot::Mutex;
use probe_agent::{
    config::Config,
    reload::{ConfigFile, unusable_document, unusable_file},
};
use probe_api::reload::{Reload, ReloadError, ReloadReport};

/// The configuration in force, and the file that a reload reads.
#[derive(Default)]
pub(crate) struct Reloads {
    state: Mutex<InForce>,
}

#[derive(Default)]
struct InForce {
    config: Config,
    file: Option<std::path::PathBuf>,
    applied: usize,
}

impl Reloads {
    /// Reloads read this file from now on.
    pub(crate) fn read(&self, file: &Path) {
        self.state.lock().file = Some(file.to_owned());
    }

    /// How many reloads have been applied.
    pub(crate) fn applied(&self) -> usize {
        self.state.lock().applied
    }

    fn change_to(&self, wanted: Config, dry_run: bool) -> Result<ReloadReport, ReloadError> {
        let mut state = self.state.lock();
        let settings = state.config.changes_to(&wanted);
        let restart: Vec<_> = settings.iter().filter(|it| !it.live).cloned().collect();
        if !dry_run {
            if !restart.is_empty() {
                return Err(ReloadError::NeedsRestart(restart));
            }
            state.config = wanted;
            state.applied += 1;
        }
        Ok(ReloadReport {
            dry_run,
            settings,
            ..ReloadReport::default()
        })
    }
}

impl Reload for Reloads {
    fn reload(&self, dry_run: bool) -> Result<ReloadReport, ReloadError> {
        let file = self.state.lock().file.clone();
        let (_, config) =
            ConfigFile::load(&file.ok_or(ReloadError::NoFile)?).map_err(unusable_file)?;
        self.change_to(config, dry_run)
    }

    fn reload_text(&self, text: &str, dry_run: bool) -> Result<ReloadReport, ReloadError> {
        let config = Config::parse(text).map_err(unusable_document)?;
        self.change_to(config, dry_run)
    }

    fn settings(&self) -> BTreeMap<String, String> {
        self.state.lock().config.settings()
    }
}
