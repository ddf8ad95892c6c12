//! Keeps the captured interfaces equal to what the configuration selects among the host's links.

use std::sync::Arc;

use crate::{
    config::InterfaceSelector,
    links::{self, LinksError},
    manager::{Changes, Manager, ManagerError},
    source::Interface,
};

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

/// Compares links and captures, and updates the manager when the links have changed.
pub struct Reconciler {
    manager: Arc<Manager>,
    selector: InterfaceSelector,
    /// Links of the last look.
    links: Vec<Interface>,
    /// Configured names without a link that have been logged.
    missing: Vec<String>,
}

impl Reconciler {
    /// Nothing has been looked at yet.
    pub const fn new(manager: Arc<Manager>, selector: InterfaceSelector) -> Self {
        Self {
            manager,
            selector,
            links: Vec::new(),
            missing: Vec::new(),
        }
    }

    /// Looks once. `None` if the links are the same as at the last look: an interface that refused
    /// to be captured then would refuse again.
    pub fn reconcile(&mut self) -> Result<Option<Changes>, ReconcileError> {
        let links = links::list()?;
        if links == self.links {
            return Ok(None);
        }
        let selection = links::select(&self.selector, &links);
        for name in selection
            .missing
            .iter()
            .filter(|name| !self.missing.contains(name))
        {
            tracing::warn!(
                iface = %name,
                "there is no such interface; it is captured as soon as it appears"
            );
        }
        let changes = self.manager.update(selection.wanted)?;
        self.links = links;
        self.missing = selection.missing;
        if self.manager.interfaces(&[]).is_empty() {
            tracing::warn!("no interface is captured");
        }
        Ok(Some(changes))
    }
}
