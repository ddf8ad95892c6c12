//! Which interfaces the rules choose.

use probe_agent::config::{Autodetection, Config};
use probe_capture::{
    interface::{Hook, InterfaceConfig},
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
    let selector = config.selector().expect("the rules are good");
    assert_eq!(selector.explain("lo"), Choice::Excluded("lo"));
    assert_eq!(selector.explain("veth12"), Choice::Excluded("/^veth/"));
    assert_eq!(selector.matches("eth0"), Some(&InterfaceConfig::default()));
    assert_eq!(
        selector.explain("lo0").to_string(),
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
