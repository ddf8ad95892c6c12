//! The declaration of a key, which everything that knows keys comes from.
//!
//! A section of the file is a struct, and [`section!`] declares its keys: name, field, type with
//! range, default, whether a reload applies it, and the text of the manual, which is the field's
//! documentation. Reading, defaults, the list of settings, the manual and the list of what a
//! reload applies are walks over [`Section::KEYS`].

use super::{
    kind::Kind,
    mapping::{Collector, Mapping},
    reference::Row,
    settings::Settings,
    tree::Node,
};

/// A mapping of the file with known keys.
pub(super) trait Section: Default + 'static {
    /// All keys, in the order of the manual.
    const KEYS: &'static [Key<Self>];

    /// Reads what the mapping has; the rest are defaults. What is wrong goes to `problems`.
    fn read(mapping: &Mapping<'_>, problems: &mut Collector) -> Self {
        let mut section = Self::default();
        for key in Self::KEYS {
            let path = mapping.path(key.name);
            match mapping.node(key.name) {
                Some(node) => key.field.read(&mut section, node, &path, problems),
                None if key.field.is_required() => {
                    problems.refuse(mapping.as_node(), &path, "is missing");
                }
                None => {}
            }
        }
        section
    }

    /// Adds all settings, below this path.
    fn show(&self, path: &str, settings: &mut Settings) {
        for key in Self::KEYS {
            key.field.show(self, &below(path, key.name), settings);
        }
    }

    /// Adds the rows of the manual, below this path.
    fn refer(path: &str, rows: &mut Vec<Row>) {
        let defaults = Self::default();
        for key in Self::KEYS {
            let path = below(path, key.name);
            rows.push(Row {
                path: path.clone(),
                kind: key.field.describe(),
                default: key.field.default(&defaults),
                change: key.change,
                meaning: key.meaning.trim_start(),
            });
            key.field.refer(&path, rows);
        }
    }
}

fn below(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

/// One key of the section `S`.
pub(super) struct Key<S: 'static> {
    /// As the file has it.
    pub(super) name: &'static str,
    /// What a change of it takes.
    pub(super) change: Change,
    /// What it does, for the manual.
    pub(super) meaning: &'static str,
    /// Where its value is, and what that may be.
    pub(super) field: &'static dyn Field<S>,
}

/// What a change of a key takes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Change {
    /// A running agent applies it.
    Live,
    /// The agent must be started again; a reload with such a change is refused.
    Restart,
    /// The key holds other keys, each of which says it.
    OfItsKeys,
}

/// A field of the section `S`: [`Kind`] without the type of the value.
pub(super) trait Field<S> {
    fn read(&self, section: &mut S, node: &Node, path: &str, problems: &mut Collector);
    fn show(&self, section: &S, path: &str, settings: &mut Settings);
    fn describe(&self) -> String;
    fn default(&self, defaults: &S) -> String;
    fn refer(&self, path: &str, rows: &mut Vec<Row>);
    fn is_required(&self) -> bool;
}

/// The field with a value of type `V`, of which `K` says what it may be.
pub(super) struct TypedField<S, V, K> {
    pub(super) value: fn(&S) -> &V,
    pub(super) value_mut: fn(&mut S) -> &mut V,
    pub(super) kind: K,
}

impl<S, V, K: Kind<V>> Field<S> for TypedField<S, V, K> {
    fn read(&self, section: &mut S, node: &Node, path: &str, problems: &mut Collector) {
        if let Some(value) = self.kind.read(node, path, problems) {
            *(self.value_mut)(section) = value;
        }
    }

    fn show(&self, section: &S, path: &str, settings: &mut Settings) {
        self.kind.show((self.value)(section), path, settings);
    }

    fn describe(&self) -> String {
        self.kind.describe()
    }

    fn default(&self, defaults: &S) -> String {
        self.kind.yaml((self.value)(defaults))
    }

    fn refer(&self, path: &str, rows: &mut Vec<Row>) {
        self.kind.refer(path, rows);
    }

    fn is_required(&self) -> bool {
        self.kind.is_required()
    }
}

/// Declares a section. A field is written as in a struct, with its default after `=` and
///
/// ```text
/// /// Text of the manual.
/// #[key("name in the file", Live | Restart | OfItsKeys, kind of its value)]
/// ```
///
/// `keys of Struct { … }` declares the keys of a struct that another crate owns. Its fields have
/// neither types nor defaults here, and one without a key does not compile.
macro_rules! section {
    (
        $(#[$attribute:meta])*
        $visibility:vis struct $Section:ident {
            $(
                $(#[doc = $meaning:literal])+
                #[key($name:literal, $change:ident, $kind:expr)]
                pub $field:ident: $Value:ty = $default:expr,
            )+
        }
    ) => {
        $(#[$attribute])*
        $visibility struct $Section {
            $(
                $(#[doc = $meaning])+
                pub $field: $Value,
            )+
        }

        impl Default for $Section {
            fn default() -> Self {
                Self { $($field: $default),+ }
            }
        }

        $crate::config::declare::section! {
            keys of $Section {
                $(
                    $(#[doc = $meaning])+
                    #[key($name, $change, $kind)]
                    $field,
                )+
            }
        }
    };
    (
        keys of $Section:ident {
            $(
                $(#[doc = $meaning:literal])+
                #[key($name:literal, $change:ident, $kind:expr)]
                $field:ident,
            )+
        }
    ) => {
        impl $crate::config::declare::Section for $Section {
            const KEYS: &'static [$crate::config::declare::Key<Self>] = &[$(
                $crate::config::declare::Key {
                    name: $name,
                    change: $crate::config::declare::Change::$change,
                    meaning: concat!($($meaning),+),
                    field: &$crate::config::declare::TypedField {
                        value: |section: &Self| &section.$field,
                        value_mut: |section: &mut Self| &mut section.$field,
                        kind: $kind,
                    },
                },
            )+];
        }

        // Every field has a key.
        const _: fn(&$Section) = |section| {
            let $Section { $($field: _),+ } = section;
        };
    };
}

pub(super) use section;
