//! The demo's traffic: TCP, UDP and ping over both families, made by us so that no tool is needed.

use std::{
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::Duration,
};

use anyhow::{Context, Result};
use probe_testkit::testbed::Testbed;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    net::{AddressFamily, RecvFlags, SendFlags, SocketType, ipproto, recv, sendto, socket},
};

use super::{
    net::{PEER_V4, PEER_V6},
    over::Over,
};

const TCP_PORT: u16 = 5001;
const UDP_PORT: u16 = 5002;
const UPLOAD_BYTES: usize = 256 * 1024;
const DOWNLOAD_BYTES: usize = 64 * 1024;
const DATAGRAMS: usize = 20;
const DATAGRAM_BYTES: usize = 500;
const PINGS: u16 = 5;
/// Between two rounds of all of that.
const PAUSE: Duration = Duration::from_millis(200);
/// Generous: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(20);

/// Talks again and again while `body` runs, and until it has all answers.
pub(super) fn drive_while(testbed: &Testbed, body: impl FnOnce() -> Result<()>) -> Result<()> {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let talking = scope.spawn(|| {
            loop {
                drive(testbed)?;
                if is_over.load(Relaxed) {
                    return Ok(());
                }
                thread::sleep(PAUSE);
            }
        });
        let over = Over(&is_over);
        // So that there is something to show.
        thread::sleep(5 * PAUSE);
        let shown = body();
        drop(over);
        let talked = talking.join();
        let talked = talked.map_err(|_| anyhow::anyhow!("the client panicked"))?;
        talked.and(shown)
    })
}

/// Talks from `host` to `peer`, until all answers are there.
fn drive(testbed: &Testbed) -> Result<()> {
    let servers = testbed.peer.try_enter(listen)?;
    let server = thread::spawn(move || serve(servers));
    testbed.host.try_enter(talk)?;
    server
        .join()
        .map_err(|_| anyhow::anyhow!("the server panicked"))?
}

fn addresses() -> Result<[IpAddr; 2]> {
    Ok([
        PEER_V4.parse::<Ipv4Addr>()?.into(),
        PEER_V6.parse::<Ipv6Addr>()?.into(),
    ])
}

/// The peer's sockets, of each address.
fn listen() -> Result<Vec<(TcpListener, UdpSocket)>> {
    let mut servers = Vec::new();
    for address in addresses()? {
        let tcp = TcpListener::bind((address, TCP_PORT)).context("cannot listen")?;
        let udp = UdpSocket::bind((address, UDP_PORT)).context("cannot bind")?;
        udp.set_read_timeout(Some(PATIENCE))?;
        servers.push((tcp, udp));
    }
    Ok(servers)
}

fn serve(servers: Vec<(TcpListener, UdpSocket)>) -> Result<()> {
    for (tcp, udp) in servers {
        let (mut stream, _) = tcp.accept()?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut request = vec![0; UPLOAD_BYTES];
        stream.read_exact(&mut request)?;
        stream.write_all(&request[..DOWNLOAD_BYTES])?;
        stream.shutdown(std::net::Shutdown::Write)?;
        // Until the client has closed too, so that the last segment has been answered.
        stream.read_to_end(&mut Vec::new())?;
        let mut datagram = [0; DATAGRAM_BYTES];
        for _ in 0..DATAGRAMS {
            let (length, client) = udp.recv_from(&mut datagram)?;
            udp.send_to(&datagram[..length], client)?;
        }
    }
    Ok(())
}

fn talk() -> Result<()> {
    for address in addresses()? {
        talk_tcp(SocketAddr::new(address, TCP_PORT))
            .with_context(|| format!("TCP to {address}"))?;
        talk_udp(SocketAddr::new(address, UDP_PORT))
            .with_context(|| format!("UDP to {address}"))?;
        for sequence in 0..PINGS {
            ping(address, sequence).with_context(|| format!("ping {address}"))?;
        }
    }
    Ok(())
}

fn talk_tcp(server: SocketAddr) -> Result<()> {
    let mut stream = TcpStream::connect_timeout(&server, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(&vec![0x5a; UPLOAD_BYTES])?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    anyhow::ensure!(
        answer.len() == DOWNLOAD_BYTES,
        "{} bytes came back",
        answer.len()
    );
    Ok(())
}

fn talk_udp(server: SocketAddr) -> Result<()> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let client = UdpSocket::bind((any, 0))?;
    client.set_read_timeout(Some(PATIENCE))?;
    client.connect(server)?;
    for _ in 0..DATAGRAMS {
        client.send(&[0x5a; DATAGRAM_BYTES])?;
        client.recv(&mut [0; DATAGRAM_BYTES])?;
    }
    Ok(())
}

/// One ICMP or ICMPv6 echo (RFC 792, RFC 4443 section 4.1) and its reply.
fn ping(address: IpAddr, sequence: u16) -> Result<()> {
    let (family, protocol, echo_request, echo_reply) = match address {
        IpAddr::V4(_) => (AddressFamily::INET, ipproto::ICMP, 8, 0),
        IpAddr::V6(_) => (AddressFamily::INET6, ipproto::ICMPV6, 128, 129),
    };
    let socket = socket(family, SocketType::RAW, Some(protocol))?;
    let mut request = [0x5a; 64];
    let [high, low] = sequence.to_be_bytes();
    request[..8].copy_from_slice(&[echo_request, 0, 0, 0, 0x70, 0x72, high, low]);
    if address.is_ipv4() {
        // The kernel fills in the checksum of ICMPv6 only.
        let checksum = internet_checksum(&request).to_be_bytes();
        request[2..4].copy_from_slice(&checksum);
    }
    sendto(
        &socket,
        &request,
        SendFlags::empty(),
        &SocketAddr::new(address, 0),
    )?;
    let mut reply = [0; 256];
    loop {
        let mut waiting = [PollFd::new(&socket, PollFlags::IN)];
        let patience = Timespec::try_from(PATIENCE)?;
        let is_answered = poll(&mut waiting, Some(&patience))? > 0;
        anyhow::ensure!(is_answered, "no reply within {PATIENCE:?}");
        let (length, _) = recv(&socket, &mut reply, RecvFlags::empty())?;
        // A raw IPv4 socket hands over the IP header too.
        let start = if address.is_ipv4() {
            usize::from(reply[0] & 0x0f) * 4
        } else {
            0
        };
        if length > start && reply[start] == echo_reply {
            return Ok(());
        }
    }
}

/// RFC 1071. The length must be even.
fn internet_checksum(bytes: &[u8]) -> u16 {
    let words = bytes
        .as_chunks()
        .0
        .iter()
        .map(|word| u32::from(u16::from_be_bytes(*word)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or_default()
}
