//! Parquet, with the types of the columns, for DuckDB, Polars and the like. The report is in the metadata of
//! the file, under `probe.completeness`, and the sums over all rows under `probe.totals`, both as JSON.

use std::io::{self, Write};

use datafusion::{
    arrow::record_batch::RecordBatch,
    parquet::{
        arrow::{ArrowWriter, arrow_writer::ArrowWriterOptions},
        basic::{Compression, ZstdLevel},
        errors::ParquetError,
        file::{metadata::KeyValue, properties::WriterProperties},
    },
};

use super::{Shape, Sink, Totals};
use crate::completeness::Report;

/// One file, whole when the answer is.
pub struct ParquetFile<W: Write + Send> {
    /// Until the columns are known.
    out: Option<W>,
    writer: Option<ArrowWriter<W>>,
}

impl<W: Write + Send> ParquetFile<W> {
    /// A file that goes to `out`.
    pub const fn new(out: W) -> Self {
        Self {
            out: Some(out),
            writer: None,
        }
    }
}

fn told(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(cause) => match cause.downcast::<io::Error>() {
            Ok(cause) => *cause,
            Err(cause) => io::Error::other(cause),
        },
        error => io::Error::other(error),
    }
}

impl<W: Write + Send> Sink for ParquetFile<W> {
    fn has_begun(&self) -> bool {
        self.writer.is_some()
    }

    fn begin(&mut self, shape: &Shape) -> io::Result<()> {
        let Some(out) = self.out.take() else {
            return Ok(());
        };
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .build();
        // Columns of views are texts for every reader; what Arrow called them is nobody's concern.
        let options = ArrowWriterOptions::new()
            .with_properties(properties)
            .with_skip_arrow_metadata(true);
        let writer = ArrowWriter::try_new_with_options(out, shape.schema(), options);
        self.writer = Some(writer.map_err(told)?);
        Ok(())
    }

    fn batch(&mut self, shape: &Shape, batch: &RecordBatch) -> io::Result<()> {
        let typed = shape.typed(batch).map_err(io::Error::other)?;
        let writer = self.writer.as_mut();
        writer.map_or(Ok(()), |writer| writer.write(&typed).map_err(told))
    }

    fn end(&mut self, _: &Shape, totals: Option<&Totals>, report: &Report) -> io::Result<()> {
        let Some(mut writer) = self.writer.take() else {
            return Ok(());
        };
        let mut tell = |key: &str, value: serde_json::Result<String>| {
            let value = value.map_err(io::Error::from)?;
            writer.append_key_value_metadata(KeyValue::new(key.to_owned(), value));
            io::Result::Ok(())
        };
        tell("probe.completeness", serde_json::to_string(report))?;
        if let Some(totals) = totals {
            tell("probe.totals", serde_json::to_string(totals))?;
        }
        writer.into_inner().map_err(told)?.flush()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use datafusion::{
        arrow::{array::AsArray, datatypes::DataType, record_batch::RecordBatch},
        parquet::{arrow::arrow_reader::ParquetRecordBatchReaderBuilder, file::metadata::KeyValue},
    };
    use serde_json::Value;

    use super::ParquetFile;
    use crate::fixture;

    /// The rows of an answer, and the pairs of its metadata.
    fn read(words: &[&str]) -> (RecordBatch, Vec<KeyValue>) {
        let root = tempfile::tempdir().unwrap();
        fixture::store_flows(
            root.path(),
            "2026-11-30T00:00:00Z",
            "2026-11-30T00:05:00Z",
            3,
        );
        let mut out = Vec::new();
        let all = [
            "--no-live",
            "--since",
            "2026-11-30",
            "--until",
            "2026-12-01",
        ];
        let words = [&all[..], words].concat();
        fixture::ask_into(root.path(), &words, &mut ParquetFile::new(&mut out)).unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(out)).unwrap();
        let pairs = reader.metadata().file_metadata().key_value_metadata();
        let pairs = pairs.unwrap().clone();
        let mut batches = reader.build().unwrap();
        let first = batches.next();
        let schema = || {
            std::sync::Arc::clone(&datafusion::arrow::array::RecordBatchReader::schema(
                &batches,
            ))
        };
        let empty = RecordBatch::new_empty(schema());
        (first.map_or(empty, Result::unwrap), pairs)
    }

    fn types(batch: &RecordBatch) -> Vec<(String, DataType)> {
        let fields = batch.schema();
        let fields = fields.fields().iter();
        fields
            .map(|it| (it.name().clone(), it.data_type().clone()))
            .collect()
    }

    #[test]
    fn columns_are_typed_and_the_report_is_in_the_metadata() {
        let (batch, pairs) = read(&["--by", "time,src,dport", "--in"]);
        let found = types(&batch);
        let names: Vec<_> = found.iter().map(|(name, _)| name.as_str()).collect();
        let expected = [
            "time",
            "src_addr",
            "dst_port",
            "packets_rcvd",
            "bytes_rcvd",
            "flows",
        ];
        assert_eq!(names, expected);
        assert!(matches!(&found[0].1, DataType::Timestamp(_, Some(zone)) if &**zone == "UTC"));
        assert_eq!(found[1].1, DataType::Utf8);
        assert_eq!(
            (&found[2].1, &found[3].1),
            (&DataType::UInt16, &DataType::UInt64)
        );
        assert_eq!(batch.num_rows(), 3);
        let json = |key: &str| -> Value {
            let pair = pairs.iter().find(|pair| pair.key == key).unwrap();
            serde_json::from_str(pair.value.as_ref().unwrap()).unwrap()
        };
        assert_eq!(json("probe.completeness")["complete"], false);
        assert_eq!(json("probe.completeness")["interfaces"][0]["flows"], 3);
        assert_eq!(json("probe.totals")["packets_rcvd"], 3);
    }

    #[test]
    fn rates_are_fractions_and_an_answer_without_rows_has_its_columns() {
        let (batch, _) = read(&["--by", "iface", "--rate", "--sum"]);
        let found = types(&batch);
        assert_eq!(found[2], ("bits_per_second".to_owned(), DataType::Float64));
        let rates = batch
            .column(2)
            .as_primitive::<datafusion::arrow::datatypes::Float64Type>();
        assert!((rates.value(0) - 8.0).abs() < 1e-9, "300 octets in 300 s");
        let (none, pairs) = read(&["--by", "src", "dst", "host", "192.0.2.9"]);
        assert_eq!((none.num_rows(), none.num_columns()), (0, 6));
        assert!(pairs.iter().any(|pair| pair.key == "probe.completeness"));
    }
}
