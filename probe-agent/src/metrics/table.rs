//! Every metric: name, labels, unit and meaning, in one place. The registry and docs/METRICS.md are
//! made from it.

/// Type of a metric, as Prometheus has it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// A counter: it only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// A histogram: observations by size.
    Histogram,
}

/// Name, type and meaning of a metric.
#[derive(Clone, Copy, Debug)]
pub struct Definition {
    /// Name, with prefix and unit.
    pub name: &'static str,
    /// Prometheus type of the metric.
    pub kind: Kind,
    /// Labels; `iface`, if it has one, first.
    pub labels: &'static [&'static str],
    /// Unit of the value.
    pub unit: &'static str,
    /// What the metric means, with its unit.
    pub help: &'static str,
}

impl Definition {
    const fn new(
        kind: Kind,
        name: &'static str,
        labels: &'static [&'static str],
        unit: &'static str,
        help: &'static str,
    ) -> Self {
        Self {
            name,
            kind,
            labels,
            unit,
            help,
        }
    }
}

use Kind::{Counter, Gauge, Histogram};

pub(super) const PACKETS_PROCESSED: Definition = Definition::new(
    Counter,
    "probe_packets_processed_total",
    &["iface"],
    "packets",
    "Packets that were counted in flows.",
);
pub(super) const PACKETS_DROPPED: Definition = Definition::new(
    Counter,
    "probe_packets_dropped_total",
    &["iface"],
    "packets",
    "Packets lost because the agent did not keep up: the losses ring_full and local_buffer_full.",
);
pub(super) const PACKETS_SEEN: Definition = Definition::new(
    Counter,
    "probe_packets_seen_total",
    &["iface"],
    "packets",
    "Packets that the programs were handed, as on the wire.",
);
pub(super) const LOST_PACKETS: Definition = Definition::new(
    Counter,
    "probe_lost_packets_total",
    &["iface", "loss"],
    "packets",
    "Packets that are in no flow, by the name of the loss.",
);
pub(super) const LEDGER_RESIDUE: Definition = Definition::new(
    Gauge,
    "probe_ledger_residue_packets",
    &["iface"],
    "packets",
    "Packets seen that are neither in flows nor lost. Packets on their way to the flows show as a \
     small positive value under traffic; anything that stays is a defect of the agent.",
);
pub(super) const PACKETS: Definition = Definition::new(
    Counter,
    "probe_packets_total",
    &["iface", "direction"],
    "packets",
    "Packets in flows, by direction.",
);
pub(super) const BYTES: Definition = Definition::new(
    Counter,
    "probe_bytes_total",
    &["iface", "direction"],
    "bytes",
    "IP octets in flows as on the wire, without link headers, by direction.",
);
pub(super) const CAPTURE_ISSUES: Definition = Definition::new(
    Counter,
    "probe_capture_issues_total",
    &["iface", "issue_type"],
    "packets",
    "Packets that could not be parsed as they should, by issue.",
);
pub(super) const BUFFER_USAGE: Definition = Definition::new(
    Gauge,
    "probe_global_buffer_usage_ratio",
    &["iface"],
    "ratio, 0 to 1",
    "Share of the largest local buffer that an interface has used.",
);
pub(super) const FLOWS: Definition = Definition::new(
    Gauge,
    "probe_flows",
    &["iface"],
    "flows",
    "Flows in the log. Overflow flows are none of them.",
);
pub(super) const OVERFLOW_PACKETS: Definition = Definition::new(
    Counter,
    "probe_overflow_packets_total",
    &["iface"],
    "packets",
    "Packets in overflow flows, which stand for many: there was no room for flows of their own. Raise \
     capture.max_flows or capture.max_flows_total, or shorten rotation.interval.",
);
pub(super) const INTERFACES_CAPTURING: Definition = Definition::new(
    Gauge,
    "probe_interfaces_capturing",
    &[],
    "interfaces",
    "Interfaces that are being captured.",
);
pub(super) const ATTACHED: Definition = Definition::new(
    Gauge,
    "probe_attached_interfaces",
    &["iface", "ingress", "egress"],
    "interfaces",
    "Interfaces by the hooks that see their received and sent packets.",
);
pub(super) const CAPTURE_STATE: Definition = Definition::new(
    Gauge,
    "probe_capture_state",
    &["iface", "state"],
    "interfaces",
    "Interfaces by how well they are captured: ok, partial (clearly less seen than the link moves), \
     blind (packets move and none is seen), idle, detached (programs removed), down (the link \
     is switched off or has no carrier).",
);
pub(super) const COVERAGE: Definition = Definition::new(
    Gauge,
    "probe_coverage_ratio",
    &["iface", "direction"],
    "ratio, 1 is all",
    "Share of the packets of the kernel's link counter that the programs saw, in the last seconds \
     with enough packets; none when these are past. Above 1 where packets were dropped behind the hook.",
);
pub(super) const LINK_PACKETS: Definition = Definition::new(
    Counter,
    "probe_link_packets_total",
    &["iface", "direction"],
    "packets",
    "Packets by the kernel's link counter, since the interface is captured. Drivers count \
     super-packets once or by segments.",
);
pub(super) const REATTACHED: Definition = Definition::new(
    Counter,
    "probe_reattached_total",
    &["iface"],
    "attachments",
    "Number of times that programs were attached again after they were removed.",
);
pub(super) const DETACHED_SECONDS: Definition = Definition::new(
    Counter,
    "probe_detached_seconds_total",
    &["iface"],
    "seconds",
    "Time without programs, from their loss being noticed, or while a reload changes settings, in \
     whole seconds.",
);
pub(super) const UNKNOWN_INTERFACE_PACKETS: Definition = Definition::new(
    Counter,
    "probe_unknown_interface_packets_total",
    &[],
    "packets",
    "Packets that a program saw on an interface that it does not know, such as one that was moved \
     to another network namespace.",
);
pub(super) const UNDECODABLE_RECORDS: Definition = Definition::new(
    Counter,
    "probe_undecodable_records_total",
    &[],
    "records",
    "Entries of the rings that were no records. Anything but 0 is a defect of the agent.",
);
pub(super) const ROTATION_DURATION: Definition = Definition::new(
    Histogram,
    "probe_rotation_duration_seconds",
    &[],
    "seconds",
    "How long it took to close an interval on all interfaces.",
);
pub(super) const LINK_CAPTURE_LATENCY: Definition = Definition::new(
    Histogram,
    "probe_link_capture_latency_seconds",
    &[],
    "seconds",
    "How long it took from the kernel's event about a new, renamed or replaced link to its capture.",
);
pub(super) const WRITEOUT_INTERVALS: Definition = Definition::new(
    Counter,
    "probe_writeout_intervals_total",
    &["sink", "result"],
    "intervals",
    "Intervals of one interface that a sink has written, failed to write, or dropped because its \
     queue was full.",
);
pub(super) const WRITEOUT_QUEUE: Definition = Definition::new(
    Gauge,
    "probe_writeout_queue_length",
    &["sink"],
    "intervals",
    "Intervals that wait for a sink.",
);
pub(super) const WRITEOUT_TROUBLE: Definition = Definition::new(
    Gauge,
    "probe_writeout_trouble",
    &["sink", "kind"],
    "1 or 0",
    "Whether a sink does not store now: failing (its last attempt failed, or its next one would), stuck (an \
     attempt takes longer than five seconds), overrun (intervals found its queue full, which has not been empty \
     since).",
);
pub(super) const STORE_BYTES: Definition = Definition::new(
    Gauge,
    "probe_store_bytes",
    &["sink"],
    "bytes",
    "What the intervals of a sink take on disk, whole blocks.",
);
pub(super) const STORE_FREE: Definition = Definition::new(
    Gauge,
    "probe_store_free_bytes",
    &["sink"],
    "bytes",
    "Space of a sink's file system that the agent may still use.",
);
pub(super) const STORE_OLDEST: Definition = Definition::new(
    Gauge,
    "probe_store_oldest_timestamp_seconds",
    &["sink"],
    "seconds since 1970",
    "End of the oldest interval that a sink keeps.",
);
pub(super) const COMPACTED_DAYS: Definition = Definition::new(
    Counter,
    "probe_compactions_total",
    &["sink"],
    "days",
    "Days of an interface whose files became one.",
);
pub(super) const COMPACTION_FAILING: Definition = Definition::new(
    Gauge,
    "probe_compaction_failing",
    &["sink"],
    "1 or 0",
    "Whether a closed day could not be compacted in the last pass.",
);
pub(super) const STORE_MOVED: Definition = Definition::new(
    Gauge,
    "probe_store_moved",
    &["sink"],
    "1 or 0",
    "Whether the store lies on another file system than at the start, since it was unmounted or hidden, or is \
     gone.",
);
pub(super) const STORE_TROUBLE: Definition = Definition::new(
    Gauge,
    "probe_store_trouble",
    &["sink", "kind"],
    "1 or 0",
    "Whether the store lacks space now: crowded (other files have taken its room, and min_free has its \
     oldest days deleted), short (nothing is left to delete, and less than min_free is free), filling \
     (the file system is full within three days, by estimate, and no rule deletes before).",
);
pub(super) const RETENTION_HELD: Definition = Definition::new(
    Gauge,
    "probe_retention_held",
    &["sink"],
    "1 or 0",
    "Whether retention does not believe the clock, and goes by the time that surely has passed.",
);
pub(super) const RETENTION_FAILING: Definition = Definition::new(
    Gauge,
    "probe_retention_failing",
    &["sink"],
    "1 or 0",
    "Whether the last pass of retention could not delete or count everything.",
);
pub(super) const CLOCK_STEPS: Definition = Definition::new(
    Counter,
    "probe_clock_steps_total",
    &["direction"],
    "steps",
    "How often the wall clock was set by half a second or more while the agent ran, forward or \
     backward.",
);
pub(super) const TROUBLES: Definition = Definition::new(
    Gauge,
    "probe_troubles",
    &["kind"],
    "troubles",
    "What is wrong now, by kind; `probe-agent status` tells each with its remedy, and docs/SERVICE.md has all \
     kinds. Those of the states of interfaces, sinks and stores are in it, so 0 in all but counted_twice \
     (captured links see the same packets) and config_over_api, which may be meant so, is the same as `status` that says good, but \
     for losses that it sees grow.",
);
pub(super) const LOG_LINES_LOST: Definition = Definition::new(
    Counter,
    "probe_log_lines_lost_total",
    &[],
    "lines",
    "Lines of the log that were lost because nobody read standard error, or too slowly.",
);
pub(super) const ATTACH_REASON: Definition = Definition::new(
    Gauge,
    "probe_attach_reason_info",
    &["iface", "reason"],
    "always 1",
    "Why an interface is captured through the hooks that it has, with every hook that was tried \
     and refused. Only where interfaces have series of their own.",
);
pub(super) const PROGRAM_RUNS: Definition = Definition::new(
    Counter,
    "probe_program_runs_total",
    &["program"],
    "runs",
    "Runs of an eBPF program on all interfaces, by the kernel's statistics: 0 while they are \
     off (sysctl kernel.bpf_stats_enabled).",
);
pub(super) const PROGRAM_SECONDS: Definition = Definition::new(
    Counter,
    "probe_program_run_seconds_total",
    &["program"],
    "seconds",
    "Time in an eBPF program on all interfaces and CPUs, by the kernel's statistics: 0 while \
     they are off (sysctl kernel.bpf_stats_enabled).",
);
pub(super) const MAP_MEMORY: Definition = Definition::new(
    Gauge,
    "probe_map_memory_bytes",
    &["map"],
    "bytes",
    "Kernel memory of an eBPF map.",
);
pub(super) const RECORDS: Definition = Definition::new(
    Counter,
    "probe_records_total",
    &["from"],
    "records",
    "Records that came out of the kernel: `ring`, displaced by another flow or never held back, or \
     `cache`, taken from there once a flush. Over the packets in flows it tells how well the cache \
     does.",
);
pub(super) const FLOW_LOG_MEMORY: Definition = Definition::new(
    Gauge,
    "probe_flow_log_memory_bytes",
    &["iface"],
    "bytes",
    "Memory that the flows of the running interval take, with the room that is kept for more.",
);
pub(super) const RING_FILL: Definition = Definition::new(
    Gauge,
    "probe_ring_fill_ratio",
    &[],
    "ratio, 0 to 1",
    "Largest share of a ring that was found filled in the last 30 to 60 seconds. Of several \
     rings, the fullest counts. Near 1, packets are lost.",
);
pub(super) const DRAIN_LAG: Definition = Definition::new(
    Gauge,
    "probe_drain_lag_seconds",
    &[],
    "seconds",
    "How long the slowest drain thread took, at the last check (once a second), to hand over \
     what lay in its rings.",
);
pub(super) const PROCESS_CPU: Definition = Definition::new(
    Counter,
    "process_cpu_seconds_total",
    &[],
    "seconds",
    "Time that the process spent on CPUs, in user and kernel mode; programs run in the time of \
     the process that sends or receives.",
);
pub(super) const PROCESS_RESIDENT: Definition = Definition::new(
    Gauge,
    "process_resident_memory_bytes",
    &[],
    "bytes",
    "Memory of the process that is in RAM, without the maps.",
);
pub(super) const PROCESS_VIRTUAL: Definition = Definition::new(
    Gauge,
    "process_virtual_memory_bytes",
    &[],
    "bytes",
    "Address space of the process.",
);
pub(super) const PROCESS_FILES: Definition =
    Definition::new(Gauge, "process_open_fds", &[], "files", "Open files.");
pub(super) const PROCESS_MAX_FILES: Definition = Definition::new(
    Gauge,
    "process_max_fds",
    &[],
    "files",
    "Files that the process may open.",
);
pub(super) const PROCESS_THREADS: Definition =
    Definition::new(Gauge, "process_threads", &[], "threads", "Threads.");
pub(super) const BUILD_INFO: Definition = Definition::new(
    Gauge,
    "probe_build_info",
    &["version", "commit"],
    "always 1",
    "What is running.",
);

/// All metrics, in the order of the manual.
pub const ALL: &[Definition] = &[
    PACKETS_PROCESSED,
    PACKETS_DROPPED,
    BYTES,
    PACKETS,
    CAPTURE_ISSUES,
    BUFFER_USAGE,
    FLOWS,
    OVERFLOW_PACKETS,
    INTERFACES_CAPTURING,
    ROTATION_DURATION,
    LINK_CAPTURE_LATENCY,
    PACKETS_SEEN,
    LOST_PACKETS,
    LEDGER_RESIDUE,
    TROUBLES,
    ATTACHED,
    ATTACH_REASON,
    CAPTURE_STATE,
    COVERAGE,
    LINK_PACKETS,
    REATTACHED,
    DETACHED_SECONDS,
    UNKNOWN_INTERFACE_PACKETS,
    UNDECODABLE_RECORDS,
    WRITEOUT_INTERVALS,
    WRITEOUT_QUEUE,
    WRITEOUT_TROUBLE,
    STORE_BYTES,
    STORE_FREE,
    STORE_OLDEST,
    COMPACTED_DAYS,
    COMPACTION_FAILING,
    STORE_MOVED,
    STORE_TROUBLE,
    RETENTION_HELD,
    RETENTION_FAILING,
    CLOCK_STEPS,
    LOG_LINES_LOST,
    PROGRAM_RUNS,
    PROGRAM_SECONDS,
    MAP_MEMORY,
    FLOW_LOG_MEMORY,
    RECORDS,
    RING_FILL,
    DRAIN_LAG,
    PROCESS_CPU,
    PROCESS_RESIDENT,
    PROCESS_VIRTUAL,
    PROCESS_FILES,
    PROCESS_MAX_FILES,
    PROCESS_THREADS,
    BUILD_INFO,
];

/// The table of the manual.
pub fn markdown() -> String {
    let head = "| metric | type | labels | unit | meaning |\n\
                | --- | --- | --- | --- | --- |\n";
    let rows = ALL.iter().map(|metric| {
        let labels: Vec<_> = metric.labels.iter().map(|it| format!("`{it}`")).collect();
        let kind = match metric.kind {
            Counter => "counter",
            Gauge => "gauge",
            Histogram => "histogram",
        };
        let (name, unit, help) = (metric.name, metric.unit, metric.help);
        let labels = labels.join(", ");
        format!("| `{name}` | {kind} | {labels} | {unit} | {help} |\n")
    });
    [head.to_owned()].into_iter().chain(rows).collect()
}
