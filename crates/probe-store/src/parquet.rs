//! The Parquet sink: one row per flow, the ledger in the file's key-value metadata.
//!
//! Written with the crate's column writers, without arrow: the rows are known at compile time, and
//! arrow would double the agent's build for nothing.

pub(crate) mod schema;

use std::{fs::File, sync::Arc};

use bytes::Bytes;
use parquet::{
    basic::{Compression, ZstdLevel},
    data_type::{BoolType, ByteArray, ByteArrayType, Int32Type, Int64Type},
    errors::{ParquetError, Result},
    file::{
        metadata::KeyValue,
        properties::{EnabledStatistics, WriterProperties, WriterPropertiesPtr},
        writer::{SerializedColumnWriter, SerializedFileWriter},
    },
};

use self::schema::columns;
use crate::{address_text::push_address, host, ledger::ledger_line, options::SinkFormat};

use super::{
    Interval,
    file_sink::{EncodeError, FileFormat},
};
use probe_flow::{flow::FlowRow, schema::Read};

/// Version of the schema, under `probe.schema_version`. Grows with every change of the columns;
/// columns may be added, never renamed, removed or given another type.
pub const SCHEMA_VERSION: u32 = 3;

/// Rows per row group. Bounds the memory of the writer, which holds one row group's encoded
/// columns, and is what readers share out among their threads.
const ROWS_PER_GROUP: usize = 128 << 10;
/// Rows whose values are gathered for the encoder at a time.
const ROWS_PER_BATCH: usize = 4 << 10;

/// Files of flows with their ledger. docs/STORAGE.md describes the columns and the metadata.
pub struct Parquet {
    properties: WriterPropertiesPtr,
    /// Where many hosts' files are gathered, file and rows say whose they are.
    host: String,
}

impl Default for Parquet {
    fn default() -> Self {
        Self::new()
    }
}

impl Parquet {
    /// The format, with this host's name for the metadata.
    pub fn new() -> Self {
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_created_by(concat!("probe-agent version ", env!("CARGO_PKG_VERSION")).to_owned())
            // Minimum and maximum per row group let readers skip; per page they would only bloat
            // the many small files.
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_offset_index_disabled(true);
        Self {
            properties: Arc::new(properties.build()),
            host: host::name(),
        }
    }

    fn write(&self, interval: &Interval, file: &mut File) -> Result<()> {
        let properties = Arc::clone(&self.properties);
        let mut writer = SerializedFileWriter::new(file, schema::message_type(&[])?, properties)?;
        let mut rows = interval.flows.rows();
        let mut group = Vec::with_capacity(interval.flows.len().min(ROWS_PER_GROUP));
        loop {
            group.clear();
            group.extend(rows.by_ref().take(ROWS_PER_GROUP));
            if group.is_empty() {
                break;
            }
            // Neighbours that are alike compress, and readers skip by address.
            group.sort_unstable_by_key(|row| {
                (
                    row.src_addr,
                    row.dst_addr,
                    row.ip_protocol,
                    row.dst_port,
                    row.src_port,
                )
            });
            self.write_group(&mut writer, interval, &group)?;
        }
        for (key, value) in self.metadata(interval)? {
            writer.append_key_value_metadata(KeyValue::new(format!("probe.{key}"), value));
        }
        writer.close()?;
        Ok(())
    }

    fn write_group(
        &self,
        writer: &mut SerializedFileWriter<&mut File>,
        interval: &Interval,
        rows: &[FlowRow],
    ) -> Result<()> {
        let shared = Shared {
            interval,
            host: ByteArray::from(self.host.as_bytes().to_vec()),
        };
        let mut group = writer.next_row_group()?;
        for field in columns() {
            let Some(mut column_writer) = group.next_column()? else {
                return Err(ParquetError::General(
                    "the schema lacks a column".to_owned(),
                ));
            };
            for batch in rows.chunks(ROWS_PER_BATCH) {
                write_batch(&mut column_writer, field.read, &shared, batch)?;
            }
            column_writer.close()?;
        }
        group.close()?;
        Ok(())
    }

    fn metadata(&self, interval: &Interval) -> Result<[(&'static str, String); 7]> {
        let ledger = serde_json::to_string(&ledger_line(interval))
            .map_err(|error| ParquetError::External(Box::new(error)))?;
        Ok([
            ("schema_version", SCHEMA_VERSION.to_string()),
            ("agent_version", env!("CARGO_PKG_VERSION").to_owned()),
            ("host", self.host.clone()),
            ("iface", interval.iface.to_string()),
            ("interval_start", interval.start.to_string()),
            ("interval_end", interval.end.to_string()),
            ("ledger", ledger),
        ])
    }
}

impl FileFormat for Parquet {
    const FORMAT: SinkFormat = SinkFormat::Parquet;
    const EXTENSION: &'static str = "parquet";

    fn encode(&self, interval: &Interval, file: &mut File) -> std::result::Result<(), EncodeError> {
        self.write(interval, file).map_err(|error| match error {
            ParquetError::External(source) => match source.downcast::<std::io::Error>() {
                Ok(source) => EncodeError::Io(*source),
                Err(source) => EncodeError::Format(source),
            },
            other => EncodeError::Format(Box::new(other)),
        })
    }
}

/// What all rows of a file share.
struct Shared<'a> {
    interval: &'a Interval,
    host: ByteArray,
}

fn write_batch(
    writer: &mut SerializedColumnWriter<'_>,
    read: Read,
    shared: &Shared<'_>,
    rows: &[FlowRow],
) -> Result<()> {
    match read {
        Read::Bool(value) => {
            let values: Vec<_> = rows.iter().map(value).collect();
            writer
                .typed::<BoolType>()
                .write_batch(&values, None, None)?;
        }
        Read::U8(value) => {
            let values: Vec<_> = rows.iter().map(|row| i32::from(value(row))).collect();
            writer
                .typed::<Int32Type>()
                .write_batch(&values, None, None)?;
        }
        Read::U16(value) => {
            let values: Vec<_> = rows.iter().map(|row| i32::from(value(row))).collect();
            writer
                .typed::<Int32Type>()
                .write_batch(&values, None, None)?;
        }
        Read::U64(value) => {
            // Unsigned values are stored by their bits, as the logical type says.
            let values: Vec<_> = rows.iter().map(|row| value(row).cast_signed()).collect();
            writer
                .typed::<Int64Type>()
                .write_batch(&values, None, None)?;
        }
        Read::Bound(value) => {
            let values = vec![value(&shared.interval.bounds()).as_microsecond(); rows.len()];
            writer
                .typed::<Int64Type>()
                .write_batch(&values, None, None)?;
        }
        Read::Tick(value) => {
            let time = |row| {
                shared
                    .interval
                    .tick_clock
                    .time_of(value(row))
                    .as_microsecond()
            };
            let values: Vec<_> = rows.iter().map(time).collect();
            writer
                .typed::<Int64Type>()
                .write_batch(&values, None, None)?;
        }
        // The encoder finds the one value of the column in its dictionary again and again.
        Read::Host => {
            let values = vec![shared.host.clone(); rows.len()];
            writer
                .typed::<ByteArrayType>()
                .write_batch(&values, None, None)?;
        }
        // Not a column.
        Read::Iface => {
            let iface = ByteArray::from(shared.interval.iface.as_bytes().to_vec());
            let values = vec![iface; rows.len()];
            writer
                .typed::<ByteArrayType>()
                .write_batch(&values, None, None)?;
        }
        Read::Name(value) => {
            let name = |row| ByteArray::from(Bytes::from_static(value(row).as_bytes()));
            let values: Vec<_> = rows.iter().map(name).collect();
            writer
                .typed::<ByteArrayType>()
                .write_batch(&values, None, None)?;
        }
        Read::Address(value) => {
            let values = addresses(rows, value);
            writer
                .typed::<ByteArrayType>()
                .write_batch(&values, None, None)?;
        }
    }
    Ok(())
}

/// Formats all addresses into one buffer and shares it out.
fn addresses(rows: &[FlowRow], value: fn(&FlowRow) -> std::net::IpAddr) -> Vec<ByteArray> {
    let mut text = Vec::with_capacity(rows.len() * "198.18.100.200".len());
    let ends: Vec<_> = rows
        .iter()
        .map(|row| {
            push_address(&mut text, value(row));
            text.len()
        })
        .collect();
    let text = Bytes::from(text);
    let mut start = 0;
    let slice = |end| {
        let address = text.slice(start..end);
        start = end;
        address.into()
    };
    ends.into_iter().map(slice).collect()
}

#[cfg(test)]
mod tests;
