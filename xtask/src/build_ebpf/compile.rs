//! One run of the BPF toolchain, in an environment that leaves no trace in the bytes.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::toolchain::{self, Toolchain};
use crate::workspace;

pub(super) const TARGET: &str = "bpfel-unknown-none";
const PROFILE: &str = "bpf";

/// Flags of the compiler, but for the remapped paths. The architecture is that of `pt_regs`, which
/// no program here reads; naming one keeps the host's out of the bytes. The instruction set is that of
/// kernel 5.1 and newer: with instructions of 32 bits, without which halves of words are shifted there
/// and back.
pub(super) const RUSTFLAGS: [&str; 5] = [
    "-Clinker=bpf-linker",
    "-Ctarget-cpu=v3",
    "-Cdebuginfo=2",
    "-Clink-arg=--btf",
    "--cfg=bpf_target_arch=\"x86_64\"",
];

/// BTF is made from the debug information, and is all of it that the kernel reads: without the
/// rest the object is a fifth.
pub(super) const STRIP_FLAG: &str = "--strip-debug";

/// A binary of probe-ebpf.
pub(super) struct Binary {
    pub(super) name: &'static str,
    pub(super) features: &'static str,
}

/// The programs that the agent loads.
pub(super) const PROBE: Binary = Binary {
    name: "probe",
    features: "",
};

/// The same programs, with messages for the agent's log.
pub(super) const PROBE_WITH_LOG: Binary = Binary {
    name: "probe",
    features: "log",
};

/// What the benchmarks compare them with.
pub(super) const BENCH: Binary = Binary {
    name: "bench",
    features: "bench",
};

/// Builds an object and returns its place under `target/bpf`.
pub(super) fn object(root: &Path, toolchain: &Toolchain, binary: &Binary) -> Result<PathBuf> {
    let target_dir = root.join("target/bpf");
    let mut build = cargo(root, toolchain)?;
    build
        .args(["build", "--locked", "--package", "probe-ebpf"])
        .args(["--bin", binary.name, "--features", binary.features])
        .args([
            "--profile",
            PROFILE,
            "--target",
            TARGET,
            "-Zbuild-std=core",
            "--target-dir",
        ])
        .arg(&target_dir)
        .env(
            "CARGO_ENCODED_RUSTFLAGS",
            rustflags(root, toolchain).join("\x1f"),
        );
    workspace::run(&mut build).context("the eBPF object was not built")?;
    let linked = target_dir.join(TARGET).join(PROFILE).join(binary.name);
    let object = target_dir.join(format!("{}.bpf.o", binary.name));
    let mut strip = Command::new(&toolchain.llvm_strip);
    workspace::run(strip.arg(STRIP_FLAG).arg("-o").arg(&object).arg(&linked))?;
    Ok(object)
}

/// The toolchain's cargo with its own compiler and without whatever the outer cargo, rustup or
/// the user set: any of it could change the bytes.
pub(super) fn cargo(root: &Path, toolchain: &Toolchain) -> Result<Command> {
    let mut cargo = Command::new(&toolchain.cargo);
    for (name, _) in env::vars_os() {
        if is_outer_setting(&name.to_string_lossy()) {
            cargo.env_remove(&name);
        }
    }
    // bpf-linker is named without its folder in the flags, which are part of the manifest.
    let mut path = vec![PathBuf::from("/usr/bin")];
    path.splice(..0, toolchain.bpf_linker.parent().map(Path::to_path_buf));
    path.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
    cargo
        .current_dir(root)
        .env("PATH", env::join_paths(path)?)
        .env("RUSTC", &toolchain.rustc)
        // Lets the stable compiler take `-Z build-std`, for this one child process.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTC_WRAPPER", "");
    Ok(cargo)
}

/// Settings that a surrounding `cargo run` or the user's shell hands down, but for those that
/// only say where packages come from.
fn is_outer_setting(name: &str) -> bool {
    const KEPT: [&str; 5] = [
        "CARGO_HOME",
        "CARGO_HTTP_",
        "CARGO_NET_",
        "CARGO_REGISTRIES_",
        "CARGO_REGISTRY_",
    ];
    let kept = KEPT.iter().any(|kept| name.starts_with(kept));
    (name.starts_with("CARGO") && !kept)
        || name.starts_with("RUSTC")
        || name.starts_with("RUSTDOC")
        || ["RUSTFLAGS", "RUSTUP_TOOLCHAIN", "LD_LIBRARY_PATH"].contains(&name)
}

/// Debug information and BTF name files; where they lie on this machine must not show.
fn rustflags(root: &Path, toolchain: &Toolchain) -> Vec<String> {
    let mut remapped = vec![
        (root.to_path_buf(), "."),
        (toolchain.rust_src.clone(), "/rust"),
    ];
    // Cargo follows the link that Debian's package has there.
    remapped.extend(
        toolchain
            .rust_src
            .canonicalize()
            .map(|folder| (folder, "/rust")),
    );
    remapped.extend(
        registry_sources()
            .into_iter()
            .map(|folder| (folder, "/registry")),
    );
    let remapped = remapped
        .into_iter()
        .map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display()));
    RUSTFLAGS
        .into_iter()
        .map(str::to_owned)
        .chain(remapped)
        .collect()
}

/// The unpacked packages of each registry: `registry/src/HOST-HASH`.
fn registry_sources() -> Vec<PathBuf> {
    let registry = toolchain::cargo_home().map(|home| home.join("registry/src"));
    let entries = registry.and_then(|registry| fs::read_dir(registry).ok());
    entries
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect()
}
