//! Answers from the sums that ledgers have: who asks for nothing but time, interface and host need not
//! have flows read.

use std::sync::Arc;

use datafusion::{
    arrow::{
        array::{ArrayRef, Int64Array, StringViewArray, TimestampMicrosecondArray, UInt64Array},
        record_batch::RecordBatch,
    },
    error::DataFusionError,
};
use probe_flow::schema::Read;

use super::Sums;
use crate::{
    columns::By,
    engine::ROWS,
    filter::passes,
    footer::ReadFile,
    ledger::{StoredLedger, StoredSums},
    time::Range,
};

/// Whether the answer needs nothing of single flows.
pub(super) fn suffice(sums: &Sums, ifaces: &[&str]) -> bool {
    let is_known = |column: &By| match column {
        By::Time(_) => true,
        By::Field(field) => matches!(field.read, Read::Iface | Read::Host),
    };
    sums.by.iter().all(is_known)
        && ifaces
            .iter()
            .all(|iface| passes(&sums.filter, iface).is_some())
}

/// Whether all ledgers of the file have sums. Flows of several hosts in one file are told apart by
/// reading them.
pub(super) fn has_sums(file: &ReadFile) -> bool {
    file.has_one_host && file.ledgers.iter().all(|ledger| ledger.stored().is_some())
}

/// A row for each interval that is asked for and that passes the filter.
pub(super) fn batch(
    files: &[ReadFile],
    range: Range,
    sums: &Sums,
) -> Result<RecordBatch, DataFusionError> {
    let passing = files
        .iter()
        .filter(|file| passes(&sums.filter, &file.file.iface) == Some(true));
    let all: Vec<(&ReadFile, &StoredLedger, StoredSums)> = passing
        .flat_map(|file| file.ledgers.iter().map(move |ledger| (file, ledger)))
        .filter(|(_, ledger)| range.selects(ledger.start, ledger.end))
        .filter_map(|(file, ledger)| Some((file, ledger, ledger.stored()?)))
        // An interval without flows has no row among the flows.
        .filter(|(.., stored)| stored.rows > 0)
        .collect();
    let count = |of: fn(&StoredSums) -> u64| -> ArrayRef {
        let counts = all.iter().map(|(.., stored)| of(stored));
        Arc::new(counts.collect::<UInt64Array>())
    };
    let starts = all.iter().map(|(_, it, _)| it.start.as_microsecond());
    let starts = starts.collect::<Vec<_>>();
    let starts = TimestampMicrosecondArray::from(starts).with_timezone("UTC");
    let ifaces: StringViewArray = all.iter().map(|(it, ..)| Some(&*it.file.iface)).collect();
    let hosts: StringViewArray = all.iter().map(|(it, ..)| Some(&*it.host)).collect();
    let rows = all
        .iter()
        .map(|(.., stored)| i64::try_from(stored.rows).unwrap_or(i64::MAX));
    let columns: [(&str, ArrayRef); 8] = [
        ("interval_start", Arc::new(starts)),
        ("iface", Arc::new(ifaces)),
        ("host", Arc::new(hosts)),
        ("packets_rcvd", count(|it| it.packets_rcvd)),
        ("packets_sent", count(|it| it.packets_sent)),
        ("bytes_rcvd", count(|it| it.bytes_rcvd)),
        ("bytes_sent", count(|it| it.bytes_sent)),
        (ROWS, Arc::new(rows.collect::<Int64Array>())),
    ];
    Ok(RecordBatch::try_from_iter(columns)?)
}

#[cfg(test)]
mod tests {
    use std::{fs::File, path::Path};

    use datafusion::parquet::{
        arrow::{ArrowWriter, arrow_reader::ParquetRecordBatchReaderBuilder},
        file::{metadata::KeyValue, properties::WriterProperties},
    };
    use serde_json::Value;

    use crate::{fixture::ask_json, month::script::Script, store};

    /// Makes a file what an agent before the sums wrote.
    fn take_sums_away(path: &Path) {
        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
        let header = reader.metadata().file_metadata().clone();
        let older = |pair: &KeyValue| {
            let value = pair.value.as_deref().unwrap();
            let Ok(Value::Object(mut ledger)) = serde_json::from_str(value) else {
                return pair.clone();
            };
            ledger
                .retain(|key, _| !key.contains("_rcvd") && !key.contains("_sent") && key != "rows");
            KeyValue::new(pair.key.clone(), Value::from(ledger).to_string())
        };
        let pairs = header.key_value_metadata().unwrap().iter().map(older);
        let properties = WriterProperties::builder()
            .set_key_value_metadata(Some(
                pairs
                    .filter(|pair| pair.key.starts_with("probe."))
                    .collect(),
            ))
            .build();
        let schema = reader.schema().clone();
        let batches: Vec<_> = reader.build().unwrap().map(Result::unwrap).collect();
        let file = File::create(path).unwrap();
        let mut writer = ArrowWriter::try_new(file, schema, Some(properties)).unwrap();
        for batch in &batches {
            writer.write(batch).unwrap();
        }
        writer.close().unwrap();
    }

    /// In an order of their own.
    fn rows(answer: &Value) -> Vec<String> {
        let rows = answer["rows"].as_array().unwrap().iter();
        let mut rows: Vec<_> = rows.map(ToString::to_string).collect();
        rows.sort();
        rows
    }

    #[test]
    fn files_with_and_without_sums_answer_alike() {
        let script = Script::new();
        let root = script.root();
        let questions: [&[&str]; 6] = [
            &["--by", "time=1d"],
            &["--by", "time,iface"],
            &["--by", "host,iface", "--sum"],
            &["--by", "time=1w", "--in", "iface eth1 or iface wg0"],
            &[
                "--by",
                "iface",
                "--since",
                "2026-11-03",
                "--until",
                "2026-11-09",
            ],
            &["--by", "iface", "not iface eth0", "--rate"],
        ];
        let ask = |words: &[&str]| {
            let all = ["--since", "all", "-n", "0"];
            let given = words.contains(&"--since");
            let words = [if given { &all[2..] } else { &all[..] }, words].concat();
            ask_json(&root, &words).unwrap()
        };
        let with = questions.map(ask);
        let files = store::discover(0, &root, None, &|_: &str| true)
            .unwrap()
            .files;
        assert!(files.len() > 100);
        // Half of them, then all.
        for skipped in [2, 1] {
            for file in files.iter().step_by(skipped) {
                take_sums_away(&file.path);
            }
            for (words, with) in questions.iter().zip(&with) {
                let without = ask(words);
                assert!(!rows(with).is_empty(), "{words:?}");
                assert_eq!(rows(&without), rows(with), "{words:?}");
                assert_eq!(without["totals"], with["totals"], "{words:?}");
            }
        }
    }
}
