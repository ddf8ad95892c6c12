//! What is known of the files of a day before the first row is read, and what the new file says of all.

use jiff::Timestamp;
use parquet::{
    errors::{ParquetError, Result},
    file::{
        metadata::{FileMetaData, KeyValue},
        reader::FileReader,
    },
};
use serde::de::IgnoredAny;

use super::{
    merge::{ROWS_PER_PART, Sources},
    summary,
    table::check_columns,
};
use crate::parquet::SCHEMA_VERSION;

/// Key of the ledger of a file of one interval.
const LEDGER: &str = "probe.ledger";
/// Key of all ledgers of a compacted file, in one JSON array.
const LEDGERS: &str = "probe.ledgers";
/// Key of their sum, where it says as much as all of them.
const SUM: &str = "probe.ledgers_sum";
/// Keys that are of the file and not of its rows.
const OWN_KEYS: [&str; 6] = [
    "probe.schema_version",
    "probe.interval_start",
    "probe.interval_end",
    LEDGER,
    LEDGERS,
    SUM,
];

/// The ledgers of a file, each as it was written.
pub(super) fn ledgers(file: &FileMetaData) -> Result<Vec<String>> {
    let values = |key| {
        let pairs = file.key_value_metadata().into_iter().flatten();
        let pairs = pairs.filter(move |pair| pair.key == key);
        pairs.filter_map(|pair| pair.value.as_deref())
    };
    let Some(array) = values(LEDGERS).next() else {
        return Ok(values(LEDGER).map(str::to_owned).collect());
    };
    elements(array).map_err(|error| ParquetError::General(format!("its ledgers: {error}")))
}

/// The texts of the elements of a JSON array.
fn elements(array: &str) -> serde_json::Result<Vec<String>> {
    let mut rest = array.trim().strip_prefix('[').unwrap_or(array);
    let mut elements = Vec::new();
    while rest != "]" {
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<IgnoredAny>();
        let value = values.next();
        value.unwrap_or_else(|| Err(serde::de::Error::custom("the array does not end")))?;
        let (element, others) = rest.split_at(values.byte_offset());
        elements.push(element.trim().to_owned());
        let others = others.trim_start();
        rest = others.strip_prefix(',').unwrap_or(others);
    }
    Ok(elements)
}

/// What is known of all sources before the first row is read.
pub(super) struct Plan {
    /// Columns that a source lacks, or may have nulls in.
    pub(super) optional: Vec<&'static str>,
    pub(super) rows_per_part: usize,
    /// Ledgers of all intervals, in the order of the sources.
    pub(super) ledgers: Vec<String>,
    /// From the first start of an interval to the last end.
    bounds: [Option<Timestamp>; 2],
    /// What the sources say otherwise, each pair once.
    pairs: Vec<KeyValue>,
}

impl Plan {
    pub(super) fn new(sources: &dyn Sources) -> Result<Self> {
        let mut plan = Self {
            optional: Vec::new(),
            rows_per_part: ROWS_PER_PART,
            ledgers: Vec::new(),
            bounds: [None; 2],
            pairs: Vec::new(),
        };
        let mut rows = 0_usize;
        for index in 0..sources.number() {
            let reader = sources.open(index)?;
            let file = reader.metadata().file_metadata();
            for name in check_columns(file)? {
                if !plan.optional.contains(&name) {
                    plan.optional.push(name);
                }
            }
            let found = ledgers(file)?;
            if found.is_empty() {
                return Err(ParquetError::General("a file without a ledger".to_owned()));
            }
            for ledger in &found {
                plan.widen(ledger)?;
            }
            plan.ledgers.extend(found);
            for pair in file.key_value_metadata().into_iter().flatten() {
                if !OWN_KEYS.contains(&&*pair.key) && !plan.pairs.contains(pair) {
                    plan.pairs.push(pair.clone());
                }
            }
            rows = rows.saturating_add(usize::try_from(file.num_rows()).unwrap_or(0));
        }
        // Parts of the same size.
        let parts = rows.div_ceil(ROWS_PER_PART).max(1);
        plan.rows_per_part = rows.div_ceil(parts).max(1);
        Ok(plan)
    }

    /// Takes the times of a ledger in.
    fn widen(&mut self, ledger: &str) -> Result<()> {
        let ledger: serde_json::Value = serde_json::from_str(ledger)
            .map_err(|error| ParquetError::General(format!("its ledger: {error}")))?;
        let time = |key: &str| ledger.get(key)?.as_str()?.parse::<Timestamp>().ok();
        let [start, end] = self.bounds;
        self.bounds = [
            start.into_iter().chain(time("start")).min(),
            end.max(time("end")),
        ];
        Ok(())
    }

    pub(super) fn metadata(&self) -> Vec<KeyValue> {
        let version = SCHEMA_VERSION.to_string();
        let mut metadata = vec![KeyValue::new("probe.schema_version".to_owned(), version)];
        for (key, time) in ["start", "end"].into_iter().zip(self.bounds) {
            let key = format!("probe.interval_{key}");
            metadata.extend(time.map(|time| KeyValue::new(key, time.to_string())));
        }
        metadata.extend(self.pairs.iter().cloned());
        let sum = summary::of(&self.ledgers);
        metadata.extend(sum.map(|sum| KeyValue::new(SUM.to_owned(), sum)));
        let array = format!("[{}]", self.ledgers.join(","));
        metadata.push(KeyValue::new(LEDGERS.to_owned(), array));
        metadata
    }
}

#[cfg(test)]
mod tests {
    use super::elements;

    #[test]
    fn elements_of_an_array_keep_their_texts() {
        let texts = [r#"{"b":1,"a":[2,"]"]}"#, r#"{"a":1.50}"#];
        assert_eq!(elements(&format!("[{}]", texts.join(","))).unwrap(), texts);
        assert_eq!(
            elements(&format!(" [ {} ]", texts.join(" , "))).unwrap(),
            texts
        );
        assert!(elements("[]").unwrap().is_empty());
        for damaged in ["", "[", "[{}", "[{},", "[{]", "{}", "[1 2"] {
            assert!(elements(damaged).is_err(), "{damaged}");
        }
    }
}
