//! Keeps the captured interfaces equal to what the configuration selects among the host's links.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    interface::{HostLink, Interface, InterfaceConfig, LinkList, UnreadableLink},
    manager::{Changes, Manager, ManagerError, UpdatePlan},
    selection::{self, CountedTwice, InterfaceSelector, Selection, not_a_pattern},
    trouble::{Finder, Trouble, TroubleKind},
};

/// Links that refused to be captured are asked again after this time, or when they change.
const ASK_AGAIN: Duration = Duration::from_mins(1);

/// A link that is captured with its former settings is asked after twice the time before, up to this: each
/// time interrupts its capture.
const ASK_LAST: Duration = Duration::from_hours(1);

/// Lists all links of the host, by ifindex.
pub type ListLinks = Box<dyn Fn() -> Result<LinkList, LinksError> + Send>;

/// The links of the host are not known.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct LinksError(Box<dyn std::error::Error + Send + Sync>);

impl LinksError {
    /// Keeps the cause, whose sentence is this error's.
    pub fn new(cause: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self(Box::new(cause))
    }
}

/// Links and captures could not be compared or brought together; the captures are as they were.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// The links are not known.
    #[error(transparent)]
    Links(#[from] LinksError),
    /// The manager cannot change anything.
    #[error(transparent)]
    Manager(#[from] ManagerError),
}

type Wanted = Vec<(Interface, InterfaceConfig)>;

/// Compares links and captures, and updates the manager when the links have changed.
pub struct Reconciler {
    manager: Arc<Manager>,
    selector: InterfaceSelector,
    list_links: ListLinks,
    /// Links of the last comparison.
    links: Vec<HostLink>,
    /// Configured names without a link that have been logged.
    missing: Vec<String>,
    /// Captured links whose packets others count, too.
    counted_twice: Vec<CountedTwice>,
    /// Links that cannot be read and have been logged.
    unreadable: Vec<UnreadableLink>,
    /// What was wanted and refused.
    refused: BTreeMap<Arc<str>, Refused>,
}

/// An interface that could not be captured as it should be.
struct Refused {
    wanted: (Interface, InterfaceConfig),
    /// Why not, a sentence.
    reason: String,
    asked_at: Instant,
    /// It is asked again after this time.
    wait: Duration,
}

impl Refused {
    fn is_due(&self) -> bool {
        self.asked_at.elapsed() >= self.wait
    }
}

impl Reconciler {
    /// Nothing has been compared yet.
    pub fn new(manager: Arc<Manager>, selector: InterfaceSelector, list_links: ListLinks) -> Self {
        Self {
            manager,
            selector,
            list_links,
            links: Vec::new(),
            missing: Vec::new(),
            counted_twice: Vec::new(),
            unreadable: Vec::new(),
            refused: BTreeMap::new(),
        }
    }

    /// Compares once. `None` if there is nothing to do. What was refused before is left alone for
    /// a minute as long as it is the same link; one that was restored for longer each time, since asking
    /// interrupts its capture.
    ///
    /// `gone` are the indices of links that are known to have gone; a link that has one of them now
    /// is another one.
    ///
    /// # Errors
    ///
    /// [`ReconcileError::Links`]: the links of the host cannot be listed.
    /// [`ReconcileError::Manager`]: the source cannot switch banks, as [`Manager::close`] and
    /// [`Manager::update`] say.
    pub fn reconcile(&mut self, gone: &[u32]) -> Result<Option<Changes>, ReconcileError> {
        let changes = self.compare(gone);
        self.on_outcome(changes.as_ref().err());
        changes
    }

    fn compare(&mut self, gone: &[u32]) -> Result<Option<Changes>, ReconcileError> {
        let links = self.list()?;
        let asks_again = self.refused.values().any(Refused::is_due);
        let is_reused = |link: &&Interface| gone.contains(&link.ifindex);
        let captured = self.manager.interfaces(&[]);
        let reused: Vec<_> = captured
            .iter()
            .filter(is_reused)
            .filter(|it| {
                let mut links = links.iter();
                links.any(|link| link.interface.ifindex == it.ifindex)
            })
            .map(|link| &*link.name)
            .collect();
        if links == self.links && !asks_again && reused.is_empty() {
            return Ok(None);
        }
        if !reused.is_empty() {
            self.manager.close(&reused)?;
        }
        let selection = selection::select(&self.selector, &links);
        let wanted = self.without_refused(selection.wanted);
        self.tell_missing(selection.missing);
        self.tell_counted_twice(selection.counted_twice);
        let changes = self.update(wanted)?;
        self.links = links;
        Ok(Some(changes))
    }

    /// What [`Self::change_selector`] would do, and the configured names without a link.
    ///
    /// # Errors
    ///
    /// [`ReconcileError::Links`]: the links of the host cannot be listed.
    pub fn plan(
        &self,
        selector: &InterfaceSelector,
    ) -> Result<(UpdatePlan, Vec<String>), ReconcileError> {
        let Selection {
            wanted, missing, ..
        } = selection::select(selector, &(self.list_links)()?.links);
        Ok((self.manager.plan(wanted), missing))
    }

    /// Captures what another selector selects, from now on. Returns what changed, and how many
    /// interfaces did not.
    ///
    /// # Errors
    ///
    /// [`ReconcileError::Links`]: the links of the host cannot be listed, and nothing has changed.
    /// [`ReconcileError::Manager`]: [`Manager::update`] has stopped on the way. The former selector
    /// stays in force in both cases.
    pub fn change_selector(
        &mut self,
        selector: InterfaceSelector,
    ) -> Result<(Changes, usize), ReconcileError> {
        let changes = self.select_anew(selector);
        self.on_outcome(changes.as_ref().err());
        changes
    }

    fn select_anew(
        &mut self,
        selector: InterfaceSelector,
    ) -> Result<(Changes, usize), ReconcileError> {
        let links = self.list()?;
        let selection = selection::select(&selector, &links);
        let untouched = self.manager.plan(selection.wanted.clone()).untouched;
        self.refused.clear();
        let changes = self.update(selection.wanted)?;
        self.selector = selector;
        self.links = links;
        self.tell_missing(selection.missing);
        self.tell_counted_twice(selection.counted_twice);
        Ok((changes, untouched))
    }

    /// As if so much time had passed.
    #[cfg(test)]
    pub(crate) fn pass(&mut self, time: Duration) {
        for refused in self.refused.values_mut() {
            let asked_at = refused.asked_at.checked_sub(time);
            refused.asked_at = asked_at.expect("the host has been up for longer");
        }
    }

    /// Configured names without a link.
    pub fn missing(&self) -> &[String] {
        &self.missing
    }

    /// The links that can be captured. Logs those that cannot be read, each once.
    fn list(&mut self) -> Result<Vec<HostLink>, LinksError> {
        let LinkList { links, unreadable } = (self.list_links)()?;
        for link in unreadable.iter().filter(|it| !self.unreadable.contains(it)) {
            let UnreadableLink { ifindex, reason } = link;
            tracing::warn!(ifindex, "the link cannot be captured: {reason}");
        }
        self.unreadable = unreadable;
        Ok(links)
    }

    fn update(&mut self, wanted: Wanted) -> Result<Changes, ReconcileError> {
        let settings: BTreeMap<_, _> = wanted
            .iter()
            .map(|(link, config)| (link.name.clone(), (link.clone(), config.clone())))
            .collect();
        let changes = self.manager.update(wanted)?;
        let mut refused = BTreeMap::new();
        for failure in changes.failures() {
            if let (Some(wanted), Err(error)) = (settings.get(&failure.iface), &failure.result) {
                let before = self.refused.get(&failure.iface);
                let now = Refused {
                    wanted: wanted.clone(),
                    reason: error.to_string(),
                    asked_at: Instant::now(),
                    wait: before.map_or(ASK_AGAIN, |it| (2 * it.wait).min(ASK_LAST)),
                };
                refused.insert(failure.iface.clone(), now);
            }
        }
        // Those that were not asked stay; those that were and did not refuse are captured.
        self.refused
            .retain(|name, it| settings.get(name) != Some(&it.wanted));
        self.refused.extend(refused);
        let captured = self.manager.config(&[]);
        for (_, it) in self
            .refused
            .iter_mut()
            .filter(|(name, _)| !captured.contains_key(*name))
        {
            it.wait = ASK_AGAIN;
        }
        if captured.is_empty() {
            tracing::warn!("no interface is captured");
        }
        Ok(changes)
    }

    /// Leaves out what would be refused again; one that was restored stays as it is. Those whose time has
    /// come get another chance.
    fn without_refused(&mut self, wanted: Wanted) -> Wanted {
        let captured = self.manager.config(&[]);
        self.refused.retain(|name, refused| {
            let refused = &refused.wanted;
            wanted.iter().any(|it| it.0.name == *name && it == refused)
        });
        let wanted = wanted.into_iter();
        wanted
            .filter_map(|(link, config)| {
                if self.refused.get(&link.name).is_none_or(Refused::is_due) {
                    return Some((link, config));
                }
                let restored = captured.get(&link.name)?;
                Some((link, restored.clone()))
            })
            .collect()
    }

    /// Replaces what was wrong before by what is wrong now.
    fn on_outcome(&self, error: Option<&ReconcileError>) {
        let troubles = self.manager.troubles();
        troubles.set(
            Finder::LinkList,
            error.into_iter().map(links_unknown).collect(),
        );
        let captured = self.manager.config(&[]);
        let mut found = Vec::new();
        found.extend(captured.is_empty().then(|| self.nothing_captured()));
        found.extend(self.missing.iter().map(|name| missing(name)));
        let refused = self.refused.iter();
        found.extend(refused.map(|(name, refused)| {
            let is_restored = captured.contains_key(name);
            refusal(name, &refused.reason, is_restored)
        }));
        found.extend(self.unreadable.iter().map(Trouble::from));
        found.extend(counted_twice(&self.counted_twice));
        troubles.set(Finder::Reconciliation, found);
    }

    fn nothing_captured(&self) -> Trouble {
        let (cause, remedy) = if self.refused.is_empty() {
            (
                "no link of this host is one that `interfaces` or `autodetection` wants",
                "`probe-agent plan -c FILE` tells why for each link; one that is added is captured at once",
            )
        } else {
            (
                "no interface that is wanted can be captured",
                "see what is wrong with each of them",
            )
        };
        Trouble::new(TroubleKind::NothingCaptured, None, &cause, remedy)
    }

    fn tell_missing(&mut self, missing: Vec<String>) {
        for name in missing.iter().filter(|name| !self.missing.contains(name)) {
            let hint = not_a_pattern(name);
            tracing::warn!(
                iface = %name,
                "there is no such interface{hint}; it is captured as soon as it appears"
            );
        }
        self.missing = missing;
    }

    /// Logs the first of them only: on some hosts they come and go all the time.
    fn tell_counted_twice(&mut self, found: Vec<CountedTwice>) {
        if self.counted_twice.is_empty()
            && let Some(trouble) = counted_twice(&found)
        {
            tracing::info!("{}", trouble.cause);
        }
        self.counted_twice = found;
    }
}

/// One for all of them: there may be hundreds.
fn counted_twice(found: &[CountedTwice]) -> Option<Trouble> {
    /// So many are named.
    const NAMED: usize = 3;
    if found.is_empty() {
        return None;
    }
    let named = found.iter().take(NAMED);
    let named: Vec<_> = named
        .map(|it| format!("{} and {}", it.link, it.on.join(", ")))
        .collect();
    let more = match found.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Some(Trouble::new(
        TroubleKind::CountedTwice,
        None,
        &format_args!(
            "captured links see the same packets, which sums over interfaces have twice: {}{more}",
            named.join("; ")
        ),
        "capture one of each in `interfaces`, or ask for one interface at a time",
    ))
}

fn links_unknown(error: &ReconcileError) -> Trouble {
    Trouble::new(
        TroubleKind::LinksUnknown,
        None,
        &format_args!("links that come and go are not followed: {error}"),
        "the agent tries again every few seconds; if it stays, restart it",
    )
}

fn missing(name: &str) -> Trouble {
    Trouble::new(
        TroubleKind::InterfaceMissing,
        Some(name),
        &format_args!(
            "it is configured by name, and this host has no such link{}",
            not_a_pattern(name)
        ),
        "add the link, which is then captured at once, or correct the name in `interfaces` and reload",
    )
}

fn refusal(name: &str, reason: &str, is_restored: bool) -> Trouble {
    let so = if is_restored {
        "it is captured with its former settings"
    } else {
        "it is not captured"
    };
    // The source's sentence begins with the name.
    let reason = reason.strip_prefix("interface ").unwrap_or(reason);
    let reason = reason.strip_prefix(name).unwrap_or(reason);
    let reason = reason.strip_prefix(": ").unwrap_or(reason);
    let remedy = if is_restored {
        "mend the cause, the agent tries the new settings again after a minute, then after two, four and so on \
         up to an hour, and at each reload; or change them in `interfaces` and reload"
    } else {
        "mend the cause, the agent tries again every minute; or leave the interface out of `interfaces`"
    };
    Trouble::new(
        TroubleKind::InterfaceRefused,
        Some(name),
        &format_args!("{so}: {reason}"),
        remedy,
    )
}

impl From<&UnreadableLink> for Trouble {
    fn from(link: &UnreadableLink) -> Self {
        Self::new(
            TroubleKind::LinkUnreadable,
            Some(&format!("link {}", link.ifindex)),
            &format_args!("it is not captured: {}", link.reason),
            "give the link another name, `ip link set dev NAME name NEW`",
        )
    }
}
