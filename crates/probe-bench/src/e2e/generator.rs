//! The generator: frames of many flows into the monitored link.
//!
//! XDP programs with live frames send what they redirect, more than a million frames a second from
//! one CPU, which also takes them in at the other end of the veth: all that the kernel does for a
//! frame, hooks included, is in the time of the generator's thread.
//!
//! The kernel comes back from such a run after some 24 ms (three grace periods, by the time), in which the CPU
//! sleeps. So a steady stream is one run, in which the program itself waits for the time of a frame.

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use probe_common::headers::ip_protocol::UDP;
use probe_testkit::{command::output, netns::Namespace, testbed::Testbed};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::{
    programs::{Flows, Programs, cpu_time_ns, run_live},
    testbed::shown_link,
};

/// Time from one burst to the next.
const PERIOD: Duration = Duration::from_millis(4);
/// A steady stream, in seconds: each has other pages for its frames, and some pages are 20 ns a packet
/// faster than others, so a measurement has several.
const STREAM_S: f64 = 0.25;
/// Frames of a burst at full rate, about a second's.
const FULL_BURST: u32 = 1 << 20;

/// Sends frames out of the peer's end of the link.
pub(crate) struct Generator<'a> {
    testbed: &'a Testbed,
    link: &'static str,
    programs: Programs,
    out_ifindex: u32,
    frame: Vec<u8>,
}

/// What the generator has sent, and in which time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sent {
    pub(crate) packets: u64,
    pub(crate) seconds: f64,
    /// CPU time of the generator, with all that the kernel did for its frames, without waiting.
    pub(crate) cpu_ns: f64,
    /// The same for one packet, while the core was ours alone.
    pub(crate) alone_ns: Option<f64>,
    /// Share of the packets that were sent then.
    pub(crate) alone_share: f64,
}

/// How fast the generator sends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// As fast as it goes.
    Full,
    /// So many frames a second, at least 100,000: the CPU is awake all the time.
    Steady(u32),
    /// So many frames a second, in bursts: the CPU sleeps in between.
    Bursts(u32),
}

/// When the generator stops.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Until {
    Packets(u64),
    Seconds(f64),
}

impl<'a> Generator<'a> {
    /// Prepares the link, on which no other process sends.
    pub(crate) fn new(object: &Path, testbed: &'a Testbed, link: &'static str) -> Result<Self> {
        for namespace in [&testbed.host, &testbed.peer] {
            namespace.try_set(&format!("ipv6/conf/{link}/disable_ipv6"), "1")?;
            namespace.try_ip(&format!("address flush dev {link}\n"))?;
        }
        // With GRO the receiving end has the queue that redirected frames are put into.
        let mut ethtool = testbed.host.command("ethtool");
        output(ethtool.args(["-K", link, "gro", "on"]))?;
        Ok(Self {
            testbed,
            link,
            programs: Programs::load(object, 1)?,
            out_ifindex: ifindex(&testbed.peer, link)?,
            frame: frame(),
        })
    }

    /// Sends frames of these flows.
    pub(crate) fn send(&mut self, flows: Flows, until: Until, pace: Pace) -> Result<Sent> {
        let pace_ns = match pace {
            Pace::Steady(rate) => 1_000_000_000 / u64::from(rate),
            Pace::Full | Pace::Bursts(_) => 0,
        };
        self.programs
            .set_traffic(flows, self.out_ifindex, pace_ns)?;
        let namespace = &self.testbed.peer;
        let program = self.programs.program("bench_generate")?;
        let frame = &self.frame;
        let mut sent = namespace.try_enter(|| {
            pin(0)?;
            let began = Instant::now();
            let before = cpu_time_ns();
            let mut packets = 0;
            while let Some(burst) = next_burst(until, pace, packets, began.elapsed()) {
                if burst == 0 {
                    thread::sleep(PERIOD);
                    continue;
                }
                run_live(program, frame, burst)?;
                packets += u64::from(burst);
            }
            Ok(Sent {
                packets,
                seconds: began.elapsed().as_secs_f64(),
                cpu_ns: cpu_time_ns() - before,
                ..Sent::default()
            })
        })?;
        // What the program itself counted: the kernel may run it a few times more.
        let generated = self.programs.generated()?;
        sent.packets = generated.packets;
        sent.cpu_ns -= generated.waited_ns;
        sent.alone_ns = generated.alone_ns;
        sent.alone_share = generated.alone_share;
        Ok(sent)
    }

    /// Packets that the monitored end has received.
    pub(crate) fn received(&self) -> Result<u64> {
        let link = shown_link(&self.testbed.host, self.link)?;
        let packets = link["stats64"]["rx"]["packets"].as_u64();
        packets.context("`ip -s -j link` shows no received packets")
    }
}

/// Frames of the next burst; `None` at the end.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "positive and small"
)]
fn next_burst(until: Until, pace: Pace, sent: u64, elapsed: Duration) -> Option<u32> {
    let left = match until {
        Until::Packets(packets) => packets.checked_sub(sent).filter(|left| *left > 0)?,
        Until::Seconds(seconds) if elapsed.as_secs_f64() >= seconds => return None,
        Until::Seconds(_) => u64::MAX,
    };
    let most = match pace {
        Pace::Full => FULL_BURST.into(),
        Pace::Steady(rate) => (STREAM_S * f64::from(rate)) as u64,
        // What is due after the next pause, but after one that somebody else took no more than twice
        // the usual.
        Pace::Bursts(rate) => {
            let due = |time: Duration| (time.as_secs_f64() * f64::from(rate)) as u64;
            due(elapsed + PERIOD)
                .saturating_sub(sent)
                .min(due(2 * PERIOD).max(1))
        }
    };
    Some(left.min(most).min(u32::MAX.into()) as u32)
}

/// Binds the calling thread to a CPU, where there are several.
fn pin(cpu: usize) -> Result<()> {
    if thread::available_parallelism().is_ok_and(|cpus| cpus.get() == 1) {
        return Ok(());
    }
    let mut cpus = CpuSet::new();
    cpus.set(cpu);
    sched_setaffinity(None, &cpus).context("cannot bind the generator to a CPU")
}

/// Index of a link in a namespace.
pub(crate) fn ifindex(namespace: &Namespace, link: &str) -> Result<u32> {
    let index = shown_link(namespace, link)?["ifindex"]
        .as_u64()
        .and_then(|it| u32::try_from(it).ok());
    index.context("`ip -j link` shows no index")
}

/// A UDP datagram of 64 octets on the wire without checksum of the frame, to a MAC address that is not
/// there: behind the hooks, the receiver's stack throws it away.
fn frame() -> Vec<u8> {
    const PAYLOAD_LEN: u16 = 22;
    const DATAGRAM_LEN: u16 = 8 + PAYLOAD_LEN;
    let mut frame = vec![0x02, 0, 0, 0, 0, 0x99, 0x02, 0, 0, 0, 0, 1, 0x08, 0x00];
    frame.extend([0x45, 0]);
    frame.extend((20 + DATAGRAM_LEN).to_be_bytes());
    frame.extend([0, 0, 0, 0, 64, UDP, 0, 0]);
    frame.extend([198, 18, 0, 1, 198, 18, 0, 2]);
    // To a port that is no common service, so that nothing is aggregated away.
    frame.extend(20_000_u16.to_be_bytes());
    frame.extend(10_007_u16.to_be_bytes());
    frame.extend(DATAGRAM_LEN.to_be_bytes());
    // No checksum, and the payload.
    frame.extend([0; 2 + PAYLOAD_LEN as usize]);
    frame
}
