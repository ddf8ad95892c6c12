//! Streams whose drain thread asks again and again, since nothing wakes it when records come.

use std::{thread, time::Duration};

use probe_common::record::Record;

use super::{Drained, RecordStream, SourceError, Waker};

/// The longest sleep of a thread whose stream has no waker of its own.
const PARK_AT_MOST: Duration = Duration::from_millis(5);

/// Parks the thread for up to 5 ms if its last drain handed over no record: the
/// [`RecordStream::wait`] of a stream without a [`RecordStream::waker`].
pub fn park_if_idle(records: usize) {
    if records == 0 {
        thread::park_timeout(PARK_AT_MOST);
    }
}

/// A stream made of a function alone, which does what [`RecordStream::drain`] says. It needs nothing
/// of its thread, parks it between two calls, and keeps no records back.
pub struct PolledStream<F>(F);

impl<F> PolledStream<F>
where
    F: FnMut(&mut dyn FnMut(&[Record<'_>])) -> Result<Drained, SourceError> + Send,
{
    /// The stream of what this function hands over.
    pub const fn new(drain: F) -> Self {
        Self(drain)
    }
}

impl<F> RecordStream for PolledStream<F>
where
    F: FnMut(&mut dyn FnMut(&[Record<'_>])) -> Result<Drained, SourceError> + Send,
{
    fn drain(&mut self, handle: &mut dyn FnMut(&[Record<'_>])) -> Result<Drained, SourceError> {
        (self.0)(handle)
    }

    fn on_thread_start(&mut self) {}

    fn wait(&mut self, records: usize) {
        park_if_idle(records);
    }

    fn waker(&self) -> Option<Waker> {
        None
    }

    fn drain_closed(
        &mut self,
        _bank: u8,
        _handle: &mut dyn FnMut(&[Record<'_>]),
    ) -> Result<(), SourceError> {
        Ok(())
    }
}
