//! What is refused, and how the refusal reads.

use std::{fs, path::Path};

use probe_agent::config::Config;
use rstest::rstest;

use super::{GOOD, problems};

#[rstest]
#[case::section_without_keys("capture:\n", "")]
#[case::writeout_without_value("writeout:\n", "")]
#[case::no_sink("writeout: []\n", "")]
#[case::loopback("api: { addr: 'localhost:0' }\n", "")]
#[case::unknown("x: 1\n", "2:1: x: unknown key; allowed are")]
#[case::cache_slots(
    "capture: { cache_slots: 3000 }\n",
    "2:25: capture.cache_slots: must be auto, 0, or a power of two up to 1048576, found the number 3000"
)]
#[case::cache_slots_word(
    "capture: { cache_slots: many }\n",
    "2:25: capture.cache_slots: must be auto, 0, or a power of two up to 1048576, found `many`"
)]
#[case::never_expedited("capture: { expedite_attach: false }\n", "")]
#[case::expedited_now_and_then(
    "capture: { expedite_attach: sometimes }\n",
    "2:29: capture.expedite_attach: must be auto, true or false, found `sometimes`"
)]
#[case::flush_interval(
    "capture: { flush_interval: 5m }\n",
    "2:28: capture.flush_interval: must be whole seconds from 1s to 1m, found `5m`"
)]
#[case::api_keys(
    "api: { addr: 'localhost:0', keys: [secret] }\n",
    "2:36: api.keys[0]: must be a mapping"
)]
#[case::a_short_key(
    "api: { addr: 'localhost:0', keys: [{ key: x }] }\n",
    "2:43: api.keys[0].key: must have 32 to 256 characters, found 1; `openssl"
)]
#[case::a_key_of_nothing(
    "api: { addr: 'localhost:0', keys: [{ role: admin }] }\n",
    "2:36: api.keys[0].key: give either the key or the file that holds it"
)]
#[case::a_role(
    "api: { addr: 'localhost:0', keys: [{ role: god, file: /x }] }\n",
    "2:44: api.keys[0].role: must be one of read, admin, found `god`"
)]
#[case::keys_for_a_socket(
    "api: { keys: [{ file: /x }] }\n",
    "2:14: api.keys: is for a TCP address, and api.addr is a unix socket"
)]
#[case::half_of_tls(
    "api: { addr: 'localhost:0', tls: { cert: /x } }\n",
    "2:34: api.tls.key: is missing"
)]
#[case::outside_with_keys(
    "api: { addr: '0.0.0.0:80', keys: [{ file: /x }], tls: { cert: /c, key: /k } }\n",
    ""
)]
#[case::misspelt(
    "rotatoin: {}\n",
    "2:1: rotatoin: unknown key; did you mean `rotation`?"
)]
#[case::dashes("capture: { max-flow: 1 }\n", "did you mean `max_flows`?")]
#[case::wrong_section(
    "interval: 5m\n",
    "2:1: interval: unknown key; did you mean rotation.interval?"
)]
#[case::twice(
    "capture: { max_flows: 1, max_flows: 2 }\n",
    "2:26: capture.max_flows: is given twice; keep one of the two"
)]
#[case::section_twice("logging: {}\nlogging: {}\n", "3:1: logging: is given twice")]
#[case::number_as_key("1: {}\n", "2:1: a key must be text, found the number 1; quote it")]
#[case::tag(
    "capture: !big {}\n",
    "capture: must be a mapping, found a value with a YAML tag"
)]
#[case::ring_no_power(
    "capture: { ring_buffer: 10MiB }\n",
    "2:25: capture.ring_buffer: must be a power of two, found `10MiB`; the next allowed size is 16MiB"
)]
#[case::ring_small(
    "capture: { ring_buffer: 4KiB }\n",
    "must be from 64KiB to 1GiB, found `4KiB`"
)]
#[case::ring_no_unit(
    "capture: { ring_buffer: 65536 }\n",
    "must be a size with its unit, such as 16MiB, found the number 65536"
)]
#[case::ring_unit(
    "capture: { ring_buffer: 16MB }\n",
    "one of the units B, KiB, MiB, GiB, TiB"
)]
#[case::ring_overflow(
    "capture: { ring_buffer: 99999999999TiB }\n",
    "must be a whole number with one of"
)]
#[case::ring_empty(
    "capture: { ring_buffer: }\n",
    "has no value; give one, or remove the line"
)]
#[case::no_flows(
    "capture: { max_flows: 0 }\n",
    "capture.max_flows: must be a whole number from 1 to 100000000, found the number 0"
)]
#[case::total_below_max_flows("capture: { max_flows: 10, max_flows_total: 1 }\n", "")]
#[case::no_flows_at_all(
    "capture: { max_flows_total: 0 }\n",
    "capture.max_flows_total: must be a whole number from 1 to 1000000000, found the number 0"
)]
#[case::negative("capture: { max_flows: -1 }\n", "found the number -1")]
#[case::boolean(
    "capture: { port_aggregation: yes }\n",
    "must be true or false, found `yes`"
)]
#[case::interval_short(
    "rotation: { interval: 500ms }\n",
    "rotation.interval: must be whole seconds from 1s to 1d, found `500ms`"
)]
#[case::interval_fraction("rotation: { interval: 1500ms }\n", "must be whole seconds")]
#[case::interval_zero("rotation: { interval: 0s }\n", "must be whole seconds from 1s to 1d")]
#[case::interval_unit(
    "rotation: { interval: 300 }\n",
    "must be a duration with its unit, such as 300s, found the number 300"
)]
#[case::interval_text(
    "rotation: { interval: often }\n",
    "must be a duration such as 300s, 5m or 90d"
)]
#[case::sink_type(
    "writeout: [{ type: netflow, path: /x }]\n",
    "2:20: writeout[0].type: must be one of parquet, json, found `netflow`"
)]
#[case::sink_nothing(
    "writeout: [{}]\n",
    "2:12: writeout[0].type: is missing\n2:12: writeout[0].path: is missing"
)]
#[case::sink_relative(
    "writeout: [{ type: json, path: flows }]\n",
    "writeout[0].path: must be an absolute path, found `flows`"
)]
#[case::sink_same_path(
    "writeout: [{ type: json, path: /x }, { type: parquet, path: /x/ }]\n",
    "2:61: writeout[1].path: is the directory of writeout[0] too"
)]
#[case::sink_inside(
    "writeout: [{ type: json, path: /x }, { type: parquet, path: /x/y }]\n",
    "2:61: writeout[1].path: is inside the directory of writeout[0]; give each sink its own, beside it"
)]
#[case::sink_around(
    "writeout: [{ type: json, path: /x/y }, { type: parquet, path: /x }]\n",
    "2:63: writeout[1].path: has the directory of writeout[0] inside"
)]
#[case::sink_no_list(
    "writeout: { type: json }\n",
    "writeout: must be a list, found a mapping"
)]
#[case::free_share(
    "writeout: [{ type: json, path: /x, retention: { min_free: 95% } }]\n",
    "writeout[0].retention.min_free: must be whole percent from 1% to 90%, found `95%`"
)]
#[case::retention_zero(
    "writeout: [{ type: json, path: /x, retention: { max_age: 0s } }]\n",
    "writeout[0].retention.max_age: must be whole seconds from 1m to 36500d"
)]
#[case::addr_name(
    "api: { metrics_addr: 'example.org:80' }\n",
    "api.metrics_addr: must be IP:port such as 127.0.0.1:9478 or [::1]:9478, found `example.org:80`"
)]
#[case::addr_port_only("api: { metrics_addr: ':80' }\n", "write 0.0.0.0:80 for all addresses")]
#[case::addr_no_port("api: { metrics_addr: '::1' }\n", "the port is missing")]
#[case::addr_port_range("api: { metrics_addr: '127.0.0.1:70000' }\n", "must be IP:port")]
#[case::addr_file(
    "api: { addr: /run/x.sock }\n",
    "write unix:/run/x.sock for a socket file"
)]
#[case::addr_unix_relative("api: { addr: 'unix:x.sock' }\n", "must have the absolute path")]
#[case::metrics_on_unix("api: { metrics_addr: 'unix:/x' }\n", "api.addr takes unix sockets")]
#[case::api_outside(
    "api: { addr: '0.0.0.0:80' }\n",
    "api.addr: 0.0.0.0:80 can be reached from outside, and there are no keys; add api.keys"
)]
#[case::same_port(
    "api: { addr: '127.0.0.1:99', metrics_addr: '0.0.0.0:99' }\n",
    "api.metrics_addr: 0.0.0.0:99 and api.addr 127.0.0.1:99 want the same port"
)]
#[case::same_port_as_default("api: { addr: '127.0.0.1:9478' }\n", "want the same port; change one")]
#[case::level(
    "logging: { level: loud }\n",
    "logging.level: must be one of error, warn, info, debug, trace, found `loud`"
)]
#[case::exclude_regex(
    "autodetection: { exclude: ['/(/'] }\n",
    "2:28: autodetection.exclude[0]: is not a regex: unclosed group"
)]
#[case::exclude_text("autodetection: { exclude: lo }\n", "must be a list, found `lo`")]
#[case::exclude_map(
    "autodetection: { exclude: [{ name: lo }] }\n",
    "autodetection.exclude[0]: must be a name, a /regex/ or kind:KIND, found another mapping"
)]
#[case::exclude_two(
    "autodetection: { exclude: [{ kind: veth, name: a }] }\n",
    "another mapping"
)]
#[case::kind_of_nothing("autodetection: { exclude: [kind: [veth]] }\n", "must be text")]
#[case::escapes("\"\\e[31mx\": 1\n", "2:1: \"\\u{1b}[31mx\": unknown key")]
fn each_key_says_what_is_wrong(#[case] text: &str, #[case] message: &str) {
    let text = format!("{GOOD}{text}");
    if message.is_empty() {
        Config::parse(&text).expect("good");
        return;
    }
    let told = problems(&text);
    assert!(told.contains(message), "wanted {message:?}, told {told:?}");
    let expected = message.lines().count();
    assert_eq!(told.lines().count(), expected, "told {told:?}");
}

#[rstest]
#[case::long(
    "abcdefghijklmnop",
    "is 16 bytes long; names of interfaces have at most 15"
)]
#[case::empty("", "is empty; give an interface name, a /regex/ or kind:KIND")]
#[case::no_kind("kind:", "names no kind of links")]
#[case::slash("a/b", "cannot be the name of an interface")]
#[case::space("eth 0", "cannot be the name of an interface")]
#[case::dots("..", "cannot be the name of an interface")]
#[case::half_regex("/eth", "starts like a regex; end it with `/`")]
#[case::lone_slash("/", "starts like a regex; end it with `/`")]
#[case::empty_regex("//", "is an empty regex; write /.*/ for every interface")]
#[case::bad_regex("/eth[/", "is not a regex: unclosed character class")]
fn names_of_interfaces_are_checked(#[case] name: &str, #[case] message: &str) {
    let told = problems(&format!("interfaces: {{ '{name}': {{}} }}"));
    assert!(told.contains(message), "wanted {message:?}, told {told:?}");
    assert!(told.starts_with("1:15: interfaces."), "told {told:?}");
}

#[rstest]
#[case::none(
    "capture: {}",
    "1:1: interfaces: no interface to capture; list some, or set"
)]
#[case::empty("interfaces: {}", "1:13: interfaces: no interface to capture")]
#[case::null("interfaces:", "interfaces: no interface to capture")]
#[case::both(
    "autodetection: { enabled: true }\ninterfaces: { eth0: {} }",
    "2:13: interfaces: and autodetection.enabled are two sources of interfaces at once"
)]
#[case::list(
    "interfaces: [eth0]",
    "1:13: interfaces: must be a mapping, found a list"
)]
#[case::scalar("hello", "1:1: must be a mapping, found `hello`")]
#[case::no_document("", "is empty; at least `interfaces` or `autodetection` is needed")]
#[case::comments("# nothing\n", "is empty")]
#[case::syntax("interfaces: {\n  eth0: [}\n", "2:10: is not YAML: ")]
#[case::tab("interfaces:\n\teth0: {}\n", "2:1: is not YAML: ")]
#[case::two_documents("a: 1\n---\nb: 1\n", "is not YAML: ")]
fn a_document_needs_one_source_of_interfaces(#[case] text: &str, #[case] message: &str) {
    let told = problems(text);
    assert!(told.contains(message), "wanted {message:?}, told {told:?}");
}

#[test]
fn too_many_interfaces_are_refused() {
    let entries = |count: usize| -> String {
        let lines = (0..count).map(|number| format!("  eth{number}: {{}}\n"));
        format!("interfaces:\n{}", lines.collect::<String>())
    };
    Config::parse(&entries(1024)).expect("1024 are allowed");
    let told = problems(&entries(1025));
    assert_eq!(
        told,
        "2:3: interfaces: has 1025 entries; at most 1024 interfaces can be captured"
    );
}

#[test]
fn all_problems_are_told_at_once_in_the_order_of_the_file() {
    let text = "\
interfaces:
  eth0: { hok: auto, hook: ebpf }
capture:
  ring_buffer: 3MiB
  max_flows: many
writeout:
  - type: parquet
logging: { level: warning }
";
    let told = problems(text);
    let places: Vec<Vec<_>> = told
        .lines()
        .map(|it| it.split(": ").take(2).collect())
        .collect();
    let expected: [Vec<&str>; 6] = [
        vec!["2:11", "interfaces.eth0.hok"],
        vec!["2:28", "interfaces.eth0.hook"],
        vec!["4:16", "capture.ring_buffer"],
        vec!["5:14", "capture.max_flows"],
        vec!["7:5", "writeout[0].path"],
        vec!["8:19", "logging.level"],
    ];
    assert_eq!(places, expected);
}

/// The place of a problem costs a pass over the file, so only the first hundred have one.
#[test]
fn a_flood_of_problems_is_told_in_bounded_time() {
    let entries = (0..1000).map(|number| format!("  eth{number}: {{ hok: auto }}\n"));
    let text = format!("interfaces:\n{}", entries.collect::<String>());
    let found = Config::parse(&text).expect_err("nothing is right").0;
    assert_eq!(found.len(), 1000);
    let placed = found.iter().filter(|problem| problem.place.is_some());
    assert_eq!(placed.count(), 100);
}

#[test]
fn files_that_cannot_be_read_are_told_in_a_sentence() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("probe.yaml");
    let told = |path: &Path| Config::load(path).expect_err("unusable").to_string();

    assert!(told(&path).contains("No such file or directory"));
    assert!(told(&path).contains("put a readable YAML file there"));
    assert!(told(dir.path()).contains("Is a directory"));

    fs::write(&path, b"interfaces:\n  \xff: {}\n").expect("written");
    assert!(
        told(&path)
            .ends_with("probe.yaml:2: the configuration is not UTF-8 text; save it as UTF-8")
    );

    fs::write(&path, vec![b'#'; 2 << 20]).expect("written");
    assert!(told(&path).contains("is larger than 524288 bytes"));

    fs::write(&path, "capture: { max_flows: 0 }\n").expect("written");
    let text = told(&path);
    let first = format!("{}:1:1: interfaces: ", path.display());
    assert!(text.starts_with(&first), "{text}");
    assert!(
        text.ends_with("\n2 problems in the configuration"),
        "{text}"
    );
}
