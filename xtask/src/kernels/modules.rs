//! The modules that a machine needs, and those that these need.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

/// What the script and the tests use. A kernel that has one built in, or not at all, goes without.
const MODULES: &[&str] = &[
    // What attaches programs before 6.6, and what redirects.
    "sch_ingress",
    "cls_bpf",
    "cls_u32",
    "act_mirred",
    // Links.
    "veth",
    "tun",
    "dummy",
    "ifb",
    "bridge",
    "bonding",
    "team",
    "team_mode_roundrobin",
    "8021q",
    "macvlan",
    "ipvlan",
    "macsec",
    "vxlan",
    "geneve",
    "ip_gre",
    "ip6_gre",
    "ipip",
    "sit",
    "ip6_tunnel",
    "l2tp_eth",
    "l2tp_netlink",
    "wireguard",
    "ppp_generic",
    "pppoe",
    // The cipher of MACsec, which is asked for by name and not by a dependency.
    "aes_generic",
    "ctr",
    "ghash_generic",
    "gcm",
];

/// Copies the modules below `from` into the folder `to`, unpacked and named in the order in which they
/// have to be loaded.
pub(super) fn copy(from: &Path, to: &Path) -> Result<()> {
    let mut files = BTreeMap::new();
    index(from, &mut files)?;
    let mut copied = Copied {
        files,
        done: BTreeSet::new(),
    };
    for module in MODULES {
        copied.copy(module, to)?;
    }
    Ok(())
}

/// Notes every module below a folder, by name.
fn index(folder: &Path, files: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            index(&path, files)?;
            continue;
        }
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        if let Some((name, _)) = file.split_once(".ko") {
            files.insert(canonical(name), path);
        }
    }
    Ok(())
}

/// File names have hyphens where the kernel has underscores.
fn canonical(name: &str) -> String {
    name.replace('-', "_")
}

struct Copied {
    /// Every module of the kernel.
    files: BTreeMap<String, PathBuf>,
    /// Names of those that are copied.
    done: BTreeSet<String>,
}

impl Copied {
    /// Copies a module behind all that it needs.
    fn copy(&mut self, name: &str, to: &Path) -> Result<()> {
        let Some(file) = self.files.get(name) else {
            return Ok(());
        };
        if !self.done.insert(name.to_owned()) {
            return Ok(());
        }
        let module = unpacked(file)?;
        for needed in needs(&module) {
            self.copy(&needed, to)?;
        }
        let order = fs::read_dir(to)?.count();
        let target = to.join(format!("{order:03}-{name}.ko"));
        fs::write(&target, module).with_context(|| format!("writing {}", target.display()))
    }
}

/// The content of a module file.
fn unpacked(file: &Path) -> Result<Vec<u8>> {
    if file.extension().is_none_or(|extension| extension != "xz") {
        return fs::read(file).with_context(|| format!("reading {}", file.display()));
    }
    let mut xz = Command::new("xz");
    let output = xz.args(["--decompress", "--stdout"]).arg(file).output();
    let output = output.context("`xz` did not start")?;
    let problem = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {problem}", file.display());
    Ok(output.stdout)
}

/// The modules that a module needs, by what it says of itself: `depends=one,two` between zeros.
fn needs(module: &[u8]) -> Vec<String> {
    let entries = module.split(|byte| *byte == 0);
    let listed = entries
        .filter_map(|entry| entry.strip_prefix(b"depends="))
        .filter_map(|list| std::str::from_utf8(list).ok());
    listed
        .flat_map(|list| list.split(',').filter(|name| !name.is_empty()))
        .map(canonical)
        .collect()
}

#[cfg(test)]
mod tests {
    use std::{
        collections::{BTreeMap, BTreeSet},
        fs,
    };

    use super::{Copied, index, needs};

    #[test]
    fn a_module_comes_behind_what_it_needs() {
        let from = tempfile::tempdir().expect("a folder");
        let to = tempfile::tempdir().expect("a folder");
        let deep = from.path().join("net");
        fs::create_dir(&deep).expect("a folder");
        for (folder, name, needed) in [
            (from.path(), "ip_gre", "gre,ip-tunnel"),
            (&deep, "ip-tunnel", ""),
            (from.path(), "gre", "ip-tunnel"),
            (from.path(), "unused", ""),
        ] {
            let content = format!("\0name={name}\0depends={needed}\0");
            fs::write(folder.join(format!("{name}.ko")), content).expect("written");
        }
        let mut files = BTreeMap::new();
        index(from.path(), &mut files).expect("readable");
        let mut copied = Copied {
            files,
            done: BTreeSet::new(),
        };
        copied.copy("ip_gre", to.path()).expect("copied");
        copied.copy("built_in", to.path()).expect("nothing to copy");
        let mut names: Vec<_> = fs::read_dir(to.path())
            .expect("readable")
            .map(|entry| entry.expect("readable").file_name())
            .collect();
        names.sort();
        assert_eq!(names, ["000-ip_tunnel.ko", "001-gre.ko", "002-ip_gre.ko"]);
    }

    #[test]
    fn a_module_says_what_it_needs() {
        let module = b"\x7fELF\0name=vxlan\0depends=ip6_udp_tunnel,udp-tunnel\0intree=Y\0";
        assert_eq!(needs(module), ["ip6_udp_tunnel", "udp_tunnel"]);
        assert!(needs(b"\0depends=\0").is_empty());
    }
}
