//! The frame sender: frames of our own making, put on the wire as fast as it takes them.

mod link_address;

use std::{
    collections::BTreeMap,
    io::{self, IoSlice},
    os::fd::OwnedFd,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use rustix::{
    io::Errno,
    net::{
        AddressFamily, MMsgHdr, SendAncillaryBuffer, SendFlags, SocketType, bind,
        netdevice::name_to_index, send, sendmmsg, socket, sockopt::set_socket_send_buffer_size,
    },
    thread::{CpuSet, sched_setaffinity},
};

use crate::{
    command::run,
    eventually::within,
    netns::Namespace,
    testbed::{PEER_LINK, Testbed},
};

/// The most frames that one call of sendmmsg (Linux 3.0) takes: `UIO_MAXIOV`.
const BATCH: usize = 1024;
const SEND_BUFFER_BYTES: usize = 4 << 20;

const SEND_FRAME: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/send_frame.py");

/// Sends the same frames in loops, from the peer's end of the link to the host. Ends, after the running
/// loop, when dropped.
#[derive(Debug)]
pub struct Sender {
    is_stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<Sent>>>,
}

/// What the sender did.
#[derive(Debug)]
pub struct Sent {
    /// How often each frame was sent.
    pub loops: u64,
    /// How long that took, pauses included.
    pub seconds: f64,
    /// Position of each frame that the kernel does not send, and why.
    pub refused: Vec<(usize, String)>,
}

impl Sender {
    /// Starts to send, with a pause between loops if it must not take all of a CPU.
    #[track_caller]
    pub fn start(testbed: &Testbed, frames: &[Vec<u8>], loops: u64, pause: Duration) -> Self {
        Self::start_on(testbed, PEER_LINK, frames, loops, pause)
    }

    /// The same on another link of the peer.
    #[track_caller]
    pub fn start_on(
        testbed: &Testbed,
        link: &str,
        frames: &[Vec<u8>],
        loops: u64,
        pause: Duration,
    ) -> Self {
        let socket = match testbed.peer.try_enter(|| packet_socket(link)) {
            Ok(socket) => socket,
            Err(error) => panic!("{error:#}"),
        };
        let is_stopped = Arc::new(AtomicBool::new(false));
        let (stopped, frames) = (is_stopped.clone(), frames.to_vec());
        let (tell, told) = mpsc::channel();
        let send = move || {
            // One CPU, since frames in flight on two may overtake each other.
            pin(0)?;
            tell.send(()).context("no thread waits for the sender")?;
            let mut refused = BTreeMap::new();
            let (mut done, began) = (0, Instant::now());
            while done < loops && !stopped.load(Relaxed) {
                send_all(&socket, &frames, &mut refused);
                done += 1;
                if !pause.is_zero() {
                    thread::sleep(pause);
                }
            }
            Ok(Sent {
                loops: done,
                seconds: began.elapsed().as_secs_f64(),
                refused: refused.into_iter().collect(),
            })
        };
        let thread = thread::spawn(send);
        // Where nothing comes the thread has ended; it is asked for the reason at the end.
        let _ = told.recv();
        Self {
            is_stopped,
            thread: Some(thread),
        }
    }

    /// Ends it after the running loop.
    #[track_caller]
    pub fn stop(self) -> Sent {
        self.is_stopped.store(true, Relaxed);
        self.finish(Duration::from_secs(20))
    }

    /// Waits until all is sent.
    #[track_caller]
    pub fn finish(mut self, patience: Duration) -> Sent {
        let thread = self.thread.as_ref();
        within(patience, "all is sent", || {
            thread.is_none_or(JoinHandle::is_finished).then_some(())
        });
        let thread = self.thread.take().expect("runs until here");
        match thread.join() {
            Ok(Ok(sent)) => sent,
            Ok(Err(error)) => panic!("{error:#}"),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.is_stopped.store(true, Relaxed);
        // A panic of the thread has been printed where it happened.
        drop(self.thread.take().map(JoinHandle::join));
    }
}

/// Sends each frame once. A frame that the kernel refuses is left out, with its reason.
fn send_all(socket: &OwnedFd, frames: &[Vec<u8>], refused: &mut BTreeMap<usize, String>) {
    let mut position = 0;
    while position < frames.len() {
        let batch = &frames[position..frames.len().min(position + BATCH)];
        let slices: Vec<_> = batch.iter().map(|frame| [IoSlice::new(frame)]).collect();
        let mut controls = Vec::new();
        controls.resize_with(batch.len(), SendAncillaryBuffer::default);
        let mut messages: Vec<_> = slices
            .iter()
            .zip(&mut controls)
            .map(|(slice, control)| MMsgHdr::new(slice, control))
            .collect();
        match sendmmsg(socket, &mut messages, SendFlags::empty()) {
            Ok(sent) => position += sent,
            Err(Errno::INTR | Errno::NOBUFS) => {}
            Err(error) => {
                refused.insert(position, io::Error::from(error).to_string());
                position += 1;
            }
        }
    }
}

/// Sends a frame out of a link of the calling thread's namespace.
#[track_caller]
pub fn send_frame(link: &str, frame: &[u8]) {
    let sent = packet_socket(link).and_then(|socket| {
        let sent = send(&socket, frame, SendFlags::empty());
        sent.with_context(|| format!("cannot send a frame out of {link}"))
    });
    match sent {
        Ok(octets) => assert_eq!(octets, frame.len(), "{link}"),
        Err(error) => panic!("{error:#}"),
    }
}

/// How a frame gets into the kernel that cannot be sent as it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Way {
    /// Sent with nothing but its Ethernet header in the linear part of the skb. The frame must be
    /// longer than a page.
    Split,
    /// From its IP header on, as received by a tun device.
    Tun,
}

/// The same in another way, inside `namespace` or in that of the calling thread. Needs Python.
#[track_caller]
pub fn send_frame_as(way: Way, namespace: Option<&Namespace>, link: &str, frame: &[u8]) {
    let way = match way {
        Way::Split => "split",
        Way::Tun => "tun",
    };
    let hex: Vec<_> = frame.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut python = match namespace {
        Some(namespace) => namespace.command("python3"),
        None => Command::new("python3"),
    };
    python.args([SEND_FRAME, way, link, &hex.concat()]);
    run(python.stdin(Stdio::null()));
}

/// A socket that sends whole frames out of a link of this thread's namespace, and receives none.
fn packet_socket(link: &str) -> Result<OwnedFd> {
    let socket = socket(AddressFamily::PACKET, SocketType::RAW, None);
    let socket = socket.context("cannot open a packet socket")?;
    set_socket_send_buffer_size(&socket, SEND_BUFFER_BYTES)?;
    let ifindex = name_to_index(&socket, link);
    let ifindex = ifindex.with_context(|| format!("there is no link {link}"))?;
    bind(&socket, &link_address::from_ifindex(ifindex)?)
        .with_context(|| format!("cannot bind a packet socket to {link}"))?;
    Ok(socket)
}

/// Binds the calling thread to a CPU.
fn pin(cpu: usize) -> Result<()> {
    let mut one = CpuSet::new();
    one.set(cpu);
    sched_setaffinity(None, &one).with_context(|| format!("cannot bind the sender to CPU {cpu}"))
}

#[cfg(test)]
mod tests {
    use std::{fs, time::Duration};

    use super::{Sender, send_frame};
    use crate::{
        eventually, skip,
        testbed::{LINK, PEER_LINK, quiet_testbed},
    };

    #[test]
    fn every_frame_is_sent_and_a_giant_is_refused() {
        if !skip::kernel_or_skip(&["ip", "tc", "ethtool"]) {
            return;
        }
        let testbed = quiet_testbed();
        let links = || fs::read_to_string("/proc/thread-self/net/dev").expect("links");
        let received = || {
            let links = testbed.host.enter(links);
            let line = links.lines().find(|line| line.trim().starts_with(LINK))?;
            line.split_whitespace().nth(2)?.parse::<u64>().ok()
        };
        // What both ends said before they were quiet.
        let before = received().expect("a counter");
        let mut frame = vec![0x02, 0, 0, 0, 0, 0x99, 0x02, 0, 0, 0, 0, 1, 0x08, 0];
        frame.resize(60, 0);
        let frames = vec![frame.clone(), vec![0; 9000], frame.clone()];
        let sender = Sender::start(&testbed, &frames, 1000, Duration::ZERO);
        let sent = sender.finish(Duration::from_secs(20));
        assert_eq!(sent.loops, 1000);
        let refused: Vec<_> = sent.refused.iter().map(|(position, _)| *position).collect();
        assert_eq!(refused, [1], "{sent:?}");
        testbed.peer.enter(|| send_frame(PEER_LINK, &frame));
        eventually("all have arrived", || {
            (received()? == before + 2001).then_some(())
        });
    }
}
