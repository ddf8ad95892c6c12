//! Minimum and maximum of columns, over row groups and over pages.

use std::fs::File;

use datafusion::parquet::{
    bloom_filter::Sbbf,
    file::{
        metadata::{ColumnChunkMetaData, ParquetMetaData, RowGroupMetaData},
        page_index::{column_index::ColumnIndexMetaData, offset_index::PageLocation},
        statistics::Statistics,
    },
};

use super::{COLUMNS, may::Bounds};

/// A row group, with the file that has its Bloom filters.
pub(super) struct OfRowGroup<'a> {
    pub(super) group: &'a RowGroupMetaData,
    /// Where its Bloom filters are.
    pub(super) file: Option<&'a File>,
}

impl OfRowGroup<'_> {
    fn column(&self, name: &str) -> Option<&ColumnChunkMetaData> {
        let mut columns = self.group.columns().iter();
        columns.find(|column| column.column_path().parts() == [name])
    }
}

impl Bounds for OfRowGroup<'_> {
    fn texts(&self, column: &str) -> Option<(&[u8], &[u8])> {
        let statistics = self.column(column)?.statistics()?;
        Some((statistics.min_bytes_opt()?, statistics.max_bytes_opt()?))
    }

    fn numbers(&self, column: &str) -> Option<(i64, i64)> {
        match self.column(column)?.statistics()? {
            Statistics::Int32(of) => Some(((*of.min_opt()?).into(), (*of.max_opt()?).into())),
            Statistics::Int64(of) => Some((*of.min_opt()?, *of.max_opt()?)),
            _ => None,
        }
    }

    fn may_have(&self, column: &str, text: &str) -> bool {
        let chunk = self.column(column).zip(self.file);
        let filter = chunk
            .and_then(|(chunk, file)| Sbbf::read_from_column_chunk(chunk, file).ok().flatten());
        filter.is_none_or(|filter| filter.check(text))
    }
}

/// The pages of a row group. Those of one column need not begin where those of another do.
pub(super) struct OfPages<'a> {
    columns: Vec<(&'static str, &'a ColumnIndexMetaData, &'a [PageLocation])>,
    rows: usize,
}

/// Rows that lie in one page of each column.
pub(super) struct Run<'a> {
    pages: &'a OfPages<'a>,
    first: usize,
}

impl<'a> OfPages<'a> {
    /// `None` if no column has an index.
    pub(super) fn new(metadata: &'a ParquetMetaData, group: usize) -> Option<Self> {
        let indexes = metadata.column_index()?.get(group)?;
        let locations = metadata.offset_index()?.get(group)?;
        let group = metadata.row_groups().get(group)?;
        let mut columns = Vec::new();
        for (place, column) in group.columns().iter().enumerate() {
            let name = COLUMNS
                .into_iter()
                .find(|name| column.column_path().parts() == [*name]);
            let index = indexes.get(place)?;
            // An index that is none does not tell how many pages it has.
            let is_indexed = !matches!(index, ColumnIndexMetaData::NONE);
            if let (Some(name), true) = (name, is_indexed) {
                columns.push((name, index, &**locations.get(place)?.page_locations()));
            }
        }
        let rows = usize::try_from(group.num_rows()).ok()?;
        (!columns.is_empty()).then_some(Self { columns, rows })
    }

    /// Runs in order, each with its number of rows.
    pub(super) fn runs(&'a self) -> impl Iterator<Item = (usize, Run<'a>)> {
        let pages = self.columns.iter().flat_map(|(.., pages)| pages.iter());
        let first = |page: &PageLocation| usize::try_from(page.first_row_index).unwrap_or(0);
        let mut starts: Vec<_> = pages.map(first).chain([0]).collect();
        starts.sort_unstable();
        starts.dedup();
        let ends: Vec<_> = starts.iter().copied().skip(1).chain([self.rows]).collect();
        let runs = starts.into_iter().zip(ends);
        runs.map(|(first, end)| {
            let run = Run { pages: self, first };
            (end.saturating_sub(first), run)
        })
    }
}

impl<'a> Run<'a> {
    /// The page of the column in which the run lies.
    fn page(&self, name: &str) -> Option<(&'a ColumnIndexMetaData, usize)> {
        let mut columns = self.pages.columns.iter();
        let (_, index, pages) = columns.find(|(column, ..)| *column == name)?;
        let begun = |page: &PageLocation| {
            usize::try_from(page.first_row_index).is_ok_and(|first| first <= self.first)
        };
        Some((index, pages.partition_point(begun).checked_sub(1)?))
    }
}

impl Bounds for Run<'_> {
    fn texts(&self, column: &str) -> Option<(&[u8], &[u8])> {
        let (index, page) = self.page(column)?;
        match index {
            ColumnIndexMetaData::BYTE_ARRAY(index) => {
                Some((index.min_value(page)?, index.max_value(page)?))
            }
            _ => None,
        }
    }

    fn numbers(&self, column: &str) -> Option<(i64, i64)> {
        let (index, page) = self.page(column)?;
        match index {
            ColumnIndexMetaData::INT32(index) => Some((
                (*index.min_value(page)?).into(),
                (*index.max_value(page)?).into(),
            )),
            ColumnIndexMetaData::INT64(index) => {
                Some((*index.min_value(page)?, *index.max_value(page)?))
            }
            _ => None,
        }
    }

    fn may_have(&self, _column: &str, _text: &str) -> bool {
        true
    }
}
