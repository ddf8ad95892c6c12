//! The initramfs of a kernel under test.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use super::{modules, package::Package, programs::Programs};
use crate::workspace::{self, output};

const INIT: &str = include_str!("init.sh");

const CONFIG: &str = "\
interfaces: { probe0: {} }
rotation: { interval: 1d }
writeout: [{ type: json, path: /flows }]
api: { addr: none, metrics_addr: \"127.0.0.1:9478\" }
logging: { level: info }
";

/// What the script and the tests run besides busybox and Python.
pub(super) const TOOLS: [(&str, &str); 5] = [
    ("ip", "iproute2"),
    ("tc", "iproute2"),
    ("ping", "iputils-ping"),
    ("teamnl", "libteam-utils"),
    ("wg", "wireguard-tools"),
];

/// Scripts of the tests, below the workspace.
const SCRIPTS: [&str; 2] = [
    "probe-agent/tests/netns/ppp_pair.py",
    "probe-agent/tests/netns/tun_pump.py",
];

/// Says which files the interpreter has open for these scripts: itself, and all that it imports.
const LIST_PYTHON: &str = "\
import ctypes, fcntl, os, select, signal, socket, struct, sys
print(os.path.realpath(sys.executable))
for module in list(sys.modules.values()):
    if getattr(module, '__file__', None):
        print(os.path.realpath(module.__file__))
";

/// Builds the initramfs and returns its path.
pub(super) fn build(package: &Package, programs: &Programs, folder: &Path) -> Result<PathBuf> {
    let release = &package.release;
    let root = folder.join(format!("root-{release}"));
    if root.exists() {
        fs::remove_dir_all(&root)?;
    }
    for name in ["bin", "proc", "sys", "dev", "tmp", "run", "modules"] {
        fs::create_dir_all(root.join(name))?;
    }
    install_tools(&root)?;
    install_python(&root)?;
    install_programs(&root, programs)?;
    modules::copy(&package.modules()?, &root.join("modules"))?;
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

fn install_tools(root: &Path) -> Result<()> {
    let bin = root.join("bin");
    let busybox = found("busybox")?;
    fs::copy(&busybox, bin.join("busybox"))?;
    let applets = output(Command::new(&busybox).arg("--list"))?;
    let is_ours = |name: &str| TOOLS.iter().any(|(tool, _)| *tool == name) || name == "busybox";
    for applet in applets.lines().filter(|name| !is_ours(name)) {
        symlink("busybox", bin.join(applet))?;
    }
    for (name, _) in TOOLS {
        let program = found(name)?;
        fs::copy(&program, bin.join(name))?;
        install_libraries(root, &program)?;
    }
    Ok(())
}

/// The agent, the tests, and the tests' scripts where the tests look for them.
fn install_programs(root: &Path, programs: &Programs) -> Result<()> {
    for (program, name) in [(&programs.agent, "probe-agent"), (&programs.tests, "netns")] {
        // What only a debugger reads is four fifths of it.
        let mut strip = Command::new("strip");
        strip.arg("--strip-debug").arg("-o");
        workspace::run(strip.arg(root.join("bin").join(name)).arg(program))?;
        install_libraries(root, program)?;
    }
    for script in SCRIPTS {
        copy_to_same_place(root, &workspace::root().join(script))?;
    }
    Ok(())
}

/// Python and what it reads for the tests' scripts.
fn install_python(root: &Path) -> Result<()> {
    let files = output(Command::new("python3").args(["-I", "-c", LIST_PYTHON]))?;
    let mut files = files.lines().map(Path::new);
    let python = files.next().context("python3 does not say where it is")?;
    copy_to_same_place(root, python)?;
    install_libraries(root, python)?;
    symlink(python, root.join("bin/python3"))?;
    for file in files {
        copy_to_same_place(root, file)?;
        if file.extension().is_some_and(|extension| extension == "so") {
            install_libraries(root, file)?;
        }
    }
    Ok(())
}

fn found(name: &str) -> Result<PathBuf> {
    let program = workspace::find_program(name);
    program.with_context(|| format!("`{name}` is not on PATH: add /usr/sbin and /sbin to it"))
}

/// Copies the libraries that a program is linked with.
fn install_libraries(root: &Path, program: &Path) -> Result<()> {
    let libraries = output(Command::new("ldd").arg(program))?;
    for library in libraries.split_whitespace().filter(|w| w.starts_with('/')) {
        copy_to_same_place(root, Path::new(library))?;
    }
    Ok(())
}

fn copy_to_same_place(root: &Path, file: &Path) -> Result<()> {
    let target = inside(root, file)?;
    fs::copy(file, &target).with_context(|| format!("copying {}", file.display()))?;
    Ok(())
}

/// Where an absolute path is in the image; its folder exists.
fn inside(root: &Path, path: &Path) -> Result<PathBuf> {
    let target = root.join(path.strip_prefix("/").unwrap_or(path));
    fs::create_dir_all(target.parent().unwrap_or(root))?;
    Ok(target)
}
