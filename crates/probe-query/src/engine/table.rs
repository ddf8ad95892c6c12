//! The files of a question as a table: the columns of the schema, with interface and day of the path.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::{
    arrow::{
        datatypes::{DataType, Field as Column, Schema, SchemaRef},
        record_batch::RecordBatch,
    },
    catalog::{Session, TableProvider},
    common::{Result, ScalarValue, project_schema},
    dataframe::DataFrame,
    datasource::{
        TableType,
        listing::PartitionedFile,
        object_store::ObjectStoreUrl,
        physical_plan::{
            FileGroup, FileScanConfigBuilder, ParquetSource, parquet::ParquetAccessPlan,
        },
        source::DataSourceExec,
        table_schema::TableSchema,
    },
    execution::context::SessionContext,
    logical_expr::{Expr, TableProviderFilterPushDown},
    physical_plan::{ExecutionPlan, empty::EmptyExec},
};
use jiff::civil::date;
use probe_flow::schema::{FIELDS, Read};

use super::{
    bucket::time_type,
    reader::{Files, Number},
};
use crate::{footer::ReadFile, progress::Progress, prune::Part};

/// The flows of files.
#[derive(Debug)]
pub struct FlowTable {
    files: Arc<[ReadFile]>,
    /// Which rows of each file, where that was decided before.
    plans: Option<Vec<ParquetAccessPlan>>,
    progress: Progress,
    schema: TableSchema,
}

impl FlowTable {
    /// The flows of these files. `progress` is told each file that is begun.
    pub fn new(files: Arc<[ReadFile]>, progress: Progress) -> Self {
        Self {
            files,
            plans: None,
            progress,
            schema: table_schema(),
        }
    }

    /// The flows of parts of files.
    pub(crate) fn of_parts(parts: Vec<Part>, progress: Progress) -> Self {
        let (files, plans): (Vec<_>, _) = parts.into_iter().map(|it| (it.file, it.plan)).unzip();
        Self {
            plans: Some(plans),
            ..Self::new(files.into(), progress)
        }
    }

    fn groups(&self) -> Vec<FileGroup> {
        let files = self.files.iter().enumerate();
        let files = files.filter(|(_, file)| file.metadata.file_metadata().num_rows() > 0);
        let files: Vec<_> = files
            .map(|(number, file)| {
                let of_path = vec![
                    ScalarValue::Utf8View(Some(file.file.iface.to_string())),
                    ScalarValue::Date32(Some(days_since_1970(file.file.date))),
                ];
                let file = PartitionedFile::new(number.to_string(), file.bytes)
                    .with_partition_values(of_path)
                    .with_extension(Number(number));
                match self.plans.as_ref().and_then(|plans| plans.get(number)) {
                    Some(plan) => file.with_extension(plan.clone()),
                    None => file,
                }
            })
            .collect();
        let is_any = !files.is_empty();
        is_any.then(|| FileGroup::new(files)).into_iter().collect()
    }
}

/// The columns of files, and those of their paths.
fn table_schema() -> TableSchema {
    let columns = FIELDS
        .iter()
        .filter(|field| field.is_column())
        .map(|field| {
            let kind = match field.read {
                Read::Bool(_) => DataType::Boolean,
                Read::U8(_) => DataType::UInt8,
                Read::U16(_) => DataType::UInt16,
                Read::U64(_) => DataType::UInt64,
                Read::Bound(_) | Read::Tick(_) => time_type(),
                Read::Host | Read::Iface | Read::Address(_) | Read::Name(_) => DataType::Utf8View,
            };
            // Files of older versions lack these.
            let may_lack = matches!(field.read, Read::Tick(_) | Read::Host);
            Column::new(field.name, kind, may_lack)
        });
    let of_path = [
        Column::new("iface", DataType::Utf8View, false),
        Column::new("date", DataType::Date32, false),
    ];
    TableSchema::builder(Arc::new(Schema::new(columns.collect::<Vec<_>>())))
        .with_table_partition_cols(of_path.map(Arc::new).to_vec())
        .build()
}

/// The columns of all flows, stored or not.
pub(crate) fn flow_schema() -> SchemaRef {
    Arc::clone(table_schema().table_schema())
}

/// Stored flows, and those of the running interval.
pub(crate) fn flows(
    context: &SessionContext,
    stored: FlowTable,
    running: Option<&RecordBatch>,
) -> Result<DataFrame> {
    let stored = context.read_table(Arc::new(stored))?;
    match running {
        Some(batch) if batch.num_rows() > 0 => stored.union(context.read_batch(batch.clone())?),
        _ => Ok(stored),
    }
}

pub(crate) fn days_since_1970(day: jiff::civil::Date) -> i32 {
    let since = day.duration_since(date(1970, 1, 1));
    i32::try_from(since.as_hours() / 24).unwrap_or(0)
}

#[async_trait]
impl TableProvider for FlowTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.schema.table_schema())
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    /// The source skips what it can, and the engine asks every row again where that was not all.
    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let groups = self.groups();
        if groups.is_empty() {
            let schema = project_schema(&self.schema(), projection)?;
            return Ok(Arc::new(EmptyExec::new(schema)));
        }
        let files = Files {
            files: Arc::clone(&self.files),
            progress: self.progress.clone(),
        };
        let mut options = state.default_table_options().parquet;
        // What these tell has told which rows are asked for.
        let is_decided = self.plans.is_some();
        options.global.enable_page_index &= !is_decided;
        options.global.bloom_filter_on_read &= !is_decided;
        let source = ParquetSource::new(self.schema.clone())
            .with_table_parquet_options(options)
            .with_parquet_file_reader_factory(Arc::new(files));
        let url = ObjectStoreUrl::local_filesystem();
        let config = FileScanConfigBuilder::new(url, Arc::new(source))
            .with_file_groups(groups)
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }
}
