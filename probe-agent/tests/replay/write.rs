//! Writes capture files, well-formed ones and others.

use std::{
    fs,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

/// A folder that is gone after the test, and files in it.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    pub(crate) fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path().join(name);
        fs::write(&path, bytes).expect("written");
        path
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Order {
    Little,
    Big,
}

impl Order {
    fn u16(self, number: u16) -> [u8; 2] {
        match self {
            Self::Little => number.to_le_bytes(),
            Self::Big => number.to_be_bytes(),
        }
    }

    pub(crate) fn u32(self, number: u32) -> [u8; 4] {
        match self {
            Self::Little => number.to_le_bytes(),
            Self::Big => number.to_be_bytes(),
        }
    }
}

pub(crate) const ETHERNET: u16 = 1;
pub(crate) const SLL2: u16 = 276;
pub(crate) const USB: u16 = 189;

/// Length of the file header of a pcap file.
pub(crate) const PCAP_HEADER_LEN: usize = 24;
/// Length of a packet's header in a pcap file.
pub(crate) const PCAP_PACKET_HEADER_LEN: usize = 16;

/// A pcap file.
pub(crate) struct Pcap {
    pub(crate) bytes: Vec<u8>,
    order: Order,
    is_modified: bool,
    is_kept_last: bool,
}

impl Pcap {
    /// With the magic number of microseconds (`0xa1b2c3d4`), nanoseconds (`0xa1b23c4d`) or the
    /// modified format (`0xa1b2cd34`).
    pub(crate) fn new(order: Order, magic: u32, link_type: u16) -> Self {
        Self::of_version(order, magic, (2, 4), link_type)
    }

    pub(crate) fn of_version(
        order: Order,
        magic: u32,
        (major, minor): (u16, u16),
        link_type: u16,
    ) -> Self {
        let mut bytes = Vec::new();
        bytes.extend(order.u32(magic));
        bytes.extend(order.u16(major));
        bytes.extend(order.u16(minor));
        bytes.extend([0; 8]);
        // Less than some packets are long, as it is in files whose packets were cut.
        bytes.extend(order.u32(96));
        bytes.extend(order.u32(link_type.into()));
        Self {
            bytes,
            order,
            is_modified: magic == 0xa1b2_cd34,
            is_kept_last: false,
        }
    }

    /// From here on the length on the wire comes before that of the kept bytes.
    pub(crate) fn kept_last(mut self) -> Self {
        self.is_kept_last = true;
        self
    }

    pub(crate) fn ethernet() -> Self {
        Self::new(Order::Little, 0xa1b2_c3d4, ETHERNET)
    }

    pub(crate) fn packet(mut self, seconds: u32, fraction: u32, frame: &[u8], len: usize) -> Self {
        let kept = u32::try_from(frame.len()).expect("a short frame");
        let len = u32::try_from(len).expect("a short frame");
        let lengths = if self.is_kept_last {
            [len, kept]
        } else {
            [kept, len]
        };
        for number in [seconds, fraction].into_iter().chain(lengths) {
            self.bytes.extend(self.order.u32(number));
        }
        if self.is_modified {
            self.bytes.extend([0; 8]);
        }
        self.bytes.extend(frame);
        self
    }

    pub(crate) fn whole(self, frame: &[u8]) -> Self {
        self.packet(1, 0, frame, frame.len())
    }
}

/// A pcapng file.
pub(crate) struct PcapNg {
    pub(crate) bytes: Vec<u8>,
    order: Order,
}

pub(crate) const IF_NAME: u16 = 2;
pub(crate) const IF_TSRESOL: u16 = 9;
pub(crate) const IF_TSOFFSET: u16 = 14;
pub(crate) const EPB_FLAGS: u16 = 2;

impl PcapNg {
    pub(crate) fn new(order: Order) -> Self {
        Self {
            bytes: Vec::new(),
            order,
        }
        .section(order)
    }

    pub(crate) fn section(self, order: Order) -> Self {
        self.section_of_version(order, (1, 0), &[])
    }

    pub(crate) fn section_of_version(
        mut self,
        order: Order,
        (major, minor): (u16, u16),
        options: &[u8],
    ) -> Self {
        self.order = order;
        let mut body = Vec::new();
        body.extend(order.u32(0x1a2b_3c4d));
        body.extend(order.u16(major));
        body.extend(order.u16(minor));
        body.extend([0xff; 8]);
        body.extend(options);
        self.block(0x0a0d_0d0a, &body)
    }

    pub(crate) fn block(mut self, block_type: u32, body: &[u8]) -> Self {
        let padded = body.len().next_multiple_of(4);
        let len = self
            .order
            .u32(u32::try_from(padded + 12).expect("a short block"));
        self.bytes.extend(self.order.u32(block_type));
        self.bytes.extend(len);
        self.bytes.extend(body);
        self.bytes.resize(self.bytes.len() + padded - body.len(), 0);
        self.bytes.extend(len);
        self
    }

    /// An interface without a name, keeping 40 bytes of a packet if it is a simple one.
    pub(crate) fn unnamed(self, link_type: u16) -> Self {
        self.interface(link_type, &[])
    }

    pub(crate) fn named(self, link_type: u16, name: &str) -> Self {
        self.interface(link_type, &[(IF_NAME, name.as_bytes())])
    }

    pub(crate) fn interface(self, link_type: u16, options: &[(u16, &[u8])]) -> Self {
        let mut body = Vec::new();
        body.extend(self.order.u16(link_type));
        body.extend([0; 2]);
        body.extend(self.order.u32(40));
        self.extend_options(&mut body, options);
        self.block(1, &body)
    }

    /// An enhanced packet block; the time in ticks of the interface.
    pub(crate) fn packet(
        self,
        interface: u32,
        ticks: u64,
        frame: &[u8],
        len: usize,
        options: &[(u16, &[u8])],
    ) -> Self {
        let mut body = Vec::new();
        let (high, low) = ((ticks >> 32) as u32, (ticks & 0xffff_ffff) as u32);
        let kept = u32::try_from(frame.len()).expect("a short frame");
        let len = u32::try_from(len).expect("a short frame");
        for number in [interface, high, low, kept, len] {
            body.extend(self.order.u32(number));
        }
        body.extend(frame);
        body.resize(body.len().next_multiple_of(4), 0);
        self.extend_options(&mut body, options);
        self.block(6, &body)
    }

    pub(crate) fn whole(self, interface: u32, frame: &[u8]) -> Self {
        self.packet(interface, 1_000_000, frame, frame.len(), &[])
    }

    /// 1 for received, 2 for sent.
    pub(crate) fn directed(self, interface: u32, direction: u32, frame: &[u8]) -> Self {
        let flags = self.order.u32(direction);
        self.packet(
            interface,
            1_000_000,
            frame,
            frame.len(),
            &[(EPB_FLAGS, &flags)],
        )
    }

    pub(crate) fn simple(self, frame: &[u8], len: u32) -> Self {
        let body = [&self.order.u32(len)[..], frame].concat();
        self.block(3, &body)
    }

    /// The packet block that the enhanced one replaced.
    pub(crate) fn obsolete(self, interface: u16, frame: &[u8]) -> Self {
        self.obsolete_with(interface, frame, &[])
    }

    /// The same with its flags: 1 for received, 2 for sent.
    pub(crate) fn obsolete_directed(self, interface: u16, direction: u32, frame: &[u8]) -> Self {
        let flags = self.order.u32(direction);
        self.obsolete_with(interface, frame, &[(EPB_FLAGS, &flags)])
    }

    fn obsolete_with(self, interface: u16, frame: &[u8], options: &[(u16, &[u8])]) -> Self {
        let mut body = Vec::new();
        body.extend(self.order.u16(interface));
        body.extend(self.order.u16(0xffff));
        let len = u32::try_from(frame.len()).expect("a short frame");
        for number in [0, 1_000_000, len, len] {
            body.extend(self.order.u32(number));
        }
        body.extend(frame);
        body.resize(body.len().next_multiple_of(4), 0);
        self.extend_options(&mut body, options);
        self.block(2, &body)
    }

    /// Without the end-of-options mark, which the specification allows and some writers do.
    fn extend_options(&self, body: &mut Vec<u8>, options: &[(u16, &[u8])]) {
        for (code, value) in options {
            body.extend(self.order.u16(*code));
            body.extend(
                self.order
                    .u16(u16::try_from(value.len()).expect("a short value")),
            );
            body.extend(*value);
            body.resize(body.len().next_multiple_of(4), 0);
        }
    }
}
