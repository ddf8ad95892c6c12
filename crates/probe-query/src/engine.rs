//! DataFusion, as far as we use it: one table of files whose footers were read, bounded memory.

mod bucket;
mod reader;
mod runs;
mod selected;
mod table;

use std::sync::Arc;

use datafusion::{
    execution::{
        context::SessionContext,
        disk_manager::DiskManagerBuilder,
        memory_pool::{FairSpillPool, TrackConsumersPool},
        runtime_env::RuntimeEnvBuilder,
    },
    prelude::SessionConfig,
};

pub use bucket::Bucket;
pub(crate) use runs::{ROWS, added_up};
pub use selected::selected;
pub use table::FlowTable;
pub(crate) use table::{days_since_1970, flow_schema, flows};

use crate::error::QueryError;

/// How much a question may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of memory for what the engine keeps of groups and rows; beyond that it writes to disk.
    pub memory_bytes: usize,
    /// Threads that read and add up.
    pub threads: usize,
}

/// A session of the engine, with nothing in it.
///
/// # Errors
///
/// There is no place for what does not fit into memory (`TMPDIR`).
pub fn session(limits: Limits) -> Result<SessionContext, QueryError> {
    let top = std::num::NonZeroUsize::MIN;
    let pool = TrackConsumersPool::new(FairSpillPool::new(limits.memory_bytes), top);
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(pool))
        .with_disk_manager_builder(DiskManagerBuilder::default())
        .build_arc()?;
    let mut config = SessionConfig::new()
        .with_target_partitions(limits.threads)
        .with_information_schema(true);
    let options = config.options_mut();
    // Kept free for merging what was spilled, in each thread.
    options.execution.sort_spill_reservation_bytes = limits.memory_bytes / 16;
    // Only rows that pass are decoded in full.
    options.execution.parquet.pushdown_filters = true;
    options.execution.parquet.reorder_filters = true;
    Ok(SessionContext::new_with_config_rt(config, runtime))
}
