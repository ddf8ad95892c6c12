//! The state of the captures, as any number of readers may see it without disturbing it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;

use crate::{
    clock::ClockSteps,
    source::{Attachment, Costs, Unattributed},
    trouble::Trouble,
};
use probe_flow::{
    coverage::{Compared, CoverageState, LostHook, Unseen},
    flow::FlowCounters,
    ledger::{Ledger, Loss},
};

/// State of one captured interface. All counts are since `started_at` and never go back.
#[derive(Clone, Debug)]
pub struct InterfaceStatus {
    /// Name of the interface.
    pub iface: Arc<str>,
    /// Index of the interface.
    pub ifindex: u32,
    /// How it is captured.
    pub attachment: Attachment,
    /// Time at which capturing began.
    pub started_at: Timestamp,
    /// Where every packet went, up to the last flush ([`crate::manager::Manager::flush`]): exact,
    /// and as old as that.
    pub ledger: Ledger,
    /// Packets and octets that reached the flows.
    pub totals: FlowCounters,
    /// Flows in the log.
    pub flows: u64,
    /// Share of its largest local buffer that the interface has used, 0 to 1.
    pub local_buffer_usage: f64,
    /// Memory of the flow log in bytes, with the room that it keeps.
    pub flow_log_bytes: u64,
    /// Whether the programs are in place and see what the link moves.
    pub watch: WatchStatus,
}

/// What supervision knows of an interface. Counts never go back.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WatchStatus {
    /// Hooks that our programs were removed from and are not back at.
    pub lost: Vec<LostHook>,
    /// Whether the link is switched off or has no carrier.
    pub is_down: bool,
    /// How often removed programs were attached again.
    pub reattached: u64,
    /// How long programs were missing, altogether.
    pub detached: Duration,
    /// How much of that is due to settings that were changed.
    pub changed: Duration,
    /// Whether a program for this direction was ever removed, received and sent.
    pub was_lost: [bool; 2],
    /// What the link moved and we did not see, both directions.
    pub unseen: Unseen,
    /// How well the link is covered, received and sent.
    pub coverage: [CoverageStatus; 2],
}

/// How well one direction of a link is covered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CoverageStatus {
    /// The coverage in one word.
    pub state: CoverageState,
    /// Share of the link's packets that we saw, in the last window with enough of them.
    pub ratio: Option<f64>,
    /// Link and programs since the interface is captured.
    pub compared: Compared,
    /// The likely cause of a bad state.
    pub cause: Option<String>,
}

impl WatchStatus {
    /// All words of [`Self::state`].
    pub const STATES: [&'static str; 6] = ["idle", "ok", "partial", "blind", "detached", "down"];

    /// The interface's state in a word: `detached`, else that of its worse direction, where the link is
    /// up or one of them is bad.
    pub fn state(&self) -> &'static str {
        if !self.lost.is_empty() {
            return "detached";
        }
        let [rcvd, sent] = &self.coverage;
        let state = rcvd.state.max(sent.state);
        if self.is_down && state <= CoverageState::Ok {
            return "down";
        }
        state.name()
    }
}

/// What the parser met that should not be there. A packet that is simply no IP is none.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Issue {
    /// A loss of the parser that [is an issue](Loss::is_issue).
    Lost(Loss),
    /// A fragment other than the first: counted in the flow of the first.
    LaterFragment,
    /// A fragment whose first one was not seen: counted in a flow without ports.
    UnattributedFragment,
    /// A cut transport header: counted in a flow without ports.
    ShortTransport,
    /// A length field that states more octets than the frame has: counted in a flow, without these octets.
    LengthBeyondFrame,
}

impl Issue {
    /// Number of issues that are counted.
    pub const COUNT: usize = {
        let (mut count, mut number) = (Self::IN_FLOWS.len(), 0);
        while number < Loss::COUNT {
            count += Loss::ALL[number].is_issue() as usize;
            number += 1;
        }
        count
    };

    /// All of them: losses first.
    pub const ALL: [Self; Self::COUNT] = {
        let (mut all, mut count, mut number) = ([Self::LaterFragment; Self::COUNT], 0, 0);
        while number < Loss::COUNT {
            if Loss::ALL[number].is_issue() {
                all[count] = Self::Lost(Loss::ALL[number]);
                count += 1;
            }
            number += 1;
        }
        number = 0;
        while number < Self::IN_FLOWS.len() {
            all[count + number] = Self::IN_FLOWS[number];
            number += 1;
        }
        all
    };

    /// Those that are no losses.
    const IN_FLOWS: [Self; 4] = [
        Self::LaterFragment,
        Self::UnattributedFragment,
        Self::ShortTransport,
        Self::LengthBeyondFrame,
    ];

    /// Value of the label `issue_type`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lost(loss) => loss.name(),
            Self::LaterFragment => "later_fragment",
            Self::UnattributedFragment => "unattributed_fragment",
            Self::ShortTransport => "short_transport",
            Self::LengthBeyondFrame => "length_beyond_frame",
        }
    }

    /// How many packets of a ledger had it.
    pub const fn count(self, ledger: &Ledger) -> u64 {
        match self {
            Self::Lost(loss) => ledger.loss(loss).packets,
            Self::LaterFragment => ledger.later_fragments,
            Self::UnattributedFragment => ledger.unattributed_fragments,
            Self::ShortTransport => ledger.short_transports,
            Self::LengthBeyondFrame => ledger.beyond_frame.packets,
        }
    }
}

/// State of the whole agent.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// All captured interfaces by name.
    pub interfaces: BTreeMap<Arc<str>, InterfaceStatus>,
    /// Interfaces that are no longer captured, as they were at their end: without flows, hooks or
    /// state, but with all that was counted.
    pub closed: BTreeMap<Arc<str>, InterfaceStatus>,
    /// Packets and records that belong to no captured interface.
    pub unattributed: Unattributed,
    /// What the capture itself takes.
    pub costs: Costs,
    /// How often the wall clock was set while capturing.
    pub clock_steps: ClockSteps,
    /// What is wrong now, beside the states of interfaces.
    pub troubles: Vec<Trouble>,
}

/// Where the metrics and the API get their numbers from, at the moment they are asked.
pub trait StatusReader: Send + Sync {
    /// Takes in what has been counted so far, then reads the state. Ends no interval and sets no
    /// count back, so any number of readers may ask. It is not free: the source switches banks and
    /// waits for grace periods of RCU, which blocks the caller for milliseconds.
    fn flush_and_read(&self) -> Status;
}
