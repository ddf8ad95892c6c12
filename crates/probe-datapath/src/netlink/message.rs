//! Netlink messages and their attributes, each read on its own.
//!
//! netlink-packet-route reads a link as a whole: it refuses the message, and with it the dump, for one
//! attribute that it does not understand. The kernel takes any octets as name, alternative name and
//! alias of a link and as name of a filter, and newer kernels have attributes that no library knows.
//! So the library gives the framing and the headers, and only attributes that the agent uses are read.
//! One that is missing or too short is as if it were not there: no link hides another.

use std::num::NonZeroI32;

use rtnetlink::packet_core::{
    DecodeError, DoneBuffer, ErrorBuffer, NLM_F_DUMP_INTR, NLMSG_DONE, NLMSG_ERROR, NetlinkBuffer,
    NlasIterator,
};

use probe_flow::text::escaped;

/// A message of a datagram.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message<'a> {
    /// `RTM_` number, or that of a control message.
    pub(crate) kind: u16,
    /// The question that it answers.
    pub(crate) sequence: u32,
    flags: u16,
    /// What follows the header of netlink.
    pub(crate) payload: &'a [u8],
}

impl Message<'_> {
    /// Links came or went while the kernel listed them (`NLM_F_DUMP_INTR`, linux/netlink.h): some may
    /// be missing in the answer.
    pub(crate) const fn is_interrupted(&self) -> bool {
        self.flags & NLM_F_DUMP_INTR != 0
    }

    /// How the answer ends, if it is its last message: 0, or the number of an error below 0.
    pub(crate) fn end(&self) -> Option<i32> {
        match self.kind {
            // The kernel writes the length of what it dumped there; only below 0 it is an error.
            NLMSG_DONE => DoneBuffer::new_checked(self.payload)
                .map_or(Some(0), |done| Some(done.code().min(0))),
            NLMSG_ERROR => match ErrorBuffer::new_checked(self.payload) {
                Ok(error) => Some(error.code().map_or(0, NonZeroI32::get)),
                Err(_) => Some(-libc::EBADMSG),
            },
            _ => None,
        }
    }
}

/// The messages of a datagram, up to the first that is cut.
pub(crate) fn messages(datagram: &[u8]) -> impl Iterator<Item = Result<Message<'_>, DecodeError>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        match NetlinkBuffer::new_checked(rest) {
            Ok(buffer) => {
                let len = usize::try_from(buffer.length()).unwrap_or(usize::MAX);
                let message = Message {
                    kind: buffer.message_type(),
                    sequence: buffer.sequence_number(),
                    flags: buffer.flags(),
                    payload: buffer.payload(),
                };
                // Messages are aligned to 4 bytes (NLMSG_ALIGNTO).
                rest = rest.get(len.next_multiple_of(4)..).unwrap_or(&[]);
                Some(Ok(message))
            }
            Err(error) => {
                rest = &[];
                Some(Err(error))
            }
        }
    })
}

/// Number and value of each attribute, up to the first that is cut.
pub(crate) fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    NlasIterator::new(bytes).map_while(|attribute| {
        let attribute = attribute.ok()?;
        let value_len = attribute.value_length();
        Some((attribute.kind(), &attribute.into_inner()[4..4 + value_len]))
    })
}

/// The octets of a text before its NUL.
pub(crate) fn octets(value: &[u8]) -> &[u8] {
    value.split(|octet| *octet == 0).next().unwrap_or_default()
}

/// A text as it is shown.
pub(crate) fn text(value: &[u8]) -> String {
    escaped(octets(value))
}

/// An integer at the beginning of a value.
pub(crate) fn u16_of(value: &[u8]) -> Option<u16> {
    Some(u16::from_ne_bytes(*value.first_chunk()?))
}

/// As [`u16_of`], of 4 octets.
pub(crate) fn u32_of(value: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(*value.first_chunk()?))
}

/// As [`u16_of`], of 8 octets.
pub(crate) fn u64_of(value: &[u8]) -> Option<u64> {
    Some(u64::from_ne_bytes(*value.first_chunk()?))
}

/// An attribute as the kernel writes it, for tests.
#[cfg(test)]
pub(crate) fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let len = u16::try_from(4 + value.len()).unwrap();
    let mut bytes = [len.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// A message as the kernel writes it, for tests.
#[cfg(test)]
pub(crate) fn message(kind: u16, flags: u16, sequence: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(16 + payload.len()).unwrap();
    let mut bytes = len.to_ne_bytes().to_vec();
    bytes.extend([kind, flags].map(u16::to_ne_bytes).concat());
    bytes.extend([sequence, 0].map(u32::to_ne_bytes).concat());
    bytes.extend(payload);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_ends_the_walk_and_nothing_else() {
        let whole = [
            attribute(3, b"eth0\0"),
            attribute(9, &[]),
            attribute(4, &[1]),
        ]
        .concat();
        let kinds = |bytes| attributes(bytes).map(|(kind, _)| kind).collect::<Vec<_>>();
        assert_eq!(kinds(&whole), [3, 9, 4]);
        for len in 0..whole.len() {
            assert!([3, 9, 4].starts_with(&kinds(&whole[..len])), "{len}");
        }
        // A length below that of the header would not advance.
        assert_eq!(kinds(&[attribute(3, &[]), vec![3, 0, 9, 0]].concat()), [3]);
        let two = [message(16, 0, 1, &[0; 3]), message(17, 0, 1, &[])].concat();
        let read = messages(&two).map(|it| it.unwrap().kind);
        assert_eq!(read.collect::<Vec<_>>(), [16, 17]);
        let cut: Vec<_> = messages(&two[..two.len() - 1]).collect();
        assert_eq!(cut.len(), 2);
        assert!(cut[0].is_ok() && cut[1].is_err(), "{cut:?}");
    }

    #[test]
    fn the_end_of_an_answer_tells_its_error() {
        let end = |kind, payload: &[u8]| {
            let bytes = message(kind, 0, 1, payload);
            messages(&bytes).next().unwrap().unwrap().end()
        };
        assert_eq!(end(NLMSG_DONE, &0_i32.to_ne_bytes()), Some(0));
        assert_eq!(
            end(NLMSG_DONE, &(-libc::EMSGSIZE).to_ne_bytes()),
            Some(-libc::EMSGSIZE)
        );
        assert_eq!(end(NLMSG_ERROR, &[0; 20]), Some(0));
        let gone = [(-libc::ENODEV).to_ne_bytes().to_vec(), vec![0; 16]].concat();
        assert_eq!(end(NLMSG_ERROR, &gone), Some(-libc::ENODEV));
        assert_eq!(end(16, &[]), None);
    }
}
