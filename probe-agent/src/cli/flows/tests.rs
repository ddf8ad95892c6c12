use clap::Parser;
use probe_api::v1::flows::{Flows, FlowsOf, Totals};

use super::{Duration, FlowsArgs, Timestamp, over, write_csv};

#[derive(Parser)]
struct Args {
    #[command(flatten)]
    flows: FlowsArgs,
}

fn args(words: &[&str]) -> FlowsArgs {
    Args::parse_from([&["flows"], words].concat()).flows
}

fn flows(since: &[i64]) -> Flows {
    let of = |second: &i64| FlowsOf {
        iface: "eth0".to_owned(),
        since: Timestamp::new(*second, 0).unwrap(),
        flows: 0,
        matched: 0,
    };
    Flows {
        at: Timestamp::new(100, 0).unwrap(),
        interfaces: since.iter().map(of).collect(),
        matched: 0,
        truncated: false,
        total: Totals::default(),
        flows: Vec::new(),
    }
}

#[test]
fn rates_are_over_a_time_that_has_passed() {
    let rated = args(&["--rate"]);
    let ten = Some(Duration::from_secs(10));
    assert_eq!(over(&rated, &flows(&[95, 90])).unwrap(), ten);
    for since in [100, 101] {
        let error = over(&rated, &flows(&[since])).unwrap_err().to_string();
        assert!(error.starts_with("no rates: "), "{error}");
        assert_eq!(over(&args(&[]), &flows(&[since])).unwrap(), None);
    }
}

#[test]
fn without_interfaces_the_header_is_that_of_rates() {
    let none = flows(&[]);
    let mut out = Vec::new();
    write_csv(&mut out, &none, over(&args(&["--rate"]), &none).unwrap()).unwrap();
    let header = String::from_utf8(out).unwrap();
    assert!(header.contains(",bits_rcvd_per_second,"), "{header}");
}
