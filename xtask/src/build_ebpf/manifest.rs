//! The manifest beside the committed object: what it was built from, and with what.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::compile::{self, RUSTFLAGS, STRIP_FLAG, TARGET};
use crate::object_sources::{locked_packages, sha256_hex, source_hashes};
use crate::toolchain::Toolchain;
use crate::workspace::output;

/// Describes an object that was just built.
pub(super) fn describe(root: &Path, toolchain: &Toolchain, object: &[u8]) -> Result<Value> {
    Ok(json!({
        "object": { "sha256": sha256_hex(object), "bytes": object.len() },
        "toolchain": toolchain.versions.to_json(),
        "target": TARGET,
        "flags": { "rustc": RUSTFLAGS, "llvm-strip": STRIP_FLAG },
        "sources": source_hashes(root)?,
        "packages": packages(root, toolchain)?,
    }))
}

pub(super) fn render(manifest: &Value) -> Result<String> {
    Ok(serde_json::to_string_pretty(manifest)? + "\n")
}

/// Packages compiled for the BPF target, and the procedural macros they use, with their locked
/// checksums. What those macros are built from is left out: an update of `syn` changes nothing
/// here, and if it ever does, the comparison of bytes shows it.
fn packages(root: &Path, toolchain: &Toolchain) -> Result<BTreeMap<String, String>> {
    let mut tree = compile::cargo(root, toolchain)?;
    tree.args([
        "tree",
        "--locked",
        "--package",
        "probe-ebpf",
        "--edges",
        "normal",
    ])
    .args([
        "--target",
        TARGET,
        "--prefix",
        "depth",
        "--no-dedupe",
        "--format",
        " {p}",
    ]);
    let locked = locked_packages(&fs::read_to_string(root.join("Cargo.lock"))?);
    tree_packages(&output(&mut tree)?)
        .into_iter()
        .map(|package| {
            let checksum = locked.get(&package).cloned();
            let checksum = checksum.with_context(|| format!("{package} is not in Cargo.lock"))?;
            Ok((package, checksum))
        })
        .collect()
}

/// "name version" of each line of `cargo tree` that is not below a procedural macro.
fn tree_packages(tree: &str) -> Vec<String> {
    let mut packages = Vec::new();
    let mut macro_depth = None;
    for line in tree.lines() {
        let mut words = line.split_whitespace();
        let (Some(depth), Some(name), Some(version)) = (words.next(), words.next(), words.next())
        else {
            continue;
        };
        let Ok(depth) = depth.parse::<u32>() else {
            continue;
        };
        if macro_depth.is_some_and(|above| depth > above) {
            continue;
        }
        macro_depth = line.contains("(proc-macro)").then_some(depth);
        packages.push(format!("{name} {}", version.trim_start_matches('v')));
    }
    packages
}

#[cfg(test)]
mod tests {
    use super::tree_packages;

    #[test]
    fn packages_of_a_tree_stop_at_procedural_macros() {
        let tree = "0 probe-ebpf v0.1.0 (/somewhere)\n1 aya-ebpf v0.2.1\n\
                    2 aya-ebpf-macros v0.2.0 (proc-macro)\n3 syn v2.0.0\n4 quote v1.0.0\n\
                    1 zerocopy v0.8.63\n2 zerocopy-derive v0.8.63 (proc-macro)\n3 syn v2.0.0\n";
        let expected = [
            "probe-ebpf 0.1.0",
            "aya-ebpf 0.2.1",
            "aya-ebpf-macros 0.2.0",
            "zerocopy 0.8.63",
            "zerocopy-derive 0.8.63",
        ];
        assert_eq!(tree_packages(tree), expected);
    }
}
