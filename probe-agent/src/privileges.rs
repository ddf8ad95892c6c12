//! The capabilities of the process: which it needs, and giving back the others.
//!
//! Capabilities belong to threads (capabilities(7)): what one thread gives back its siblings keep.
//! So [`Privileges::drop_others`] comes first in the life of the process, while it is one thread,
//! and every thread that is started later inherits what is left. All files and addresses are opened
//! after that: what cannot be opened without the dropped rights is an error of the start and not of
//! a reload years later.

use std::{
    fmt,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use caps::{CapSet, Capability, CapsHashSet, errors::CapsError};

use crate::config::Config;
use probe_api::{endpoint::Endpoint, reload::SettingChange};
use probe_datapath::load;

/// Loading and attaching programs, and doing so again whenever a link comes or a hook was lost.
const ALWAYS: [Capability; 3] = [
    Capability::CAP_BPF,
    Capability::CAP_NET_ADMIN,
    Capability::CAP_PERFMON,
];

/// `CAP_BPF` and `CAP_PERFMON` were split off from it in 5.8 (commit a17b53c4a4b5) and are still
/// included in it. Container runtimes older than that give it in their place.
const INCLUDES_BPF: Capability = Capability::CAP_SYS_ADMIN;

/// The first TCP port that anybody may listen on (`net.ipv4.ip_unprivileged_port_start`).
const FIRST_FREE_PORT: u16 = 1024;

/// Why the process cannot start with the rights that it has, or cannot give up others.
#[derive(Debug, thiserror::Error)]
pub enum PrivilegeError {
    /// Capabilities are missing; all of them, with what each is for.
    #[error(
        "the agent lacks {}: start it as root, or give it these capabilities (systemd: \
         AmbientCapabilities= and CapabilityBoundingSet=; docker: --cap-add)",
        list_needs(missing)
    )]
    Missing {
        /// Capabilities that the process lacks, and what each is for.
        missing: Vec<Need>,
    },
    /// The kernel does not tell or take capabilities.
    #[error("cannot {operation} the capabilities of the process: {source}")]
    Capabilities {
        /// What was tried: "read" or "drop".
        operation: &'static str,
        /// Cause, as the system tells it.
        source: CapsError,
    },
    /// Too late: threads that run already would keep theirs.
    #[error("cannot drop capabilities: the process has {threads} threads already; do it first")]
    Threads {
        /// Number of threads that run already.
        threads: usize,
    },
    /// The flag against privileged programs.
    #[error("cannot set no_new_privs: {0}")]
    NoNewPrivileges(#[from] rustix::io::Errno),
    /// A reload would fail.
    #[error(
        "cannot read the configuration {file} without CAP_DAC_OVERRIDE, which the agent gives up, \
         so it could never be reloaded: {source}; make the file readable for the agent's user",
        file = file.display()
    )]
    Configuration {
        /// Path of the unreadable file.
        file: PathBuf,
        /// Cause, as the system tells it.
        source: io::Error,
    },
}

/// A capability and what it is for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Need {
    /// The capability that is needed.
    pub capability: Capability,
    /// What the agent does with it.
    pub purpose: String,
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.capability, self.purpose)
    }
}

fn list_needs(needs: &[Need]) -> String {
    let needs: Vec<_> = needs.iter().map(ToString::to_string).collect();
    needs.join(", ")
}

/// What the process may do, compared with what a configuration needs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Privileges {
    keep: CapsHashSet,
    drop: CapsHashSet,
}

/// All that this configuration needs.
fn needs(config: &Config) -> Vec<Need> {
    let need = |capability, purpose: &str| Need {
        capability,
        purpose: purpose.to_owned(),
    };
    let purposes = ["eBPF maps and programs", "hooks of links", "eBPF verifier"];
    let mut needs: Vec<_> = ALWAYS
        .into_iter()
        .zip(purposes)
        .map(|(capability, purpose)| need(capability, purpose))
        .collect();
    let mut interfaces = config.interfaces.iter();
    if let Some((name, _)) = interfaces.find(|(_, it)| it.promisc && !it.disable) {
        let purpose = format!("interfaces.{name}.promisc");
        needs.push(need(Capability::CAP_NET_RAW, &purpose));
    }
    let addresses = [
        ("api.addr", &config.api.addr),
        ("api.metrics_addr", &config.api.metrics_addr),
    ];
    for (key, address) in addresses {
        if let Some(Ok(Endpoint::Tcp(address))) = address.as_deref().map(Endpoint::parse)
            && (1..FIRST_FREE_PORT).contains(&address.port())
        {
            let purpose = format!("port {} of {key}", address.port());
            needs.push(need(Capability::CAP_NET_BIND_SERVICE, &purpose));
        }
    }
    needs
}

impl Privileges {
    /// Compares the calling thread's capabilities with what the configuration needs. All that are
    /// missing are one error.
    ///
    /// # Errors
    ///
    /// [`PrivilegeError::Missing`]: the thread lacks capabilities.
    /// [`PrivilegeError::Capabilities`]: the kernel does not tell which it has.
    pub fn compare(config: &Config) -> Result<Self, PrivilegeError> {
        let held = read(CapSet::Permitted)?;
        Self::compare_with(&needs(config), &held)
    }

    fn compare_with(needs: &[Need], held: &CapsHashSet) -> Result<Self, PrivilegeError> {
        let is_included = |need: &&Need| {
            held.contains(&INCLUDES_BPF)
                && [Capability::CAP_BPF, Capability::CAP_PERFMON].contains(&need.capability)
        };
        let lacking: Vec<_> = needs
            .iter()
            .filter(|need| !held.contains(&need.capability))
            .collect();
        let (included, missing): (Vec<&Need>, Vec<&Need>) =
            lacking.into_iter().partition(is_included);
        if !missing.is_empty() {
            return Err(PrivilegeError::Missing {
                missing: missing.into_iter().cloned().collect(),
            });
        }
        let mut keep: CapsHashSet = needs.iter().map(|need| need.capability).collect();
        if !included.is_empty() {
            keep.insert(INCLUDES_BPF);
        }
        Ok(Self {
            keep: held.intersection(&keep).copied().collect(),
            drop: held.difference(&keep).copied().collect(),
        })
    }

    /// Gives back for good what is not needed, in all five sets, and forbids programs that would
    /// bring it back. Then makes sure that the configuration can still be read.
    ///
    /// The effective set goes before the permitted one, which must include it. The bounding set
    /// needs `CAP_SETPCAP`, so it comes first; without that nothing can be dropped from it, but
    /// without new privileges it bounds nothing either.
    ///
    /// # Errors
    ///
    /// [`PrivilegeError::Threads`]: the process has more than one thread.
    /// [`PrivilegeError::Capabilities`] and [`PrivilegeError::NoNewPrivileges`]: the kernel refuses
    /// a change. [`PrivilegeError::Configuration`]: the file cannot be opened without what was
    /// given back.
    pub fn drop_others(&self, configuration: &Path) -> Result<(), PrivilegeError> {
        let threads = fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
        if threads > 1 {
            return Err(PrivilegeError::Threads { threads });
        }
        // Kernels before 5.11 charge maps to a limit that only CAP_SYS_RESOURCE raises.
        load::raise_memlock_limit();
        let failed = |source| PrivilegeError::Capabilities {
            operation: "drop",
            source,
        };
        if read(CapSet::Effective)?.contains(&Capability::CAP_SETPCAP) {
            for capability in read(CapSet::Bounding)?.difference(&self.keep) {
                caps::drop(None, CapSet::Bounding, *capability).map_err(failed)?;
            }
        }
        caps::clear(None, CapSet::Ambient).map_err(failed)?;
        caps::set(None, CapSet::Effective, &self.keep).map_err(failed)?;
        caps::clear(None, CapSet::Inheritable).map_err(failed)?;
        caps::set(None, CapSet::Permitted, &self.keep).map_err(failed)?;
        rustix::thread::set_no_new_privs(true)?;
        if let Err(source) = File::open(configuration) {
            return Err(PrivilegeError::Configuration {
                file: configuration.to_owned(),
                source,
            });
        }
        tracing::info!(kept = %names(&self.keep), dropped = self.drop.len(), "capabilities");
        Ok(())
    }
}

/// Whether the process has no rights for a setting any more, although a running agent takes it over.
pub(crate) fn needs_more_rights(change: &SettingChange) -> bool {
    let asks = change.setting.ends_with(".promisc") && change.after.as_deref() == Some("true");
    asks && read(CapSet::Permitted).is_ok_and(|held| is_without_raw(&held))
}

/// It has given that back, or was never given it. Who may attach nothing either, as in a test with a
/// source of its own, is not meant.
fn is_without_raw(held: &CapsHashSet) -> bool {
    held.contains(&Capability::CAP_NET_ADMIN) && !held.contains(&Capability::CAP_NET_RAW)
}

fn read(set: CapSet) -> Result<CapsHashSet, PrivilegeError> {
    caps::read(None, set).map_err(|source| PrivilegeError::Capabilities {
        operation: "read",
        source,
    })
}

fn names(capabilities: &CapsHashSet) -> String {
    let mut names: Vec<_> = capabilities.iter().map(ToString::to_string).collect();
    names.sort();
    names.join(" ")
}

#[cfg(test)]
mod tests {
    use caps::Capability::{
        self, CAP_BPF, CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_NET_ADMIN, CAP_NET_RAW, CAP_PERFMON,
        CAP_SYS_ADMIN,
    };

    use super::{Privileges, names, needs};
    use crate::config::Config;
    use probe_capture::interface::InterfaceConfig;

    fn compare(config: &Config, held: &[Capability]) -> Result<Privileges, String> {
        let held = held.iter().copied().collect();
        Privileges::compare_with(&needs(config), &held).map_err(|error| error.to_string())
    }

    fn promiscuous() -> Config {
        let mut config = Config::default();
        let settings = InterfaceConfig {
            promisc: true,
            ..InterfaceConfig::default()
        };
        config.interfaces.insert("eth0".to_owned(), settings);
        config
    }

    #[test]
    fn all_that_is_missing_is_named_at_once_with_the_remedy() {
        let mut config = promiscuous();
        config.api.metrics_addr = Some("0.0.0.0:443".to_owned());
        let error = compare(&config, &[CAP_NET_ADMIN, CAP_CHOWN]).expect_err("three are missing");
        assert_eq!(
            error,
            "the agent lacks CAP_BPF (eBPF maps and programs), CAP_PERFMON (eBPF verifier), \
             CAP_NET_RAW (interfaces.eth0.promisc), \
             CAP_NET_BIND_SERVICE (port 443 of api.metrics_addr): start it as root, or give it \
             these capabilities (systemd: AmbientCapabilities= and CapabilityBoundingSet=; docker: \
             --cap-add)"
        );
    }

    #[test]
    fn what_is_not_needed_is_dropped() {
        let held = [
            CAP_BPF,
            CAP_NET_ADMIN,
            CAP_PERFMON,
            CAP_NET_RAW,
            CAP_SYS_ADMIN,
            CAP_DAC_OVERRIDE,
        ];
        let privileges = compare(&Config::default(), &held).expect("nothing is missing");
        assert_eq!(names(&privileges.keep), "CAP_BPF CAP_NET_ADMIN CAP_PERFMON");
        assert_eq!(
            names(&privileges.drop),
            "CAP_DAC_OVERRIDE CAP_NET_RAW CAP_SYS_ADMIN"
        );
        let privileges = compare(&promiscuous(), &held).expect("nothing is missing");
        assert!(privileges.keep.contains(&CAP_NET_RAW));
    }

    #[test]
    fn cap_sys_admin_stands_for_what_was_split_off_from_it() {
        let held = [CAP_NET_ADMIN, CAP_SYS_ADMIN, CAP_CHOWN];
        let privileges = compare(&Config::default(), &held).expect("nothing is missing");
        assert_eq!(names(&privileges.keep), "CAP_NET_ADMIN CAP_SYS_ADMIN");
        let error = compare(&Config::default(), &[CAP_SYS_ADMIN]).expect_err("no CAP_NET_ADMIN");
        assert!(error.starts_with("the agent lacks CAP_NET_ADMIN (hooks of links):"));
    }
}
