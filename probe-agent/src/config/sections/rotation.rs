//! The section `rotation`: interval and local buffers.

use std::time::Duration;

use probe_flow::local_buffer::LocalBuffersConfig;

use super::super::{
    declare::section,
    kind::nested,
    value::{Integer, MemorySize, Size, WholeSeconds},
};

const KIB: u64 = 1 << 10;
const GIB: u64 = 1 << 30;

section! {
    /// When flows are handed to the sinks, and memory for what arrives meanwhile.
    #[derive(Clone, Debug, Eq, PartialEq)]
    pub struct RotationConfig {
        /// Flows are written on wall-clock multiples of this: with `5m` at :00, :05, :10 …
        #[key("interval", Live, WholeSeconds(Duration::from_secs(1)..=Duration::from_hours(24)))]
        pub interval: Duration = Duration::from_mins(5),

        /// Memory for packets that arrive while flows are being rotated or copied.
        #[key("local_buffers", OfItsKeys, nested())]
        pub local_buffers: LocalBuffersConfig = LocalBuffersConfig::default(),
    }
}

section! {
    keys of LocalBuffersConfig {
        /// How many buffers of `size_limit` all interfaces may take together.
        #[key("num", Restart, Integer(1..=1024))]
        num,

        /// Most that the buffer of one interface takes. Beyond it packets are counted as the loss
        /// `local_buffer_full`.
        #[key("size_limit", Restart, MemorySize(Size(4 * KIB..=16 * GIB)))]
        size_limit_bytes,
    }
}
