//! The witness: tcpdump on the peer's end of the link, and tshark to count what it caught.

use std::{
    fs,
    net::{IpAddr, SocketAddr, UdpSocket},
    process::Command,
};

use rustix::process::Signal;
use tempfile::TempDir;

use super::{
    eventually,
    flows::{Counts, FlowKey, Flows, record_packet},
    process::Process,
    run,
    testbed::{HOST_V4, HOST_V6, PEER_LINK, PEER_V4, Testbed},
};

/// One per packet, one field per column, in the order of [`packet`].
const FIELDS: [&str; 14] = [
    "ip.src",
    "ip.dst",
    "ip.proto",
    "ip.len",
    "ipv6.src",
    "ipv6.dst",
    "ipv6.nxt",
    "ipv6.plen",
    "tcp.srcport",
    "tcp.dstport",
    "tcp.flags",
    "udp.srcport",
    "udp.dstport",
    "ipv6.fraghdr.nxt",
];

/// A running tcpdump.
pub(crate) struct Witness<'a> {
    testbed: &'a Testbed,
    tcpdump: Process,
    folder: TempDir,
}

impl<'a> Witness<'a> {
    /// Starts to watch; on return every packet is seen.
    #[track_caller]
    pub(crate) fn start(testbed: &'a Testbed) -> Self {
        let folder = tempfile::Builder::new().prefix("probe-test-").tempdir();
        let folder = folder.expect("a folder");
        let log = fs::File::create(folder.path().join("log")).expect("a log");
        let mut command = testbed.peer.command("tcpdump");
        // Root to the end, since the folder is ours; 32 MiB hold the whole test's packets.
        command.args(["-i", PEER_LINK, "-Z", "root", "-B", "32768", "-s", "128"]);
        command.args(["--immediate-mode", "-U", "-w"]);
        command.arg(folder.path().join("pcap")).stderr(log);
        let witness = Self {
            testbed,
            tcpdump: Process::spawn(&mut command),
            folder,
        };
        eventually("tcpdump listens", || {
            witness.log().contains("listening on").then_some(())
        });
        witness
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Waits until the traffic has ended and all of it was caught, and tells what it was. The
    /// client of a flow is the side that spoke first.
    #[track_caller]
    pub(crate) fn finish(mut self) -> Flows {
        self.testbed.wait_until_quiet();
        self.wait_for_everything();
        self.tcpdump.signal(Signal::INT);
        self.tcpdump.wait("tcpdump ends");
        let log = self.log();
        assert!(log.contains("\n0 packets dropped by kernel"), "{log}");
        self.count()
    }

    /// Packets are caught in order: a last one, which can be recognised, tells that all before it
    /// are in the file. It has passed the host's hooks, too, when it has been received.
    fn wait_for_everything(&self) {
        const LAST: &[u8] = b"the last packet of the test";
        let bind = |end: (IpAddr, u16)| move || UdpSocket::bind(end).expect("a socket");
        let host = self.testbed.host.enter(bind((HOST_V4, 9)));
        let peer = self.testbed.peer.enter(bind((PEER_V4, 40009)));
        let to = host.local_addr().expect("bound");
        peer.send_to(LAST, to).expect("sent");
        host.recv(&mut [0; LAST.len()]).expect("received");
        eventually("the last packet is caught", || {
            let caught = fs::read(self.folder.path().join("pcap")).ok()?;
            caught.ends_with(LAST).then_some(())
        });
    }

    fn count(&self) -> Flows {
        let mut tshark = Command::new("tshark");
        tshark
            .arg("-n")
            .arg("-r")
            .arg(self.folder.path().join("pcap"));
        tshark.args(["-T", "fields", "-E", "separator=,", "-E", "occurrence=f"]);
        for field in FIELDS {
            tshark.args(["-e", field]);
        }
        let mut flows = Flows::new();
        for line in run(&mut tshark).lines() {
            if let Some((key, counts)) = packet(line) {
                record_packet(&mut flows, key, counts);
            }
        }
        flows
    }
}

/// Reads one line of tshark; `None` if the packet is not IP.
fn packet(line: &str) -> Option<(FlowKey, Counts)> {
    let fields: Vec<_> = line.split(',').collect();
    let fields: [&str; FIELDS.len()] = fields.try_into().expect("all fields");
    let [
        v4_src,
        v4_dst,
        v4_protocol,
        v4_octets,
        v6_src,
        v6_dst,
        v6_protocol,
        v6_payload,
        ..,
    ] = fields;
    let [
        ..,
        tcp_src,
        tcp_dst,
        tcp_flags,
        udp_src,
        udp_dst,
        v6_fragment,
    ] = fields;
    let v6_protocol = if v6_fragment.is_empty() {
        v6_protocol
    } else {
        v6_fragment
    };
    let (src, dst, protocol, octets) = if v4_src.is_empty() {
        (v6_src, v6_dst, v6_protocol, 40 + number(v6_payload))
    } else {
        (v4_src, v4_dst, v4_protocol, number(v4_octets))
    };
    let end = |address: &str, ports: [&str; 2]| -> Option<SocketAddr> {
        let port = ports.iter().find(|port| !port.is_empty());
        let port = port.map_or(0, |port| port.parse().expect("a port"));
        Some(SocketAddr::new(address.parse().ok()?, port))
    };
    let key = FlowKey {
        client: end(src, [tcp_src, udp_src])?,
        server: end(dst, [tcp_dst, udp_dst])?,
        ip_protocol: protocol.parse().ok()?,
    };
    let mut counts = Counts::default();
    if [HOST_V4, HOST_V6].contains(&key.client.ip()) {
        (counts.packets_sent, counts.bytes_sent) = (1, octets);
    } else {
        (counts.packets_rcvd, counts.bytes_rcvd) = (1, octets);
    }
    if let Some(flags) = tcp_flags.strip_prefix("0x") {
        let flags = u16::from_str_radix(flags, 16).expect("flags");
        // The lower byte, as in the header; the AE bit and the reserved ones are above.
        counts.tcp_flags = flags.to_be_bytes()[1];
    }
    Some((key, counts))
}

fn number(text: &str) -> u64 {
    text.parse().unwrap_or_default()
}
