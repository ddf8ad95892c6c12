//! Rows of stored files in memory, column by column, to be sorted and written again.

use parquet::{
    basic::{ConvertedType, Repetition, Type as PhysicalType},
    column::reader::{ColumnReaderImpl, get_typed_column_reader},
    data_type::{BoolType, ByteArray, ByteArrayType, DataType, Int32Type, Int64Type},
    errors::{ParquetError, Result},
    file::{metadata::FileMetaData, reader::RowGroupReader},
};

use super::texts::{NO_TEXT, Texts};
use crate::parquet::schema::{columns, types};

/// Rows that are read at a time.
const ROWS_PER_BATCH: usize = 8 << 10;

/// Some rows of a day.
pub(super) struct Table {
    pub(super) columns: Vec<Column>,
    pub(super) texts: Texts,
    pub(super) rows: usize,
}

/// A column of the schema.
pub(super) struct Column {
    pub(super) name: &'static str,
    pub(super) values: Values,
    /// Which rows have no value, as far as there are any: files of an older schema lack the column.
    nulls: Vec<bool>,
}

/// Values of a column, one for each row. Where a row has none the value means nothing.
pub(super) enum Values {
    Bool(Vec<bool>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    /// Numbers of the texts, as [`Texts`] gives them.
    Text(Vec<u32>),
}

/// What tells rows from other rows, in whatever order they are: their number and sums over hashes of
/// each.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Digest {
    pub(super) rows: u64,
    sums: [u64; 2],
}

impl Digest {
    pub(super) const fn add(&mut self, other: Self) {
        self.rows += other.rows;
        self.sums[0] = self.sums[0].wrapping_add(other.sums[0]);
        self.sums[1] = self.sums[1].wrapping_add(other.sums[1]);
    }
}

/// SplitMix64's finish: a change of any bit changes half of all.
const fn mixed(mut bits: u64) -> u64 {
    bits = bits.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

impl Table {
    pub(super) fn new() -> Self {
        let columns = columns().map(|field| Column {
            name: field.name,
            values: match types(field.read).0 {
                PhysicalType::BOOLEAN => Values::Bool(Vec::new()),
                PhysicalType::INT32 => Values::Int32(Vec::new()),
                PhysicalType::INT64 => Values::Int64(Vec::new()),
                _ => Values::Text(Vec::new()),
            },
            nulls: Vec::new(),
        });
        Self {
            columns: columns.collect(),
            texts: Texts::default(),
            rows: 0,
        }
    }

    /// Forgets the rows, and keeps the memory of the columns.
    pub(super) fn clear(&mut self) {
        for column in &mut self.columns {
            column.nulls.clear();
            match &mut column.values {
                Values::Bool(values) => values.clear(),
                Values::Int32(values) => values.clear(),
                Values::Int64(values) => values.clear(),
                Values::Text(values) => values.clear(),
            }
        }
        self.texts = Texts::default();
        self.rows = 0;
    }

    /// Adds the rows of a row group whose file [has our columns](check_columns).
    pub(super) fn read(&mut self, group: &dyn RowGroupReader) -> Result<()> {
        let metadata = group.metadata();
        let rows = usize::try_from(metadata.num_rows())
            .map_err(|error| ParquetError::External(Box::new(error)))?;
        for column in &mut self.columns {
            let place = metadata
                .columns()
                .iter()
                .position(|chunk| chunk.column_path().string() == column.name);
            let Some(place) = place else {
                column.append_nulls(self.rows, rows);
                continue;
            };
            let nulls = NullsOf {
                before: self.rows,
                is_optional: metadata.column(place).column_descr().max_def_level() > 0,
                nulls: &mut column.nulls,
            };
            let reader = group.get_column_reader(place)?;
            match &mut column.values {
                Values::Bool(values) => {
                    let reader = get_typed_column_reader::<BoolType>(reader);
                    read_column(reader, rows, nulls, false, |value| Ok(*value), values)
                }
                Values::Int32(values) => {
                    let reader = get_typed_column_reader::<Int32Type>(reader);
                    read_column(reader, rows, nulls, 0, |value| Ok(*value), values)
                }
                Values::Int64(values) => {
                    let reader = get_typed_column_reader::<Int64Type>(reader);
                    read_column(reader, rows, nulls, 0, |value| Ok(*value), values)
                }
                Values::Text(values) => {
                    let reader = get_typed_column_reader::<ByteArrayType>(reader);
                    let texts = &mut self.texts;
                    let mut last = (ByteArray::from(Vec::new()), texts.number(&"".into())?);
                    // Neighbours are alike.
                    let number = |text: &ByteArray| {
                        if last.0.data() != text.data() {
                            last = (text.clone(), texts.number(text)?);
                        }
                        Ok(last.1)
                    };
                    read_column(reader, rows, nulls, NO_TEXT, number, values)
                }
            }?;
        }
        self.rows += rows;
        Ok(())
    }

    pub(super) fn digest(&self) -> Digest {
        let texts = self.texts.hashes();
        let mut hashes = vec![0_u64; self.rows];
        for column in &self.columns {
            let each = hashes.iter_mut().enumerate();
            each.for_each(|(row, hash)| {
                let value = match &column.values {
                    _ if column.is_null(row) => 0x6e75_6c6c,
                    Values::Bool(values) => u64::from(values[row]),
                    Values::Int32(values) => u64::from(values[row].cast_unsigned()),
                    Values::Int64(values) => values[row].cast_unsigned(),
                    Values::Text(values) => texts[values[row] as usize],
                };
                *hash = mixed(*hash ^ value);
            });
        }
        let mut digest = Digest::default();
        for hash in hashes {
            digest.add(Digest {
                rows: 1,
                sums: [hash, mixed(hash)],
            });
        }
        digest
    }
}

impl Column {
    pub(super) fn is_null(&self, row: usize) -> bool {
        self.nulls.get(row).copied().unwrap_or(false)
    }

    fn append_nulls(&mut self, before: usize, rows: usize) {
        self.nulls.resize(before, false);
        self.nulls.resize(before + rows, true);
        match &mut self.values {
            Values::Bool(values) => values.resize(before + rows, false),
            Values::Int32(values) => values.resize(before + rows, 0),
            Values::Int64(values) => values.resize(before + rows, 0),
            Values::Text(values) => values.resize(before + rows, NO_TEXT),
        }
    }
}

/// Where the nulls of a column that is read go.
struct NullsOf<'a> {
    before: usize,
    is_optional: bool,
    nulls: &'a mut Vec<bool>,
}

fn read_column<T: DataType, V: Copy>(
    mut reader: ColumnReaderImpl<T>,
    rows: usize,
    nulls: NullsOf<'_>,
    no_value: V,
    mut convert: impl FnMut(&T::T) -> Result<V>,
    into: &mut Vec<V>,
) -> Result<()> {
    let NullsOf {
        before,
        is_optional,
        nulls,
    } = nulls;
    let mut left = rows;
    let (mut levels, mut values) = (Vec::new(), Vec::with_capacity(ROWS_PER_BATCH.min(rows)));
    into.reserve(rows);
    while left > 0 {
        levels.clear();
        values.clear();
        let asked = left.min(ROWS_PER_BATCH);
        let wanted_levels = is_optional.then_some(&mut levels);
        let (read, ..) = reader.read_records(asked, wanted_levels, None, &mut values)?;
        if read == 0 {
            return Err(ParquetError::EOF("a column has too few rows".to_owned()));
        }
        if values.len() == read {
            for value in &values {
                into.push(convert(value)?);
            }
        } else {
            nulls.resize(before + rows - left, false);
            let mut values = values.iter();
            for level in &levels {
                let value = if *level > 0 { values.next() } else { None };
                nulls.push(value.is_none());
                into.push(value.map_or(Ok(no_value), &mut convert)?);
            }
        }
        left -= read;
    }
    Ok(())
}

/// Whether the file has no columns but those of the schema, of their types. Returns those it lacks,
/// or in which it may lack values.
pub(super) fn check_columns(file: &FileMetaData) -> Result<Vec<&'static str>> {
    let found = file.schema_descr().columns();
    for column in found {
        let ours = columns().find(|field| field.name == column.path().string());
        let is_ours = ours.is_some_and(|field| {
            let (physical, logical) = types(field.read);
            // Files that another program has written again may have the older of both notations.
            let is_same = match column.logical_type_ref() {
                Some(found) => logical.as_ref() == Some(found),
                None => ConvertedType::from(logical) == column.converted_type(),
            };
            column.max_rep_level() == 0 && physical == column.physical_type() && is_same
        });
        if !is_ours {
            return Err(ParquetError::General(format!(
                "this version does not know its column {}",
                column.path()
            )));
        }
    }
    let may_lack = |name: &str| {
        let column = found.iter().find(|column| column.path().string() == name);
        column.is_none_or(|column| {
            column.self_type().get_basic_info().repetition() != Repetition::REQUIRED
        })
    };
    Ok(columns()
        .map(|field| field.name)
        .filter(|name| may_lack(name))
        .collect())
}
