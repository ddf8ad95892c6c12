//! The configuration file: what is accepted, what is refused, and how the refusal reads.

use std::{fs, path::Path, time::Duration};

use probe_agent::config::{
    ApiKey, Autodetection, CacheSlots, Choice, Config, Hook, InterfaceConfig, InterfaceSelector,
    KeySource, LogFormat, Retention, Role, SinkConfig, reference,
};
use rstest::rstest;

const GOOD: &str = "interfaces: { eth0: {} }\n";

/// All problems of a document that has some, one a line.
fn problems(text: &str) -> String {
    let problems = Config::parse(text)
        .expect_err("the document has problems")
        .0;
    let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

fn repository(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

#[test]
fn the_annotated_file_shows_the_defaults() {
    let config = Config::load(&repository("config/probe.yaml")).expect("the file is good");
    let mut expected = Config::default();
    expected.autodetection.enabled = true;
    assert_eq!(config, expected);
}

#[test]
fn the_annotated_file_has_every_key() {
    let text = fs::read_to_string(repository("config/probe.yaml")).expect("the file is there");
    for key in reference::KEYS {
        let name = key.path.rsplit('.').next().expect("a path has a last part");
        // `disable` stands in a flow mapping.
        let shown = text.contains(&format!("{name}:"));
        assert!(shown, "{} is not in config/probe.yaml", key.path);
    }
}

#[test]
fn the_example_of_the_comments_is_good() {
    let text = fs::read_to_string(repository("config/probe.yaml")).expect("the file is there");
    let example: Vec<_> = text
        .lines()
        .skip_while(|line| *line != "# interfaces:")
        .take_while(|line| !line.is_empty())
        .map(|line| line.trim_start_matches("# "))
        .collect();
    let config = Config::parse(&example.join("\n")).expect("the example is good");
    assert_eq!(config.interfaces.len(), 3);
    assert!(config.interfaces["enp9s0"].disable);
}

#[test]
fn the_manual_lists_every_key() {
    let path = repository("docs/CONFIGURATION.md");
    let text = fs::read_to_string(&path).expect("docs/CONFIGURATION.md");
    let (head, rest) = text
        .split_once("<!-- keys -->\n")
        .expect("start of the table");
    let (table, tail) = rest.split_once("<!-- /keys -->").expect("end of the table");
    let wanted = reference::markdown();
    if std::env::var_os("PROBE_UPDATE_DOCS").is_some() {
        let updated = format!("{head}<!-- keys -->\n{wanted}<!-- /keys -->{tail}");
        fs::write(&path, updated).expect("docs/CONFIGURATION.md can be written");
        return;
    }
    assert_eq!(
        table, wanted,
        "docs/CONFIGURATION.md differs from the code; run this test with PROBE_UPDATE_DOCS=1"
    );
}

#[test]
fn the_defaults_of_the_manual_are_those_of_the_code() {
    let standard = Config::parse(GOOD).expect("good");
    for key in reference::KEYS {
        let (path, default) = (key.path, key.default);
        // A key of the API has no default as a whole, so its role is looked at by itself.
        if default.is_empty() || path == "interfaces" || path == "api.keys[].role" {
            continue;
        }
        let text = if path == "writeout[].retention" {
            format!(
                "{GOOD}writeout: [{{ type: parquet, path: /var/lib/probe/flows, \
                 retention: {default} }}]"
            )
        } else if let Some(name) = path.strip_prefix("writeout[].retention.") {
            format!(
                "{GOOD}writeout: [{{ type: parquet, path: /var/lib/probe/flows, \
                 retention: {{ {name}: {default} }} }}]"
            )
        } else if let Some(name) = path.strip_prefix("interfaces.<name>.") {
            format!("interfaces: {{ eth0: {{ {name}: {default} }} }}")
        } else {
            let open = path.replace('.', ": { ");
            let close = " }".repeat(path.matches('.').count());
            format!("{GOOD}{open}: {default}{close}")
        };
        let config = Config::parse(&text).unwrap_or_else(|error| panic!("{text}: {error:?}"));
        assert_eq!(config, standard, "the default of {path} is not {default}");
    }
}

#[test]
fn all_settings_are_read() {
    let text = r#"
interfaces:
  eth0: { hook: xdp-native, promisc: true, ignore_vlans: true, disable: false }
  "/^enp.*/":
capture: { ring_buffer: 1MiB, port_aggregation: false, max_flows: 5, max_flows_total: 4 }
rotation: { interval: 90s, local_buffers: { num: 2, size_limit: 8KiB } }
writeout:
  - { type: parquet, path: /a/ }
  - { type: json, path: /b, retention: { max_age: none, max_size: 1GiB } }
api: { addr: none, metrics_addr: "[::]:1", disable_iface_metrics: true, keys: [] }
logging: { level: trace, format: json }
"#;
    let config = Config::parse(text).expect("good");
    let eth0 = InterfaceConfig {
        hook: Hook::XdpNative,
        promisc: true,
        ignore_vlans: true,
        disable: false,
    };
    assert_eq!(config.interfaces["eth0"], eth0);
    assert_eq!(config.interfaces["/^enp.*/"], InterfaceConfig::default());
    assert_eq!(config.capture.ring_buffer_bytes, 1 << 20);
    assert!(!config.capture.port_aggregation);
    assert_eq!(config.capture.max_flows, 5);
    assert_eq!(config.capture.max_flows_total, 4);
    assert_eq!(config.rotation.interval, Duration::from_secs(90));
    assert_eq!(config.rotation.local_buffers.num, 2);
    assert_eq!(config.rotation.local_buffers.size_limit_bytes, 8192);
    let json = Retention {
        max_age: None,
        max_size_bytes: Some(1 << 30),
    };
    let sinks = [
        SinkConfig::Parquet {
            path: "/a".into(),
            retention: Retention::STANDARD,
        },
        SinkConfig::Json {
            path: "/b".into(),
            retention: json,
        },
    ];
    assert_eq!(config.writeout, sinks);
    assert_eq!(config.api.addr, None);
    assert_eq!(config.api.metrics_addr.as_deref(), Some("[::]:1"));
    assert!(config.api.disable_iface_metrics);
    assert_eq!(config.logging.level, tracing::Level::TRACE);
    assert_eq!(config.logging.format, LogFormat::Json);
}

#[test]
fn a_key_reads_unless_it_says_otherwise() {
    let text = format!("{GOOD}api: {{ addr: 'localhost:0', keys: [{{ file: /x }}] }}");
    let keys = Config::parse(&text).expect("good").api.keys;
    let source = KeySource::File("/x".into());
    let role = Role::Read;
    assert_eq!(keys, [ApiKey { role, source }]);
}

/// All keys with their defaults, but for the cache, whose default depends on the host.
#[test]
fn an_example_with_all_keys_is_the_default() {
    let text = r#"
interfaces:                      # name, or /regex/
  eth0: { hook: auto, promisc: false, ignore_vlans: false, disable: false }
  "/^enp.*/": {}
autodetection: { enabled: false, exclude: [lo, "/^veth/"] }     # instead of interfaces
capture:  { ring_buffer: 8MiB, cache_slots: 4096, flush_interval: 5s, port_aggregation: true, max_flows: 1000000, max_flows_total: 4000000 }
rotation: { interval: 300s, local_buffers: { num: 1, size_limit: 64MiB } }
writeout:
  - { type: parquet, path: /var/lib/probe/flows, retention: { max_age: 90d, max_size: 20GiB } }
api:      { addr: "unix:/run/probe/probe.sock", metrics_addr: "127.0.0.1:9478", disable_iface_metrics: false, keys: [] }
logging:  { level: info, format: text }
"#;
    let mut config = Config::parse(text).expect("good");
    assert_eq!(config.capture.cache_slots, CacheSlots::PerCpu(4096));
    config.capture.cache_slots = CacheSlots::Auto;
    config.interfaces.clear();
    assert_eq!(config, Config::default());
}

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
    "2:38: writeout[1].path: is the directory of writeout[0] too"
)]
#[case::sink_no_list(
    "writeout: { type: json }\n",
    "writeout: must be a list, found a mapping"
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
#[case::empty("", "is empty; give an interface name or a /regex/")]
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
    assert!(told(&path).contains("give a readable YAML file with -c FILE"));
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

#[test]
fn a_name_beats_a_regex_and_disable_excludes() {
    let text = r#"
interfaces:
  eth0: { hook: tc }
  eth1: { disable: true }
  "/^eth/": { hook: xdp }
  "/^eth[0-9]$/": { hook: xdp-generic }
  "/9$/": { disable: true }
"#;
    let config = Config::parse(text).expect("good");
    let selector = InterfaceSelector::new(&config).expect("the rules are good");
    let hook = |name| selector.matches(name).map(|config| config.hook);
    assert_eq!(hook("eth0"), Some(Hook::Tc));
    assert_eq!(hook("eth1"), None);
    assert_eq!(
        hook("eth2"),
        Some(Hook::Xdp),
        "the first in the order of the text"
    );
    assert_eq!(hook("eth9"), None, "disabled by a later regex");
    assert_eq!(hook("lo"), None);
    let why = |name| selector.explain(name).to_string();
    assert_eq!(why("eth0"), "captured: configured by name");
    assert_eq!(why("eth1"), "not captured: disabled by eth1");
    assert_eq!(why("eth2"), "captured: matched by /^eth/");
    assert_eq!(why("eth9"), "not captured: disabled by /9$/");
    assert_eq!(why("lo"), "not captured: no rule matches");
    assert_eq!(selector.names().collect::<Vec<_>>(), ["eth0"]);
}

#[test]
fn auto_detection_takes_all_but_the_excluded() {
    let mut config = Config {
        autodetection: Autodetection {
            enabled: true,
            ..Autodetection::default()
        },
        ..Config::default()
    };
    let selector = InterfaceSelector::new(&config).expect("the rules are good");
    assert_eq!(selector.explain("lo"), Choice::Excluded("lo"));
    assert_eq!(selector.explain("veth12"), Choice::Excluded("/^veth/"));
    assert_eq!(selector.matches("eth0"), Some(&InterfaceConfig::default()));
    assert_eq!(
        selector.explain("lo0").to_string(),
        "captured: found by auto-detection",
        "names are compared whole"
    );

    config.autodetection.exclude.push("/[/".to_owned());
    let error = InterfaceSelector::new(&config).expect_err("a bad rule");
    assert_eq!(
        error,
        "interface rule `/[/` is not a regex: unclosed character class"
    );
}
