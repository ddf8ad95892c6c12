//! Which crates a crate may not know, asked of Cargo: `cargo tree` of each, without development
//! dependencies.

use anyhow::{Result, bail};

use crate::{query, workspace};

/// The kernel by aya or netlink.
const KERNEL: [&str; 4] = ["aya", "aya-obj", "rtnetlink", "netlink-packet-route"];
/// HTTP, server or client.
const HTTP: [&str; 3] = ["axum", "hyper", "http"];
/// Formats of stored flows.
const STORAGE: [&str; 2] = ["parquet", "arrow-array"];
/// Crates that are asynchronous runtimes.
const RUNTIME: [&str; 1] = ["tokio"];
/// The format of the configuration file.
const FILE: [&str; 1] = ["serde_yaml"];
/// What asks stored flows, with its engine: larger than the agent, and never part of it.
const QUERY: [&str; 3] = ["probe-query", "datafusion", "arrow-array"];

/// A crate of the workspace, and the kinds of crates that must not be below it.
struct Rule {
    name: &'static str,
    forbidden: &'static [&'static [&'static str]],
}

/// The table of ARCHITECTURE.md.
const RULES: [Rule; 11] = [
    Rule {
        name: "probe-common",
        forbidden: &[&KERNEL, &HTTP, &STORAGE, &RUNTIME, &FILE],
    },
    Rule {
        name: "probe-flow",
        forbidden: &[&KERNEL, &HTTP, &STORAGE, &RUNTIME, &FILE],
    },
    Rule {
        name: "probe-capture",
        forbidden: &[&KERNEL, &HTTP, &STORAGE, &RUNTIME, &FILE],
    },
    Rule {
        name: "probe-pcap",
        forbidden: &[&KERNEL, &HTTP, &STORAGE, &RUNTIME, &FILE],
    },
    Rule {
        name: "probe-datapath",
        forbidden: &[&HTTP, &STORAGE, &FILE],
    },
    Rule {
        name: "probe-store",
        forbidden: &[&KERNEL, &HTTP, &RUNTIME, &FILE],
    },
    Rule {
        name: "probe-api",
        forbidden: &[&KERNEL, &STORAGE, &FILE],
    },
    Rule {
        name: "probe-testkit",
        forbidden: &[&KERNEL, &HTTP, &STORAGE, &RUNTIME, &FILE],
    },
    Rule {
        name: "probe-agent",
        forbidden: &[&QUERY],
    },
    Rule {
        name: query::NAME,
        forbidden: &[&KERNEL, &FILE],
    },
    // Newcomers build it first.
    Rule {
        name: "xtask",
        forbidden: &[&KERNEL, &HTTP, &STORAGE, &RUNTIME, &FILE],
    },
];

pub(crate) fn run() -> Result<()> {
    let mut breaches = Vec::new();
    for rule in &RULES {
        let packages = below(rule.name)?;
        println!("{:16} {} packages below it", rule.name, packages.len());
        breaches.extend(rule.breaches(&packages));
    }
    if !breaches.is_empty() {
        bail!("{}", breaches.join("\n"));
    }
    Ok(())
}

impl Rule {
    fn breaches(&self, packages: &[String]) -> Vec<String> {
        let forbidden = self.forbidden.iter().copied().flatten();
        forbidden
            .filter(|name| packages.iter().any(|package| package == *name))
            .map(|name| {
                let crate_name = self.name;
                format!("{crate_name} may not know {name}: `cargo tree -p {crate_name} -i {name}`")
            })
            .collect()
    }
}

/// Names of all packages that a crate of the workspace is built from, itself aside.
fn below(name: &str) -> Result<Vec<String>> {
    let mut tree = workspace::cargo();
    tree.args(["tree", "--locked", "--package", name]);
    if name == query::NAME {
        tree.args(["--manifest-path", query::MANIFEST]);
    }
    tree.args(["--edges", "normal", "--prefix", "none", "--format", "{p}"]);
    Ok(names(&workspace::output(&mut tree)?, name))
}

fn names(tree: &str, own: &str) -> Vec<String> {
    let names = tree.lines().filter_map(|line| line.split(' ').next());
    let mut names: Vec<_> = names
        .filter(|name| *name != own && !name.is_empty())
        .map(str::to_owned)
        .collect();
    names.sort();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::{RULES, names};

    const TREE: &str = "probe-store v0.1.0 (/x)\nparquet v60.0.0\nbytes v1.0.0\nhyper v1.0.0\n\
                        bytes v1.0.0 (*)\n";

    #[test]
    fn a_crate_that_is_not_allowed_is_named_with_the_question_that_finds_it() {
        let names = names(TREE, "probe-store");
        assert_eq!(names, ["bytes", "hyper", "parquet"]);
        let rule = RULES.iter().find(|rule| rule.name == "probe-store");
        let found = rule.expect("a rule").breaches(&names);
        assert_eq!(
            found,
            ["probe-store may not know hyper: `cargo tree -p probe-store -i hyper`"]
        );
    }
}
