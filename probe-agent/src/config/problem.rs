//! What can be wrong with a configuration file, and how it is told.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use probe_flow::text::{counted, plural};

/// Where in the file something stands, counted in characters.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Place {
    /// Line of the file, from 1.
    pub line: usize,
    /// Character of the line, from 1.
    pub column: usize,
}

impl From<serde_yaml::Location> for Place {
    fn from(location: serde_yaml::Location) -> Self {
        Self {
            line: location.line(),
            column: location.column(),
        }
    }
}

/// How wrong something is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Severity {
    /// The agent does not take the file.
    Error,
    /// It takes the file, which most likely says something else than is meant.
    Warning,
}

/// One thing that is wrong with a configuration file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FileProblem {
    /// Whether the file is refused for it.
    pub severity: Severity,
    /// The key, such as `capture.ring_buffer`; empty if it is about the whole file.
    pub key: String,
    /// Where the key or its value stands; none beyond the first hundred problems of a file.
    pub place: Option<Place>,
    /// What is wrong and what is allowed.
    pub message: String,
}

impl FileProblem {
    /// The document is no YAML.
    pub(super) fn syntax(error: &serde_yaml::Error) -> Self {
        let place = error.location().map(Place::from);
        let mut message = error.to_string();
        if let Some(Place { line, column }) = place {
            // Our own form has the place in front.
            message = message.replace(&format!(" at line {line} column {column}"), "");
        }
        Self {
            place,
            ..Self::of_whole_file(Severity::Error, format!("is not YAML: {message}"))
        }
    }

    /// More than are told one by one.
    pub(super) fn untold(severity: Severity, count: usize) -> Self {
        let message = format!(
            "has {count} more problem{}; mend those above first",
            plural(count as u64)
        );
        Self::of_whole_file(severity, message)
    }

    /// The document is more than any configuration is.
    pub(super) fn excessive(message: String) -> Self {
        Self::of_whole_file(Severity::Error, message)
    }

    const fn of_whole_file(severity: Severity, message: String) -> Self {
        Self {
            severity,
            key: String::new(),
            place: None,
            message,
        }
    }

    /// The document has nothing but comments.
    pub(super) fn empty() -> Self {
        let message =
            "is empty; at least `interfaces` or `autodetection` is needed, see config/probe.yaml";
        Self::of_whole_file(Severity::Error, message.to_owned())
    }
}

impl fmt::Display for FileProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(Place { line, column }) = self.place {
            write!(f, "{line}:{column}: ")?;
        }
        if self.severity == Severity::Warning {
            f.write_str("warning: ")?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

/// Everything that is wrong with a document, in its order.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FileProblems(pub Vec<FileProblem>);

impl fmt::Display for FileProblems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

/// A configuration file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Every problem on a line of its own: `file:line:column: key: message`.
    #[error("{}", listed(.path, .problems))]
    Invalid {
        /// Path of the file.
        path: PathBuf,
        /// Everything that is wrong with it.
        problems: FileProblems,
    },
    /// The file is not UTF-8.
    #[error(
        "{path}:{line}: the configuration is not UTF-8 text; save it as UTF-8",
        path = path.display()
    )]
    NotUtf8 {
        /// Path of the file.
        path: PathBuf,
        /// The line with the first bad byte.
        line: usize,
    },
    /// The file is missing, is a directory, or may not be read.
    #[error(
        "cannot read the configuration {path}: {source}; put a readable YAML file there, or name \
         another with -c FILE",
        path = path.display()
    )]
    Read {
        /// Path of the file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The file is larger than any configuration.
    #[error(
        "{path} is larger than {limit} bytes, which no configuration is; is it the right file?",
        path = path.display()
    )]
    TooLarge {
        /// Path of the file.
        path: PathBuf,
        /// Largest size that is read, in bytes.
        limit: u64,
    },
}

impl FileProblem {
    /// One line: the place, where there is one, follows the path as compilers have it.
    pub fn in_file(&self, path: &Path) -> String {
        let gap = if self.place.is_none() { " " } else { "" };
        format!("{}:{gap}{self}", path.display())
    }
}

fn listed(path: &Path, FileProblems(problems): &FileProblems) -> String {
    let lines = problems.iter().map(|problem| problem.in_file(path));
    let last = counted(problems.len() as u64, "problem") + " in the configuration";
    lines.chain([last]).collect::<Vec<_>>().join("\n")
}
