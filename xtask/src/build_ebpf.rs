//! `cargo xtask build-ebpf`: builds the eBPF object, or compares the committed one with its
//! sources.

mod compile;
mod manifest;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::object_sources::{MANIFEST, OBJECT, sha256_hex, stale_source};
use crate::toolchain::{Toolchain, Versions};
use crate::workspace;

const REMEDY: &str = "run `cargo xtask build-ebpf` and commit crates/probe-datapath/bpf";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Build, compare the bytes with the committed object, and write nothing.
    #[arg(long)]
    check: bool,
    /// Build the programs with messages for the agent's log, into this file; for finding out what
    /// they meet. `PROBE_BPF_OBJECT=FILE cargo run` embeds it.
    #[arg(long, value_name = "FILE", conflicts_with = "check")]
    log: Option<PathBuf>,
}

/// What a comparison found, when it found nothing wrong.
pub(crate) enum Checked {
    /// The committed object is what its sources give.
    Same,
    /// This machine has another compiler; tests should use the object it built.
    NotCompared { built: PathBuf },
}

pub(crate) fn run(args: &Args) -> Result<()> {
    if let Some(file) = &args.log {
        with_log(file)
    } else if args.check {
        check().map(drop)
    } else {
        build()
    }
}

fn build() -> Result<()> {
    let root = workspace::root();
    let toolchain = Toolchain::find()?;
    let object = fs::read(compile::object(&root, &toolchain, &compile::PROBE)?)?;
    let manifest = manifest::describe(&root, &toolchain, &object)?;
    let changed = write_if_changed(&root.join(OBJECT), &object)?;
    write_if_changed(
        &root.join(MANIFEST),
        manifest::render(&manifest)?.as_bytes(),
    )?;
    let verdict = if changed { "written" } else { "unchanged" };
    println!(
        "{OBJECT}: {verdict}, {} bytes, sha256 {}",
        object.len(),
        sha256_hex(&object)
    );
    Ok(())
}

/// Builds the programs of the benchmarks and returns the object's place.
pub(crate) fn bench_object() -> Result<PathBuf> {
    let toolchain = Toolchain::find()?;
    compile::object(&workspace::root(), &toolchain, &compile::BENCH)
}

/// Builds the programs with messages.
pub(crate) fn with_log(file: &Path) -> Result<()> {
    let toolchain = Toolchain::find()?;
    let built = compile::object(&workspace::root(), &toolchain, &compile::PROBE_WITH_LOG)?;
    fs::copy(&built, file).with_context(|| format!("writing {}", file.display()))?;
    Ok(())
}

/// Builds the object and compares it with the committed one.
pub(crate) fn check() -> Result<Checked> {
    let root = workspace::root();
    let committed = fs::read_to_string(root.join(MANIFEST))
        .with_context(|| format!("there is no committed object ({MANIFEST}): {REMEDY}"))?;
    let committed: Value = serde_json::from_str(&committed)?;
    if let Some(source) = stale_source(&root, &committed)? {
        bail!("the committed eBPF object is older than {source}: {REMEDY}");
    }
    let toolchain = Toolchain::find()?;
    let built = compile::object(&root, &toolchain, &compile::PROBE)?;
    let object = fs::read(&built)?;

    let pinned = Versions::from_json(&committed["toolchain"]);
    if pinned.as_ref() != Some(&toolchain.versions) {
        println!("bytes were not compared: this machine has another toolchain than the object's");
        println!("  committed: {}", committed["toolchain"]);
        println!("  here:      {}", toolchain.versions.to_json());
        println!(
            "  to test the object built here: PROBE_BPF_OBJECT={}",
            built.display()
        );
        return Ok(Checked::NotCompared { built });
    }
    if fs::read(root.join(OBJECT))? != object {
        let built = built.display();
        bail!("{OBJECT} differs from what its sources give ({built}): {REMEDY}");
    }
    if manifest::describe(&root, &toolchain, &object)? != committed {
        bail!("{MANIFEST} differs from what its sources give: {REMEDY}");
    }
    println!(
        "{OBJECT}: same bytes as built from source, sha256 {}",
        sha256_hex(&object)
    );
    Ok(Checked::Same)
}

/// Leaves an unchanged file alone, so that cargo rebuilds nothing that depends on it.
fn write_if_changed(path: &Path, bytes: &[u8]) -> Result<bool> {
    if fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(false);
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, bytes).with_context(|| format!("writing {}", path.display()))?;
    Ok(true)
}
