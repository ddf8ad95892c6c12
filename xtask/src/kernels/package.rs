//! Debian's kernel packages: found, fetched and unpacked, without being installed.
//!
//! Up to 6.18 one package has a kernel and its modules. From 6.19 on it only names others, one with
//! the kernel and one with the modules, and all files are below `/usr`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::workspace::{self, output};

/// A kernel and its modules.
pub(super) struct Package {
    /// As `uname -r` has it.
    pub(super) release: String,
    /// The folder into which the packages were unpacked.
    folder: PathBuf,
}

impl Package {
    /// The newest kernel of a series, such as 6.1, below this folder. Fetched once.
    pub(super) fn of_series(series: &str, below: &Path) -> Result<Self> {
        let name = newest(series)?;
        let release = name.strip_prefix("linux-image-").unwrap_or(&name);
        Ok(Self {
            release: release.to_owned(),
            folder: unpack(&name, release, below)?,
        })
    }

    /// The compressed kernel, as qemu takes it. Fails where the packages have none.
    pub(super) fn kernel(&self) -> Result<PathBuf> {
        let release = &self.release;
        self.first_of(&[
            format!("boot/vmlinuz-{release}"),
            format!("usr/lib/modules/{release}/vmlinuz"),
        ])
    }

    /// The folder of all modules. Fails where the packages have none.
    pub(super) fn modules(&self) -> Result<PathBuf> {
        let release = &self.release;
        self.first_of(&[
            format!("lib/modules/{release}/kernel"),
            format!("usr/lib/modules/{release}/kernel"),
        ])
    }

    /// The first of these paths that the packages have.
    fn first_of(&self, paths: &[String]) -> Result<PathBuf> {
        let mut paths = paths.iter().map(|path| self.folder.join(path));
        let found = paths.find(|path| path.exists());
        found.with_context(|| {
            let folder = self.folder.display();
            format!("{folder} has no kernel or no modules: remove it, it is fetched again")
        })
    }
}

/// Whether this Debian has kernels of a series.
pub(super) fn has_series(series: &str) -> bool {
    newest(series).is_ok()
}

/// The newest image of a series, of those with all modules: the ones for virtual machines have no
/// PPP.
fn newest(series: &str) -> Result<String> {
    let prefix = format!("linux-image-{series}.");
    let names = output(Command::new("apt-cache").args(["pkgnames", &prefix]))?;
    let is_plain = |name: &&str| {
        let is_special = ["-cloud-", "-rt-"].iter().any(|it| name.contains(it));
        name.ends_with("-amd64") && !is_special
    };
    let mut names: Vec<_> = names.lines().filter(is_plain).collect();
    names.sort_by_key(|name| numbers(name));
    let newest = names.last().with_context(|| {
        format!("this Debian has no kernel {series}: `apt-get update`, or name another --series")
    })?;
    Ok((*newest).to_owned())
}

/// The numbers in a name, which order versions.
fn numbers(name: &str) -> Vec<u32> {
    name.split(|c: char| !c.is_ascii_digit())
        .filter_map(|word| word.parse().ok())
        .collect()
}

/// Fetches and unpacks an image, and what it is made of, once.
fn unpack(image: &str, release: &str, below: &Path) -> Result<PathBuf> {
    let unpacked = below.join(image);
    if unpacked.is_dir() {
        return Ok(unpacked);
    }
    let partly = below.join(format!("{image}.part"));
    if partly.exists() {
        fs::remove_dir_all(&partly)?;
    }
    fs::create_dir(&partly)?;
    let told = output(Command::new("apt-cache").args(["depends", image]))?;
    let mut download = Command::new("apt-get");
    download.args(["--quiet", "--quiet", "download", image]);
    download.args(parts(&told, release)).current_dir(&partly);
    workspace::run(&mut download)
        .context("is the list of packages too old? `apt-get update` fetches a new one")?;
    let archives = fs::read_dir(&partly)?.map(|entry| Ok(entry?.path()));
    for archive in archives.collect::<Result<Vec<_>>>()? {
        let mut dpkg = Command::new("dpkg");
        workspace::run(dpkg.arg("-x").args([&archive, &partly]))?;
        fs::remove_file(&archive)?;
    }
    fs::rename(&partly, &unpacked)?;
    Ok(unpacked)
}

/// The packages with the kernel and with the modules, by what `apt-cache depends` tells of an image.
fn parts<'a>(told: &'a str, release: &str) -> Vec<&'a str> {
    let names = ["binary", "modules"].map(|part| format!("linux-{part}-{release}"));
    let needed = told
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Depends: "));
    needed
        .filter(|name| names.iter().any(|it| it == name))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{numbers, parts};

    #[test]
    fn versions_are_ordered_by_their_numbers() {
        let older = numbers("linux-image-6.1.0-9-amd64");
        let newer = numbers("linux-image-6.1.0-52-amd64");
        assert!(older < newer, "{older:?} {newer:?}");
    }

    #[test]
    fn newer_kernels_come_in_parts() {
        let told = "linux-image-7.3.4+deb13-amd64\n  PreDepends: linux-base\n |Depends: dracut\n  \
                    Depends: linux-base-7.3.4+deb13-amd64\n  \
                    Depends: linux-binary-7.3.4+deb13-amd64\n  \
                    Depends: linux-modules-7.3.4+deb13-amd64\n";
        assert_eq!(
            parts(told, "7.3.4+deb13-amd64"),
            [
                "linux-binary-7.3.4+deb13-amd64",
                "linux-modules-7.3.4+deb13-amd64"
            ]
        );
        let whole = "linux-image-6.1.0-56-amd64\n  Depends: kmod\n  Depends: linux-base\n";
        assert!(parts(whole, "6.1.0-56-amd64").is_empty());
    }
}
