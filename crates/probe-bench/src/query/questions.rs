//! What is asked, in the words of `probe-query` and in SQL.

use jiff::Timestamp;

use super::store::{Size, first_day};

/// A question that people ask of a month.
pub(super) struct Question {
    pub(super) name: &'static str,
    /// Its words for `probe-query`.
    pub(super) words: Vec<String>,
    /// The same for DuckDB; `{flows}` stands for the table.
    pub(super) sql: String,
}

/// Sums of received and sent bytes in the order of the answer: the same from everybody.
const BYTES: &str = "sum(bytes_rcvd + bytes_sent)::UBIGINT AS bytes";
const SUMS: &str =
    "sum(packets_rcvd), sum(packets_sent), sum(bytes_rcvd), sum(bytes_sent), count(*)";

/// All questions about a store of this size.
pub(super) fn all(size: Size) -> Vec<Question> {
    let until = size.until();
    let last_hour = first_day()
        + jiff::SignedDuration::from_hours(24 * i64::from(size.days - 1))
        + super::traffic::LENGTH * i32::try_from(size.intervals.saturating_sub(12)).unwrap_or(0);
    let of_all = |name, by: &[&str], filter: &str, group: &str, condition: &str| {
        let order = if group == "hour" {
            "hour"
        } else {
            "bytes DESC"
        };
        let limit = if group == "hour" { "" } else { " LIMIT 25" };
        let hour = "time_bucket(INTERVAL 1 hour, interval_start) AS hour";
        let columns = if group == "hour" { hour } else { group };
        Question {
            name,
            words: words(first_day(), until, by, filter),
            sql: format!(
                "SELECT {columns}, {SUMS}, {BYTES} FROM {{flows}} {condition} GROUP BY {group} \
                 ORDER BY {order}{limit}"
            ),
        }
    };
    let ends = "src_addr, dst_addr";
    let mut last = of_all("last hour", &[], "", ends, "");
    last.words = words(last_hour, until, &[], "");
    last.sql = last.sql.replace(
        "{flows}",
        &format!(
            "{{flows}} WHERE date = DATE '{}' AND interval_start >= '{last_hour}'",
            last_hour.to_zoned(jiff::tz::TimeZone::UTC).date()
        ),
    );
    vec![
        of_all("conversations", &[], "", ends, ""),
        of_all(
            "one host",
            &[],
            "host 10.0.0.77",
            ends,
            "WHERE src_addr = '10.0.0.77' OR dst_addr = '10.0.0.77'",
        ),
        of_all("hourly series", &["time=1h"], "", "hour", ""),
        last,
        of_all(
            "peers of a /24",
            &["dst"],
            "src net 10.0.1.0/24",
            "dst_addr",
            "WHERE src_addr LIKE '10.0.1.%'",
        ),
    ]
}

fn words(since: Timestamp, until: Timestamp, by: &[&str], filter: &str) -> Vec<String> {
    let mut words = vec![
        "--utc".to_owned(),
        "--no-live".to_owned(),
        "--format=json".to_owned(),
        format!("--since={since}"),
        format!("--until={until}"),
    ];
    words.extend(by.iter().map(|columns| format!("--by={columns}")));
    words.extend(filter.split_whitespace().map(str::to_owned));
    words
}
