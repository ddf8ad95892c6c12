//! The tags of the cache: L1 and L2 are set-associative with [`WAYS`] slots per set. A set has one word of
//! tags, with an octet for each slot: the tag of the record in the slot, or 0. So one load from memory that
//! is near spares loads from memory that is far away.
//!
//! A record may lie in any slot of its set. No two slots of a set have the same tag: a record that meets its
//! tag is merged into the record there, or replaces it. So a flow never has two records in a set.

/// Slots of a set: the octets of a word.
pub const WAYS: u32 = u64::BITS / u8::BITS;

/// 1 in each octet.
const ONES: u64 = u64::MAX / 0xff;
/// The highest bit of each octet.
const HIGHEST: u64 = ONES << 7;

/// Multiplied by a 1 in one octet: the number of that octet in the product's highest octet.
const NUMBERS: u64 = 0x0001_0203_0405_0607;

/// An odd number without pattern.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

/// The tags of a set.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Tags(pub u64);

/// The slot that a record takes in its set.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Choice {
    /// Number of the slot in the set, less than [`WAYS`].
    pub way: u32,
    /// What is in the slot before.
    pub state: WayState,
}

/// What is in a slot, by its tag.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum WayState {
    /// A record with the same tag: most likely of the same flow.
    TagMatch,
    /// The slot holds no record.
    Vacant,
    /// A record of another flow, which has to be evicted because the set is full.
    Victim,
}

/// The tag of a record from its [`l2_hash`](super::Coalesce::l2_hash), by bits that do not choose the set
/// where there are fewer than 2^24 sets. Never 0.
#[inline(always)]
pub const fn tag(hash: u32) -> u8 {
    let tag = (hash >> 24) as u8;
    if tag == 0 { 1 } else { tag }
}

impl Tags {
    /// The slot for a record with this hash. The victim of a full set is as good as random, and stays the
    /// same until the set changes.
    #[inline(always)]
    pub const fn choose(self, hash: u32) -> Choice {
        if let Some(way) = self.find(tag(hash)) {
            return Choice {
                way,
                state: WayState::TagMatch,
            };
        }
        let vacant = octets_of_zero(self.0);
        if vacant != 0 {
            return Choice {
                way: first_octet(vacant),
                state: WayState::Vacant,
            };
        }
        Choice {
            way: ((self.0 ^ hash as u64).wrapping_mul(FACTOR) >> 61) as u32,
            state: WayState::Victim,
        }
    }

    /// The slot with a tag, if there is one.
    #[inline(always)]
    pub const fn find(self, tag: u8) -> Option<u32> {
        match octets_of_zero(self.0 ^ (tag as u64 * ONES)) {
            0 => None,
            same => Some(first_octet(same)),
        }
    }

    /// Whether no slot is vacant.
    #[inline(always)]
    pub const fn is_full(self) -> bool {
        octets_of_zero(self.0) == 0
    }

    /// The slot for a record that prefers one of them: the one with its tag, else the preferred slot if that
    /// is vacant, else another vacant slot, else the preferred slot.
    #[inline(always)]
    #[must_use]
    pub const fn choose_near(self, preferred: u32, tag: u8) -> u32 {
        match self.find(tag) {
            Some(way) => way,
            None if self.tag_of(preferred) == 0 || self.is_full() => preferred,
            None => first_octet(octets_of_zero(self.0)),
        }
    }

    /// A copy with a tag for a slot.
    #[inline(always)]
    #[must_use]
    pub const fn with(self, way: u32, tag: u8) -> Self {
        let shift = way % WAYS * u8::BITS;
        Self(self.0 & !(0xff << shift) | (tag as u64) << shift)
    }

    /// The tag of a slot, or 0.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "the lowest octet")]
    pub const fn tag_of(self, way: u32) -> u8 {
        (self.0 >> (way % WAYS * u8::BITS)) as u8
    }
}

/// The highest bit of each octet that is 0, and perhaps of some above the first.
#[inline(always)]
const fn octets_of_zero(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & HIGHEST
}

/// The number of the first octet whose highest bit is set. (BPF has no instruction for that.)
#[inline(always)]
const fn first_octet(highest: u64) -> u32 {
    let one = (highest & highest.wrapping_neg()) >> 7;
    (one.wrapping_mul(NUMBERS) >> 56) as u32
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use super::{Choice, Tags, WAYS, WayState, tag};

    /// Hashes of which the highest octet says the tag.
    fn hash(tag: u8) -> u32 {
        u32::from(tag) << 24 | 0x12_3456
    }

    #[test]
    fn no_tag_is_that_of_a_vacant_slot() {
        let tags: Vec<u8> = (0..=255).map(|octet| tag(hash(octet))).collect();
        assert_eq!(tags[..3], [1, 1, 2]);
        assert!(tags.iter().all(|tag| *tag != 0));
    }

    /// The choice in a plain way.
    fn expected(octets: [u8; 8], tag: u8) -> Option<(u32, WayState)> {
        let way = |wanted| (0..).zip(octets).find(|(_, it)| *it == wanted);
        let same = way(tag).map(|(way, _)| (way, WayState::TagMatch));
        same.or_else(|| way(0).map(|(way, _)| (way, WayState::Vacant)))
    }

    #[test]
    fn an_l1_record_takes_the_slot_with_its_tag_or_the_preferred_or_a_vacant_one() {
        let mut octets = [0; 8];
        let mut state = 1_u32;
        for _ in 0..100_000 {
            for octet in &mut octets {
                // Of few values, so that every case occurs.
                state = state.wrapping_mul(0x0019_660d).wrapping_add(0x3c6e_f35f);
                *octet = [0, 0, 1, 2, 0x7f, 0x80, 0x81, 0xff][(state >> 29) as usize];
            }
            let tags = Tags(u64::from_le_bytes(octets));
            assert_eq!(tags.is_full(), !octets.contains(&0), "{octets:?}");
            for tag in [1, 2, 3, 0x7f, 0x80, 0xff] {
                let preferred = state >> 8 & 7;
                let same = (0..).zip(octets).find(|(_, it)| *it == tag);
                assert_eq!(tags.find(tag), same.map(|it| it.0), "{octets:?} {tag}");
                let way = match expected(octets, tag) {
                    Some((way, WayState::TagMatch)) => way,
                    Some((way, _)) if octets[preferred as usize] != 0 => way,
                    _ => preferred,
                };
                assert_eq!(
                    tags.choose_near(preferred, tag),
                    way,
                    "{octets:?} {tag} {preferred}"
                );
            }
        }
    }

    #[test]
    fn an_l2_record_takes_the_slot_with_its_tag_or_a_vacant_one() {
        // Neighbours of the wanted tag, which a carry would take for it.
        let interesting = [0, 1, 2, 0x7f, 0x80, 0x81, 0xfe, 0xff];
        let mut number = 0_usize;
        for _ in 0..200_000 {
            number = number.wrapping_mul(0x5851_f42d).wrapping_add(0x1405_7b7f);
            let octets = core::array::from_fn(|way| interesting[number >> (3 * way + 5) & 7]);
            let wanted = interesting[number >> 2 & 7].max(1);
            let choice = Tags(u64::from_le_bytes(octets)).choose(hash(wanted));
            match expected(octets, wanted) {
                Some((way, state)) => assert_eq!(choice, Choice { way, state }, "{octets:?}"),
                None => assert!(choice.state == WayState::Victim && choice.way < WAYS),
            }
        }
    }

    #[test]
    fn a_tag_is_put_where_it_is_found_again() {
        let mut tags = Tags::default();
        for octet in 1..=8 {
            let choice = tags.choose(hash(octet));
            assert_eq!(
                (choice.way, choice.state),
                (u32::from(octet) - 1, WayState::Vacant)
            );
            tags = tags.with(choice.way, octet);
            assert_eq!(tags.tag_of(choice.way), octet);
            assert_eq!(tags.choose(hash(octet)).state, WayState::TagMatch);
        }
        assert_eq!(tags.0, 0x0807_0605_0403_0201);
        assert_eq!(tags.with(2, 9).0, 0x0807_0605_0409_0201);
    }

    #[test]
    fn every_slot_of_a_full_set_is_a_victim_at_times() {
        let mut tags = Tags(0x0807_0605_0403_0201);
        let mut taken = [0; WAYS as usize];
        for turn in 0..8_000_u32 {
            let hash = hash(9 + (turn % 200) as u8);
            let Choice { way, state } = tags.choose(hash);
            if state == WayState::Victim {
                taken[way as usize] += 1;
                tags = tags.with(way, tag(hash));
            }
        }
        assert!(taken.iter().all(|it| (700..1300).contains(it)), "{taken:?}");
    }
}
