//! The toolchain of the eBPF object: which one is pinned, which one is here.
//!
//! The BPF target is tier 3: it has no prebuilt `core`, so the compiler's own sources are needed
//! (`-Z build-std`), and those must match the compiler. Debian packages both in step; elsewhere
//! rustup serves the same release.

use std::env;
use std::fs;
use std::iter;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::workspace::{self, output};

/// Release of Rust that the committed object is built with.
pub(crate) const RUST: &str = "1.96.0";
/// Release of bpf-linker that the committed object is linked with.
pub(crate) const BPF_LINKER: &str = "0.13.0";
/// Major release of LLVM behind both: bpf-linker's must not be older than the compiler's.
pub(crate) const LLVM: &str = "22";

/// A compiler with its sources, a cargo of the same release, and the linker.
pub(crate) struct Toolchain {
    pub(crate) rustc: PathBuf,
    pub(crate) cargo: PathBuf,
    pub(crate) bpf_linker: PathBuf,
    pub(crate) llvm_strip: PathBuf,
    /// `lib/rustlib/src/rust` of the compiler.
    pub(crate) rust_src: PathBuf,
    pub(crate) versions: Versions,
}

/// Everything that decides the object's bytes besides its sources and flags.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Versions {
    pub(crate) rustc: String,
    pub(crate) llvm: String,
    pub(crate) bpf_linker: String,
}

impl Versions {
    pub(crate) fn to_json(&self) -> Value {
        json!({ "rustc": self.rustc, "llvm": self.llvm, "bpf-linker": self.bpf_linker })
    }

    pub(crate) fn from_json(value: &Value) -> Option<Self> {
        let text = |key: &str| value.get(key)?.as_str().map(str::to_owned);
        Some(Self {
            rustc: text("rustc")?,
            llvm: text("llvm")?,
            bpf_linker: text("bpf-linker")?,
        })
    }
}

impl Toolchain {
    /// Finds the toolchain: Debian's first, else what rustup has of the pinned release.
    pub(crate) fn find() -> Result<Self> {
        let Some((rustc, cargo)) = debian_compiler().or_else(rustup_compiler) else {
            bail!(
                "no Rust {RUST} with its sources was found, neither from Debian (rustc-web, \
                 cargo-web, rust-web-src) nor from rustup: run `cargo xtask setup-ebpf`"
            );
        };
        let Some(bpf_linker) = bpf_linker() else {
            bail!("bpf-linker was not found: run `cargo xtask setup-ebpf`");
        };
        let sysroot = PathBuf::from(output(Command::new(&rustc).args(["--print", "sysroot"]))?);
        let Some(llvm_strip) = llvm_strip(&sysroot) else {
            bail!("llvm-strip was not found: run `cargo xtask setup-ebpf`");
        };
        let rust_src = sysroot.join("lib/rustlib/src/rust");
        let versions = versions(&rustc, &bpf_linker)?;
        Ok(Self {
            rustc,
            cargo,
            bpf_linker,
            llvm_strip,
            rust_src,
            versions,
        })
    }
}

/// The compiler and cargo of Debian's `*-web` packages, called by their paths: on `PATH` rustup's
/// proxies come first.
pub(crate) fn debian_compiler() -> Option<(PathBuf, PathBuf)> {
    let (rustc, cargo) = (
        PathBuf::from("/usr/bin/rustc"),
        PathBuf::from("/usr/bin/cargo"),
    );
    (cargo.is_file() && is_usable(&rustc)).then_some((rustc, cargo))
}

/// The compiler and cargo of the pinned release, from rustup.
pub(crate) fn rustup_compiler() -> Option<(PathBuf, PathBuf)> {
    let which = |tool: &str| {
        let mut rustup = Command::new("rustup");
        rustup
            .args(["which", "--toolchain", RUST, tool])
            .env("RUSTUP_AUTO_INSTALL", "0");
        output(&mut rustup).ok().map(PathBuf::from)
    };
    let rustc = which("rustc")?;
    is_usable(&rustc).then_some((rustc, which("cargo")?))
}

/// bpf-linker, from `PATH` or from where `cargo install` puts it.
pub(crate) fn bpf_linker() -> Option<PathBuf> {
    let installed = cargo_home().map(|home| home.join("bin/bpf-linker"));
    workspace::find_program("bpf-linker")
        .or(installed)
        .filter(|linker| linker.is_file())
}

/// llvm-strip of the pinned LLVM from Debian, else of rustup's `llvm-tools`.
fn llvm_strip(sysroot: &Path) -> Option<PathBuf> {
    let debian = PathBuf::from(format!("/usr/lib/llvm-{LLVM}/bin/llvm-strip"));
    let hosts = fs::read_dir(sysroot.join("lib/rustlib")).ok();
    let hosts = hosts
        .into_iter()
        .flatten()
        .flatten()
        .map(|host| host.path());
    let mut places = iter::once(debian).chain(hosts.map(|host| host.join("bin/llvm-strip")));
    places.find(|place| place.is_file())
}

/// The folder with cargo's registry.
pub(crate) fn cargo_home() -> Option<PathBuf> {
    let home = || Some(PathBuf::from(env::var_os("HOME")?).join(".cargo"));
    env::var_os("CARGO_HOME").map(PathBuf::from).or_else(home)
}

/// Release of Rust below which aya-ebpf does not build for BPF is of no use; without sources of
/// `core` none is.
fn is_usable(rustc: &Path) -> bool {
    let Ok(version) = output(Command::new(rustc).arg("--version")) else {
        return false;
    };
    let Ok(sysroot) = output(Command::new(rustc).args(["--print", "sysroot"])) else {
        return false;
    };
    let core = Path::new(&sysroot).join("lib/rustlib/src/rust/library/core/Cargo.toml");
    core.is_file() && minor_release(&version) >= minor_release(&format!("rustc {RUST}"))
}

/// 96 for "rustc 1.96.0 (…)".
fn minor_release(version: &str) -> Option<u32> {
    version
        .strip_prefix("rustc 1.")?
        .split('.')
        .next()?
        .parse()
        .ok()
}

fn versions(rustc: &Path, bpf_linker: &Path) -> Result<Versions> {
    let verbose = output(Command::new(rustc).arg("-vV"))?;
    let rustc = verbose.lines().next().unwrap_or_default().to_owned();
    let llvm = verbose
        .lines()
        .find_map(|line| line.strip_prefix("LLVM version: "))
        .with_context(|| format!("`rustc -vV` names no LLVM version: {verbose}"))?
        .to_owned();
    let bpf_linker = output(Command::new(bpf_linker).arg("--version"))?;
    Ok(Versions {
        rustc,
        llvm,
        bpf_linker,
    })
}
