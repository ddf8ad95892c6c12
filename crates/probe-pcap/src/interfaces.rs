//! The interfaces of a file, told apart by name.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use probe_flow::text::escaped;

/// Longest name of an interface that is shown; Linux has 15 characters.
const MAX_NAME_CHARS: usize = 64;

/// Characters by which names are told apart: it bounds what a file with long names can cost.
const MAX_TOLD_APART_CHARS: usize = 1024;

/// An interface that the file names.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct FileInterface {
    pub(super) name: Arc<str>,
    /// What its name would be if another interface did not have that name already.
    pub(super) shown_like: Option<Arc<str>>,
    /// Number of the link type of the packets that cannot be parsed, if there are such.
    pub(super) unsupported: Option<u16>,
    /// Some of its packets have a supported link type.
    pub(super) is_supported: bool,
}

/// What makes two interface blocks the same interface: the same name, also in another section or twice
/// in one (as mergecap writes it). Without a name it is the place in the section.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
enum Identity {
    Name(Box<str>),
    Place(usize),
}

/// All interfaces met so far, in the order of their appearance.
#[derive(Debug, Default)]
pub(super) struct Interfaces {
    list: Vec<FileInterface>,
    by_identity: HashMap<Identity, usize>,
    shown: HashSet<Arc<str>>,
}

impl FileInterface {
    pub(super) const fn new(name: Arc<str>) -> Self {
        Self {
            name,
            shown_like: None,
            unsupported: None,
            is_supported: false,
        }
    }
}

impl Interfaces {
    pub(super) fn list(&self) -> &[FileInterface] {
        &self.list
    }

    pub(super) fn get_mut(&mut self, index: usize) -> &mut FileInterface {
        &mut self.list[index]
    }

    /// Index of the interface with this name; a new one, if there is none yet.
    pub(super) fn named(&mut self, name: &str) -> usize {
        let told_apart: String = name.chars().take(MAX_TOLD_APART_CHARS).collect();
        let identity = Identity::Name(told_apart.into());
        self.index_of(identity, || shown(name.as_bytes()))
    }

    /// Index of the interface without a name at this place of its section, which is called after the
    /// file.
    pub(super) fn unnamed(&mut self, place: usize, stem: &Arc<str>) -> usize {
        self.index_of(Identity::Place(place), || match place {
            0 => Arc::clone(stem),
            place => format!("{stem}.{place}").into(),
        })
    }

    fn index_of(&mut self, identity: Identity, shown: impl FnOnce() -> Arc<str>) -> usize {
        if let Some(&index) = self.by_identity.get(&identity) {
            return index;
        }
        let wanted = shown();
        let mut interface = FileInterface::new(Arc::clone(&wanted));
        let mut number = 2;
        while self.shown.contains(&interface.name) {
            interface.name = numbered(&wanted, number);
            interface.shown_like = Some(Arc::clone(&wanted));
            number += 1;
        }
        self.shown.insert(Arc::clone(&interface.name));
        self.list.push(interface);
        self.by_identity.insert(identity, self.list.len() - 1);
        self.list.len() - 1
    }
}

/// The name with `~2` at its end, and no longer than names are.
fn numbered(name: &str, number: usize) -> Arc<str> {
    let suffix = format!("~{number}");
    let room = MAX_NAME_CHARS.saturating_sub(suffix.len());
    let kept: String = name.chars().take(room).collect();
    (kept + &suffix).into()
}

/// An interface name as it is shown: escaped as names of links are, and no longer than names are.
pub(super) fn shown(name: &[u8]) -> Arc<str> {
    let shown: String = escaped(name).chars().take(MAX_NAME_CHARS).collect();
    shown.into()
}
