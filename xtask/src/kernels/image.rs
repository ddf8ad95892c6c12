//! The initramfs of a kernel under test.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::workspace::{self, output};

const INIT: &str = include_str!("init.sh");

const CONFIG: &str = "\
interfaces: { probe0: {} }
rotation: { interval: 1d }
writeout: [{ type: json, path: /flows }]
api: { addr: none, metrics_addr: \"127.0.0.1:9478\" }
logging: { level: info }
";

/// What the script needs besides busybox.
const PROGRAMS: [&str; 2] = ["ip", "tc"];

/// Modules of Debian's kernels: the link, and what attaches programs to it before 6.6.
const MODULES: [&str; 3] = [
    "drivers/net/veth",
    "net/sched/sch_ingress",
    "net/sched/cls_bpf",
];

/// Builds the initramfs and returns its path.
pub(super) fn build(
    unpacked: &Path,
    release: &str,
    agent: &Path,
    folder: &Path,
) -> Result<PathBuf> {
    let root = folder.join(format!("root-{release}"));
    if root.exists() {
        fs::remove_dir_all(&root)?;
    }
    for name in ["bin", "proc", "sys", "dev", "tmp", "run", "modules"] {
        fs::create_dir_all(root.join(name))?;
    }
    install_programs(&root, agent)?;
    install_modules(&root, unpacked, release)?;
    fs::write(root.join("probe.yaml"), CONFIG)?;
    let init = root.join("init");
    fs::write(&init, INIT)?;
    fs::set_permissions(&init, fs::Permissions::from_mode(0o755))?;
    let image = folder.join(format!("{release}.cpio"));
    let mut pack = Command::new("sh");
    pack.args([
        "-c",
        "find . | cpio --create --format=newc --quiet --file \"$0\"",
    ]);
    workspace::run(pack.arg(&image).current_dir(&root))?;
    fs::remove_dir_all(&root)?;
    Ok(image)
}

fn install_programs(root: &Path, agent: &Path) -> Result<()> {
    let bin = root.join("bin");
    let busybox = found("busybox")?;
    fs::copy(&busybox, bin.join("busybox"))?;
    let applets = output(Command::new(&busybox).arg("--list"))?;
    let is_ours = |name: &&str| !PROGRAMS.contains(name) && *name != "busybox";
    for applet in applets.lines().filter(is_ours) {
        symlink("busybox", bin.join(applet))?;
    }
    install(root, agent, "probe-agent")?;
    for name in PROGRAMS {
        install(root, &found(name)?, name)?;
    }
    Ok(())
}

fn found(name: &str) -> Result<PathBuf> {
    let program = workspace::find_program(name);
    program.with_context(|| format!("`{name}` is not on PATH: add /usr/sbin and /sbin to it"))
}

/// Copies a program and the libraries it is linked with.
fn install(root: &Path, program: &Path, name: &str) -> Result<()> {
    fs::copy(program, root.join("bin").join(name))
        .with_context(|| format!("copying {}", program.display()))?;
    let libraries = output(Command::new("ldd").arg(program))?;
    for library in libraries.split_whitespace().filter(|w| w.starts_with('/')) {
        let copy = root.join(library.trim_start_matches('/'));
        fs::create_dir_all(copy.parent().unwrap_or(root))?;
        fs::copy(library, &copy)?;
    }
    Ok(())
}

fn install_modules(root: &Path, unpacked: &Path, release: &str) -> Result<()> {
    let kernel = unpacked.join(format!("lib/modules/{release}/kernel"));
    for (order, module) in MODULES.into_iter().enumerate() {
        let packed = kernel.join(format!("{module}.ko.xz"));
        let target = root.join(format!("modules/{order}.ko"));
        if packed.is_file() {
            let mut unpack = Command::new("sh");
            unpack.args(["-c", "xz --decompress --stdout \"$0\" > \"$1\""]);
            workspace::run(unpack.args([&packed, &target]))?;
        } else {
            let plain = kernel.join(format!("{module}.ko"));
            fs::copy(&plain, &target).with_context(|| format!("copying {}", plain.display()))?;
        }
    }
    Ok(())
}
