//! One measurement: a link with nobody on it, with a probe, and with nobody once more.

use std::{thread, time::Duration};

use anyhow::Result;

use super::{
    generator::{Generator, Pace, Until},
    probes::{Kind, Running, Told, start},
};
use crate::{
    Common,
    lab::{LINK, Lab},
    process::kernel_threads_ns,
    programs::Flows,
};

/// What probes do after the last packet belongs to it, too: flushing, draining.
const AFTERMATH: Duration = Duration::from_millis(1500);
/// Fills caches and maps before a measurement, in seconds.
const WARM_UP_S: f64 = 0.3;

/// One measurement.
pub(super) struct Measured {
    pub(super) with: Cost,
    /// [`Cost::cpu`] with nobody.
    pub(super) cpu_without: f64,
    pub(super) rss_mib: f64,
    /// Packets that the link has received while the probe watched, warm-up included.
    pub(super) received: u64,
    pub(super) told: Told,
}

/// What packets cost, in ns per packet.
pub(super) struct Cost {
    /// Generator, probe and kernel threads.
    pub(super) cpu: f64,
    /// The probe's own processes.
    pub(super) own: f64,
}

/// What is sent.
#[derive(Clone, Copy)]
pub(super) struct Traffic {
    pub(super) flows: Flows,
    /// Packets a second.
    pub(super) rate: u32,
    pub(super) seconds: f64,
}

/// Measures a probe; `capture` is the agent's section.
#[expect(clippy::cast_precision_loss, reason = "less than 2^52 bytes")]
pub(super) fn measure(
    common: &Common,
    kind: &Kind,
    capture: &str,
    traffic: Traffic,
) -> Result<Measured> {
    let lab = Lab::new()?;
    let mut generator = Generator::new(&common.programs, &lab, LINK)?;
    let half = Traffic {
        seconds: traffic.seconds / 2.0,
        ..traffic
    };
    let before = half.cost(&mut generator, &Running::None)?.cpu;
    let received = generator.received()?;
    let mut probe = start(kind, &lab, common, capture)?;
    let with = traffic.cost(&mut generator, &probe)?;
    let rss_mib = probe.rss_bytes() as f64 / f64::from(1 << 20);
    let received = generator.received()? - received;
    let told = probe.told()?;
    drop(probe);
    let behind = half.cost(&mut generator, &Running::None)?.cpu;
    Ok(Measured {
        with,
        cpu_without: f64::midpoint(before, behind),
        rss_mib,
        received,
        told,
    })
}

impl Traffic {
    /// What it costs, after a warm-up.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "less than 2^52 ns, which are 52 days, and no negative number of packets"
    )]
    fn cost(self, generator: &mut Generator<'_>, probe: &Running) -> Result<Cost> {
        let aftermath = match probe {
            Running::None => Duration::ZERO,
            _ => AFTERMATH,
        };
        let pace = Pace::Steady(self.rate);
        generator.send(self.flows, Until::Seconds(WARM_UP_S), pace)?;
        thread::sleep(aftermath);
        let packets = (self.seconds * f64::from(self.rate)) as u64;
        let (own, kernel) = (probe.cpu_ns(), kernel_threads_ns());
        let sent = generator.send(self.flows, Until::Packets(packets), pace)?;
        thread::sleep(aftermath);
        let own = probe.cpu_ns() - own;
        let kernel = kernel_threads_ns().saturating_sub(kernel);
        let per_packet = |ns: f64| ns / sent.packets as f64;
        Ok(Cost {
            cpu: per_packet(sent.cpu_ns + own as f64 + kernel as f64),
            own: per_packet(own as f64),
        })
    }
}
