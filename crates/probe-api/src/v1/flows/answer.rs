//! Flows as JSON, written piece by piece: a hundred thousand of them are 40 MB as text.

use std::vec;

use axum::body::{Body, Bytes};
use futures_util::{
    StreamExt,
    stream::{iter, unfold},
};
use serde::Serialize;
use tokio::task::yield_now;

use super::{
    LiveFlow,
    top::{Ranked, Selected},
};
use crate::shares::Memory;
use probe_flow::ticks::TickClock;

/// Octets of a piece, or a flow more.
const PIECE: usize = 32 << 10;

/// What is left to write of an answer, as [`super::Flows`] and others have it.
pub(super) struct Pieces {
    /// Text that is not given out.
    text: Vec<u8>,
    rows: Option<vec::IntoIter<Ranked>>,
    is_first: bool,
    behind: &'static str,
    tick_clock: TickClock,
    _memory: Option<Memory>,
}

impl Pieces {
    /// Keeps the memory for as long as it has the rows.
    pub(super) fn new<H: Serialize>(
        selected: Selected<H>,
        memory: Option<Memory>,
    ) -> serde_json::Result<Self> {
        Self::between("", selected, memory, "")
    }

    /// The same with text before and behind it.
    pub(super) fn between<H: Serialize>(
        before: &str,
        selected: Selected<H>,
        memory: Option<Memory>,
        behind: &'static str,
    ) -> serde_json::Result<Self> {
        let mut text = before.as_bytes().to_vec();
        serde_json::to_writer(&mut text, &selected.head)?;
        // The flows come last: their list is opened again.
        text.truncate(text.len().saturating_sub("]}".len()));
        Ok(Self {
            text,
            rows: Some(selected.rows.into_iter()),
            is_first: true,
            behind,
            tick_clock: selected.tick_clock,
            _memory: memory,
        })
    }

    /// The pieces as a body, of known length if there is only one. Others get their turn on the
    /// runtime between two of them: each takes up to a millisecond.
    pub(super) fn into_body(mut self) -> Body {
        let first = self.next();
        if let (Some(Ok(whole)), None) = (&first, &self.rows) {
            return Body::from(whole.clone());
        }
        let rest = unfold(self, |mut pieces| async move {
            yield_now().await;
            Some((pieces.next()?, pieces))
        });
        Body::from_stream(iter(first).chain(rest))
    }

    fn write_row(&mut self, ranked: &Ranked) -> serde_json::Result<()> {
        if !std::mem::take(&mut self.is_first) {
            self.text.push(b',');
        }
        let flow = LiveFlow::new(&ranked.iface, &ranked.row, &self.tick_clock);
        serde_json::to_writer(&mut self.text, &flow)
    }
}

impl Iterator for Pieces {
    type Item = serde_json::Result<Bytes>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.text.len() < PIECE {
            if let Some(ranked) = self.rows.as_mut()?.next() {
                if let Err(error) = self.write_row(&ranked) {
                    return Some(Err(error));
                }
            } else {
                self.rows = None;
                self.text.extend(b"]}");
                self.text.extend(self.behind.as_bytes());
                break;
            }
        }
        Some(Ok(std::mem::take(&mut self.text).into()))
    }
}
