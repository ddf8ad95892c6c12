//! Links of every kind between the two ends of the testbed.

mod ends;
mod kinds;

use std::{
    fs,
    io::Write,
    process::{Command, Stdio},
};

pub(crate) use self::kinds::*;

use self::{
    ends::{End, ends, link_words, make_lower},
    kinds::Recipe,
};
use super::{
    eventually,
    netns::Namespace,
    process::Process,
    run,
    testbed::{HOST_MAC, LINK, PEER_LINK, PEER_MAC, PEER_V4, Testbed},
};

const TUN_PUMP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/netns/tun_pump.py");
const PPP_PAIR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/netns/ppp_pair.py");

/// The link below [`LINK`], where it is made of another one.
pub(crate) const LOWER: &str = "lower0";
/// Its other end.
pub(crate) const PEER_LOWER: &str = "lower1";

/// What a redirection leads to.
pub(crate) const IFB: &str = "ifb0";

/// The testbed with such a link, which is up, and what keeps it there.
pub(crate) struct Connected {
    pub(crate) testbed: Testbed,
    _made: Made,
}

/// Makes the link in a testbed of its own; `None` if the kernel knows no such kind.
#[track_caller]
pub(crate) fn connect(kind: Kind) -> Option<Connected> {
    let testbed = Testbed::without_links();
    let made = connect_in(&testbed, kind)?;
    Some(Connected {
        testbed,
        _made: made,
    })
}

/// What keeps a link where a process has made it.
pub(crate) struct Made {
    _owner: Option<Process>,
}

/// Makes the link in this testbed, which has none; `None` if the kernel knows no such kind.
#[track_caller]
pub(crate) fn connect_in(testbed: &Testbed, kind: Kind) -> Option<Made> {
    if !is_known(&testbed.host, kind.name) {
        return None;
    }
    let owner = make(testbed, kind);
    testbed.connect(kind.layer);
    if kind.name == "wireguard" {
        // The ends exchange keys before they pass the first packet.
        eventually("the ends have exchanged keys", || {
            let mut ping = testbed.host.command("ping");
            let answered = ping.args(["-n", "-c", "1", "-W", "1", &PEER_V4.to_string()]);
            let answered = answered.output().expect("ping runs");
            answered.status.success().then_some(())
        });
    }
    Some(Made { _owner: owner })
}

/// Deletes all links that there can be, whose owners are gone, and the addresses of loopback.
#[track_caller]
pub(crate) fn disconnect(testbed: &Testbed) {
    for end in ends(testbed) {
        end.ip("address flush dev lo");
        let ip = |words: &[&str]| {
            let mut ip = Command::new("ip");
            ip.args(["-netns", end.namespace.name()]).args(words);
            ip.output().expect("ip runs")
        };
        let is_there = |link: &str| counters(end.namespace).contains(&format!("{link}:"));
        for link in [end.link, end.lower, IFB] {
            if is_there(link) {
                ip(&["link", "delete", link]);
            }
        }
        if is_there(end.link) {
            // Links of L2TP go with their tunnel only.
            ip(&["l2tp", "del", "tunnel", "tunnel_id", "1"]);
        }
        eventually("the link is gone", || (!is_there(end.link)).then_some(()));
    }
}

/// The links of a namespace and what each has counted, by the kernel's lines.
pub(crate) fn counters(namespace: &Namespace) -> String {
    let read = || fs::read_to_string("/proc/thread-self/net/dev");
    namespace.enter(read).expect("a table")
}

/// Makes [`LINK`] and [`PEER_LINK`] as tun devices that pretend to be of another type, or as tap
/// devices, and passes on what they are given. They are not up yet.
#[track_caller]
pub(crate) fn pump(testbed: &Testbed, mode: &str, arphrd: u16) -> Process {
    let mut command = Command::new("python3");
    command.args([TUN_PUMP, mode, &arphrd.to_string()]);
    command.args([testbed.host.name(), LINK, testbed.peer.name(), PEER_LINK]);
    let pump = start(testbed, &mut command);
    if mode == "tap" {
        for end in ends(testbed) {
            end.ip("link set {link} address {mac}");
        }
    }
    pump
}

/// Starts a process that makes both links, and waits for them.
#[track_caller]
fn start(testbed: &Testbed, command: &mut Command) -> Process {
    let process = Process::spawn(command);
    for end in ends(testbed) {
        eventually(&format!("{} exists", end.link), || {
            let name = format!("{}:", end.link);
            counters(end.namespace).contains(&name).then_some(())
        });
    }
    process
}

/// Whether links of this kind can be made.
pub(crate) fn is_known(namespace: &Namespace, kind: &str) -> bool {
    let ip = |words: &[&str]| {
        let mut ip = Command::new("ip");
        ip.args(["-netns", namespace.name()]).args(words);
        ip.output().expect("ip runs")
    };
    match kind {
        // The tests need the device anyway: it plays other kinds.
        "tun" | "tap" => return true,
        // Not made by `ip link`.
        "l2tp" => return ip(&["l2tp", "show", "tunnel"]).status.success(),
        _ => {}
    }
    let output = ip(&["link", "add", "try0", "type", kind]);
    if output.status.success() {
        namespace.ip("link delete try0\n");
        return true;
    }
    // Whatever else it says, it knows the kind and wants to hear more about it.
    let told = String::from_utf8_lossy(&output.stderr);
    !["Unknown device type", "not supported"]
        .iter()
        .any(|it| told.contains(it))
}

/// Makes both ends, which are not up yet.
#[track_caller]
fn make(testbed: &Testbed, kind: Kind) -> Option<Process> {
    match kind.recipe {
        Recipe::Pair => {
            let peer = testbed.peer.name();
            testbed.host.ip(&format!(
                "link add {LINK} address {HOST_MAC} type {} \
                 peer name {PEER_LINK} address {PEER_MAC} netns {peer}\n",
                kind.name
            ));
        }
        Recipe::Master(options) => make_master(testbed, kind.name, options),
        Recipe::Tunnel(words) => {
            make_lower(testbed);
            for end in ends(testbed) {
                let about = link_words(kind);
                end.ip(&format!("link add name {{link}} {about} type {words}"));
            }
        }
        Recipe::Lines(lines) => {
            make_lower(testbed);
            for end in ends(testbed) {
                end.ip(lines);
                if kind.name == "wireguard" {
                    introduce(&end);
                }
            }
        }
        Recipe::Process if kind.name == "ppp" => return Some(make_ppp(testbed)),
        Recipe::Process => return Some(pump(testbed, kind.name, 0)),
    }
    None
}

/// A link with one port, at the host; the peer is on the port's wire.
#[track_caller]
fn make_master(testbed: &Testbed, kind: &str, options: &str) {
    let (host, peer) = (&testbed.host, testbed.peer.name());
    host.ip(&format!(
        "link add {LOWER} type veth peer name {PEER_LINK} address {PEER_MAC} netns {peer}\n\
         link add {LINK} address {HOST_MAC} type {kind} {options}\n"
    ));
    if kind == "team" {
        // It passes nothing before it is told how, and cannot be told once it has ports.
        let mut teamnl = host.command("teamnl");
        run(teamnl.args([LINK, "setoption", "mode", "roundrobin"]));
    }
    host.ip(&format!(
        "link set {LOWER} master {LINK}\n\
         link set {LOWER} up\n"
    ));
}

/// Keys of the two ends of WireGuard, private and public.
const KEYS: [[&str; 2]; 2] = [
    [
        "EC3cMijepRwBmcu4r6GiHu47DED10OGesZzd7bvio3M=",
        "iyn/3k1ZgXLokEv2qOB+ippz3KStcWvtODNO8gs8Oik=",
    ],
    [
        "mAtz2yk1ezEm+JTOj62C2Tat+NUnZ2YsomSYsEw9ek0=",
        "ddLhqaffKuobLFWY1ZD43V9IYqWexgl4D4RvyDYbQkc=",
    ],
];

/// Tells one end of WireGuard who it is and who the other end is.
#[track_caller]
fn introduce(end: &End<'_>) {
    let is_host = end.link == LINK;
    let [own, other] = if is_host { [0, 1] } else { [1, 0] };
    let config = format!(
        "[Interface]\nPrivateKey = {}\nListenPort = 51820\n\
         [Peer]\nPublicKey = {}\nAllowedIPs = 0.0.0.0/0, ::/0\nEndpoint = {{far_v4}}:51820\n",
        KEYS[own][0], KEYS[other][1]
    );
    let mut wg = end.namespace.command("wg");
    wg.args(["setconf", end.link, "/proc/self/fd/0"]);
    let mut wg = wg.stdin(Stdio::piped()).spawn().expect("wg runs");
    let mut stdin = wg.stdin.take().expect("piped");
    let config = end.fill_in(&config);
    stdin.write_all(config.as_bytes()).expect("wg reads");
    drop(stdin);
    assert!(wg.wait().expect("wg ends").success(), "{config}");
}

/// PPP over Ethernet, on the lower link.
#[track_caller]
fn make_ppp(testbed: &Testbed) -> Process {
    make_lower(testbed);
    let mut command = Command::new("python3");
    command.arg(PPP_PAIR);
    for end in ends(testbed) {
        let words = "{link} {lower} {far_lower_mac}";
        command.arg(end.namespace.name());
        command.args(end.fill_in(words).split(' '));
    }
    start(testbed, &mut command)
}
