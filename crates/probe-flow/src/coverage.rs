//! The truth check: what the programs saw, compared with the kernel's own counters of the link.
//!
//! A probe that has gone blind looks like a quiet network. The link's counters tell the two apart.
//! They do not count what we count, so the comparison allows for what is known:
//!
//! * Drivers count a super-packet once (veth, bridges, tun …) or by its segments (most hardware), and
//!   the same link does now this, now that: a veth counts before GRO, what the sender made of the data.
//!   So a counter of packets anywhere between our frames and our packets tells nothing; octets do then.
//! * Links count octets of headers that we do not, up to [`FURTHER_OCTETS`] a packet. Super-packets are
//!   made of large ones, beside which that is little.
//! * The two are not read at the same moment. Our counters are read before and after the link's,
//!   and the comparison takes whichever end is in favour of the link.
//! * Sent packets pass our hook before the queue and the driver: those dropped there are ours
//!   alone, and the ratio is above 1. The link's `tx_dropped` does not make up for them: it lacks
//!   what a queue drops, and has what XDP programs redirect to a link in vain.
//!
//! Driven by values; the caller samples, about once a second.

mod cause;
mod lost_hook;

pub use cause::{Surroundings, likely_cause};
pub use lost_hook::LostHook;

/// Packets that the link must have moved before a window is judged: in fewer, the few that are
/// between driver and hook at a sample weigh too much.
const WINDOW_PACKETS: u64 = 20;

/// Octets that a link may count for a packet beyond its frame: those of WireGuard (32), the frame's
/// checksum and a VLAN tag. The manual of the ledger has what each kind of link counts.
const FURTHER_OCTETS: u64 = 40;

/// A window with less coverage than this is a bad one.
const PARTIAL_BELOW: f64 = 0.9;

/// Bad windows in a row that make a state. A queue that drains after a burst makes one or two.
const BAD_WINDOWS: u32 = 3;

/// Checks without a packet after which a direction is idle.
const IDLE_CHECKS: u32 = 10;

/// Checks after which a bad state is checked again, with however few packets there were.
const LOOK_AGAIN_CHECKS: u32 = 5;

/// Received and sent, in the order of [`probe_common::record::INGRESS`] and `EGRESS`; the words are
/// those of the [schema](crate::schema).
pub const DIRECTIONS: [&str; 2] = ["rcvd", "sent"];

/// What our programs counted in one direction, since they were attached.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Seen {
    /// Frames; a super-packet counts once.
    pub frames: u64,
    /// Packets as on the wire.
    pub packets: u64,
    /// Octets of these packets with all their headers, also those of the link.
    pub octets: u64,
}

/// What a link has counted in one direction.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct LinkCounts {
    /// Packets; of a super-packet, one or those on the wire.
    pub packets: u64,
    /// Octets; 0 if the link does not count them.
    pub octets: u64,
}

/// Counts of one direction at one check.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Sample {
    /// By the link's counters.
    pub link: LinkCounts,
    /// Ours just before these were read.
    pub before: Seen,
    /// Our counters just after the link's.
    pub after: Seen,
}

/// Link and probe over the same time.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Compared {
    /// Packets by the link's counter.
    pub link: u64,
    /// Frames that we saw at least.
    pub frames: u64,
    /// Packets as on the wire that we saw at most.
    pub packets: u64,
    /// Octets by the link's counter; 0 if they are not counted, or not known.
    pub link_octets: u64,
    /// Octets of frames that we saw at most.
    pub octets: u64,
}

/// How well a direction is covered, from best to worst.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub enum CoverageState {
    /// No packet moves in this direction, however it was before.
    #[default]
    Idle,
    /// Link and probe agree.
    Ok,
    /// The link moves clearly more than we see.
    Partial,
    /// The link moves packets and we see none.
    Blind,
}

impl CoverageState {
    /// Name in the log, the status and the metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Ok => "ok",
            Self::Partial => "partial",
            Self::Blind => "blind",
        }
    }
}

impl Compared {
    fn between(start: Sample, end: Sample) -> Self {
        Self {
            link: end.link.packets - start.link.packets,
            frames: end.before.frames.saturating_sub(start.after.frames),
            packets: end.after.packets.saturating_sub(start.before.packets),
            link_octets: end.link.octets.saturating_sub(start.link.octets),
            octets: end.after.octets.saturating_sub(start.before.octets),
        }
    }

    /// Share of the link's packets that we saw, or of its octets where packets do not tell. Above 1 if we
    /// saw more; `None` if the link moved nothing.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a ratio, good to more digits than it is read with"
    )]
    pub fn ratio(&self) -> Option<f64> {
        let nearest = self.link.clamp(self.frames, self.packets.max(self.frames));
        let of_packets = (self.link > 0).then(|| nearest as f64 / self.link as f64)?;
        Some(
            self.ratio_of_octets()
                .map_or(of_packets, |ratio| ratio.min(of_packets)),
        )
    }

    /// Packets of the link that we did not see.
    fn unseen(&self) -> u64 {
        self.link.saturating_sub(self.packets.max(self.frames))
    }

    /// At most this share of the link's octets was seen. `None` where no super-packet was: packets tell.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a ratio, good to more digits than it is read with"
    )]
    fn ratio_of_octets(&self) -> Option<f64> {
        let is_wide = self.packets > self.frames && self.link_octets > 0;
        let at_most = self.octets + FURTHER_OCTETS * self.packets;
        (is_wide && at_most < self.link_octets).then(|| at_most as f64 / self.link_octets as f64)
    }
}

impl std::ops::AddAssign for Compared {
    fn add_assign(&mut self, other: Self) {
        self.link += other.link;
        self.frames += other.frames;
        self.packets += other.packets;
        self.link_octets += other.link_octets;
        self.octets += other.octets;
    }
}

/// A stretch of checks that ends when it is taken, across resets of the link's counters.
#[derive(Clone, Copy, Debug, Default)]
struct Stretch {
    start: Option<Sample>,
    end: Sample,
    before_reset: Compared,
}

impl Stretch {
    fn on_sample(&mut self, sample: Sample) {
        if self.is_reset_by(sample) {
            self.before_reset = self.compared();
            self.start = None;
        }
        self.start.get_or_insert(sample);
        self.end = sample;
    }

    /// A counter that goes back has started again: a driver that was reset.
    const fn is_reset_by(&self, sample: Sample) -> bool {
        self.start.is_some() && sample.link.packets < self.end.link.packets
    }

    fn compared(&self) -> Compared {
        let mut sum = self.before_reset;
        if let Some(start) = self.start {
            sum += Compared::between(start, self.end);
        }
        sum
    }

    /// Ends the stretch and begins the next where it ended.
    fn take(&mut self) -> Compared {
        let compared = self.compared();
        self.before_reset = Compared::default();
        self.start = self.start.map(|_| self.end);
        compared
    }
}

/// The coverage of one direction of an interface.
#[derive(Clone, Copy, Debug, Default)]
pub struct Coverage {
    state: CoverageState,
    /// Of the last window that was judged.
    ratio: Option<f64>,
    window: Stretch,
    /// Checks since it began.
    window_checks: u32,
    interval: Stretch,
    all: Stretch,
    bad_windows: u32,
    blind_windows: u32,
    idle_checks: u32,
    /// Checks since a window was judged.
    old_checks: u32,
    /// Packets that were not seen in bad windows which have not made a state yet.
    pending: u64,
    unseen: Unseen,
    /// Our program is missing, which is why nothing is seen.
    is_detached: bool,
}

/// Packets that the link moved and we did not see, by why.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Unseen {
    /// While our program was missing.
    pub detached: u64,
    /// While the direction was partial or blind with our program in place.
    pub uncovered: u64,
}

impl std::ops::AddAssign for Unseen {
    fn add_assign(&mut self, other: Self) {
        self.detached += other.detached;
        self.uncovered += other.uncovered;
    }
}

impl Coverage {
    /// Takes a sample in. The first one after attaching is the baseline. Returns the new state if it
    /// has changed.
    pub fn on_sample(&mut self, sample: Sample) -> Option<CoverageState> {
        let moved = self.window.end.link != sample.link || self.window.end.after != sample.after;
        self.idle_checks = if moved { 0 } else { self.idle_checks + 1 };
        for stretch in [&mut self.window, &mut self.interval, &mut self.all] {
            stretch.on_sample(sample);
        }
        self.old_checks = self.old_checks.saturating_add(1);
        self.window_checks += 1;
        let before = self.state;
        let window = self.window.compared();
        if window.link.max(window.frames) >= WINDOW_PACKETS {
            self.end_window();
            self.judge(window);
            self.old_checks = 0;
        } else if self.idle_checks >= IDLE_CHECKS {
            self.leave_window(window);
            self.state = CoverageState::Idle;
        } else if self.is_bad() && self.window_checks >= LOOK_AGAIN_CHECKS {
            self.leave_window(window);
            self.look_again(window);
        }
        (self.state != before).then_some(self.state)
    }

    /// Takes a sample in after which the running window is of two times: before and after a program came or
    /// went, ours or another. Nothing is judged by it.
    pub fn on_mixed_sample(&mut self, sample: Sample) {
        for stretch in [&mut self.window, &mut self.interval, &mut self.all] {
            stretch.on_sample(sample);
        }
        let window = self.window.take();
        self.on_unseen(window);
    }

    /// From now on our program is missing, or is there.
    pub const fn set_detached(&mut self, is_detached: bool) {
        self.is_detached = is_detached;
    }

    /// Our program has just been attached again: how it covers the link is not known yet.
    pub const fn restart(&mut self) {
        self.state = CoverageState::Idle;
        self.ratio = None;
        self.bad_windows = 0;
        self.blind_windows = 0;
        self.pending = 0;
    }

    const fn is_bad(&self) -> bool {
        matches!(self.state, CoverageState::Partial | CoverageState::Blind)
    }

    fn on_unseen(&mut self, window: Compared) {
        if self.is_detached {
            self.unseen.detached += window.unseen();
            return;
        }
        self.pending += window.unseen();
        if self.is_bad() {
            self.unseen.uncovered += std::mem::take(&mut self.pending);
        }
    }

    /// What was not seen since the first check, as far as it is known why.
    pub fn unseen(&self) -> Unseen {
        let mut unseen = self.unseen;
        if self.is_detached {
            unseen.detached += self.window.compared().unseen();
        } else if self.is_bad() {
            unseen.uncovered += self.window.compared().unseen();
        }
        unseen
    }

    fn end_window(&mut self) {
        self.window.take();
        self.window_checks = 0;
    }

    /// Ends a window of a bad state in which too few packets passed for a verdict.
    fn leave_window(&mut self, window: Compared) {
        if self.is_bad() {
            self.end_window();
            self.on_unseen(window);
        }
    }

    /// A quiet link would stay in its bad state for as long as it takes to move a window. Too few packets
    /// make nothing bad, and if they are all seen the next bad window shows that it was not over.
    fn look_again(&mut self, window: Compared) {
        let ratio = window.ratio();
        if ratio.is_some_and(|ratio| ratio >= PARTIAL_BELOW) {
            self.ratio = ratio;
            self.state = CoverageState::Ok;
            self.old_checks = 0;
        }
    }

    fn judge(&mut self, window: Compared) {
        self.set_state(window);
        if self.is_detached || self.bad_windows > 0 {
            self.on_unseen(window);
        } else {
            self.pending = 0;
        }
    }

    fn set_state(&mut self, window: Compared) {
        self.ratio = window.ratio();
        if self.ratio.is_none_or(|ratio| ratio >= PARTIAL_BELOW) {
            self.bad_windows = 0;
            self.blind_windows = 0;
            self.state = CoverageState::Ok;
            return;
        }
        self.bad_windows += 1;
        self.blind_windows = if window.packets == 0 {
            self.blind_windows + 1
        } else {
            0
        };
        if self.blind_windows >= BAD_WINDOWS {
            self.state = CoverageState::Blind;
        } else if self.bad_windows >= BAD_WINDOWS {
            self.state = CoverageState::Partial;
        }
    }

    /// How well the direction is covered.
    pub const fn state(&self) -> CoverageState {
        self.state
    }

    /// Coverage of the last window with enough packets, unless that is past: only a state that is bad stays
    /// until a better window comes.
    pub fn ratio(&self) -> Option<f64> {
        let is_present = self.is_bad() || self.old_checks < IDLE_CHECKS;
        self.ratio.filter(|_| is_present)
    }

    /// Link and probe since the first check.
    pub fn since_start(&self) -> Compared {
        self.all.compared()
    }

    /// Link and probe since [`Self::end_interval`] was last called, or the first check.
    pub fn in_interval(&self) -> Compared {
        self.interval.compared()
    }

    /// Link and probe since the last call, or the first check.
    pub fn end_interval(&mut self) -> Compared {
        self.interval.take()
    }
}

#[cfg(test)]
mod tests;
