//! The query of a request: known parameters, each as often as it may be.

use super::problem::Problem;

/// The parameters of a query, decoded.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Refuses parameters other than `known`: a typing error must not widen an answer.
    pub(super) fn parse(raw: Option<&str>, known: &[&str]) -> Result<Self, Problem> {
        let pairs = form_urlencoded::parse(raw.unwrap_or_default().as_bytes());
        let pairs: Vec<_> = pairs.into_owned().collect();
        let unknown = pairs
            .iter()
            .find(|(name, _)| !known.contains(&name.as_str()));
        if let Some((name, _)) = unknown {
            let name = name.escape_debug();
            let allowed = match known {
                [] => "this takes none".to_owned(),
                known => format!("allowed are {}", known.join(", ")),
            };
            return Err(Problem::bad_request(format!(
                "unknown parameter `{name}`; {allowed}"
            )));
        }
        Ok(Self(pairs))
    }

    /// All values of a parameter that may be repeated.
    pub(super) fn all(&self, name: &str) -> Vec<String> {
        let values = self.0.iter().filter(|(key, _)| key == name);
        values.map(|(_, value)| value.clone()).collect()
    }

    /// The value of a parameter that may be given once.
    pub(super) fn one(&self, name: &str) -> Result<Option<&str>, Problem> {
        let mut values = self.0.iter().filter(|(key, _)| key == name);
        let first = values.next();
        if values.next().is_some() {
            return Err(Problem::bad_request(format!(
                "parameter `{name}` is given twice; give it once"
            )));
        }
        Ok(first.map(|(_, value)| value.as_str()))
    }

    /// The value of a parameter, read by `parse`, whose error is the end of a sentence.
    pub(super) fn read<T>(
        &self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, Problem> {
        let value = self.one(name)?;
        let parsed = value.map(parse).transpose();
        parsed.map_err(|message| Problem::bad_request(format!("parameter `{name}` {message}")))
    }
}

/// A parser of one of the words.
pub(super) fn word<T: Copy>(words: &[(&str, T)]) -> impl FnOnce(&str) -> Result<T, String> {
    move |text| {
        let found = words.iter().find(|(word, _)| *word == text);
        found.map(|(_, value)| *value).ok_or_else(|| {
            let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            let found = text.escape_debug();
            format!("must be one of {}, found `{found}`", words.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Query;

    #[test]
    fn parameters_are_decoded_and_checked() {
        let query = Query::parse(Some("iface=a%20b&iface=c&n=1"), &["iface", "n"]).expect("good");
        assert_eq!(query.all("iface"), ["a b", "c"]);
        assert_eq!(query.one("n"), Ok(Some("1")));
        assert_eq!(query.one("m"), Ok(None));
        let refused = |raw, known: &[&str]| match Query::parse(Some(raw), known) {
            Ok(query) => query.one("n").expect_err("given twice").detail,
            Err(problem) => problem.detail,
        };
        assert_eq!(
            refused("ifcae=x", &["iface"]),
            "unknown parameter `ifcae`; allowed are iface"
        );
        assert_eq!(
            refused("n=1&n=2", &["n"]),
            "parameter `n` is given twice; give it once"
        );
    }
}
