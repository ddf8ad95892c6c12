//! `cargo xtask setup-ebpf`: installs what builds the eBPF object, and says what it does.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::toolchain::{self, BPF_LINKER, LLVM, RUST, Toolchain};
use crate::workspace::{self, output};

/// Debian's compiler, its cargo and sources, and the LLVM that bpf-linker is built with.
const DEBIAN_PACKAGES: [&str; 5] = [
    "rustc-web",
    "cargo-web",
    "rust-web-src",
    "llvm-22-dev",
    "libpolly-22-dev",
];

pub(crate) fn run() -> Result<()> {
    if workspace::find_program("apt-get").is_some() {
        install_debian_packages()?;
    } else {
        install_with_rustup()?;
    }
    install_bpf_linker()?;
    let versions = Toolchain::find()?.versions;
    println!(
        "ready: {}, LLVM {}, {}",
        versions.rustc, versions.llvm, versions.bpf_linker
    );
    Ok(())
}

fn install_debian_packages() -> Result<()> {
    let missing: Vec<_> = DEBIAN_PACKAGES
        .into_iter()
        .filter(|p| !is_installed(p))
        .collect();
    if missing.is_empty() {
        println!(
            "Debian packages: all installed ({})",
            DEBIAN_PACKAGES.join(" ")
        );
        return Ok(());
    }
    println!("Debian packages: installing {}", missing.join(" "));
    workspace::run(apt_get().arg("update"))?;
    workspace::run(
        apt_get()
            .args(["install", "--yes", "--no-install-recommends"])
            .args(&missing),
    )
    .context(
        "installing Debian packages needs root, and a release that has them: Debian 12 or later",
    )
}

fn is_installed(package: &str) -> bool {
    let mut query = Command::new("dpkg-query");
    query.args(["--show", "--showformat", "${db:Status-Status}", package]);
    output(&mut query).is_ok_and(|status| status == "installed")
}

fn apt_get() -> Command {
    let mut apt_get = Command::new("apt-get");
    apt_get
        .env("DEBIAN_FRONTEND", "noninteractive")
        .arg("--quiet");
    apt_get
}

fn install_with_rustup() -> Result<()> {
    if toolchain::rustup_compiler().is_some() {
        println!("Rust {RUST} with its sources: installed");
        return Ok(());
    }
    println!("Rust {RUST} with its sources: installing with rustup");
    let mut rustup = Command::new("rustup");
    rustup.args(["toolchain", "install", RUST, "--profile", "minimal"]);
    rustup.args(["--component", "rust-src", "--component", "llvm-tools"]);
    workspace::run(&mut rustup).context("this machine has neither apt-get nor a working rustup")
}

fn install_bpf_linker() -> Result<()> {
    let wanted = format!("bpf-linker {BPF_LINKER}");
    if let Some(linker) = toolchain::bpf_linker()
        && output(Command::new(&linker).arg("--version"))? == wanted
    {
        println!("{wanted}: installed ({})", linker.display());
        return Ok(());
    }
    let prefix = llvm_prefix()?;
    println!("{wanted}: building against {prefix}, about a minute");
    let feature = format!("llvm-{LLVM}");
    let mut install = workspace::cargo();
    install
        .env("LLVM_PREFIX", prefix)
        .args(["install", "bpf-linker", "--version", BPF_LINKER]);
    workspace::run(install.args([
        "--no-default-features",
        "--features",
        &feature,
        "--locked",
        "--force",
    ]))
}

/// `LLVM_PREFIX` if it is set, else where Debian and Fedora put this release.
fn llvm_prefix() -> Result<String> {
    if let Ok(prefix) = std::env::var("LLVM_PREFIX") {
        return Ok(prefix);
    }
    let places = [
        format!("/usr/lib/llvm-{LLVM}"),
        format!("/usr/lib64/llvm{LLVM}"),
    ];
    let found = places
        .into_iter()
        .find(|place| Path::new(place).join("include/llvm-c").is_dir());
    let Some(prefix) = found else {
        bail!(
            "the development files of LLVM {LLVM} were not found: install them and set LLVM_PREFIX, \
             or put a released bpf-linker {BPF_LINKER} on PATH \
             (https://github.com/aya-rs/bpf-linker/releases)"
        );
    };
    Ok(prefix)
}
