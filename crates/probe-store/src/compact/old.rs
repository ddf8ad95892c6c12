//! The files of a day before it is compacted.

use std::{cell::Cell, fs::File, io};

use ::parquet::{
    errors::{ParquetError, Result as ParquetResult},
    file::reader::SerializedFileReader,
};

use super::{CompactError, merge::Sources};
use crate::{
    WriteoutError,
    file_sink::FileFormat,
    layout::FileName,
    parquet::Parquet,
    partition::{Content, Directory, Entry},
};

/// The files of a day as they were found.
pub(super) struct Old<'a> {
    pub(super) day: &'a Directory,
    pub(super) files: Vec<Entry>,
}

impl<'a> Old<'a> {
    /// `None` if a file is in the making.
    pub(super) fn find(day: &'a Directory) -> Result<Option<Self>, CompactError> {
        let content = day.content()?;
        if content.has_unfinished() {
            return Ok(None);
        }
        let Content { files, foreign } = content;
        let odd = files.iter().find(|file| !is_ours(&file.name));
        let odd = foreign.or_else(|| odd.map(|file| file.name.clone()));
        match odd {
            None => Ok(Some(Self { day, files })),
            Some(name) => Err(CompactError::Foreign {
                path: day.path().to_owned(),
                name,
            }),
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.length).sum()
    }

    /// Whether the day has these files and no others.
    pub(super) fn is_unchanged(&self) -> Result<bool, WriteoutError> {
        let content = self.day.content()?;
        Ok(content.foreign.is_none() && content.files == self.files)
    }

    /// Name of the file that holds them all. It is none of theirs: who has listed the old files must not
    /// take the new one for one of them.
    pub(super) fn name(&self) -> Option<String> {
        let names = self.files.iter();
        let names: Vec<_> = names.filter_map(|it| FileName::parse(&it.name)).collect();
        let mut name = FileName {
            end: names.iter().map(|name| name.end).max()?,
            start: names.iter().map(|name| name.start).min()?,
            serial: 0,
            extension: Parquet::EXTENSION,
        };
        while names.contains(&name) {
            name.serial += 1;
        }
        Some(name.to_string())
    }

    /// A file could not be read: it is damaged, or the disk is not well.
    pub(super) fn unreadable(&self, file: &str, source: ParquetError) -> CompactError {
        match system_error(source) {
            // What the agent may not read stays so.
            Ok(source) if source.kind() != io::ErrorKind::PermissionDenied => {
                WriteoutError::file("read", &self.day.path().join(file), source).into()
            }
            Ok(source) => self.unreadable_for(file, ParquetError::External(Box::new(source))),
            Err(source) => self.unreadable_for(file, source),
        }
    }

    fn unreadable_for(&self, file: &str, source: ParquetError) -> CompactError {
        CompactError::Unreadable {
            path: self.day.path().to_owned(),
            file: file.to_owned(),
            source,
        }
    }
}

/// The error of the system behind one of the decoder. Decompression has errors of the same type, which
/// say that a page is damaged.
pub(super) fn system_error(error: ParquetError) -> Result<io::Error, ParquetError> {
    let ParquetError::External(source) = error else {
        return Err(error);
    };
    match source.downcast::<io::Error>() {
        Ok(source) if source.raw_os_error().is_some() => Ok(*source),
        Ok(source) => Err(ParquetError::External(source)),
        Err(source) => Err(ParquetError::External(source)),
    }
}

/// The old files, and which of them was opened last: the one that an error is about.
pub(super) struct Opened<'a> {
    pub(super) old: &'a Old<'a>,
    pub(super) last: Cell<usize>,
}

impl Sources for Opened<'_> {
    fn number(&self) -> usize {
        self.old.files.len()
    }

    fn open(&self, index: usize) -> ParquetResult<SerializedFileReader<File>> {
        self.last.set(index);
        let file = self.old.day.open_file(&self.old.files[index].name);
        SerializedFileReader::new(file.map_err(io::Error::from)?)
    }
}

pub(super) fn is_ours(name: &str) -> bool {
    FileName::parse(name).is_some_and(|name| name.extension == Parquet::EXTENSION)
}
