//! What goes into the eBPF object, and whether the committed one is older than that.
//!
//! Compiled twice: into the agent's build script, which refuses a stale object, and into xtask,
//! which writes the manifest. One file, so that the two cannot disagree.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;
use sha2::{Digest, Sha256};

/// The committed object and its manifest, from the workspace root.
pub(crate) const OBJECT: &str = "crates/probe-datapath/bpf/probe.bpf.o";
pub(crate) const MANIFEST: &str = "crates/probe-datapath/bpf/manifest.json";

/// Folders and files of which every byte counts.
pub(crate) const SOURCES: [&str; 4] = [
    "probe-common/src",
    "probe-common/Cargo.toml",
    "probe-ebpf/src",
    "probe-ebpf/Cargo.toml",
];

/// Sections of the root Cargo.toml that decide how the object is compiled.
const PROFILES: [&str; 2] = ["[profile.release]", "[profile.bpf]"];

/// SHA-256 of every source of the object, by its path from the workspace root.
pub(crate) fn source_hashes(root: &Path) -> io::Result<BTreeMap<String, String>> {
    let mut files = Vec::new();
    for source in SOURCES {
        collect_files(&root.join(source), &mut files)?;
    }
    let mut hashes = BTreeMap::new();
    for file in files {
        let path = file
            .strip_prefix(root)
            .unwrap_or(&file)
            .to_string_lossy()
            .into_owned();
        hashes.insert(path, sha256_hex(&fs::read(&file)?));
    }
    let manifest = fs::read_to_string(root.join("Cargo.toml"))?;
    hashes.insert(
        "Cargo.toml".to_owned(),
        sha256_hex(profiles(&manifest).as_bytes()),
    );
    Ok(hashes)
}

/// Checksum of every package in a Cargo.lock, by "name version"; empty for packages of the
/// workspace. Cargo writes the file in one fixed form, one key a line.
pub(crate) fn locked_packages(lock: &str) -> BTreeMap<String, String> {
    let field = |block: &str, key: &str| {
        let value = block
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix(" = \""));
        value
            .and_then(|value| value.strip_suffix('"'))
            .unwrap_or_default()
            .to_owned()
    };
    let blocks = lock.split("[[package]]").skip(1);
    blocks
        .map(|block| {
            let name = format!("{} {}", field(block, "name"), field(block, "version"));
            (name, field(block, "checksum"))
        })
        .collect()
}

/// The first source that the object described by `manifest` was not built from, if there is one.
pub(crate) fn stale_source(root: &Path, manifest: &Value) -> io::Result<Option<String>> {
    let now = source_hashes(root)?;
    let then = text_map(&manifest["sources"]);
    let changed = now
        .iter()
        .find(|(path, hash)| then.get(*path) != Some(hash));
    let removed = then.keys().find(|path| !now.contains_key(*path));
    if let Some(path) = changed.map(|(path, _)| path).or(removed) {
        return Ok(Some(path.clone()));
    }
    let locked = locked_packages(&fs::read_to_string(root.join("Cargo.lock"))?);
    let moved = text_map(&manifest["packages"])
        .into_iter()
        .find(|(package, checksum)| locked.get(package) != Some(checksum));
    Ok(moved.map(|(package, _)| format!("Cargo.lock ({package})")))
}

/// SHA-256 in lower-case hexadecimal.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digest = Sha256::digest(bytes);
    let nibbles = digest.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    nibbles
        .map(|nibble| char::from(DIGITS[usize::from(nibble)]))
        .collect()
}

fn text_map(value: &Value) -> BTreeMap<String, String> {
    let entries = value.as_object().into_iter().flatten();
    entries
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect()
}

fn profiles(manifest: &str) -> String {
    let mut wanted = false;
    let mut kept = String::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            wanted = PROFILES.contains(&line.trim());
        }
        if wanted && !line.trim_start().starts_with('#') && !line.trim().is_empty() {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

fn collect_files(path: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    if !path.is_dir() {
        files.push(path.to_path_buf());
        return Ok(());
    }
    for entry in fs::read_dir(path)? {
        collect_files(&entry?.path(), files)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;

    use super::{locked_packages, profiles, source_hashes, stale_source};

    const LOCK: &str = "version = 4\n\n[[package]]\nname = \"zerocopy\"\nversion = \"0.8.63\"\n\
                        source = \"registry\"\nchecksum = \"e5fe\"\n\n[[package]]\n\
                        name = \"probe-ebpf\"\nversion = \"0.1.0\"\ndependencies = [\n \"zerocopy\",\n]\n";

    #[test]
    fn a_lock_file_gives_checksums() {
        let packages = locked_packages(LOCK);
        assert_eq!(packages["zerocopy 0.8.63"], "e5fe");
        assert_eq!(packages["probe-ebpf 0.1.0"], "");
        assert_eq!(packages.len(), 2);
    }

    #[test]
    fn only_the_profiles_of_the_object_count() {
        let text =
            "[workspace]\nmembers = []\n[profile.bpf]\n# why\nlto = true\n\n[profile.dev]\na = 1\n";
        assert_eq!(profiles(text), "[profile.bpf]\nlto = true\n");
    }

    #[test]
    fn an_edit_an_addition_a_removal_and_a_dependency_make_it_stale() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let root = folder.path();
        let write = |path: &str, text: &str| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            fs::write(path, text).expect("a file");
        };
        for path in [
            "probe-common/Cargo.toml",
            "probe-ebpf/Cargo.toml",
            "Cargo.toml",
        ] {
            write(path, "[package]\n");
        }
        write("probe-common/src/parse/link.rs", "fn link() {}\n");
        write("probe-ebpf/src/main.rs", "fn main() {}\n");
        write("Cargo.lock", LOCK);
        let manifest = json!({
            "sources": source_hashes(root).expect("hashes"),
            "packages": { "zerocopy 0.8.63": "e5fe" },
        });
        let stale = || stale_source(root, &manifest).expect("readable sources");

        assert_eq!(stale(), None);
        write("probe-common/src/parse/link.rs", "fn link() { }\n");
        assert_eq!(stale().as_deref(), Some("probe-common/src/parse/link.rs"));
        write("probe-common/src/parse/link.rs", "fn link() {}\n");
        write("probe-ebpf/src/maps.rs", "");
        assert_eq!(stale().as_deref(), Some("probe-ebpf/src/maps.rs"));
        fs::remove_file(root.join("probe-ebpf/src/maps.rs")).expect("removed");
        fs::remove_file(root.join("probe-ebpf/src/main.rs")).expect("removed");
        assert_eq!(stale().as_deref(), Some("probe-ebpf/src/main.rs"));
        write("probe-ebpf/src/main.rs", "fn main() {}\n");
        write("Cargo.lock", &LOCK.replace("0.8.63", "0.8.64"));
        assert_eq!(stale().as_deref(), Some("Cargo.lock (zerocopy 0.8.63)"));
    }
}
