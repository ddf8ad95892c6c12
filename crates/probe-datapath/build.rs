//! Embeds the eBPF object, and refuses one that is older than its sources.
//!
//! `PROBE_BPF_OBJECT` (absolute path) replaces the committed object: CI uses it where the pinned
//! compiler is no longer served.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

#[path = "build/object_sources.rs"]
mod object_sources;

use object_sources::{MANIFEST, OBJECT, SOURCES, sha256_hex, stale_source};

const REMEDY: &str = "run `cargo xtask build-ebpf`";

fn main() {
    println!("cargo::rerun-if-env-changed=PROBE_BPF_OBJECT");
    match object() {
        Ok(path) => embed(&path),
        Err(sentence) => println!("cargo::error={sentence}"),
    }
}

fn embed(object: &Path) {
    println!(
        "cargo::rustc-env=PROBE_BPF_OBJECT_PATH={}",
        object.display()
    );
    if let Ok(bytes) = fs::read(object) {
        let sha256 = sha256_hex(&bytes);
        println!("cargo::rustc-env=PROBE_BPF_OBJECT_SHA256={sha256}");
    }
}

fn object() -> Result<PathBuf, String> {
    if let Some(object) = env::var_os("PROBE_BPF_OBJECT") {
        let object = PathBuf::from(object);
        println!("cargo::rerun-if-changed={}", object.display());
        if !object.is_absolute() || !object.is_file() {
            let shown = object.display();
            return Err(format!(
                "PROBE_BPF_OBJECT names no file by its absolute path: {shown}"
            ));
        }
        return Ok(object);
    }
    let datapath = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let root = datapath.ancestors().nth(2).unwrap_or(&datapath);
    for path in SOURCES
        .into_iter()
        .chain([MANIFEST, OBJECT, "Cargo.toml", "Cargo.lock"])
    {
        println!("cargo::rerun-if-changed={}", root.join(path).display());
    }
    refuse_stale(root)?;
    Ok(root.join(OBJECT))
}

fn refuse_stale(root: &Path) -> Result<(), String> {
    let missing =
        |path: &str, error| format!("there is no eBPF object ({path}: {error}): {REMEDY}");
    let text = fs::read(root.join(MANIFEST)).map_err(|error| missing(MANIFEST, error))?;
    let object = fs::read(root.join(OBJECT)).map_err(|error| missing(OBJECT, error))?;
    let manifest: serde_json::Value = serde_json::from_slice(&text)
        .map_err(|error| format!("{MANIFEST} cannot be read ({error}): {REMEDY}"))?;
    let stale = stale_source(root, &manifest)
        .map_err(|error| format!("the sources of the eBPF object cannot be read: {error}"))?;
    if let Some(source) = stale {
        return Err(format!("the eBPF object is older than {source}: {REMEDY}"));
    }
    // A merge can take one of the two files from each side.
    if manifest["object"]["sha256"].as_str() != Some(&sha256_hex(&object)) {
        return Err(format!(
            "{OBJECT} is not the object of its manifest: {REMEDY}"
        ));
    }
    Ok(())
}
