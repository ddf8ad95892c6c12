//! The section `reload`: when the file is read again.

use super::super::{declare::section, value::Boolean};

section! {
    /// When a running agent reads its configuration again, besides being asked to.
    #[derive(Clone, Debug, Eq, PartialEq)]
    pub struct ReloadConfig {
        /// Reads it after a change, once it has stayed the same for two seconds.
        #[key("watch", Live, Boolean)]
        pub watch: bool = false,
    }
}
