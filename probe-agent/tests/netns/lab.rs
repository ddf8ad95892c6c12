//! Two namespaces, `host` and `peer`, and a veth pair between them.
//!
//! The peer's end is the wire: it neither cuts nor merges packets, so what passes it is what a
//! switch would have seen, whatever the host's end does.

use std::{
    fs::{self, File},
    io::Write,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::AsFd,
    path::Path,
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    thread,
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::process::{eventually, run};

/// The link of the host, which the agent watches.
pub(crate) const LINK: &str = "probe0";
/// The other end.
pub(crate) const PEER_LINK: &str = "peer0";

pub(crate) const HOST_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 18, 0, 1));
pub(crate) const PEER_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 18, 0, 2));
pub(crate) const HOST_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd00, 0x198, 0x18, 0, 0, 0, 0, 1));
pub(crate) const PEER_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd00, 0x198, 0x18, 0, 0, 0, 0, 2));

/// Hardware address of [`LINK`], if it has one.
pub(crate) const HOST_MAC: &str = "02:00:00:00:00:01";
/// Hardware address of [`PEER_LINK`], if it has one.
pub(crate) const PEER_MAC: &str = "02:00:00:00:00:02";

const PREFIX: &str = "probe-test-";

/// A namespace, deleted when dropped.
pub(crate) struct Namespace {
    name: String,
}

impl Namespace {
    fn new(role: &str) -> Self {
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        let serial = SERIAL.fetch_add(1, Relaxed);
        let name = format!("{PREFIX}{}-{serial}-{role}", std::process::id());
        run(Command::new("ip").args(["netns", "add", &name]));
        Self { name }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// A command that will run inside.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command.stdin(Stdio::null());
        command
    }

    /// Runs a closure inside, on a thread of its own. Sockets that it returns stay inside.
    #[track_caller]
    pub(crate) fn enter<T: Send>(&self, body: impl FnOnce() -> T + Send) -> T {
        let path = format!("/run/netns/{}", self.name);
        let file = File::open(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let inside = || {
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
                .expect("the namespace can be entered");
            body()
        };
        thread::scope(|scope| match scope.spawn(inside).join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    }

    /// Runs lines of `ip` commands.
    #[track_caller]
    pub(crate) fn ip(&self, batch: &str) {
        let mut command = Command::new("ip");
        command.args(["-netns", &self.name, "-batch", "-"]);
        let mut ip = command
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("ip runs");
        let mut stdin = ip.stdin.take().expect("piped");
        stdin.write_all(batch.as_bytes()).expect("ip reads");
        drop(stdin);
        let output = ip.wait_with_output().expect("ip ends");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{batch}\n{errors}");
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // A panic while panicking would abort and leave the rest behind.
        let deleted = Command::new("ip")
            .args(["netns", "delete", &self.name])
            .status();
        if !deleted
            .as_ref()
            .is_ok_and(std::process::ExitStatus::success)
        {
            eprintln!("cannot delete the namespace {}: {deleted:?}", self.name);
        }
    }
}

/// What the host's end of the link does to packets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Offloads {
    /// Nothing that can be switched off. (TCP hands down super-packets all the same.)
    Off,
    /// Super-packets are cut below the hooks (GSO) and put together above the driver (GRO).
    On,
}

/// What the frames of a link start with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum LinkLayer {
    /// An Ethernet header, so that neighbours have addresses.
    Ethernet,
    /// The IP header.
    None,
}

/// The two namespaces and their link, which is up.
pub(crate) struct Lab {
    pub(crate) host: Namespace,
    pub(crate) peer: Namespace,
}

impl Lab {
    pub(crate) fn new(offloads: Offloads) -> Self {
        let lab = Self::without_links();
        lab.host.ip(&format!(
            "link add {LINK} address {HOST_MAC} type veth \
             peer name {PEER_LINK} address {PEER_MAC} netns {}\n",
            lab.peer.name()
        ));
        lab.connect(LinkLayer::Ethernet);
        let merging = if offloads == Offloads::On {
            "on"
        } else {
            "off"
        };
        set_offloads(&lab.host, LINK, merging);
        set_offloads(&lab.peer, PEER_LINK, "off");
        lab
    }

    /// The two namespaces with nothing but their loopback devices.
    pub(crate) fn without_links() -> Self {
        delete_orphans();
        let lab = Self {
            host: Namespace::new("host"),
            peer: Namespace::new("peer"),
        };
        for namespace in [&lab.host, &lab.peer] {
            namespace.enter(report_groups_at_once);
            namespace.ip("link set lo up\n");
        }
        lab
    }

    /// Gives [`LINK`] and [`PEER_LINK`], which exist, their addresses and brings them up. Neighbours
    /// are known and there is no link-local address: all packets are the test's own.
    #[track_caller]
    pub(crate) fn connect(&self, layer: LinkLayer) {
        let ends = [
            (
                &self.host,
                LINK,
                [HOST_V4, HOST_V6],
                [PEER_V4, PEER_V6],
                PEER_MAC,
            ),
            (
                &self.peer,
                PEER_LINK,
                [PEER_V4, PEER_V6],
                [HOST_V4, HOST_V6],
                HOST_MAC,
            ),
        ];
        for (namespace, link, [v4, v6], neighbours, mac) in &ends {
            namespace.ip(&format!(
                "link set {link} addrgenmode none\n\
                 address add {v4}/24 dev {link}\n\
                 address add {v6}/64 dev {link} nodad\n\
                 link set {link} up\n"
            ));
            let neighbours = match layer {
                LinkLayer::Ethernet => neighbours.as_slice(),
                LinkLayer::None => &[],
            };
            for neighbour in neighbours {
                namespace.ip(&format!(
                    "neighbour replace {neighbour} lladdr {mac} dev {link} nud permanent\n"
                ));
            }
        }
        for (namespace, link, ..) in &ends {
            wait_until_up(namespace, link);
        }
    }

    /// Waits until no TCP connection is open: then no segment is under way any more.
    #[track_caller]
    pub(crate) fn wait_until_quiet(&self) {
        for namespace in [&self.host, &self.peer] {
            eventually("all connections are closed", || {
                namespace.enter(connections).is_empty().then_some(())
            });
        }
    }
}

/// A lab for a generator. Neither end says anything of its own, not even when the link comes up. A queue before the link makes
/// the generator wait where the link is slower (native XDP), instead of losing packets before they
/// are on the wire.
pub(crate) fn quiet_lab() -> Lab {
    let lab = Lab::new(Offloads::Off);
    for (namespace, link) in [(&lab.host, LINK), (&lab.peer, PEER_LINK)] {
        namespace.enter(|| {
            let disable_ipv6 = format!("/proc/sys/net/ipv6/conf/{link}/disable_ipv6");
            fs::write(disable_ipv6, "1").expect("a setting of the link");
        });
        namespace.ip(&format!("address flush dev {link}\n"));
    }
    let mut tc = lab.peer.command("tc");
    run(tc.args(["qdisc", "replace", "dev", PEER_LINK, "root", "pfifo"]));
    lab
}

/// Multicast groups are reported when the link comes up and, for the case that this was not heard,
/// once more at a random time. By default that is in the midst of the test; here within 1 ms.
fn report_groups_at_once() {
    let path = "/proc/sys/net/ipv6/conf/default/mldv2_unsolicited_report_interval";
    fs::write(path, "1").expect("a setting of the namespace");
}

fn set_offloads(namespace: &Namespace, link: &str, merging: &str) {
    let mut command = namespace.command("ethtool");
    command.args(["-K", link, "tso", "off", "tx-udp-segmentation", "off"]);
    run(command.args(["gso", merging, "gro", merging]));
}

/// Before that the link drops what it is given.
#[track_caller]
pub(crate) fn wait_until_up(namespace: &Namespace, link: &str) {
    eventually(&format!("{link} is up"), || {
        let mut command = Command::new("ip");
        command.args(["-netns", namespace.name(), "link", "show", link]);
        let shown = run(&mut command);
        // Devices without carrier of their own, such as tunnels, never say more than UNKNOWN.
        let is_up = ["state UP", "state UNKNOWN"];
        is_up.iter().any(|it| shown.contains(it)).then_some(())
    });
}

/// The open TCP connections of the calling thread's namespace, by the kernel's lines.
fn connections() -> Vec<String> {
    // States of include/net/tcp_states.h in which nothing more will be sent.
    const TIME_WAIT: &str = "06";
    const CLOSE: &str = "07";
    const LISTEN: &str = "0A";
    let tables = ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"];
    let text = tables.map(|table| fs::read_to_string(table).expect("a table"));
    let lines = text.iter().flat_map(|table| table.lines().skip(1));
    let is_open = |line: &&str| {
        let state = line.split_whitespace().nth(3).unwrap_or_default();
        ![TIME_WAIT, CLOSE, LISTEN].contains(&state)
    };
    lines.filter(is_open).map(str::to_owned).collect()
}

/// Deletes the namespaces of test processes that were killed and could not do it.
fn delete_orphans() {
    let Ok(namespaces) = fs::read_dir("/run/netns") else {
        return;
    };
    for namespace in namespaces.flatten() {
        let name = namespace.file_name().to_string_lossy().into_owned();
        let Some((pid, _)) = name
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split_once('-'))
        else {
            continue;
        };
        if !Path::new("/proc").join(pid).exists() {
            // May fail: another test does the same.
            drop(Namespace { name });
        }
    }
}
