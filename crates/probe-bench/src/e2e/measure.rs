//! One measurement: an empty link, the link with a probe, and the empty link once more.

use std::{thread, time::Duration};

use anyhow::Result;

use super::{
    generator::{Generator, Pace, Until},
    probes::{Kind, Running, Told, start},
};
use crate::{
    Common,
    process::kernel_threads_ns,
    programs::Flows,
    testbed::{LINK, testbed},
};

/// What probes do after the last packet belongs to it, too: flushing, draining.
const AFTERMATH: Duration = Duration::from_millis(1500);
/// Fills caches and maps before a measurement, in seconds.
const WARM_UP_S: f64 = 0.3;

/// Share of the packets for which the core has to be the generator's alone.
const LEAST_ALONE: f64 = 0.03;
/// Measurements in place of one in which it was not.
const TRIES: u32 = 3;

/// Cost and losses of one measurement.
pub(super) struct Measured {
    /// What packets cost above an empty link, in ns per packet.
    pub(super) above_none: f64,
    /// Whether that is taken from the packets for which the core was the generator's alone.
    pub(super) is_alone: bool,
    /// Of it the probe's own processes.
    pub(super) own: f64,
    pub(super) rss_mib: f64,
    /// Packets that the link has received while the probe watched, warm-up included.
    pub(super) received: u64,
    pub(super) told: Told,
}

/// What packets cost, in ns per packet.
struct Cost {
    /// Generator, probe and kernel threads.
    of_all: f64,
    /// The same with the generator's part from packets for which the core was its alone.
    of_alone: Option<f64>,
    /// The probe's own processes.
    own: f64,
}

/// The second above the mean of the others. Says whether it is from packets with the core alone, which
/// all three have or none.
fn above_none([before, with, behind]: [&Cost; 3]) -> (f64, bool) {
    match (before.of_alone, with.of_alone, behind.of_alone) {
        (Some(before), Some(with), Some(behind)) => (with - f64::midpoint(before, behind), true),
        _ => (
            with.of_all - f64::midpoint(before.of_all, behind.of_all),
            false,
        ),
    }
}

/// Rate, duration and flows of the traffic.
#[derive(Clone, Copy)]
pub(super) struct Traffic {
    pub(super) flows: Flows,
    /// Packets sent in a second.
    pub(super) rate: u32,
    pub(super) seconds: f64,
    /// What part of a measurement this is.
    pub(super) share: f64,
}

/// Measures a probe, again where the core was hardly ever the generator's alone; `capture` is the
/// agent's section. What packets got lost is the sum of all tries.
pub(super) fn measure(
    common: &Common,
    kind: &Kind,
    capture: &str,
    traffic: Traffic,
) -> Result<Measured> {
    let mut measured = measure_once(common, kind, capture, traffic)?;
    for _ in 1..TRIES {
        if measured.is_alone || common.short {
            break;
        }
        let again = measure_once(common, kind, capture, traffic)?;
        measured = Measured {
            received: measured.received + again.received,
            told: measured.told + again.told,
            ..again
        };
    }
    Ok(measured)
}

#[expect(clippy::cast_precision_loss, reason = "less than 2^52 bytes")]
fn measure_once(common: &Common, kind: &Kind, capture: &str, traffic: Traffic) -> Result<Measured> {
    let testbed = testbed()?;
    let mut generator = Generator::new(&common.programs, &testbed, LINK)?;
    let half = Traffic {
        seconds: traffic.seconds / 2.0,
        share: 0.5,
        ..traffic
    };
    let before = half.cost(&mut generator, &Running::None)?;
    let received = generator.received()?;
    let mut probe = start(kind, &testbed, common, capture)?;
    let with = traffic.cost(&mut generator, &probe)?;
    let rss_mib = probe.rss_bytes() as f64 / f64::from(1 << 20);
    let received = generator.received()? - received;
    let told = probe.told()?;
    drop(probe);
    let behind = half.cost(&mut generator, &Running::None)?;
    let (above_none, is_alone) = above_none([&before, &with, &behind]);
    Ok(Measured {
        above_none,
        is_alone,
        own: with.own,
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
        // In proportion, so that what the kernel's threads do anyway is the same for all.
        let aftermath = AFTERMATH.mul_f64(self.share);
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
        let others = per_packet(own as f64 + kernel as f64);
        // Of a few hundred milliseconds in all, or it says little.
        let is_enough = sent.alone_share >= LEAST_ALONE;
        Ok(Cost {
            of_all: per_packet(sent.cpu_ns) + others,
            of_alone: sent.alone_ns.filter(|_| is_enough).map(|it| it + others),
            own: per_packet(own as f64),
        })
    }
}
