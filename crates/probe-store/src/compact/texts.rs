//! The texts of rows in memory.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hasher},
};

use parquet::{
    data_type::ByteArray,
    errors::{ParquetError, Result},
};

/// The place of a null among the texts.
pub(super) const NO_TEXT: u32 = u32::MAX;

/// The texts of all columns, each of them once.
#[derive(Default)]
pub(super) struct Texts {
    numbers: HashMap<ByteArrayKey, u32>,
    texts: Vec<ByteArray>,
}

type ByteArrayKey = Box<[u8]>;

impl Texts {
    pub(super) fn number(&mut self, text: &ByteArray) -> Result<u32> {
        if let Some(number) = self.numbers.get(text.data()) {
            return Ok(*number);
        }
        let number = u32::try_from(self.texts.len())
            .ok()
            .filter(|it| *it != NO_TEXT);
        let number = number.ok_or_else(|| ParquetError::General("too many texts".to_owned()))?;
        // A copy of its own: the value shares the page that it was read from.
        let own: ByteArrayKey = text.data().into();
        self.texts.push(ByteArray::from(own.to_vec()));
        self.numbers.insert(own, number);
        Ok(number)
    }

    pub(super) fn get(&self, number: u32) -> &ByteArray {
        &self.texts[number as usize]
    }

    /// The place of each text among all of them, by octets, which is the order of the statistics.
    pub(super) fn ranks(&self) -> Vec<u32> {
        let mut order: Vec<usize> = (0..self.texts.len()).collect();
        order.sort_unstable_by_key(|number| self.texts[*number].data());
        let mut ranks = vec![0; order.len()];
        for (rank, number) in (0..).zip(order) {
            ranks[number] = rank;
        }
        ranks
    }

    pub(super) fn hashes(&self) -> Vec<u64> {
        let hash = |text: &ByteArray| {
            let mut hasher = DefaultHasher::new();
            hasher.write(text.data());
            hasher.finish()
        };
        self.texts.iter().map(hash).collect()
    }
}
