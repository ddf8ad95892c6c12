//! Rows as they are in a compacted file: in which order, and how they are encoded.

use std::fs::File;

use parquet::{
    basic::{Compression, Encoding, ZstdLevel},
    data_type::{BoolType, ByteArrayType, Int32Type, Int64Type},
    errors::{ParquetError, Result},
    file::{
        properties::{EnabledStatistics, WriterProperties},
        writer::{SerializedColumnWriter, SerializedFileWriter},
    },
    schema::types::ColumnPath,
};

use super::{
    plan::Plan,
    table::{Column, Digest, Table, Values},
};

/// Rows per row group. Readers skip row groups by minimum, maximum and Bloom filter.
const ROWS_PER_GROUP: usize = 32 << 10;
/// Rows per page, which readers with the page index skip. Pages of 16,384 rows would save 1.3 % of the bytes.
const ROWS_PER_PAGE: usize = 4 << 10;
/// Rows whose values are gathered for the encoder at a time.
const ROWS_PER_BATCH: usize = 4 << 10;
/// Level of zstd. Higher ones save little and cost much.
const ZSTD_LEVEL: i32 = 3;

/// Rows of a part are sorted by these columns. Parts follow each other in time. So a client is in few pages
/// of each part, the rows of a conversation are neighbours, and a time is in few parts. A port is in many row
/// groups, but its column is the cheapest to read: with ports first, a client was in a third of all pages.
const ORDER: [&str; 6] = [
    "src_addr",
    "dst_addr",
    "dst_port",
    "ip_protocol",
    "src_port",
    "interval_start",
];
/// Columns of many values: zstd sees more in them where octets of the same weight are neighbours.
const SPLIT_COLUMNS: [&str; 7] = [
    "packets_rcvd",
    "packets_sent",
    "bytes_rcvd",
    "bytes_sent",
    "first_seen",
    "last_seen",
    "src_port",
];
/// Columns of whose values minimum and maximum say little.
const BLOOM_COLUMNS: [&str; 2] = ["src_addr", "dst_addr"];
/// Columns that readers skip pages by. Of the others minimum and maximum of a page say little: they have those of row
/// groups.
const PAGE_INDEXED_COLUMNS: [&str; 8] = [
    "interval_start",
    "interval_end",
    "ip_version",
    "ip_protocol",
    "src_addr",
    "src_port",
    "dst_addr",
    "dst_port",
];
/// Share of the row groups without a value that its Bloom filter does not exclude.
const BLOOM_FALSE_POSITIVES: f64 = 0.01;

pub(super) fn properties() -> Result<WriterProperties> {
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL)?))
        .set_created_by(concat!("probe-agent version ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_data_page_row_count_limit(ROWS_PER_PAGE)
        .set_write_batch_size(ROWS_PER_BATCH);
    for name in SPLIT_COLUMNS {
        let path = ColumnPath::from(name);
        properties = properties
            .set_column_dictionary_enabled(path.clone(), false)
            .set_column_encoding(path, Encoding::BYTE_STREAM_SPLIT);
    }
    for name in PAGE_INDEXED_COLUMNS {
        let path = ColumnPath::from(name);
        properties = properties.set_column_statistics_enabled(path, EnabledStatistics::Page);
    }
    for name in BLOOM_COLUMNS {
        properties =
            properties.set_column_bloom_filter_fpp(ColumnPath::from(name), BLOOM_FALSE_POSITIVES);
    }
    Ok(properties.build())
}

/// Writes the rows, sorted.
pub(super) fn flush(
    table: &Table,
    plan: &Plan,
    writer: &mut SerializedFileWriter<&mut File>,
) -> Result<Digest> {
    let order = sorted(table);
    // Groups of the same size.
    let groups = order.len().div_ceil(ROWS_PER_GROUP).max(1);
    for rows in order.chunks(order.len().div_ceil(groups).max(1)) {
        let mut group = writer.next_row_group()?;
        for column in &table.columns {
            let Some(mut column_writer) = group.next_column()? else {
                return Err(ParquetError::General(
                    "the schema lacks a column".to_owned(),
                ));
            };
            let is_optional = plan.optional.contains(&column.name);
            for batch in rows.chunks(ROWS_PER_BATCH) {
                write_batch(&mut column_writer, table, column, is_optional, batch)?;
            }
            column_writer.close()?;
        }
        group.close()?;
    }
    Ok(table.digest())
}

/// Numbers of the rows, in the order of the file.
fn sorted(table: &Table) -> Vec<u32> {
    let ranks = table.texts.ranks();
    let mut rows: Vec<([u64; ORDER.len()], u32)> = (0..table.rows)
        .map(|row| ([0; ORDER.len()], u32::try_from(row).unwrap_or(u32::MAX)))
        .collect();
    for (place, name) in ORDER.into_iter().enumerate() {
        let Some(column) = table.columns.iter().find(|column| column.name == name) else {
            continue;
        };
        for (row, (key, _)) in rows.iter_mut().enumerate() {
            key[place] = match &column.values {
                _ if column.is_null(row) => 0,
                Values::Bool(values) => values[row].into(),
                Values::Int32(values) => values[row].cast_unsigned().into(),
                Values::Int64(values) => values[row].cast_unsigned(),
                Values::Text(values) => ranks[values[row] as usize].into(),
            };
        }
    }
    rows.sort_unstable();
    rows.into_iter().map(|(_, row)| row).collect()
}

fn write_batch(
    writer: &mut SerializedColumnWriter<'_>,
    table: &Table,
    column: &Column,
    is_optional: bool,
    rows: &[u32],
) -> Result<()> {
    let levels: Option<Vec<i16>> = is_optional.then(|| {
        let level = |row: &u32| i16::from(!column.is_null(*row as usize));
        rows.iter().map(level).collect()
    });
    let levels = levels.as_deref();
    // Nulls have no values.
    let rows = rows.iter().map(|row| *row as usize);
    let rows = rows.filter(|row| !column.is_null(*row));
    match &column.values {
        Values::Bool(values) => {
            let batch: Vec<_> = rows.map(|row| values[row]).collect();
            let writer = writer.typed::<BoolType>();
            writer.write_batch(&batch, levels, None)
        }
        Values::Int32(values) => {
            let batch: Vec<_> = rows.map(|row| values[row]).collect();
            let writer = writer.typed::<Int32Type>();
            writer.write_batch(&batch, levels, None)
        }
        Values::Int64(values) => {
            let batch: Vec<_> = rows.map(|row| values[row]).collect();
            let writer = writer.typed::<Int64Type>();
            writer.write_batch(&batch, levels, None)
        }
        Values::Text(values) => {
            let text = |row: usize| table.texts.get(values[row]).clone();
            let batch: Vec<_> = rows.map(text).collect();
            let writer = writer.typed::<ByteArrayType>();
            writer.write_batch(&batch, levels, None)
        }
    }
    .map(drop)
}
