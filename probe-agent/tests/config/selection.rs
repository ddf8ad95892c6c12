//! Which interfaces the rules choose.

use probe_agent::config::{Autodetection, Config};
use probe_capture::{
    interface::{Hook, InterfaceConfig, LOOPBACK, PHYSICAL},
    selection::Choice,
};

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
    let selector = config.selector().expect("the rules are good");
    let hook = |name| selector.explain(name, PHYSICAL).config().map(|it| it.hook);
    assert_eq!(hook("eth0"), Some(Hook::Tc));
    assert_eq!(hook("eth1"), None);
    assert_eq!(
        hook("eth2"),
        Some(Hook::Xdp),
        "the first in the order of the text"
    );
    assert_eq!(hook("eth9"), None, "disabled by a later regex");
    assert_eq!(hook("lo"), None);
    let why = |name| selector.explain(name, PHYSICAL).to_string();
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
    let selector = config.selector().expect("the rules are good");
    for kind in [LOOPBACK, "veth", "netkit", "ifb"] {
        let rule = format!("kind:{kind}");
        assert_eq!(selector.explain("cali12", kind), Choice::Excluded(&rule));
    }
    let veth = selector.explain("veth12", PHYSICAL);
    assert_eq!(veth.config(), Some(&InterfaceConfig::default()), "by kind");

    config.autodetection.exclude.push("lo".to_owned());
    let selector = config.selector().expect("the rules are good");
    assert_eq!(selector.explain("lo", PHYSICAL), Choice::Excluded("lo"));
    assert_eq!(
        selector.explain("lo0", PHYSICAL).to_string(),
        "captured: found by auto-detection",
        "names are compared whole"
    );

    config.autodetection.exclude.push("/[/".to_owned());
    let error = config.selector().expect_err("a bad rule");
    assert_eq!(
        error,
        "interface rule `/[/` is not a regex: unclosed character class"
    );
}

/// `kind: veth` in a list is a mapping.
#[test]
fn a_kind_may_be_written_as_a_mapping() {
    let text =
        "autodetection:\n  enabled: true\n  exclude:\n  - kind: veth\n  - kind:bond\n  - lo\n";
    let config = Config::parse(text).expect("good");
    assert_eq!(
        config.autodetection.exclude,
        ["kind:veth", "kind:bond", "lo"]
    );
    assert_eq!(config.source_options().interfaces, 1024);
    let by_kind = Config::parse("interfaces: { kind:physical: {} }").expect("good");
    assert_eq!(by_kind.source_options().interfaces, 1024, "any number");
}

/// As many regexes as interfaces are read soon, and take little memory, whatever they are.
#[test]
fn all_regexes_of_a_list_are_bounded_together() {
    let list = |regex: &str| -> String {
        let rules = (0..1024).map(|number| format!("  \"/{regex}|^x{number}$/\": {{}}\n"));
        format!("interfaces:\n{}", rules.collect::<String>())
    };
    let modest = Config::parse(&list("^eth[0-9]+[.][0-9]{1,4}$")).expect("good");
    let selector = modest.selector().expect("the rules are good");
    for name in ["eth7.12", "x1023"] {
        assert!(selector.explain(name, PHYSICAL).config().is_some());
    }
    let begin = std::time::Instant::now();
    let told = Config::parse(&list(r"\\w{9}"))
        .expect_err("gigabytes")
        .to_string();
    assert!(
        told.contains("that each of 1024 regexes may take"),
        "{told}"
    );
    assert!(begin.elapsed().as_secs() < 60, "{:?}", begin.elapsed());
    let excluded = vec![r#""/\\w{9}/""#; 1024].join(",");
    let excluded = format!("autodetection: {{ enabled: true, exclude: [{excluded}] }}");
    let told = Config::parse(&excluded).expect_err("gigabytes").to_string();
    assert!(told.contains("make it simpler"), "{told}");
}

/// Problems are told with keys and messages of bounded length, and not all of them.
#[test]
fn what_is_told_of_a_bad_document_is_bounded() {
    let wrong = (0..40_000).map(|number| format!("k{number}: 1"));
    let wrong = wrong.collect::<Vec<_>>().join(", ");
    let text = format!("interfaces: {{ ? {} : {{ {wrong} }} }}", "x".repeat(50_000));
    let told = Config::parse(&text).expect_err("wrong").to_string();
    assert!(told.len() < 1 << 20, "{}", told.len());
    assert!(
        told.contains("more problems; mend those above first"),
        "{told}"
    );
}
