//! What can be wrong with a configuration file, and how it is told.

use std::{fmt, io, path::PathBuf};

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

/// One thing that is wrong with a configuration file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FileProblem {
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
            key: String::new(),
            place,
            message: format!("is not YAML: {message}"),
        }
    }

    /// More than are told one by one.
    pub(super) fn untold(count: usize) -> Self {
        Self {
            key: String::new(),
            place: None,
            message: format!(
                "has {count} more problem{}; mend those above first",
                plural(count as u64)
            ),
        }
    }

    /// The document is more than any configuration is.
    pub(super) fn excessive(message: String) -> Self {
        Self {
            key: String::new(),
            place: None,
            message,
        }
    }

    /// The document has nothing but comments.
    pub(super) fn empty() -> Self {
        Self {
            key: String::new(),
            place: None,
            message: "is empty; at least `interfaces` or `autodetection` is needed, \
                      see config/probe.yaml"
                .to_owned(),
        }
    }
}

impl fmt::Display for FileProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(Place { line, column }) = self.place {
            write!(f, "{line}:{column}: ")?;
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

fn listed(path: &std::path::Path, FileProblems(problems): &FileProblems) -> String {
    let lines = problems.iter().map(|problem| {
        // The place, where there is one, follows the path as compilers have it.
        let gap = if problem.place.is_none() { " " } else { "" };
        format!("{}:{gap}{problem}", path.display())
    });
    let last = counted(problems.len() as u64, "problem") + " in the configuration";
    lines.chain([last]).collect::<Vec<_>>().join("\n")
}
