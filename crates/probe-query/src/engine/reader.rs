//! How the engine reads files: plain reads of the local disk, and the footers that were read before.

use std::{fs::File, io, ops::Range, os::unix::fs::FileExt, sync::Arc};

use bytes::Bytes;
use datafusion::{
    common::{Result, exec_err},
    datasource::{listing::PartitionedFile, physical_plan::ParquetFileReaderFactory},
    parquet::{
        arrow::{arrow_reader::ArrowReaderOptions, async_reader::AsyncFileReader},
        errors::ParquetError,
        file::metadata::ParquetMetaData,
    },
    physical_plan::metrics::ExecutionPlanMetricsSet,
};
use futures_util::{FutureExt, future::BoxFuture};

use crate::{footer::ReadFile, progress::Progress};

/// The number of a file among those of the question.
#[derive(Clone, Copy, Debug)]
pub(super) struct Number(pub(super) usize);

/// Opens the files of a question.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) files: Arc<[ReadFile]>,
    pub(super) progress: Progress,
}

impl ParquetFileReaderFactory for Files {
    fn create_reader(
        &self,
        _partition: usize,
        file: PartitionedFile,
        _hint: Option<usize>,
        _metrics: &ExecutionPlanMetricsSet,
    ) -> Result<Box<dyn AsyncFileReader + Send>> {
        let number = file.extension::<Number>().map(|number| number.0);
        let Some(file) = number.and_then(|number| self.files.get(number)) else {
            return exec_err!("a file that is none of the question");
        };
        self.progress.step();
        Ok(Box::new(Reader {
            file: file.clone(),
            handle: None,
        }))
    }
}

/// One file, opened when its first bytes are wanted.
struct Reader {
    file: ReadFile,
    handle: Option<File>,
}

impl Reader {
    fn read(&mut self, range: Range<u64>) -> io::Result<Bytes> {
        let length =
            usize::try_from(range.end.saturating_sub(range.start)).map_err(io::Error::other)?;
        let handle = match &mut self.handle {
            Some(handle) => handle,
            none => none.insert(File::open(&self.file.file.path)?),
        };
        let mut octets = vec![0; length];
        handle.read_exact_at(&mut octets, range.start)?;
        Ok(octets.into())
    }
}

fn told(error: io::Error) -> ParquetError {
    ParquetError::External(Box::new(error))
}

impl AsyncFileReader for Reader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, ParquetError>> {
        std::future::ready(self.read(range).map_err(told)).boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        _options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>, ParquetError>> {
        std::future::ready(Ok(Arc::clone(&self.file.metadata))).boxed()
    }
}
