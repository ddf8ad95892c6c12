//! The YAML document as a tree whose nodes can be found again in the text.
//!
//! serde_yaml tells a line and column only together with an error. So the nodes are numbered in the
//! order of the document, and [`locate`] reads the document once more and fails on purpose at the
//! wanted number. One parser decides both what is read and where it stands, and only a file that
//! has errors pays for it.

use std::{cell::Cell, fmt};

use probe_flow::text::quoted;
use serde::{
    Deserializer,
    de::{DeserializeSeed, EnumAccess, Error, MapAccess, SeqAccess, Visitor},
};

use super::problem::Place;

/// Nodes that a document may have, aliases expanded: ten times what 1024 interfaces with all
/// their settings need, and little enough that a bomb of aliases stays harmless.
const MAX_NODES: usize = 1 << 17;

/// Octets that a document may have.
pub(super) const MAX_OCTETS: usize = 512 << 10;

/// Octets of all keys and values, aliases expanded: a long text may stand in few words.
const MAX_TEXT: usize = 4 * MAX_OCTETS;

/// Brackets that may be open at a time. The YAML library takes time for each that is at each token;
/// it refuses 128 levels, and some are within comments and regexes.
const MAX_OPEN: usize = 256;

/// Directives that a document may have. The YAML library compares each with all others.
const MAX_DIRECTIVES: usize = 64;

/// A value with its number in the document.
#[derive(Debug)]
pub(super) struct Node {
    /// Position in document order: what [`locate`] takes.
    pub(super) number: usize,
    pub(super) value: Value,
}

impl Node {
    /// The first value of this key, if it is a mapping that has one.
    pub(super) fn entry(&self, key: &str) -> Option<&Self> {
        let Value::Map(map) = &self.value else {
            return None;
        };
        let mut entries = map.iter();
        let found = entries.find(|(name, _)| matches!(&name.value, Value::Text(it) if it == key));
        found.map(|(_, value)| value)
    }
}

/// What a node holds. Mappings keep their order and their duplicate keys.
#[derive(Debug)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Integer(u64),
    /// Negative or fractional, as text.
    Number(String),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
    /// A `!tag`, which nothing here takes.
    Tagged,
}

impl fmt::Display for Value {
    /// What was found, for a message.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("nothing"),
            Self::Bool(value) => write!(f, "`{value}`"),
            Self::Integer(value) => write!(f, "the number {value}"),
            Self::Number(value) => write!(f, "the number {value}"),
            Self::Text(value) => f.write_str(&quoted(value)),
            Self::List(_) => f.write_str("a list"),
            Self::Map(_) => f.write_str("a mapping"),
            Self::Tagged => f.write_str("a value with a YAML tag"),
        }
    }
}

/// Refuses, before it is read, what the YAML library would take long for. The error is the end of a
/// sentence.
pub(super) fn check_size(text: &str) -> Result<(), String> {
    if text.len() > MAX_OCTETS {
        return Err(format!(
            "has {} octets, and a configuration has at most {MAX_OCTETS}",
            text.len()
        ));
    }
    let mut open = 0_usize;
    for byte in text.bytes() {
        match byte {
            b'[' | b'{' => open += 1,
            b']' | b'}' => open = open.saturating_sub(1),
            _ => {}
        }
        if open > MAX_OPEN {
            return Err(format!(
                "has more than {MAX_OPEN} brackets that are not closed; a configuration needs few"
            ));
        }
    }
    let directives = text
        .split(['\n', '\r'])
        .filter(|line| line.starts_with('%'));
    if directives.count() > MAX_DIRECTIVES {
        return Err(format!(
            "has more than {MAX_DIRECTIVES} lines that begin with %; a configuration needs none"
        ));
    }
    Ok(())
}

/// Reads a YAML document into a tree.
pub(super) fn parse(text: &str) -> Result<Node, serde_yaml::Error> {
    read(text, None)
}

/// Line and column of a node of this document.
pub(super) fn locate(text: &str, number: usize) -> Option<Place> {
    read(text, Some(number))
        .err()
        .and_then(|error| error.location())
        .map(Place::from)
}

fn read(text: &str, stop_at: Option<usize>) -> Result<Node, serde_yaml::Error> {
    let reader = Reader {
        next: &Cell::new(0),
        octets: &Cell::new(0),
        stop_at,
    };
    reader.deserialize(serde_yaml::Deserializer::from_str(text))
}

#[derive(Clone, Copy)]
struct Reader<'a> {
    next: &'a Cell<usize>,
    octets: &'a Cell<usize>,
    stop_at: Option<usize>,
}

impl Reader<'_> {
    fn take_number<E: Error>(self) -> Result<usize, E> {
        let number = self.next.get();
        self.next.set(number + 1);
        if number >= MAX_NODES {
            return Err(E::custom(format!("more than {MAX_NODES} values")));
        }
        if self.stop_at == Some(number) {
            return Err(E::custom("the wanted node"));
        }
        Ok(number)
    }

    fn scalar<E: Error>(self, value: Value) -> Result<Node, E> {
        let number = self.take_number()?;
        Ok(Node { number, value })
    }
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any YAML value")
    }

    fn visit_unit<E: Error>(self) -> Result<Node, E> {
        self.scalar(Value::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Node, E> {
        self.scalar(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Node, E> {
        self.scalar(Value::Bool(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Node, E> {
        self.scalar(Value::Integer(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Node, E> {
        self.scalar(Value::Number(value.to_string()))
    }

    fn visit_u128<E: Error>(self, value: u128) -> Result<Node, E> {
        self.scalar(Value::Number(value.to_string()))
    }

    fn visit_i128<E: Error>(self, value: i128) -> Result<Node, E> {
        self.scalar(Value::Number(value.to_string()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Node, E> {
        let text = value.to_string();
        // `1e6` is a whole number, too.
        self.scalar(match text.parse() {
            Ok(whole) => Value::Integer(whole),
            Err(_) => Value::Number(text),
        })
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Node, E> {
        let octets = self.octets.get().saturating_add(value.len());
        self.octets.set(octets);
        if octets > MAX_TEXT {
            return Err(E::custom(format!(
                "more than {MAX_TEXT} octets of text, aliases expanded"
            )));
        }
        self.scalar(Value::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let number = self.take_number()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            list.push(item);
        }
        let value = Value::List(list);
        Ok(Node { number, value })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let number = self.take_number()?;
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry_seed(self, self)? {
            map.push(entry);
        }
        let value = Value::Map(map);
        Ok(Node { number, value })
    }

    fn visit_enum<A: EnumAccess<'de>>(self, tagged: A) -> Result<Node, A::Error> {
        use serde::de::{IgnoredAny, VariantAccess};

        let number = self.take_number()?;
        let (IgnoredAny, content) = tagged.variant()?;
        let IgnoredAny = content.newtype_variant()?;
        let value = Value::Tagged;
        Ok(Node { number, value })
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_OCTETS, Node, Value, check_size, locate, parse};

    #[test]
    fn every_node_is_found_where_it_stands() {
        let text = "a: 1\nb:\n  - x\n  -  y: true\nc: !tag z\nd:\n";
        let root = parse(text).expect("valid YAML");
        let mut places = Vec::new();
        walk(&root, &mut |node| {
            let place = locate(text, node.number).expect("every node has a place");
            places.push((place.line, place.column));
        });
        let expected = [
            (1, 1), // the mapping
            (1, 1), // a
            (1, 4),
            (2, 1), // b
            (3, 3), // its list
            (3, 5),
            (4, 6), // the mapping in the list
            (4, 6), // y
            (4, 9),
            (5, 1), // c
            (5, 4),
            (6, 1), // d
        ];
        assert_eq!(places[..expected.len()], expected);
    }

    #[test]
    fn a_bomb_of_aliases_is_refused() {
        let levels = (1..9).map(|level| {
            let alias = format!("*a{}", level - 1);
            format!("a{level}: &a{level} [{}]\n", vec![alias; 10].join(","))
        });
        let text: String = ["a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned()]
            .into_iter()
            .chain(levels)
            .collect();
        parse(&text).expect_err("a thousand million nodes");
    }

    /// A long text is as good for a bomb as a long list.
    #[test]
    fn a_bomb_of_long_texts_is_refused() {
        let long = "x".repeat(200 << 10);
        let text = format!("a: &a {long}\nb: [{}]\n", vec!["*a"; 60_000].join(","));
        check_size(&text).expect("no longer than others");
        let error = parse(&text).expect_err("12 GB").to_string();
        assert!(
            error.contains("octets of text, aliases expanded"),
            "{error}"
        );
    }

    #[test]
    fn what_would_take_minutes_to_read_is_refused_before() {
        let nested = "[".repeat(400 << 10);
        let mappings = "{a: ".repeat(100 << 10);
        let directives = (0..20_000).map(|it| format!("%TAG !{it}! x\n"));
        let directives: String = directives.collect();
        let long = "x".repeat(MAX_OCTETS + 1);
        for (text, told) in [
            (nested.as_str(), "brackets that are not closed"),
            (&mappings, "brackets that are not closed"),
            (&directives, "lines that begin with %"),
            (&long, "at most 524288"),
        ] {
            let refused = check_size(text).expect_err("too much");
            assert!(refused.contains(told), "{refused}");
        }
    }

    fn walk(node: &Node, visit: &mut impl FnMut(&Node)) {
        visit(node);
        match &node.value {
            Value::List(items) => items.iter().for_each(|item| walk(item, visit)),
            Value::Map(entries) => {
                for (key, value) in entries {
                    walk(key, visit);
                    walk(value, visit);
                }
            }
            _ => {}
        }
    }
}
