//! What lies where in the cache, in a small: a word for each [`WAYS`] places, with an octet for each, the
//! tag of the record that lies there, or 0. So one load from memory that is at hand spares those from
//! memory that is far away.
//!
//! They are a set, and a record may lie in any of the places. No two have the same tag: a record that
//! meets its tag is added to what lies there, or takes its place. So a flow never has two records in a
//! set.

/// Places of a set: the octets of a word.
pub const WAYS: u32 = u64::BITS / u8::BITS;

/// 1 in each octet.
const ONES: u64 = u64::MAX / 0xff;
/// The highest bit of each octet.
const HIGHEST: u64 = ONES << 7;

/// The number of an octet from a 1 in it: the product's highest octet.
const NUMBERS: u64 = 0x0001_0203_0405_0607;

/// An odd number without pattern.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

/// The tags of a set.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Tags(pub u64);

/// A place in a set.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Place {
    /// Its number, less than [`WAYS`].
    pub way: u32,
    /// What lies there.
    pub found: Found,
}

/// What lies in a place.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Found {
    /// A record with the same tag: most likely of the flow.
    Same,
    /// Nothing.
    Vacant,
    /// A record of another flow, since all places are taken.
    Other,
}

/// The tag of a record from its [`hash`](super::Coalesce::hash), by bits that do not choose the set
/// where there are fewer than 2^24 of them. Never 0.
#[inline(always)]
pub const fn tag(hash: u32) -> u8 {
    let tag = (hash >> 24) as u8;
    if tag == 0 { 1 } else { tag }
}

impl Tags {
    /// The place for a record with this hash. Which one makes room in a full set is as good as random,
    /// and the same until the set changes.
    #[inline(always)]
    pub const fn place(self, hash: u32) -> Place {
        if let Some(way) = self.find(tag(hash)) {
            return Place {
                way,
                found: Found::Same,
            };
        }
        let vacant = octets_of_zero(self.0);
        if vacant != 0 {
            return Place {
                way: first_octet(vacant),
                found: Found::Vacant,
            };
        }
        Place {
            way: ((self.0 ^ hash as u64).wrapping_mul(FACTOR) >> 61) as u32,
            found: Found::Other,
        }
    }

    /// The place of a tag, if it has one.
    #[inline(always)]
    pub const fn find(self, tag: u8) -> Option<u32> {
        match octets_of_zero(self.0 ^ (tag as u64 * ONES)) {
            0 => None,
            same => Some(first_octet(same)),
        }
    }

    /// Whether all places are taken.
    #[inline(always)]
    pub const fn is_full(self) -> bool {
        octets_of_zero(self.0) == 0
    }

    /// The place for a record that is at home in one of them: where its tag is, else its home if that is
    /// vacant, else another that is, else its home.
    #[inline(always)]
    #[must_use]
    pub const fn way_from_home(self, home: u32, tag: u8) -> u32 {
        match self.find(tag) {
            Some(way) => way,
            None if self.of(home) == 0 || self.is_full() => home,
            None => first_octet(octets_of_zero(self.0)),
        }
    }

    /// With a tag for a place.
    #[inline(always)]
    #[must_use]
    pub const fn with(self, way: u32, tag: u8) -> Self {
        let shift = way % WAYS * u8::BITS;
        Self(self.0 & !(0xff << shift) | (tag as u64) << shift)
    }

    /// The tag of a place, or 0.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "the lowest octet")]
    pub const fn of(self, way: u32) -> u8 {
        (self.0 >> (way % WAYS * u8::BITS)) as u8
    }
}

/// The highest bit of each octet that is 0, and perhaps of some above the first.
#[inline(always)]
const fn octets_of_zero(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & HIGHEST
}

/// The number of the first octet whose highest bit is set. (There is no instruction for that.)
#[inline(always)]
const fn first_octet(highest: u64) -> u32 {
    let one = (highest & highest.wrapping_neg()) >> 7;
    (one.wrapping_mul(NUMBERS) >> 56) as u32
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use super::{Found, Place, Tags, WAYS, tag};

    /// Hashes of which the highest octet says the tag.
    fn hash(tag: u8) -> u32 {
        u32::from(tag) << 24 | 0x12_3456
    }

    #[test]
    fn no_tag_is_that_of_a_vacant_place() {
        let tags: Vec<u8> = (0..=255).map(|octet| tag(hash(octet))).collect();
        assert_eq!(tags[..3], [1, 1, 2]);
        assert!(tags.iter().all(|tag| *tag != 0));
    }

    /// The places in a plain way.
    fn expected(octets: [u8; 8], tag: u8) -> Option<(u32, Found)> {
        let way = |wanted| (0..).zip(octets).find(|(_, it)| *it == wanted);
        let same = way(tag).map(|(way, _)| (way, Found::Same));
        same.or_else(|| way(0).map(|(way, _)| (way, Found::Vacant)))
    }

    #[test]
    fn a_record_of_the_front_lies_where_its_tag_is_or_at_home_or_where_there_is_room() {
        let mut octets = [0; 8];
        let mut state = 1_u32;
        for _ in 0..100_000 {
            for octet in &mut octets {
                // Of few values, so that all that can be is found.
                state = state.wrapping_mul(0x0019_660d).wrapping_add(0x3c6e_f35f);
                *octet = [0, 0, 1, 2, 0x7f, 0x80, 0x81, 0xff][(state >> 29) as usize];
            }
            let tags = Tags(u64::from_le_bytes(octets));
            assert_eq!(tags.is_full(), !octets.contains(&0), "{octets:?}");
            for tag in [1, 2, 3, 0x7f, 0x80, 0xff] {
                let home = state >> 8 & 7;
                let same = (0..).zip(octets).find(|(_, it)| *it == tag);
                assert_eq!(tags.find(tag), same.map(|it| it.0), "{octets:?} {tag}");
                let way = match expected(octets, tag) {
                    Some((way, Found::Same)) => way,
                    Some((way, _)) if octets[home as usize] != 0 => way,
                    _ => home,
                };
                assert_eq!(
                    tags.way_from_home(home, tag),
                    way,
                    "{octets:?} {tag} {home}"
                );
            }
        }
    }

    #[test]
    fn a_record_lies_where_its_tag_is_or_where_there_is_room() {
        // Neighbours of what is looked for, which a carry would take for it.
        let interesting = [0, 1, 2, 0x7f, 0x80, 0x81, 0xfe, 0xff];
        let mut number = 0_usize;
        for _ in 0..200_000 {
            number = number.wrapping_mul(0x5851_f42d).wrapping_add(0x1405_7b7f);
            let octets = core::array::from_fn(|way| interesting[number >> (3 * way + 5) & 7]);
            let wanted = interesting[number >> 2 & 7].max(1);
            let place = Tags(u64::from_le_bytes(octets)).place(hash(wanted));
            match expected(octets, wanted) {
                Some((way, found)) => assert_eq!(place, Place { way, found }, "{octets:?}"),
                None => assert!(place.found == Found::Other && place.way < WAYS),
            }
        }
    }

    #[test]
    fn a_tag_is_put_where_it_is_looked_for() {
        let mut tags = Tags::default();
        for octet in 1..=8 {
            let place = tags.place(hash(octet));
            assert_eq!(
                (place.way, place.found),
                (u32::from(octet) - 1, Found::Vacant)
            );
            tags = tags.with(place.way, octet);
            assert_eq!(tags.of(place.way), octet);
            assert_eq!(tags.place(hash(octet)).found, Found::Same);
        }
        assert_eq!(tags.0, 0x0807_0605_0403_0201);
        assert_eq!(tags.with(2, 9).0, 0x0807_0605_0409_0201);
    }

    #[test]
    fn every_place_of_a_full_set_makes_room_at_times() {
        let mut tags = Tags(0x0807_0605_0403_0201);
        let mut taken = [0; WAYS as usize];
        for turn in 0..8_000_u32 {
            let hash = hash(9 + (turn % 200) as u8);
            let Place { way, found } = tags.place(hash);
            if found == Found::Other {
                taken[way as usize] += 1;
                tags = tags.with(way, tag(hash));
            }
        }
        assert!(taken.iter().all(|it| (700..1300).contains(it)), "{taken:?}");
    }
}
