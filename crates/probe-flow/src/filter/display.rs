//! A filter as text that reads back as the same filter. Fields have their names in the schema,
//! whatever word was typed.

use std::fmt::{self, Display};

use super::{
    ast::{
        Comparison, EVIDENCE, Expr, FLAGS, IfacePattern, IpVersion, Net, Side, Test, Traffic,
        word_of,
    },
    keyword::{Keyword, NET, shown},
};
use crate::protocols::protocol_or_number;

impl Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::And(parts) => join(f, parts, " and "),
            Self::Or(parts) => join(f, parts, " or "),
            Self::Not(part) => {
                f.write_str("not ")?;
                part.fmt_part(f)
            }
            Self::Test(test) => test.fmt(f),
        }
    }
}

impl Expr {
    /// Parentheses and `not`s inside each other in what [`Display`] writes.
    pub(super) fn shown_depth(&self) -> usize {
        let of_part = |part: &Self| {
            let has_parentheses = matches!(part, Self::And(_) | Self::Or(_));
            usize::from(has_parentheses) + part.shown_depth()
        };
        match self {
            Self::And(parts) | Self::Or(parts) => parts.iter().map(of_part).max().unwrap_or(0),
            Self::Not(part) => 1 + of_part(part),
            Self::Test(_) => 0,
        }
    }

    /// In parentheses, if they are needed inside of something larger.
    fn fmt_part(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::And(_) | Self::Or(_) => write!(f, "({self})"),
            Self::Not(_) | Self::Test(_) => self.fmt(f),
        }
    }
}

fn join(f: &mut fmt::Formatter<'_>, parts: &[Expr], word: &str) -> fmt::Result {
    for (position, part) in parts.iter().enumerate() {
        if position > 0 {
            f.write_str(word)?;
        }
        part.fmt_part(f)?;
    }
    Ok(())
}

impl Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = self.word();
        match self {
            Self::Address(_, nets) => write!(f, "{word} {}", list(nets)),
            Self::Port(_, ranges) => {
                let ranges = ranges.iter().map(|(low, high)| {
                    if low == high {
                        low.to_string()
                    } else {
                        format!("{low}-{high}")
                    }
                });
                write!(f, "{word} {}", list(ranges))
            }
            Self::Protocol(numbers) => {
                let names = numbers.iter().map(|number| protocol_or_number(*number));
                write!(f, "{word} {}", list(names))
            }
            Self::Version(versions) => {
                let all = versions.iter();
                let words = all.filter_map(|one| word_of(&IpVersion::ALL, one));
                write!(f, "{word} {}", list(words))
            }
            Self::Traffic(ways) => {
                let words = ways.iter().filter_map(|way| word_of(&Traffic::ALL, way));
                write!(f, "{word} {}", list(words))
            }
            Self::Iface(patterns) => write!(f, "{word} {}", list(patterns)),
            Self::Evidence(any) => {
                let words = any.iter().filter_map(|one| word_of(&EVIDENCE, one));
                write!(f, "{word} {}", list(words))
            }
            Self::Flags(masks) => {
                write!(f, "{word} {}", list(masks.iter().map(|mask| flags(*mask))))
            }
            Self::Count(_, comparison, number) => {
                let sign = word_of(&Comparison::ALL, comparison).unwrap_or_default();
                write!(f, "{word} {sign} {number}")
            }
            Self::Overflow | Self::Idle => f.write_str(word),
        }
    }
}

impl Test {
    /// The word that it is shown with: the field's name in the schema, where it asks for a field.
    fn word(&self) -> &'static str {
        shown(match self {
            Self::Address(Side::Either, nets) if !nets.iter().all(Net::is_host) => return NET,
            Self::Address(side, _) => Keyword::Address(*side),
            Self::Port(side, _) => Keyword::Port(*side),
            Self::Protocol(_) => Keyword::Protocol,
            Self::Version(_) => Keyword::Version,
            Self::Traffic(_) => Keyword::Traffic,
            Self::Iface(_) => Keyword::Iface,
            Self::Evidence(_) => Keyword::Evidence,
            Self::Flags(_) => Keyword::Flags,
            Self::Count(measure, ..) => return measure.name(),
            Self::Overflow => Keyword::Overflow,
            Self::Idle => Keyword::Idle,
        })
    }
}

fn list<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<_> = items.into_iter().map(|item| item.to_string()).collect();
    items.join(",")
}

fn flags(mask: u8) -> String {
    if mask == 0 {
        return "none".to_owned();
    }
    let set = FLAGS.iter().filter(|(_, bit)| mask & bit != 0);
    let words: Vec<_> = set.map(|(word, _)| *word).collect();
    words.join("+")
}

impl Display for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_host() {
            self.addr().fmt(f)
        } else {
            write!(f, "{}/{}", self.addr(), self.prefix_len())
        }
    }
}

impl Display for IfacePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(f, "\"{name}\""),
            Self::Regex(regex) => write!(f, "/{}/", regex.as_str()),
        }
    }
}
