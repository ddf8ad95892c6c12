//! Changes to an input such as a fuzzer makes, from a fixed seed.

/// Octets, as big- and little-endian numbers, at which length fields are wrong.
const EDGES: [u8; 8] = [0, 1, 4, 0x3f, 0x7f, 0x80, 0xfe, 0xff];

/// Changes made to one input at most.
const MOST_CHANGES: usize = 4;

/// Longest input: as long as libFuzzer's without a wish of ours.
const MOST_OCTETS: usize = 8192;

/// Makes the same mutations in each run.
pub(crate) struct Mutator<'a> {
    state: u64,
    seeds: &'a [Vec<u8>],
}

impl<'a> Mutator<'a> {
    /// `seeds` are what pieces are taken from.
    pub(crate) const fn new(seeds: &'a [Vec<u8>]) -> Self {
        Self {
            state: 0x9e37_79b9_7f4a_7c15,
            seeds,
        }
    }

    /// A changed copy of an input.
    pub(crate) fn mutate(&mut self, input: &[u8]) -> Vec<u8> {
        let mut bytes = input.to_vec();
        for _ in 0..=self.below(MOST_CHANGES) {
            self.change(&mut bytes);
        }
        bytes.truncate(MOST_OCTETS);
        bytes
    }

    /// The start of some seed, and then one piece again and again, up to so many octets.
    pub(crate) fn bomb(&mut self, octets: usize) -> Vec<u8> {
        let seed = &self.seeds[self.below(self.seeds.len())];
        let mut bomb = seed[..self.below(seed.len() + 1)].to_vec();
        let mut piece = self.piece();
        // Short ones are there more often.
        piece.truncate(1 + self.below(16));
        piece.push(b" \n,[{:-?"[self.below(8)]);
        while bomb.len() < octets {
            bomb.extend_from_slice(&piece);
        }
        bomb.truncate(octets);
        bomb
    }

    fn change(&mut self, bytes: &mut Vec<u8>) {
        let at = self.below(bytes.len() + 1);
        let end = at + self.below(bytes.len() - at + 1).min(64);
        match self.below(8) {
            0 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << self.below(8);
                }
            }
            1 => {
                let edge = EDGES[self.below(EDGES.len())];
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = edge;
                }
            }
            2 => {
                let random = self.random().to_le_bytes()[0];
                bytes.insert(at, random);
            }
            3 => drop(bytes.drain(at..end)),
            4 => {
                let piece = bytes[at..end].to_vec();
                let to = self.below(bytes.len() + 1);
                bytes.splice(to..to, piece);
            }
            5 => bytes.truncate(at),
            _ => {
                let piece = self.piece();
                bytes.splice(at..end, piece);
            }
        }
    }

    /// A part of some seed.
    fn piece(&mut self) -> Vec<u8> {
        let seed = &self.seeds[self.below(self.seeds.len())];
        let at = self.below(seed.len() + 1);
        let len = self.below(seed.len() - at + 1).min(64);
        seed[at..at + len].to_vec()
    }

    /// A number below `limit`, which is not 0.
    fn below(&mut self, limit: usize) -> usize {
        let random = self.random() >> 33;
        usize::try_from(random).expect("31 bits") % limit
    }

    /// Marsaglia's xorshift, times a constant (Vigna 2016).
    fn random(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}
