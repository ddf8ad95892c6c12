//! The table of link kinds: which were counted right in which kernel.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, ensure};

/// How the tests begin a line about a kind. The runner of the tests may have begun the line before.
const LINE: &str = "kind ";

/// What came of a kind in one kernel.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Outcome {
    Counted {
        seconds: String,
    },
    /// The kernel has no such links.
    Absent,
    Failed,
}

/// Kinds and what came of them, by kernel in the order of the runs.
#[derive(Debug, Default)]
pub(super) struct Table {
    releases: Vec<String>,
    /// By name: a place for each kernel, in which there is nothing where the kind was not tried.
    kinds: BTreeMap<String, Vec<Option<Outcome>>>,
}

impl Table {
    /// Adds what a machine printed.
    pub(super) fn add(&mut self, release: &str, printed: &str) {
        self.releases.push(release.to_owned());
        let place = self.releases.len();
        for line in printed.lines() {
            let Some((name, outcome)) = parse(line) else {
                continue;
            };
            let outcomes = self.kinds.entry(name.to_owned()).or_default();
            outcomes.resize(place - 1, None);
            outcomes.push(Some(outcome));
        }
        for outcomes in self.kinds.values_mut() {
            outcomes.resize(place, None);
        }
    }

    /// Fails unless each kind was counted right in some kernel, and wrong in none. `documented` are the
    /// kinds that there should be.
    pub(super) fn judge(&self, documented: &BTreeSet<String>) -> Result<()> {
        let tried = self.kinds.keys();
        let tried: BTreeSet<_> = tried.map(|name| base(name).to_owned()).collect();
        let unlike: Vec<_> = tried.symmetric_difference(documented).collect();
        ensure!(
            unlike.is_empty(),
            "either in docs/LINKS.md or tested, and not both: {unlike:?}"
        );
        let named = |is_bad: &dyn Fn(&[Option<Outcome>]) -> bool| {
            let kinds = self.kinds.iter();
            let bad = kinds.filter(|(_, outcomes)| is_bad(outcomes));
            bad.map(|(name, _)| name.as_str()).collect::<Vec<_>>()
        };
        let failed = named(&|outcomes| outcomes.contains(&Some(Outcome::Failed)));
        ensure!(failed.is_empty(), "counted wrong: {}", failed.join(", "));
        let untried = named(&|outcomes| outcomes.contains(&None));
        ensure!(untried.is_empty(), "not tried: {}", untried.join(", "));
        let is_counted = |it: &Option<Outcome>| matches!(it, Some(Outcome::Counted { .. }));
        let nowhere = named(&|outcomes| !outcomes.iter().any(is_counted));
        ensure!(
            nowhere.is_empty(),
            "in none of these kernels: {}",
            nowhere.join(", ")
        );
        Ok(())
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:18}", "kind")?;
        for release in &self.releases {
            write!(f, " {release:>24}")?;
        }
        for (name, outcomes) in &self.kinds {
            write!(f, "\n{name:18}")?;
            for outcome in outcomes {
                let outcome = match outcome {
                    Some(Outcome::Counted { seconds }) => &format!("counted in {seconds} s"),
                    Some(Outcome::Absent) => "absent",
                    Some(Outcome::Failed) => "FAILED",
                    None => "not tried",
                };
                write!(f, " {outcome:>24}")?;
            }
        }
        Ok(())
    }
}

/// The kind without what is special about it: gre of `gre_with_key`.
fn base(name: &str) -> &str {
    name.split_once('_').map_or(name, |(base, _)| base)
}

/// The kinds of docs/LINKS.md, in lower case: the first column of the table below "Kinds". Without
/// those that no test can make.
pub(super) fn documented(links: &str) -> BTreeSet<String> {
    const HARDWARE: [&str; 2] = ["physical", "virtio"];
    let below = links.lines().skip_while(|line| *line != "## Kinds");
    let table = below.skip_while(|line| !line.starts_with("| --- "));
    let rows = table.skip(1).take_while(|line| line.starts_with('|'));
    let first = rows.filter_map(|row| row.split('|').nth(1));
    let names = first.flat_map(|names| names.split(','));
    names
        .map(|name| name.trim().to_lowercase())
        .filter(|name| !HARDWARE.contains(&name.as_str()))
        .collect()
}

/// Name and outcome in a line such as `kind gre counted 1.5 s`.
fn parse(line: &str) -> Option<(&str, Outcome)> {
    let (before, line) = line.split_once(LINE)?;
    if !before.is_empty() && !before.ends_with(' ') {
        return None;
    }
    let mut words = line.split_whitespace();
    let name = words.next()?;
    let outcome = words.next()?;
    let seconds = words.next()?;
    let outcome = match outcome {
        "counted" => Outcome::Counted {
            seconds: seconds.to_owned(),
        },
        "absent" => Outcome::Absent,
        "failed" => Outcome::Failed,
        _ => return None,
    };
    Some((name, outcome))
}

#[cfg(test)]
mod tests {
    use super::{Table, documented};

    const OLDER: &str = "test all ... kind gre counted 1.5 s\r\nnoise\r\nkind ppp absent 0.1 s\r\n";

    fn table(printed: &[&str]) -> Table {
        let mut table = Table::default();
        for (number, printed) in (1..).zip(printed) {
            table.add(&format!("6.{number}"), printed);
        }
        table
    }

    #[test]
    fn each_kind_must_be_counted_somewhere() {
        let documented = ["gre", "ppp"].map(str::to_owned).into();
        let judge = |printed: &[&str]| table(printed).judge(&documented);
        let problem = |printed: &[&str]| judge(printed).expect_err("bad").to_string();
        assert_eq!(problem(&[OLDER]), "in none of these kernels: ppp");
        let unlike = "either in docs/LINKS.md or tested, and not both: ";
        assert_eq!(problem(&[]), format!("{unlike}[\"gre\", \"ppp\"]"));
        let newer = "kind gre absent 0.1 s\nkind ppp counted 2.0 s\n";
        judge(&[OLDER, newer]).expect("each somewhere");
        assert_eq!(
            problem(&[OLDER, "kind ppp counted 2.0 s"]),
            "not tried: gre"
        );
        assert_eq!(
            problem(&["kind new counted 1 s", OLDER]),
            format!("{unlike}[\"new\"]")
        );
        let special = "kind gre_with_key failed 1 s\nkind gre counted 1 s\nkind ppp counted 1 s";
        assert_eq!(problem(&[special]), "counted wrong: gre_with_key");
        let broken = "kind gre failed 9.9 s\nkind ppp counted 2.0 s\n";
        assert_eq!(problem(&[OLDER, broken]), "counted wrong: gre");
    }

    #[test]
    fn the_document_names_kinds() {
        let links = "| a | b |\n## Kinds\n\n| kind | header |\n| --- | --- |\n| physical | x |\n\
                     | PPP, veth | none |\n\n| other | table |\n";
        assert_eq!(documented(links), ["ppp", "veth"].map(str::to_owned).into());
    }

    #[test]
    fn the_table_has_a_column_for_each_kernel() {
        let shown = table(&[OLDER, "kind ppp failed 2.0 s"]).to_string();
        let rows: Vec<Vec<_>> = shown
            .lines()
            .map(|line| {
                line.split("  ")
                    .map(str::trim)
                    .filter(|it| !it.is_empty())
                    .collect()
            })
            .collect();
        assert_eq!(rows[0], ["kind", "6.1", "6.2"]);
        assert_eq!(rows[1], ["gre", "counted in 1.5 s", "not tried"]);
        assert_eq!(rows[2], ["ppp", "absent", "FAILED"]);
    }
}
