//! `GET /api/v1/status`: how capturing goes.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::{Json, extract::RawQuery, response::Response};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{is_wanted, ledger::LedgerCounts, only_interfaces};
use crate::{ApiState, limits::Asked, problem::Problem};
use probe_capture::{
    source,
    status::{self, Issue, StatusReader},
    trouble,
};
use probe_flow::coverage;

/// Path of this endpoint below the API's address.
pub const PATH: &str = "/api/v1/status";

/// How capturing goes. Counts are since `started_at` and never go back: any number of readers keep
/// their own baseline.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct StatusReport {
    /// When this was read.
    pub at: Timestamp,
    /// When the agent began to capture.
    pub started_at: Timestamp,
    /// When flows were last handed to the sinks; before the first time, `started_at`.
    pub last_rotation: Timestamp,
    /// What the agent is not ready for yet, or not any more.
    pub waiting_for: Vec<String>,
    /// By name of the interface.
    pub interfaces: BTreeMap<String, InterfaceStatus>,
    /// Packets on interfaces that are not captured, but met our programs.
    pub unknown_interface_packets: u64,
    /// Entries of the rings that were no records. Anything but 0 is a defect.
    pub undecodable_records: u64,
    /// What waits for the sinks and what became of it, by name of the sink.
    pub sinks: BTreeMap<String, SinkStatus>,
    /// How often the wall clock was set since the agent started.
    #[serde(default)]
    pub clock_steps: ClockSteps,
    /// All that is wrong now, that which `interfaces` and `sinks` tell as states, too. What is over is not told.
    /// It has what `probe-agent status` tells as trouble, but for losses that it sees grow.
    #[serde(default)]
    pub troubles: Vec<Trouble>,
    /// Memory of the agent.
    pub memory: Memory,
}

/// Something that is wrong now.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct Trouble {
    /// In a word: `not_ready`, `rotation_overdue`, `links_unknown`, `nothing_captured`, `reload_refused`,
    /// `interface_missing`, `interface_refused`, `link_unreadable`, `hooks_unknown`, `detached`, `blind`, `partial`, `unbalanced`,
    /// `undecodable_records`, `sink_failing`, `sink_stuck`, `sink_overrun`, `store_moved`, `store_short`,
    /// `store_crowded`, `store_filling`, `retention_held`, `retention_failing`, `compaction_failing`,
    /// `places_taken`, or `config_over_api` or `counted_twice`, which may be meant so.
    pub kind: String,
    /// Name of the interface that it is about, or `link` and its index, or `sink` and its name; null for the
    /// whole agent.
    pub subject: Option<String>,
    /// What is wrong, and why, in a sentence.
    pub cause: String,
    /// What helps, in a sentence.
    pub remedy: String,
}

/// State of one captured interface.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct InterfaceStatus {
    /// The kernel's index of it.
    pub ifindex: u32,
    /// In a word: `ok`, `idle`, `partial`, `blind`, `detached` or `down`.
    pub state: String,
    /// Since when it is captured.
    pub started_at: Timestamp,
    /// Packets that reached our programs.
    pub received_total: u64,
    /// Packets counted in flows.
    pub processed_total: u64,
    /// Packets lost because the agent did not keep up.
    pub dropped_total: u64,
    /// Packets that could not be parsed as they should, by type.
    pub parsing_errors: BTreeMap<String, u64>,
    /// Received packets in flows.
    pub packets_rcvd: u64,
    /// Sent packets in flows.
    pub packets_sent: u64,
    /// Received IP octets in flows.
    pub bytes_rcvd: u64,
    /// Sent IP octets in flows.
    pub bytes_sent: u64,
    /// Flows in the log.
    pub flows: u64,
    /// Largest share of its local buffer that was used, 0 to 1.
    pub local_buffer_usage: f64,
    /// The hooks in use, one per direction.
    pub attachment: Attachment,
    /// Hooks that our programs were removed from and are not back at.
    pub lost_hooks: Vec<LostHook>,
    /// How often removed programs were attached again.
    pub reattached: u64,
    /// How long programs were missing, altogether.
    pub detached_ms: u64,
    /// How much of that is due to settings that were changed.
    #[serde(default)]
    pub changed_ms: u64,
    /// Directions whose program was removed at some time: `rcvd`, `sent`.
    #[serde(default)]
    pub detached_directions: Vec<String>,
    /// Packets that the link moved and we did not see while programs were removed.
    #[serde(default)]
    pub detached_packets: u64,
    /// Packets that the link moved and we did not see while a direction was partial or blind with our program
    /// in place.
    #[serde(default)]
    pub uncovered_packets: u64,
    /// How well the link is covered.
    pub coverage: Coverage,
    /// Where every packet went.
    pub ledger: LedgerCounts,
}

/// How an interface is captured.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct Attachment {
    /// Hook that sees received packets.
    pub ingress: String,
    /// Hook that sees sent packets.
    pub egress: String,
    /// Every hook that was tried or left out, with what became of it.
    pub reason: String,
}

/// A hook that our program was removed from.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct LostHook {
    /// Direction of the packets: `rcvd` or `sent`.
    pub direction: String,
    /// Name of the hook, such as `tcx`.
    pub hook: String,
    /// Name of the program that is there now, if any.
    pub occupant: Option<String>,
}

/// How well a link is covered.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct Coverage {
    /// Coverage of the received packets.
    pub rcvd: DirectionCoverage,
    /// Coverage of the sent packets.
    pub sent: DirectionCoverage,
}

/// How well one direction of a link is covered.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct DirectionCoverage {
    /// In a word: `ok`, `idle`, `partial` or `blind`.
    pub state: String,
    /// Share of the link's packets that we saw, in the last window with enough of them; null if that is past.
    pub ratio: Option<f64>,
    /// Packets by the link's own counter, since the interface is captured.
    pub link: u64,
    /// Frames that we saw of those, super-packets once.
    pub frames: u64,
    /// Packets that we saw of those, as on the wire.
    pub packets: u64,
    /// The likely cause of a bad state.
    pub cause: Option<String>,
}

/// What a sink did since the agent started, what waits for it, and how it is now.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct SinkStatus {
    /// Intervals that the sink has stored.
    pub written: u64,
    /// Intervals that could not be stored.
    pub failed: u64,
    /// Intervals that found the queue full.
    pub dropped: u64,
    /// Intervals in the queue.
    pub queue_length: u64,
    /// What keeps it from storing now; null again when that is over.
    #[serde(default)]
    pub trouble: Option<SinkTrouble>,
    /// For how many seconds its queue has run over and intervals are lost, whatever `trouble` is; null if it
    /// does not.
    #[serde(default)]
    pub overrun_seconds: Option<u64>,
    /// What it keeps; null where it does not know, or not yet.
    #[serde(default)]
    pub store: Option<StoreStatus>,
}

/// What keeps a sink from storing.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct SinkTrouble {
    /// In a word: `failing` (the last attempt failed, or the next one would), `stuck` (an attempt takes longer than five
    /// seconds) or `overrun` (intervals found the queue full, which has not been empty since).
    pub kind: String,
    /// For how many seconds.
    pub seconds: u64,
    /// The last error, a sentence; empty where there was none.
    pub error: String,
    /// What helps, as an imperative.
    pub remedy: String,
}

/// What a sink keeps, and what its retention will delete when. Estimates go by `bytes_per_day`.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct StoreStatus {
    /// Bytes that the intervals take on disk.
    pub bytes: u64,
    /// Bytes of the file system that the agent may still use; null if it does not tell.
    pub free_bytes: Option<u64>,
    /// End of the oldest interval; null in an empty store.
    pub oldest: Option<Timestamp>,
    /// Bytes that a day adds: those of yesterday, or of the time since the store was begun.
    pub bytes_per_day: Option<u64>,
    /// Seconds over which that was seen: of yesterday, or since the store was begun. What is seen for less
    /// than an hour may soon be another.
    #[serde(default)]
    pub growth_seen_seconds: Option<u64>,
    /// Age in seconds at which intervals are deleted; null: never.
    pub max_age_seconds: Option<u64>,
    /// Size in bytes beyond which the oldest are deleted; null: none.
    pub max_size_bytes: Option<u64>,
    /// Free space in bytes below which the oldest are deleted; null: none.
    pub min_free_bytes: Option<u64>,
    /// When the oldest interval becomes too old.
    pub age_deletes_at: Option<Timestamp>,
    /// When the store will be too large, by estimate.
    pub size_deletes_at: Option<Timestamp>,
    /// When too little space will be free, by estimate, if only the store grows.
    pub free_deletes_at: Option<Timestamp>,
    /// When the file system will be full, by estimate, if only the store grows; null if a rule deletes
    /// before.
    #[serde(default)]
    pub full_at: Option<Timestamp>,
    /// Whether that is within three days.
    #[serde(default)]
    pub is_filling: bool,
    /// Bytes that are missing to `min_free_bytes` although nothing is left to delete.
    #[serde(default)]
    pub short_bytes: u64,
    /// What other files have taken of the store's room, while `min_free` has days deleted for that.
    #[serde(default)]
    pub crowded: Option<Crowded>,
    /// Days that lost intervals to `min_free` before their time since the start, while others took the room.
    #[serde(default)]
    pub early_days: u64,
    /// Bytes of these intervals.
    #[serde(default)]
    pub early_bytes: u64,
    /// Why retention does not believe the clock; null if it does.
    pub held: Option<RetentionHold>,
    /// Why retention could not delete or count everything, a sentence.
    pub error: Option<String>,
    /// How the store has come to lie on another file system than at the start, or to be gone, and the remedy.
    #[serde(default)]
    pub moved: Option<String>,
    /// Days of an interface whose files became one since the start.
    #[serde(default)]
    pub compacted_days: u64,
    /// Why a closed day could not be compacted, a sentence.
    #[serde(default)]
    pub compaction_error: Option<String>,
}

/// Other files have taken room that the store had, and its oldest days are deleted to leave `min_free`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct Crowded {
    /// When the first interval was deleted for it.
    pub since: Timestamp,
    /// Bytes by which the store must be smaller than it was.
    pub taken_bytes: u64,
}

/// The clock differs from the time that surely has passed, and retention does not believe it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct RetentionHold {
    /// The time that retention goes by.
    pub reference: Timestamp,
    /// How many seconds the clock is ahead; behind, if negative.
    pub ahead_seconds: i64,
    /// Bytes of whole days that are deleted if the clock is confirmed.
    pub held_bytes: u64,
}

/// How often the wall clock was set since the agent started.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct ClockSteps {
    /// Number of steps ahead.
    pub forward: u64,
    /// Number of steps back.
    pub backward: u64,
    /// Sum of all steps in milliseconds; negative if it was set back by more.
    pub by_ms: i64,
}

/// Memory of the agent, in bytes.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct Memory {
    /// Resident memory of the process; null if the kernel does not tell.
    pub resident_bytes: Option<u64>,
    /// Kernel memory of all maps; null where nothing is loaded.
    pub maps_bytes: Option<u64>,
    /// What the local buffers may still take.
    pub local_buffers_free_bytes: u64,
}

impl From<&trouble::Trouble> for Trouble {
    fn from(it: &trouble::Trouble) -> Self {
        Self {
            kind: it.kind.name().to_owned(),
            subject: it.subject.clone(),
            cause: it.cause.clone(),
            remedy: it.remedy.clone(),
        }
    }
}

impl From<&source::Attachment> for Attachment {
    fn from(attachment: &source::Attachment) -> Self {
        Self {
            ingress: attachment.ingress.to_owned(),
            egress: attachment.egress.to_owned(),
            reason: attachment.reason.clone(),
        }
    }
}

impl From<&coverage::LostHook> for LostHook {
    fn from(lost: &coverage::LostHook) -> Self {
        let direction = coverage::DIRECTIONS.get(usize::from(lost.direction));
        Self {
            direction: (*direction.unwrap_or(&"")).to_owned(),
            hook: lost.hook.to_owned(),
            occupant: lost.occupant.clone(),
        }
    }
}

impl From<&status::CoverageStatus> for DirectionCoverage {
    fn from(status: &status::CoverageStatus) -> Self {
        Self {
            state: status.state.name().to_owned(),
            ratio: status.ratio,
            link: status.compared.link,
            frames: status.compared.frames,
            packets: status.compared.packets,
            cause: status.cause.clone(),
        }
    }
}

fn milliseconds(duration: Duration) -> u64 {
    duration.as_millis().try_into().unwrap_or(u64::MAX)
}

impl From<&status::InterfaceStatus> for InterfaceStatus {
    fn from(it: &status::InterfaceStatus) -> Self {
        let errors = Issue::ALL.map(|issue| (issue.name().to_owned(), issue.count(&it.ledger)));
        let [rcvd, sent] = &it.watch.coverage;
        let directions = coverage::DIRECTIONS.iter().zip(it.watch.was_lost);
        let lost = directions.filter(|(_, was_lost)| *was_lost);
        Self {
            ifindex: it.ifindex,
            state: it.watch.state().to_owned(),
            started_at: it.started_at,
            received_total: it.ledger.seen.packets,
            processed_total: it.totals.packets(),
            dropped_total: it.ledger.dropped_packets(),
            parsing_errors: errors.into(),
            packets_rcvd: it.totals.packets_rcvd,
            packets_sent: it.totals.packets_sent,
            bytes_rcvd: it.totals.bytes_rcvd,
            bytes_sent: it.totals.bytes_sent,
            flows: it.flows,
            local_buffer_usage: it.local_buffer_usage,
            attachment: Attachment::from(&it.attachment),
            lost_hooks: it.watch.lost.iter().map(LostHook::from).collect(),
            reattached: it.watch.reattached,
            detached_ms: milliseconds(it.watch.detached),
            changed_ms: milliseconds(it.watch.changed),
            detached_directions: lost.map(|(direction, _)| (*direction).to_owned()).collect(),
            detached_packets: it.watch.unseen.detached,
            uncovered_packets: it.watch.unseen.uncovered,
            coverage: Coverage {
                rcvd: rcvd.into(),
                sent: sent.into(),
            },
            ledger: LedgerCounts::from(&it.ledger),
        }
    }
}

/// State of the agent, its interfaces and sinks
#[utoipa::path(get, path = PATH, tag = "capture",
    params(("iface" = Option<Vec<String>>, Query, description = "Only these interfaces; may be repeated")),
    responses(
        (status = 200, description = "State of agent and interfaces", body = StatusReport),
        (status = 404, description = "An interface is not captured", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn status(asked: Asked, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    asked
        .blocking(move |state| {
            let wanted = only_interfaces(state, query.as_deref())?;
            Ok(Json(report(state, &wanted)))
        })
        .await
}

fn report(state: &ApiState, wanted: &[String]) -> StatusReport {
    let status = state.manager.flush_and_read();
    let (started_at, last_rotation) = state.manager.timestamps();
    let interfaces = status.interfaces.iter();
    let interfaces = interfaces
        .filter(|(name, _)| is_wanted(wanted, name))
        .map(|(name, it): (&Arc<str>, _)| (name.to_string(), InterfaceStatus::from(it)));
    let waiting = state.agent.waiting_for().into_iter();
    let mut report = StatusReport {
        at: Timestamp::now(),
        started_at,
        last_rotation,
        waiting_for: waiting.map(str::to_owned).collect(),
        interfaces: interfaces.collect(),
        unknown_interface_packets: status.unattributed.unknown_interface.packets,
        undecodable_records: status.unattributed.undecodable,
        sinks: state.agent.sinks(),
        clock_steps: ClockSteps {
            forward: status.clock_steps.forward,
            backward: status.clock_steps.backward,
            by_ms: status
                .clock_steps
                .by
                .as_millis()
                .try_into()
                .unwrap_or(i64::MAX),
        },
        troubles: Vec::new(),
        memory: Memory {
            resident_bytes: resident_bytes(),
            maps_bytes: state.maps_bytes,
            local_buffers_free_bytes: state.manager.free_buffer_bytes() as u64,
        },
    };
    let mut troubles = status.troubles;
    troubles.extend(state.agent.troubles(&report));
    trouble::TroubleKind::sort(&mut troubles);
    report.troubles = troubles.iter().map(Trouble::from).collect();
    report
}

/// Second field of `statm`, in pages (proc_pid_statm(5)).
fn resident_bytes() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}
