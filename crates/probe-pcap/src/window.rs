//! The part of a capture file that is in memory: what was read and not consumed yet.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
};

/// What is read at once, where there is as much.
const READ_BYTES: usize = 256 << 10;

/// Reads a file once, from its beginning, in bounded memory.
pub(super) struct Window {
    file: File,
    buffer: Vec<u8>,
    /// Where the bytes that were read and not consumed begin in `buffer`, and where they end.
    start: usize,
    end: usize,
    /// Position of `start` in the file.
    offset: u64,
    /// Where the file ends. What a writer adds meanwhile is not read.
    file_bytes: u64,
}

impl Window {
    /// At the beginning of a file of so many bytes.
    pub(super) fn new(mut file: File, file_bytes: u64) -> io::Result<Self> {
        file.rewind()?;
        Ok(Self {
            file,
            buffer: Vec::new(),
            start: 0,
            end: 0,
            offset: 0,
            file_bytes,
        })
    }

    /// Position in the file, in bytes: of what [`Self::peek`] shows.
    pub(super) const fn offset(&self) -> u64 {
        self.offset
    }

    /// Bytes from the position to the end of the file.
    pub(super) const fn remaining(&self) -> u64 {
        self.file_bytes - self.offset
    }

    /// The next `len` bytes; fewer at the end of the file. The caller bounds `len`.
    pub(super) fn peek(&mut self, len: usize) -> io::Result<&[u8]> {
        if self.end - self.start < len {
            self.fill(len)?;
        }
        let end = self.end.min(self.start + len);
        Ok(&self.buffer[self.start..end])
    }

    fn fill(&mut self, len: usize) -> io::Result<()> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if self.buffer.len() < len.max(READ_BYTES) {
            self.buffer.resize(len.max(READ_BYTES), 0);
        }
        while self.end < len {
            let unread = self.remaining() - self.end as u64;
            let room = &mut self.buffer[self.end..];
            let most = usize::try_from(unread).map_or(room.len(), |unread| unread.min(room.len()));
            match self.file.read(&mut room[..most]) {
                // At the end, also of a file that was cut meanwhile.
                Ok(0) => {
                    self.file_bytes = self.offset + self.end as u64;
                    break;
                }
                Ok(read) => self.end += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Goes on by so many bytes, of which there must be as many. Those that were not read never are.
    pub(super) fn skip(&mut self, len: u64) -> io::Result<()> {
        let buffered = (self.end - self.start) as u64;
        if let Some(unread) = len.checked_sub(buffered) {
            self.file.seek(SeekFrom::Start(self.offset + len))?;
            debug_assert!(unread <= self.file_bytes - self.offset - buffered);
            (self.start, self.end) = (0, 0);
        } else {
            // Less than what is buffered.
            self.start += usize::try_from(len).unwrap_or_default();
        }
        self.offset += len;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, io::Write};

    use super::{READ_BYTES, Window};

    fn value_at(position: usize) -> u8 {
        u8::try_from(position % 251).unwrap()
    }

    /// A file of so many bytes, each of which tells its position.
    fn file(len: usize) -> File {
        let mut file = tempfile::tempfile().unwrap();
        let bytes: Vec<_> = (0..len).map(value_at).collect();
        file.write_all(&bytes).unwrap();
        file
    }

    #[test]
    fn every_byte_is_seen_whatever_the_steps() {
        let len = 2 * READ_BYTES + 77;
        for step in [1_000, READ_BYTES - 1, READ_BYTES, READ_BYTES + 1] {
            let mut window = Window::new(file(len), len as u64).unwrap();
            let mut at = 0;
            while at < len {
                let wanted = step.min(len - at);
                let seen = window.peek(step).unwrap();
                assert_eq!(seen.len(), wanted);
                assert!(
                    seen.iter()
                        .zip(at..)
                        .all(|(byte, at)| *byte == value_at(at))
                );
                window.skip(wanted as u64).unwrap();
                at += wanted;
                assert_eq!(window.offset(), at as u64);
            }
            assert!(window.peek(1).unwrap().is_empty());
        }
    }

    #[test]
    fn what_is_skipped_takes_no_memory() {
        let len = 9 * READ_BYTES;
        let mut window = Window::new(file(len), len as u64).unwrap();
        assert_eq!(window.peek(1).unwrap(), [0]);
        window.skip(len as u64 - 1).unwrap();
        let last = value_at(len - 1);
        assert_eq!(window.peek(8).unwrap(), [last]);
        assert_eq!((window.remaining(), window.buffer.len()), (1, READ_BYTES));
    }

    #[test]
    fn a_file_that_grows_or_shrinks_ends_where_it_can() {
        let mut grown = Window::new(file(500), 400).unwrap();
        assert_eq!(grown.peek(450).unwrap().len(), 400);
        let mut shrunk = Window::new(file(300), 400).unwrap();
        assert_eq!(shrunk.peek(450).unwrap().len(), 300);
        assert_eq!(shrunk.remaining(), 300);
    }
}
