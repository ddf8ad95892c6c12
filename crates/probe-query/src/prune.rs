//! Which row groups and pages of a file may have rows that pass, by what the file says of them.
//!
//! The engine skips by conditions on one column. `host` asks for either end of a flow, and most questions of
//! people are about a host: so this looks at the filter as a whole, at minimum and maximum of row groups and
//! pages, and at the Bloom filters of addresses. What it leaves is asked row by row by the engine.

mod bounds;
mod may;

use std::{fs::File, sync::Arc};

use datafusion::{
    datasource::physical_plan::parquet::{ParquetAccessPlan, RowGroupAccess},
    parquet::{
        arrow::arrow_reader::{RowSelection, RowSelector},
        file::metadata::{
            ColumnChunkMetaData, PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader,
            RowGroupMetaData,
        },
    },
};
use probe_flow::filter::Filter;

use self::{
    bounds::{OfPages, OfRowGroup},
    may::may_pass,
};
use crate::{footer::ReadFile, parallel, progress::Progress, time::Range};

/// Columns that it looks at.
const COLUMNS: [&str; 8] = [
    "src_addr",
    "dst_addr",
    "src_port",
    "dst_port",
    "ip_protocol",
    "ip_version",
    "interval_start",
    "interval_end",
];

/// What rows have to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) filter: &'a Filter,
    /// Intervals that are asked for, unless all of the files are.
    pub(crate) range: Option<Range>,
}

/// A part of a file.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    /// The file, whose metadata has the row groups of the part alone.
    pub(crate) file: ReadFile,
    /// Which rows of these are of the part.
    pub(crate) plan: ParquetAccessPlan,
}

/// The parts of files that may have rows that are asked for.
pub(crate) fn parts(files: &[ReadFile], asked: Asked<'_>, progress: &Progress) -> Vec<Part> {
    let is_all = asked.filter.is_empty() && asked.range.is_none();
    let parts = parallel::map(files.len(), |number| {
        let file = &files[number];
        if is_all || progress.is_cancelled() {
            return Some(whole(file.clone()));
        }
        of_file(file, asked)
    });
    parts.into_iter().flatten().collect()
}

fn whole(file: ReadFile) -> Part {
    let plan = ParquetAccessPlan::new_all(file.metadata.num_row_groups());
    Part { file, plan }
}

/// `None` if no row is asked for. What cannot be read is left to the engine, which says why.
fn of_file(file: &ReadFile, asked: Asked<'_>) -> Option<Part> {
    let filter = asked.filter.of_iface(&file.file.iface);
    let asked = Asked {
        filter: &filter,
        ..asked
    };
    let handle = File::open(&file.file.path).ok();
    let may_hold = |group: &&RowGroupMetaData| {
        let bounds = OfRowGroup {
            group,
            file: handle.as_ref(),
        };
        may_pass(asked, &bounds)
    };
    let left: Vec<_> = file
        .metadata
        .row_groups()
        .iter()
        .filter(may_hold)
        .cloned()
        .collect();
    if left.is_empty() {
        return None;
    }
    let header = file.metadata.file_metadata().clone();
    let mut file = file.clone();
    let indexed = handle.and_then(|handle| indexed(&header, &left, &handle));
    let Some(indexed) = indexed else {
        file.metadata = Arc::new(ParquetMetaData::new(header, left));
        return Some(whole(file));
    };
    let accesses = (0..left.len()).map(|number| access(&indexed, number, asked));
    let plan = ParquetAccessPlan::new(accesses.collect());
    file.metadata = Arc::new(
        ParquetMetaData::new(header, left)
            .into_builder()
            .set_offset_index(indexed.offset_index().cloned())
            .build(),
    );
    (!plan.row_group_indexes().is_empty()).then_some(Part { file, plan })
}

/// The row groups with the page index of the columns that are compared; `None` if they have none.
fn indexed(
    header: &datafusion::parquet::file::metadata::FileMetaData,
    groups: &[RowGroupMetaData],
    file: &File,
) -> Option<ParquetMetaData> {
    let without = |column: &ColumnChunkMetaData| {
        if COLUMNS.contains(&column.column_path().string().as_str()) {
            return Some(column.clone());
        }
        let builder = column.clone().into_builder();
        let builder = builder.set_column_index_offset(None);
        builder.set_column_index_length(None).build().ok()
    };
    let of_group = |group: &RowGroupMetaData| {
        let columns = group.columns().iter().map(without);
        let builder = group.clone().into_builder();
        let builder = builder.set_column_metadata(columns.collect::<Option<_>>()?);
        builder.build().ok()
    };
    let groups = groups.iter().map(of_group).collect::<Option<_>>()?;
    let metadata = ParquetMetaData::new(header.clone(), groups);
    let mut reader = ParquetMetaDataReader::new_with_metadata(metadata)
        .with_page_index_policy(PageIndexPolicy::Optional);
    reader.read_page_indexes(file).ok()?;
    let metadata = reader.finish().ok()?;
    (metadata.offset_index().is_some() && metadata.column_index().is_some()).then_some(metadata)
}

/// Which rows of a row group are asked for, as far as its pages tell.
fn access(metadata: &ParquetMetaData, number: usize, asked: Asked<'_>) -> RowGroupAccess {
    let Some(pages) = OfPages::new(metadata, number) else {
        return RowGroupAccess::Scan;
    };
    let selectors: Vec<_> = pages
        .runs()
        .map(|(rows, bounds)| {
            if may_pass(asked, &bounds) {
                RowSelector::select(rows)
            } else {
                RowSelector::skip(rows)
            }
        })
        .collect();
    if selectors.iter().all(|selector| selector.skip) {
        RowGroupAccess::Skip
    } else if selectors.iter().any(|selector| selector.skip) {
        RowGroupAccess::Selection(RowSelection::from(selectors))
    } else {
        RowGroupAccess::Scan
    }
}

#[cfg(test)]
mod tests;
