//! What a reload did, or would do.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::ConfigProblem;
use probe_capture::{
    manager::{Change, Changes, UpdatePlan},
    reconcile::ReconcileError,
};

/// Reloads the agent's configuration; what the signal, the API and the tests speak to. Its methods
/// block, for seconds if hundreds of interfaces are attached.
pub trait Reload: Send + Sync {
    /// Reads the agent's configuration file again and applies it. A dry run only compares.
    ///
    /// # Errors
    ///
    /// [`ReloadError::NoFile`]: the agent was started without a file. [`ReloadError::Read`]: the file
    /// cannot be read. All others as [`Self::reload_text`], with the file as the document.
    fn reload(&self, dry_run: bool) -> Result<ReloadReport, ReloadError>;

    /// Applies a document (YAML) instead of the file, which stays as it is and counts again at the
    /// next [`Self::reload`]. A dry run only compares.
    ///
    /// # Errors
    ///
    /// [`ReloadError::Invalid`]: the document is wrong. [`ReloadError::NeedsRestart`]: it changes a
    /// setting that only a restart takes over, and this is no dry run. [`ReloadError::Reconcile`]:
    /// the links are not known, or the source cannot switch banks.
    fn reload_text(&self, text: &str, dry_run: bool) -> Result<ReloadReport, ReloadError>;

    /// Every setting in force by its path, with its value as a file has it. Keys are not shown.
    fn settings(&self) -> BTreeMap<String, String>;
}

/// One setting that differs between two configurations.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct SettingChange {
    /// Its path, as in the manual: `rotation.interval`, `interfaces.eth0.hook`, `writeout[0].path`.
    pub setting: String,
    /// Value that is in force, as the file would have it; none if the new configuration adds it.
    pub before: Option<String>,
    /// Value in the new configuration; none if that has no such setting.
    pub after: Option<String>,
    /// Whether a running agent takes it over. If not, it needs a restart.
    pub live: bool,
}

/// What a reload did, or with `dry_run` would do.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct ReloadReport {
    /// True for a dry run: nothing was changed.
    pub dry_run: bool,
    /// Every setting that differs from the one in force, by path. With `dry_run` also those that
    /// need a restart (`live: false`), for which a reload would be refused as a whole.
    pub settings: Vec<SettingChange>,
    /// Every interface whose capture changes, by name.
    pub interfaces: Vec<InterfaceChange>,
    /// Interfaces that are captured as before, and lose nothing.
    pub untouched: usize,
    /// Names in the configuration that no link of the host has. Captured as soon as they appear.
    pub missing: Vec<String>,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
}

/// What becomes of the capture of one interface.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct InterfaceChange {
    /// Name of the interface.
    pub iface: String,
    /// What is to be done with it.
    pub action: Action,
    /// Whether the change was made, undone or lost.
    pub outcome: ChangeOutcome,
    /// Why the change failed, a sentence; `None` if it did not.
    pub reason: Option<String>,
    /// How long an interface that was captured before was not, in microseconds.
    pub gap_us: Option<u64>,
}

/// What is done with an interface.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It was not captured, and is now.
    Enabled,
    /// It is captured with other settings, after a final writeout.
    Updated,
    /// It is not captured any more, after a final writeout.
    Disabled,
}

/// How a change went.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChangeOutcome {
    /// A dry run: it would be tried.
    Planned,
    /// As it should be.
    Done,
    /// It failed, and the interface is captured with the settings that it had.
    Restored,
    /// It failed, and the interface is not captured.
    Failed,
}

impl Action {
    /// As people are told it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Updated => "updated",
            Self::Disabled => "disabled",
        }
    }
}

impl ReloadReport {
    /// The report of a dry run: the settings that differ, what would become of the captures, and
    /// the names in the configuration that no link has.
    pub fn planned(settings: Vec<SettingChange>, plan: &UpdatePlan, missing: Vec<String>) -> Self {
        let enabled = plan.enabled.iter().map(|(link, _)| &link.name);
        let updated = plan.updated.iter().map(|update| &update.link.name);
        let disabled = plan.disabled.iter().map(|link| &link.name);
        let planned = |action| {
            move |name: &std::sync::Arc<str>| InterfaceChange {
                iface: name.to_string(),
                action,
                outcome: ChangeOutcome::Planned,
                reason: None,
                gap_us: None,
            }
        };
        let enabled = enabled.map(planned(Action::Enabled));
        let updated = updated.map(planned(Action::Updated));
        let disabled = disabled.map(planned(Action::Disabled));
        let mut interfaces: Vec<_> = enabled.chain(updated).chain(disabled).collect();
        interfaces.sort_by(|a, b| a.iface.cmp(&b.iface));
        Self {
            dry_run: true,
            settings,
            interfaces,
            untouched: plan.untouched,
            missing,
            took_ms: 0,
        }
    }

    /// The report of a reload that was applied; `untouched` interfaces are captured as before.
    pub fn done(
        settings: Vec<SettingChange>,
        changes: &Changes,
        untouched: usize,
        missing: Vec<String>,
    ) -> Self {
        let lists = [
            (Action::Enabled, &changes.enabled),
            (Action::Updated, &changes.updated),
            (Action::Disabled, &changes.disabled),
        ];
        let mut interfaces: Vec<_> = lists
            .into_iter()
            .flat_map(|(action, changes)| changes.iter().map(move |it| done(action, it)))
            .collect();
        interfaces.sort_by(|a, b| a.iface.cmp(&b.iface));
        Self {
            dry_run: false,
            settings,
            interfaces,
            untouched,
            missing,
            took_ms: 0,
        }
    }

    /// Whether everything went, or would go, as wanted.
    pub fn is_clean(&self) -> bool {
        let is_good = |it: &InterfaceChange| {
            matches!(it.outcome, ChangeOutcome::Planned | ChangeOutcome::Done)
        };
        self.needs_restart().next().is_none() && self.interfaces.iter().all(is_good)
    }

    /// The settings that need a restart. Only a dry run has some: else they are a
    /// [`ReloadError::NeedsRestart`].
    pub fn needs_restart(&self) -> impl Iterator<Item = &SettingChange> {
        self.settings.iter().filter(|change| !change.live)
    }

    fn count(&self, action: Action) -> usize {
        let is_it =
            |it: &&InterfaceChange| it.action == action && it.outcome == ChangeOutcome::Done;
        self.interfaces.iter().filter(is_it).count()
    }
}

fn done(action: Action, change: &Change) -> InterfaceChange {
    let outcome = match (&change.result, change.restored) {
        (Ok(()), _) => ChangeOutcome::Done,
        (Err(_), true) => ChangeOutcome::Restored,
        (Err(_), false) => ChangeOutcome::Failed,
    };
    let gap_us = change.gap.map(|gap| gap.as_micros());
    InterfaceChange {
        iface: change.iface.to_string(),
        action,
        outcome,
        reason: change.result.as_ref().err().map(ToString::to_string),
        gap_us: gap_us.map(|gap| u64::try_from(gap).unwrap_or(u64::MAX)),
    }
}

impl fmt::Display for ReloadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (settings, differ) = match self.settings.len() {
            1 => ("setting", "differs"),
            _ => ("settings", "differ"),
        };
        write!(
            f,
            "{} {settings} {differ}; interfaces:",
            self.settings.len()
        )?;
        for action in [Action::Enabled, Action::Updated, Action::Disabled] {
            write!(f, " {} {},", self.count(action), action.name())?;
        }
        write!(f, " {} untouched", self.untouched)?;
        let is_bad = |it: &&InterfaceChange| {
            matches!(it.outcome, ChangeOutcome::Restored | ChangeOutcome::Failed)
        };
        let bad = self.interfaces.iter().filter(is_bad).count();
        if bad > 0 {
            write!(f, ", {bad} failed")?;
        }
        Ok(())
    }
}

/// Why nothing was applied: the agent goes on as it was.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The agent was started without a file.
    #[error("the agent was started without a configuration file, so there is none to read again")]
    NoFile,
    /// The file cannot be read.
    #[error(transparent)]
    Read(Box<dyn std::error::Error + Send + Sync>),
    /// File or document are not good.
    #[error("{text}")]
    Invalid {
        /// Everything that is wrong, a line each.
        text: String,
        /// The same, taken apart.
        problems: Vec<ConfigProblem>,
    },
    /// Settings differ that a running agent cannot take over.
    #[error("{}: restart the agent for this, or take it back; nothing was applied", names(.0))]
    NeedsRestart(Vec<SettingChange>),
    /// A rule for interfaces that only a hand-made configuration can have.
    #[error("{0}")]
    Selector(String),
    /// The links are not known, or the manager cannot change anything.
    #[error(transparent)]
    Reconcile(#[from] ReconcileError),
}

fn names(changes: &[SettingChange]) -> String {
    let names: Vec<_> = changes.iter().map(|it| it.setting.as_str()).collect();
    let needs = if names.len() == 1 { "needs" } else { "need" };
    format!("{} {needs} a restart", names.join(", "))
}
