//! Why the agent cannot start or go on.

use std::{error::Error, fmt};

use probe_api::ApiError;
use probe_capture::{manager::ManagerError, reconcile::ReconcileError, source::SourceError};
use probe_store::WriteoutError;

use crate::error_text::with_causes;

/// One reason why the agent cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// An address cannot be served.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The runtime of the endpoints, or a thread.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] std::io::Error),
    /// The capture manager cannot begin.
    #[error(transparent)]
    Manager(#[from] ManagerError),
    /// The links of the host cannot be followed.
    #[error(transparent)]
    Reconcile(#[from] ReconcileError),
    /// A rule for interfaces that only a hand-made configuration can have.
    #[error("{0}")]
    Selector(String),
    /// The source cannot be opened, or has failed while running.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A sink cannot be opened.
    #[error(transparent)]
    Writeout(#[from] WriteoutError),
}

/// Everything that keeps the agent from starting: one error a line, each with its causes.
#[derive(Debug)]
pub struct AgentErrors(pub Vec<AgentError>);

impl Error for AgentErrors {
    /// The first of the errors: a chain has one way to go, and all of them are in the text.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let first = self.0.first()?;
        Some(first)
    }
}

impl fmt::Display for AgentErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<_> = self.0.iter().map(|error| with_causes(error)).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl<E: Into<AgentError>> From<E> for AgentErrors {
    fn from(error: E) -> Self {
        Self(vec![error.into()])
    }
}

#[cfg(test)]
mod tests {
    use std::{error::Error, io};

    use probe_capture::source::SourceError;
    use probe_store::WriteoutError;

    use super::{AgentError, AgentErrors};

    /// An error that leaves its cause to [`Error::source`], as those of libraries do.
    #[derive(Debug, thiserror::Error)]
    #[error("cannot load the object")]
    struct Load(#[source] io::Error);

    fn errors() -> AgentErrors {
        let refused = || io::Error::from(io::ErrorKind::PermissionDenied);
        let sink = WriteoutError::Store {
            operation: "create",
            object: "/var/lib/probe".to_owned(),
            source: Box::new(refused()),
            is_transient: true,
        };
        AgentErrors(vec![
            SourceError::attach("eth0", Load(refused())).into(),
            sink.into(),
        ])
    }

    #[test]
    fn every_error_has_its_causes_in_its_line_once() {
        assert_eq!(
            errors().to_string(),
            "interface eth0: cannot load the object: permission denied\n\
             cannot create /var/lib/probe: permission denied"
        );
    }

    #[test]
    fn the_chain_goes_on_through_the_first_error_to_its_first_cause() {
        let errors = errors();
        let first = errors.source().expect("the first error");
        assert!(matches!(
            first.downcast_ref(),
            Some(AgentError::Source(SourceError::Attach { .. }))
        ));
        let causes = std::iter::successors(Some(first), |error| (*error).source());
        let last = causes
            .last()
            .and_then(|cause| cause.downcast_ref::<io::Error>());
        assert_eq!(
            last.map(io::Error::kind),
            Some(io::ErrorKind::PermissionDenied)
        );
        assert!(AgentErrors(Vec::new()).source().is_none());
    }
}
