//! Which metrics there are, and where the series of each come from.

use probe_capture::status::Issue;
use probe_flow::ledger::Loss;
use prometheus::Histogram;

use crate::telemetry;

use super::{
    super::{
        Direction,
        count::Count,
        table::{self, Definition},
    },
    Samples, Scrape, flag, float, signed_float, single,
};

/// Where the series of a metric come from.
pub(super) enum Family {
    /// A counter or gauge.
    Values(for<'a> fn(&'a Scrape<'_>) -> Samples<'a>),
    /// One that is observed as things happen.
    Observed(for<'a> fn(&'a Scrape<'_>) -> &'a Histogram),
}

use Family::{Observed, Values};

/// Every metric with its values, sorted by name, as Prometheus' own libraries do. Tests hold the order,
/// and that none of [`table::ALL`] is missing.
#[expect(
    clippy::redundant_closure_for_method_calls,
    reason = "the path of a method is for one lifetime of a scrape, and not for all"
)]
pub(super) const FAMILIES: &[(Definition, Family)] = &[
    (table::ATTACH_REASON, Values(|it| it.attach_reason())),
    (table::ATTACHED, Values(|it| it.attached())),
    (
        table::BUILD_INFO,
        Values(|_| vec![(vec![crate::VERSION, crate::COMMIT], 1.0)]),
    ),
    (
        table::BYTES,
        Values(|it| it.counts(Direction::ALL.map(Count::Bytes))),
    ),
    (
        table::CAPTURE_ISSUES,
        Values(|it| it.counts(Issue::ALL.map(Count::Issue))),
    ),
    (table::CAPTURE_STATE, Values(|it| it.capture_state())),
    (table::CLOCK_STEPS, Values(|it| it.clock_steps())),
    (
        table::COMPACTION_FAILING,
        Values(|it| it.stores(|store| Some(flag(store.compaction.error.is_some())))),
    ),
    (
        table::COMPACTED_DAYS,
        Values(|it| it.stores(|store| Some(float(store.compaction.days)))),
    ),
    (table::COVERAGE, Values(|it| it.coverage())),
    (
        table::DETACHED_SECONDS,
        Values(|it| it.counts([Count::DetachedSeconds])),
    ),
    (table::DRAIN_LAG, Values(|it| it.drain_lag())),
    (
        table::FLOW_LOG_MEMORY,
        Values(|it| it.gauge(|it| float(it.flow_log_bytes))),
    ),
    (table::FLOWS, Values(|it| it.gauge(|it| float(it.flows)))),
    (
        table::BUFFER_USAGE,
        Values(|it| it.gauge(|it| it.buffer_usage)),
    ),
    (
        table::INTERFACES_CAPTURING,
        Values(|it| single(float(it.gauges.interfaces))),
    ),
    (
        table::LEDGER_RESIDUE,
        Values(|it| it.gauge(|it| signed_float(it.residue))),
    ),
    (
        table::LINK_CAPTURE_LATENCY,
        Observed(|it| it.link_capture_latency),
    ),
    (
        table::LINK_PACKETS,
        Values(|it| it.counts(Direction::ALL.map(Count::Link))),
    ),
    (
        table::LOG_LINES_LOST,
        Values(|_| single(float(telemetry::lost_lines()))),
    ),
    (
        table::LOST_PACKETS,
        Values(|it| it.counts(Loss::ALL.map(Count::Lost))),
    ),
    (table::MAP_MEMORY, Values(|it| it.map_memory())),
    (
        table::OVERFLOW_PACKETS,
        Values(|it| it.counts([Count::Overflow])),
    ),
    (
        table::PACKETS_DROPPED,
        Values(|it| it.counts([Count::Dropped])),
    ),
    (
        table::PACKETS_PROCESSED,
        Values(|it| it.counts([Count::Processed])),
    ),
    (table::PACKETS_SEEN, Values(|it| it.counts([Count::Seen]))),
    (
        table::PACKETS,
        Values(|it| it.counts(Direction::ALL.map(Count::Packets))),
    ),
    (
        table::PROGRAM_SECONDS,
        Values(|it| it.programs(|it| it.run_time.as_secs_f64())),
    ),
    (
        table::PROGRAM_RUNS,
        Values(|it| it.programs(|it| float(it.runs))),
    ),
    (
        table::REATTACHED,
        Values(|it| it.counts([Count::Reattached])),
    ),
    (table::RECORDS, Values(|it| it.records())),
    (
        table::RETENTION_FAILING,
        Values(|it| it.stores(|store| Some(flag(store.error.is_some())))),
    ),
    (
        table::RETENTION_HELD,
        Values(|it| it.stores(|store| Some(flag(store.held.is_some())))),
    ),
    (
        table::RING_FILL,
        Values(|it| single(it.status.costs.ring_fill.unwrap_or_default())),
    ),
    (
        table::ROTATION_DURATION,
        Observed(|it| it.rotation_duration),
    ),
    (
        table::STORE_BYTES,
        Values(|it| it.stores(|store| Some(float(store.bytes)))),
    ),
    (
        table::STORE_FREE,
        Values(|it| it.stores(|store| store.free_bytes.map(float))),
    ),
    (
        table::STORE_MOVED,
        Values(|it| it.stores(|store| Some(flag(store.moved.is_some())))),
    ),
    (
        table::STORE_OLDEST,
        Values(|it| it.stores(|store| Some(signed_float(store.oldest?.as_second())))),
    ),
    (table::STORE_TROUBLE, Values(|it| it.store_troubles())),
    (table::TROUBLES, Values(|it| it.troubles())),
    (
        table::UNDECODABLE_RECORDS,
        Values(|it| single(float(it.status.unattributed.undecodable))),
    ),
    (
        table::UNKNOWN_INTERFACE_PACKETS,
        Values(|it| single(float(it.status.unattributed.unknown_interface.packets))),
    ),
    (
        table::WRITEOUT_INTERVALS,
        Values(|it| it.writeout_intervals()),
    ),
    (table::WRITEOUT_QUEUE, Values(|it| it.writeout_queue())),
    (table::WRITEOUT_TROUBLE, Values(|it| it.writeout_trouble())),
    (
        table::PROCESS_CPU,
        Values(|it| it.of_process(|it| it.cpu_seconds)),
    ),
    (
        table::PROCESS_MAX_FILES,
        Values(|it| it.of_process(|it| float(it.max_files))),
    ),
    (
        table::PROCESS_FILES,
        Values(|it| it.of_process(|it| float(it.open_files))),
    ),
    (
        table::PROCESS_RESIDENT,
        Values(|it| it.of_process(|it| float(it.resident_bytes))),
    ),
    (
        table::PROCESS_THREADS,
        Values(|it| it.of_process(|it| float(it.threads))),
    ),
    (
        table::PROCESS_VIRTUAL,
        Values(|it| it.of_process(|it| float(it.virtual_bytes))),
    ),
];
