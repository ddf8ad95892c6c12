//! The sum of the ledgers of a day on which nothing is missing, so that who asks for the whole day need not read
//! 288 of them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use probe_flow::{
    interval::GAPLESS,
    ledger::{Loss, is_by_design},
};
use serde::{Deserialize, Serialize};

/// What is read of a ledger, and what is written of their sum: the same keys, with the number of intervals.
#[derive(Debug, Deserialize, Serialize)]
struct Sum {
    start: Timestamp,
    end: Timestamp,
    #[serde(default)]
    intervals: u64,
    #[serde(default)]
    longest_ms: i64,
    seen: u64,
    flows: u64,
    losses: BTreeMap<String, u64>,
    #[serde(skip_serializing)]
    residue: i64,
    #[serde(skip_serializing)]
    overflow_packets: u64,
    #[serde(default, skip_serializing)]
    detached_ms: u64,
    #[serde(default, skip_serializing)]
    reattached: u64,
    #[serde(default, skip_serializing)]
    clock_steps: u64,
    #[serde(default, skip_serializing)]
    coverage: Option<Coverage>,
    rows: u64,
    packets_rcvd: u64,
    packets_sent: u64,
    bytes_rcvd: u64,
    bytes_sent: u64,
}

#[derive(Debug, Deserialize)]
struct Coverage {
    rcvd: Direction,
    sent: Direction,
}

#[derive(Debug, Deserialize)]
struct Direction {
    ratio: Option<f64>,
}

impl Sum {
    /// Reads one ledger; `None` if something is missing in its interval, or it does not tell.
    fn read(ledger: &str) -> Option<Self> {
        let mut sum: Self = serde_json::from_str(ledger).ok()?;
        sum.intervals = 1;
        sum.longest_ms = i64::try_from(sum.end.duration_since(sum.start).as_millis()).ok()?;
        sum.losses.retain(|_, packets| *packets > 0);
        let is_by_design = |name: &String| {
            let known = Loss::ALL.into_iter().find(|loss| loss.name() == name);
            known.is_some_and(is_by_design)
        };
        let coverage = sum.coverage.take();
        let ratios = coverage
            .into_iter()
            .flat_map(|it| [it.rcvd.ratio, it.sent.ratio]);
        let is_well = sum.longest_ms > 0
            && sum.losses.keys().all(is_by_design)
            && (sum.residue, sum.overflow_packets) == (0, 0)
            && (sum.detached_ms, sum.reattached, sum.clock_steps) == (0, 0, 0)
            && ratios.flatten().all(|ratio| ratio >= 1.0);
        is_well.then_some(sum)
    }

    /// Adds the interval that follows; `None` if none does, or a number does not fit.
    fn add(mut self, next: Self) -> Option<Self> {
        let gap = next.start.duration_since(self.end);
        if gap.abs() >= GAPLESS {
            return None;
        }
        for (name, packets) in next.losses {
            let sum = self.losses.entry(name).or_default();
            *sum = sum.checked_add(packets)?;
        }
        Some(Self {
            end: self.end.max(next.end),
            intervals: self.intervals + next.intervals,
            longest_ms: self.longest_ms.max(next.longest_ms),
            seen: self.seen.checked_add(next.seen)?,
            flows: self.flows.checked_add(next.flows)?,
            rows: self.rows.checked_add(next.rows)?,
            packets_rcvd: self.packets_rcvd.checked_add(next.packets_rcvd)?,
            packets_sent: self.packets_sent.checked_add(next.packets_sent)?,
            bytes_rcvd: self.bytes_rcvd.checked_add(next.bytes_rcvd)?,
            bytes_sent: self.bytes_sent.checked_add(next.bytes_sent)?,
            ..self
        })
    }
}

/// The sum of ledgers, as a ledger. `None` unless they follow each other, and nothing is missing in any: then
/// each has to be read.
pub(super) fn of(ledgers: &[String]) -> Option<String> {
    let each = ledgers.iter().map(|ledger| Sum::read(ledger));
    let mut each = each.collect::<Option<Vec<_>>>()?;
    each.sort_by_key(|ledger| (ledger.start, ledger.end));
    let mut each = each.into_iter();
    let first = each.next()?;
    let sum = each.try_fold(first, Sum::add)?;
    serde_json::to_string(&sum).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::of;

    fn ledger(start: u32) -> Value {
        let (start, end) = (format!("{start:02}"), format!("{:02}", start + 5));
        json!({
            "type": "ledger", "iface": "eth0",
            "start": format!("2026-03-01T00:{start}:00.02Z"), "end": format!("2026-03-01T00:{end}:00.03Z"),
            "seen": 10, "flows": 9, "losses": {"non_ip": 1, "ring_full": 0}, "residue": 0, "overflow_packets": 0,
            "rows": 3, "packets_rcvd": 4, "packets_sent": 5, "bytes_rcvd": 400, "bytes_sent": 500,
            "reattached": 0, "detached_ms": 0, "clock_steps": 0,
            "coverage": {"rcvd": {"link": 4, "ratio": 1.0}, "sent": {"link": 0, "ratio": null}},
        })
    }

    fn sum(ledgers: &[Value]) -> Option<Value> {
        let texts: Vec<_> = ledgers.iter().map(Value::to_string).collect();
        of(&texts).map(|text| serde_json::from_str(&text).unwrap())
    }

    #[test]
    fn a_day_without_faults_has_one_sum() {
        // In whatever order they were stored.
        let sum = sum(&[ledger(5), ledger(0), ledger(10)]).unwrap();
        let expected = json!({
            "start": "2026-03-01T00:00:00.02Z", "end": "2026-03-01T00:15:00.03Z",
            "intervals": 3, "longest_ms": 300_010, "seen": 30, "flows": 27, "losses": {"non_ip": 3},
            "rows": 9, "packets_rcvd": 12, "packets_sent": 15, "bytes_rcvd": 1200, "bytes_sent": 1500,
        });
        assert_eq!(sum, expected);
    }

    #[test]
    fn a_day_with_a_fault_has_none() {
        let faults = [
            ("/losses/ring_full", json!(1)),
            ("/residue", json!(-1)),
            ("/overflow_packets", json!(1)),
            ("/detached_ms", json!(1)),
            ("/reattached", json!(1)),
            ("/clock_steps", json!(1)),
            ("/coverage/rcvd/ratio", json!(0.999)),
            ("/start", json!("2026-03-01T00:06:00Z")),
            ("/start", json!("2026-03-01T00:04:00Z")),
            ("/end", json!("2026-03-01T00:05:00.02Z")),
            ("/packets_rcvd", json!(u64::MAX)),
        ];
        for (path, value) in faults {
            let mut days = [ledger(0), ledger(5)];
            *days[1].pointer_mut(path).unwrap() = value;
            assert_eq!(sum(&days), None, "{path}");
        }
        let mut older = ledger(0);
        older.as_object_mut().unwrap().remove("rows");
        assert_eq!(sum(&[older]), None);
        assert_eq!(sum(&[]), None);
    }
}
