//! What is known of the files of a day before the first row is read, and what the new file says of all.

use jiff::Timestamp;
use parquet::{
    errors::{ParquetError, Result},
    file::{
        metadata::{FileMetaData, KeyValue},
        reader::FileReader,
    },
};

use super::{
    merge::{ROWS_PER_PART, Sources},
    table::check_columns,
};
use crate::parquet::SCHEMA_VERSION;

/// Key of the ledger of an interval: there are as many pairs of it as intervals.
const LEDGER: &str = "probe.ledger";
/// Key of all ledgers in one JSON array, for readers that see only one pair of a key.
const LEDGERS: &str = "probe.ledgers";
/// Keys that are of the file and not of its rows.
const OWN_KEYS: [&str; 5] = [
    "probe.schema_version",
    "probe.interval_start",
    "probe.interval_end",
    LEDGER,
    LEDGERS,
];

pub(super) fn ledgers(file: &FileMetaData) -> Vec<String> {
    let pairs = file.key_value_metadata().into_iter().flatten();
    let ledgers = pairs.filter(|pair| pair.key == LEDGER);
    ledgers.filter_map(|pair| pair.value.clone()).collect()
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
            let found = ledgers(file);
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
        let ledgers = self.ledgers.iter();
        metadata.extend(ledgers.map(|it| KeyValue::new(LEDGER.to_owned(), it.clone())));
        let array = format!("[{}]", self.ledgers.join(","));
        metadata.push(KeyValue::new(LEDGERS.to_owned(), array));
        metadata
    }
}
