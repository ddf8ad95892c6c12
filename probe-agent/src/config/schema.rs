//! From the tree to the configuration: one function per section.

use std::{collections::BTreeMap, time::Duration};

use probe_capture::{interface::Hook, selection::parse_rule};
use probe_common::control::MAX_INTERFACES;

use super::{
    Autodetection, CacheSlots, CaptureConfig, Config, ExpediteAttach, InterfaceConfig,
    LocalBuffersConfig, LogFormat, LoggingConfig, ReloadConfig, RotationConfig,
    section::{Collector, Section, entries, join},
    tree::{Node, Value},
    value::{boolean, choice, duration, integer, size, size_text, text, unless_none},
};

mod api;
mod writeout;

/// More than fit the caches of any CPU.
const MAX_CACHE_SLOTS: u32 = 1 << 20;

const KIB: u64 = 1 << 10;
const GIB: u64 = 1 << 30;

const HOOKS: [(&str, Hook); 5] = [
    ("auto", Hook::Auto),
    ("xdp", Hook::Xdp),
    ("xdp-native", Hook::XdpNative),
    ("xdp-generic", Hook::XdpGeneric),
    ("tc", Hook::Tc),
];

const LEVELS: [(&str, tracing::Level); 5] = [
    ("error", tracing::Level::ERROR),
    ("warn", tracing::Level::WARN),
    ("info", tracing::Level::INFO),
    ("debug", tracing::Level::DEBUG),
    ("trace", tracing::Level::TRACE),
];

const FORMATS: [(&str, LogFormat); 2] = [("text", LogFormat::Text), ("json", LogFormat::Json)];

/// Reads the whole document. What is wrong goes to `problems`, and its default is taken.
pub(super) fn config(root: &Node, problems: &mut Collector) -> Config {
    let document = Section::open(root, "", "", problems);
    let mut config = Config::default();
    if let Some(node) = document.node("interfaces") {
        config.interfaces = interfaces(node, problems);
    }
    if let Some(node) = document.node("autodetection") {
        config.autodetection = autodetection(node, problems);
    }
    one_source(&document, root, &config, problems);
    if let Some(node) = document.node("capture") {
        config.capture = capture(node, problems);
    }
    if let Some(node) = document.node("rotation") {
        config.rotation = rotation(node, problems);
    }
    if let Some(node) = document.node("writeout") {
        config.writeout = writeout::sinks(node, problems);
    }
    if let Some(node) = document.node("api") {
        config.api = api::api(node, problems);
    }
    if let Some(node) = document.node("logging") {
        config.logging = logging(node, problems);
    }
    if let Some(node) = document.node("reload") {
        config.reload = reload(node, problems);
    }
    config
}

/// Interfaces come from one place: the list or auto-detection.
fn one_source(document: &Section<'_>, root: &Node, config: &Config, problems: &mut Collector) {
    // By what the file has, not by what could be read: a wrong entry is one problem, not two.
    let listed = document
        .node("interfaces")
        .filter(|node| !matches!(&node.value, Value::Map(map) if map.is_empty()))
        .filter(|node| !matches!(node.value, Value::Null));
    match (listed, config.autodetection.enabled) {
        (Some(node), true) => problems.refuse(
            node,
            "interfaces",
            "and autodetection.enabled are two sources of interfaces at once; \
             remove the list, or set autodetection.enabled to false",
        ),
        (None, false) => problems.refuse(
            document.node("interfaces").unwrap_or(root),
            "interfaces",
            "no interface to capture; list some, or set autodetection.enabled to true",
        ),
        (Some(node), false)
            if !config.interfaces.is_empty()
                && config
                    .interfaces
                    .values()
                    .all(|interface| interface.disable) =>
        {
            problems.refuse(
                node,
                "interfaces",
                "no interface to capture: all are disabled; enable one, or add another",
            );
        }
        _ => {}
    }
}

fn interfaces(node: &Node, problems: &mut Collector) -> BTreeMap<String, InterfaceConfig> {
    let mut interfaces = BTreeMap::new();
    let entries = entries(node, "interfaces", problems);
    if entries.len() > MAX_INTERFACES as usize {
        let message = format!(
            "has {} entries; at most {MAX_INTERFACES} interfaces can be captured",
            entries.len()
        );
        problems.refuse(node, "interfaces", message);
    }
    for (name, key, value) in entries {
        let path = join("interfaces", name);
        problems.check(key, &path, parse_rule(name).map(drop));
        let section = Section::open(value, path, "interfaces.<name>", problems);
        let config = InterfaceConfig {
            hook: section
                .read("hook", problems, choice(&HOOKS))
                .unwrap_or_default(),
            promisc: section
                .read("promisc", problems, boolean)
                .unwrap_or_default(),
            ignore_vlans: section
                .read("ignore_vlans", problems, boolean)
                .unwrap_or_default(),
            disable: section
                .read("disable", problems, boolean)
                .unwrap_or_default(),
        };
        interfaces.insert(name.to_owned(), config);
    }
    interfaces
}

fn autodetection(node: &Node, problems: &mut Collector) -> Autodetection {
    let section = Section::open(node, "autodetection", "autodetection", problems);
    let default = Autodetection::default();
    let enabled = section.read("enabled", problems, boolean);
    let exclude = section.node("exclude").map(|list| {
        let mut rules = Vec::new();
        for (path, item) in items(list, &section.path("exclude"), problems) {
            let rule = problems.check(item, &path, text(&item.value));
            let Some(rule) = rule else { continue };
            problems.check(item, &path, parse_rule(rule).map(drop));
            rules.push(rule.to_owned());
        }
        rules
    });
    Autodetection {
        enabled: enabled.unwrap_or(default.enabled),
        exclude: exclude.unwrap_or(default.exclude),
    }
}

/// The items of a list, each with its path.
fn items<'a>(node: &'a Node, path: &str, problems: &mut Collector) -> Vec<(String, &'a Node)> {
    let Value::List(list) = &node.value else {
        problems.refuse(
            node,
            path,
            format!("must be a list, found {}; write [] for none", node.value),
        );
        return Vec::new();
    };
    let numbered = list.iter().enumerate();
    numbered
        .map(|(position, item)| (format!("{path}[{position}]"), item))
        .collect()
}

fn cache_slots(value: &Value) -> Result<CacheSlots, String> {
    let explain =
        || format!("must be auto, 0, or a power of two up to {MAX_CACHE_SLOTS}, found {value}");
    match value {
        Value::Text(text) if text == "auto" => Ok(CacheSlots::Auto),
        Value::Integer(number) => u32::try_from(*number)
            .ok()
            .filter(|it| *it == 0 || it.is_power_of_two() && *it <= MAX_CACHE_SLOTS)
            .map(CacheSlots::PerCpu)
            .ok_or_else(explain),
        _ => Err(explain()),
    }
}

fn expedite_attach(value: &Value) -> Result<ExpediteAttach, String> {
    match value {
        Value::Text(text) if text == "auto" => Ok(ExpediteAttach::Auto),
        Value::Bool(true) => Ok(ExpediteAttach::Always),
        Value::Bool(false) => Ok(ExpediteAttach::Never),
        _ => Err(format!("must be auto, true or false, found {value}")),
    }
}

fn capture(node: &Node, problems: &mut Collector) -> CaptureConfig {
    let section = Section::open(node, "capture", "capture", problems);
    let default = CaptureConfig::default();
    let flush_interval = duration(Duration::from_secs(1)..=Duration::from_mins(1));
    CaptureConfig {
        ring_buffer_bytes: section
            .read("ring_buffer", problems, ring_size)
            .unwrap_or(default.ring_buffer_bytes),
        cache_slots: section
            .read("cache_slots", problems, cache_slots)
            .unwrap_or(default.cache_slots),
        flush_interval: section
            .read("flush_interval", problems, flush_interval)
            .unwrap_or(default.flush_interval),
        port_aggregation: section
            .read("port_aggregation", problems, boolean)
            .unwrap_or(default.port_aggregation),
        max_flows: section
            .read("max_flows", problems, integer(1..=100_000_000))
            .unwrap_or(default.max_flows),
        max_flows_total: section
            .read("max_flows_total", problems, integer(1..=1_000_000_000))
            .unwrap_or(default.max_flows_total),
        expedite_attach: section
            .read("expedite_attach", problems, expedite_attach)
            .unwrap_or(default.expedite_attach),
    }
}

/// The kernel wants a power of two of whole pages (`ringbuf_map_alloc` in kernel/bpf/ringbuf.c);
/// 64 KiB is the largest page of the kernels we run on.
fn ring_size(value: &Value) -> Result<u32, String> {
    let bytes = size(64 * KIB..=GIB)(value)?;
    if !bytes.is_power_of_two() {
        let next = size_text(bytes.next_power_of_two());
        return Err(format!(
            "must be a power of two, found {value}; the next allowed size is {next}"
        ));
    }
    u32::try_from(bytes).map_err(|error| error.to_string())
}

fn rotation(node: &Node, problems: &mut Collector) -> RotationConfig {
    const DAY: Duration = Duration::from_hours(24);
    let section = Section::open(node, "rotation", "rotation", problems);
    let default = RotationConfig::default();
    let interval = duration(Duration::from_secs(1)..=DAY);
    RotationConfig {
        interval: section
            .read("interval", problems, interval)
            .unwrap_or(default.interval),
        local_buffers: section
            .node("local_buffers")
            .map(|node| local_buffers(node, problems))
            .unwrap_or_default(),
    }
}

fn local_buffers(node: &Node, problems: &mut Collector) -> LocalBuffersConfig {
    let path = "rotation.local_buffers";
    let section = Section::open(node, path, path, problems);
    let default = LocalBuffersConfig::default();
    let size_limit = section.read("size_limit", problems, |value| {
        let bytes = size(4 * KIB..=16 * GIB)(value)?;
        usize::try_from(bytes).map_err(|_| "is more than this machine can address".to_owned())
    });
    LocalBuffersConfig {
        num: section
            .read("num", problems, integer(1..=1024))
            .unwrap_or(default.num),
        size_limit_bytes: size_limit.unwrap_or(default.size_limit_bytes),
    }
}

fn logging(node: &Node, problems: &mut Collector) -> LoggingConfig {
    let section = Section::open(node, "logging", "logging", problems);
    let default = LoggingConfig::default();
    LoggingConfig {
        level: section
            .read("level", problems, choice(&LEVELS))
            .unwrap_or(default.level),
        format: section
            .read("format", problems, choice(&FORMATS))
            .unwrap_or(default.format),
    }
}

fn reload(node: &Node, problems: &mut Collector) -> ReloadConfig {
    let section = Section::open(node, "reload", "reload", problems);
    ReloadConfig {
        watch: section.read("watch", problems, boolean).unwrap_or_default(),
    }
}
