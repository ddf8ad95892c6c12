//! Rules about kinds of links that no kernel is known to have.

use crate::config::{Config, did_you_mean};
use probe_capture::selection::{KNOWN_KINDS, kind_rule, unknown_kind};

/// Kinds that may be of a later kernel, and more likely are a slip.
pub(super) fn told(config: &Config) -> Vec<String> {
    let listed = config.interfaces.keys();
    let listed = listed.map(|rule| ("interfaces", rule));
    let excluded = config.autodetection.exclude.iter();
    let rules = listed.chain(excluded.map(|rule| ("autodetection.exclude", rule)));
    let unknown = rules.filter_map(|(section, rule)| {
        let kind = unknown_kind(rule)?;
        let hint = match did_you_mean(kind, KNOWN_KINDS) {
            Some(close) => format!("did you mean `{}`?", kind_rule(close)),
            None => "`probe-agent plan` tells the kind of each link".to_owned(),
        };
        Some(format!(
            "{section}: `{rule}`: no kernel up to Linux 6.18 has links of this kind; {hint}"
        ))
    });
    unknown.collect()
}

#[cfg(test)]
mod tests {
    use super::{Config, told};

    #[test]
    fn a_kind_that_no_kernel_has_is_told() {
        let of = |text: &str| told(&Config::parse(text).expect("it may be of a later kernel"));
        let told = of("interfaces: { kind:vteh: {}, 'kind:bond': {}, eth0: {} }\n");
        assert_eq!(
            told,
            [
                "interfaces: `kind:vteh`: no kernel up to Linux 6.18 has links of this kind; did you mean \
              `kind:veth`?"
            ]
        );
        let told = of("autodetection: { enabled: true, exclude: [kind: hyperloop, kind: veth] }\n");
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].ends_with("tells the kind of each link"), "{told:?}");
    }
}
