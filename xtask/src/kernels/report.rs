//! Reads what a machine printed: each line with `verdict` names one thing and its outcome.

use anyhow::{Result, bail, ensure};
use serde_json::Value;

/// Pings that the script sends; each has an answer.
const PINGS: u64 = 100;

/// The first kernel with TCX.
const TCX: (u32, u32) = (6, 6);

/// The first kernel that tells how far its verifier walked.
const VERIFIED_INSNS: (u32, u32) = (5, 16);

/// Says in a line what worked, or what did not.
pub(super) fn judge(printed: &str, release: &str) -> Result<String> {
    let said = Said(printed);
    ensure!(
        said.outcome("kernel") == Some(release),
        "the kernel did not come up"
    );
    ensure!(
        said.outcome("kinds").is_some(),
        "the machine ended before its script did"
    );
    ensure!(
        said.outcome("selftest") == Some("0"),
        "the self-test failed"
    );
    let hook = if version(release) >= TCX {
        "tcx"
    } else {
        "clsact"
    };
    let attached =
        format!(r#"probe_attached_interfaces{{egress="{hook}",iface="probe0",ingress="{hook}"}}"#);
    ensure!(
        said.outcome(&attached) == Some("1"),
        "`hook: auto` did not pick {hook}"
    );
    let residue = r#"probe_ledger_residue_packets{iface="probe0"}"#;
    ensure!(
        said.outcome(residue) == Some("0"),
        "the ledger has a residue"
    );
    ensure!(
        said.outcome("stopped") == Some("0"),
        "the agent did not end well"
    );
    ensure!(
        said.outcome("left") == Some("0"),
        "filters of the agent are left behind"
    );
    let Some(flow) = said.outcome("flow") else {
        bail!("the ping is not among the stored flows");
    };
    let flow: Value = serde_json::from_str(flow)?;
    for count in ["packets_rcvd", "packets_sent"] {
        ensure!(
            flow[count] == PINGS,
            "{count} of the ping is {}, not {PINGS}",
            flow[count]
        );
    }
    ensure!(
        said.outcome("kinds") == Some("0"),
        "the tests of link kinds failed"
    );
    let verifier = match said.outcome("steps") {
        Some(steps) => {
            format!("the verifier took {steps} steps of 1000000 for the largest program")
        }
        None if version(release) < VERIFIED_INSNS => {
            "this kernel does not tell how many steps its verifier took".to_owned()
        }
        None => bail!("the kernel does not tell how far its verifier walked"),
    };
    Ok(format!(
        "{release}: self-test good, ping counted to the packet through {hook}, nothing left behind; \
         {verifier}"
    ))
}

/// Major and minor number.
fn version(release: &str) -> (u32, u32) {
    let mut numbers = release
        .split(['.', '-'])
        .map_while(|word| word.parse().ok());
    (
        numbers.next().unwrap_or_default(),
        numbers.next().unwrap_or_default(),
    )
}

struct Said<'a>(&'a str);

impl<'a> Said<'a> {
    /// What follows the name in its verdict. The console ends lines with a carriage return.
    fn outcome(&self, name: &str) -> Option<&'a str> {
        self.0.lines().find_map(|line| {
            let (_, verdict) = line.split_once("verdict ")?;
            verdict.trim().strip_prefix(name)?.strip_prefix(' ')
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{judge, version};

    const GOOD: &str = "noise\r
verdict kernel 6.1.0-52-cloud-amd64\r
verdict selftest 0\r
verdict probe_attached_interfaces{egress=\"clsact\",iface=\"probe0\",ingress=\"clsact\"} 1\r
verdict probe_ledger_residue_packets{iface=\"probe0\"} 0\r
verdict steps 361513\r
verdict stopped 0\r
verdict left 0\r
verdict flow {\"packets_rcvd\":100,\"packets_sent\":100}\r
verdict kinds 0\r
";

    #[test]
    fn every_verdict_counts() {
        const RELEASE: &str = "6.1.0-52-cloud-amd64";
        judge(GOOD, RELEASE).expect("all is well");
        for (index, _) in GOOD.match_indices("verdict") {
            let missing = [&GOOD[..index], &GOOD[index + "verdict".len()..]].concat();
            judge(&missing, RELEASE).expect_err(&missing);
        }
        let newer = GOOD.replace(RELEASE, "6.12.1-cloud-amd64");
        judge(&newer, "6.12.1-cloud-amd64").expect_err("6.12 has TCX");
    }

    #[test]
    fn old_kernels_need_not_tell_steps() {
        const RELEASE: &str = "6.1.0-52-cloud-amd64";
        let told = judge(GOOD, RELEASE).expect("all is well");
        assert!(told.contains("took 361513 steps"), "{told}");
        let silent = GOOD.replace("verdict steps 361513", "verdict steps ");
        judge(&silent, RELEASE).expect_err("6.1 tells");
        let old = "5.10.0-32-amd64";
        let told = judge(&silent.replace(RELEASE, old), old).expect("5.10 does not");
        assert!(told.contains("does not tell how many steps"), "{told}");
    }

    #[test]
    fn releases_have_versions() {
        assert_eq!(version("6.12.117+deb12-cloud-amd64"), (6, 12));
        assert_eq!(version("6.1.0-52-cloud-amd64"), (6, 1));
    }
}
