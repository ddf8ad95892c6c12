//! A document that is read as far as it can be, so that everything that is wrong is told at once.

use super::{
    Config, FileProblem, FileProblems, OnHost, Severity,
    declare::Section,
    doubts,
    mapping::{Collector, Mapping},
    one_source,
    sections::writeout,
    tree::{self, Node, Value},
};

/// A document with what is wrong with it. What cannot be read of it has its default.
#[derive(Debug)]
pub struct Reading<'a> {
    text: &'a str,
    outcome: Result<Document, FileProblem>,
}

#[derive(Debug)]
struct Document {
    root: Node,
    config: Config,
    problems: Collector,
}

impl<'a> Reading<'a> {
    /// Reads a document (YAML). Looks at nothing on the host.
    pub fn of(text: &'a str) -> Self {
        let outcome = Document::of(text);
        Self { text, outcome }
    }

    /// The configuration.
    ///
    /// # Errors
    ///
    /// Everything for which it is refused, in its order, each with its key and place.
    pub fn into_config(self) -> Result<Config, FileProblems> {
        let document = self
            .outcome
            .map_err(|problem| FileProblems(vec![problem]))?;
        let errors = document.problems.errors(self.text);
        if errors.is_empty() {
            Ok(document.config)
        } else {
            Err(FileProblems(errors))
        }
    }

    /// The configuration, with the defaults of what is wrong. None where nothing can be read.
    pub fn config(&self) -> Option<&Config> {
        self.outcome.as_ref().ok().map(|document| &document.config)
    }

    /// Whether the value of a key is wrong, and its default stands in the configuration.
    pub fn is_refused(&self, key: &str) -> bool {
        let document = self.outcome.as_ref().ok();
        document.is_some_and(|document| document.problems.is_refused(key))
    }

    /// The files and directories that it names, whatever else is wrong with it.
    pub fn named(&self) -> Vec<OnHost> {
        let document = self.outcome.as_ref().ok();
        document.map_or_else(Vec::new, |document| document.problems.named().to_vec())
    }

    /// Adds what was found at one of [`Self::named`].
    pub fn judge(&mut self, severity: Severity, named: &OnHost, message: String) {
        if let Ok(document) = &mut self.outcome {
            let at = (named.number, named.key.as_str());
            document.problems.judge(severity, at, message);
        }
    }

    /// Everything that is wrong with it or most likely a mistake, in its order, each with its place.
    pub fn problems(self) -> Vec<FileProblem> {
        match self.outcome {
            Ok(mut document) => {
                doubts::excludes_all(&document.root, &document.config, &mut document.problems);
                document.problems.problems(self.text)
            }
            Err(problem) => vec![problem],
        }
    }
}

impl Document {
    fn of(text: &str) -> Result<Self, FileProblem> {
        tree::check_size(text).map_err(FileProblem::excessive)?;
        let root = tree::parse(text).map_err(|error| FileProblem::syntax(&error))?;
        if matches!(root.value, Value::Null) {
            return Err(FileProblem::empty());
        }
        let mut problems = Collector::default();
        let document = Mapping::open::<Config>(&root, "", &mut problems);
        let config = Config::read(&document, &mut problems);
        one_source(&config, &document, &mut problems);
        let sinks = document.node("writeout");
        if sinks.is_none_or(|node| matches!(node.value, Value::Null)) {
            writeout::name_standard(sinks.unwrap_or(&root), &mut problems);
        }
        Ok(Self {
            root,
            config,
            problems,
        })
    }
}
