//! Every way in which a packet that a program was handed may miss the flows: the one table of losses.
//!
//! Counters of the programs, ledger, metrics, self-test, status and docs/LEDGER.md are made from it.
//! Whatever has a number for each loss is an array indexed by the enum, `losses[Loss::Filtered as usize]`:
//! kernel and userspace share that number by this declaration alone.

/// Which stage counts the packets of a loss, and so how far they came.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CountedBy {
    /// The parser of the programs, as a [`ParseError`]: no record was made.
    Parser,
    /// The programs before they parse: no record was made.
    Program,
    /// The programs, which could not pass on a record with these packets.
    Ring,
    /// The agent, which could not keep a record with these packets.
    Agent,
}

/// What the table says of a loss. All of it is text and flags: nothing here is needed per packet.
struct Declaration {
    /// What happened, in one sentence.
    meaning: &'static str,
    /// In metrics, ledger, stored intervals and output, `snake_case`. Readers depend on it: it never
    /// changes.
    name: &'static str,
    counted_by: CountedBy,
    /// Whether such a packet should not be there ([`Loss::is_issue`]).
    is_issue: bool,
    /// What to do about it ([`Loss::remedy`]).
    remedy: Option<&'static str>,
}

/// Declares [`Loss`] and [`ParseError`] with a number, a name and a text for each variant.
macro_rules! losses {
    (
        parser { $(
            $(#[doc = $error_meaning:literal])+
            $error:ident { $($error_field:ident: $error_value:expr),+ $(,)? }
        )+ }
        others { $(
            $(#[doc = $meaning:literal])+
            $loss:ident { $($field:ident: $value:expr),+ $(,)? }
        )+ }
    ) => {
        /// A named loss. The number of a variant is its place in all that is counted by loss.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub enum Loss {
            $( $(#[doc = $error_meaning])+ $error, )+
            $( $(#[doc = $meaning])+ $loss, )+
        }

        impl Loss {
            /// All losses, in the order of their numbers.
            pub const ALL: [Self; Self::COUNT] = [$(Self::$error,)+ $(Self::$loss,)+];

            /// Number of losses in the table.
            pub const COUNT: usize = TABLE.len();
        }

        /// Why the parser can place a frame in no flow: the losses that are
        /// [counted by the parser](CountedBy::Parser).
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub enum ParseError {
            $( $(#[doc = $error_meaning])+ $error = Loss::$error as isize, )+
        }

        impl ParseError {
            /// All parse errors, in the order of [`Loss`].
            pub const ALL: &[Self] = &[$(Self::$error,)+];

            /// The loss that it is.
            pub const fn loss(self) -> Loss {
                match self {
                    $( Self::$error => Loss::$error, )+
                }
            }

            /// What an array by [`Loss`] has for it. Spelled out, since the BPF verifier cannot prove
            /// that an index which is computed at run time is in bounds.
            #[inline(always)]
            #[expect(non_snake_case, reason = "the pattern has the names of the variants")]
            pub const fn of_mut<T>(self, by_loss: &mut [T; Loss::IN_KERNEL]) -> &mut T {
                // As declared, the parse errors are the first losses.
                let [$($error,)+ ..] = by_loss;
                match self {
                    $( Self::$error => $error, )+
                }
            }
        }

        const TABLE: &[Declaration] = &[
            $( Declaration {
                meaning: concat!($($error_meaning),+).trim_ascii(),
                $($error_field: $error_value,)+
                counted_by: CountedBy::Parser,
            }, )+
            $( Declaration {
                meaning: concat!($($meaning),+).trim_ascii(),
                $($field: $value,)+
            }, )+
        ];
    };
}

// The losses that the programs count come first.
losses! {
    parser {
        /// The EtherType (behind VLAN tags, MPLS labels and PPPoE) is neither IPv4 nor IPv6.
        NonIp {
            name: "non_ip",
            is_issue: false,
            remedy: None,
        }
        /// The IP header has the wrong version, or a length field that contradicts the header.
        InvalidIpHeader {
            name: "invalid_ip_header",
            is_issue: true,
            remedy: None,
        }
        /// The frame ends inside a link, IP or extension header.
        Truncated {
            name: "truncated",
            is_issue: true,
            remedy: None,
        }
        /// The packet has more tags, labels or extension headers than the parser follows.
        TooManyHeaders {
            name: "too_many_headers",
            is_issue: true,
            remedy: None,
        }
    }
    others {
        /// The configuration leaves the packet out (`ignore_vlans`).
        Filtered {
            name: "filtered",
            counted_by: CountedBy::Program,
            is_issue: false,
            remedy: None,
        }
        /// The CPU's ring was full, because the agent did not keep up.
        RingFull {
            name: "ring_full",
            counted_by: CountedBy::Ring,
            is_issue: false,
            remedy: Some(
                "the agent did not keep up: raise capture.ring_buffer, or give it CPU"
            ),
        }
        /// The buffer that takes records during a rotation or a query was full.
        LocalBufferFull {
            name: "local_buffer_full",
            counted_by: CountedBy::Agent,
            is_issue: false,
            remedy: Some(
                "they came while an interval was closed: raise rotation.local_buffers.size_limit"
            ),
        }
    }
}

impl Loss {
    /// Number of losses that the programs count: the first ones.
    pub const IN_KERNEL: usize = {
        let mut count = 0;
        while count < TABLE.len() && !matches!(TABLE[count].counted_by, CountedBy::Agent) {
            count += 1;
        }
        count
    };

    /// The one name of the loss: in metrics, ledger, stored intervals and output.
    pub const fn name(self) -> &'static str {
        TABLE[self as usize].name
    }

    /// What happened to such a packet, a sentence in Markdown.
    pub const fn meaning(self) -> &'static str {
        TABLE[self as usize].meaning
    }

    /// The stage that counts it.
    pub const fn counted_by(self) -> CountedBy {
        TABLE[self as usize].counted_by
    }

    /// Whether such a packet should not be there, so that the parser's issues include it.
    pub const fn is_issue(self) -> bool {
        TABLE[self as usize].is_issue
    }

    /// What the operator can do about it, for losses that are a shortcoming of the agent.
    pub const fn remedy(self) -> Option<&'static str> {
        TABLE[self as usize].remedy
    }

    /// Whether packets are lost with the record that they were part of, because the agent did not
    /// keep up. Their bytes are IP octets then, else whole frames.
    pub const fn is_with_record(self) -> bool {
        matches!(self.counted_by(), CountedBy::Ring | CountedBy::Agent)
    }
}

const _: () = {
    let mut number = 0;
    while number < Loss::COUNT {
        let loss = Loss::ALL[number];
        assert!(
            loss as usize == number,
            "ALL is in the order of the numbers"
        );
        let by_agent = matches!(loss.counted_by(), CountedBy::Agent);
        assert!(
            by_agent == (number >= Loss::IN_KERNEL),
            "losses that the agent counts come last"
        );
        number += 1;
    }
    let mut number = 0;
    while number < ParseError::ALL.len() {
        let error = ParseError::ALL[number];
        assert!(
            error as usize == error.loss() as usize,
            "a parse error has the number of its loss"
        );
        number += 1;
    }
};

#[cfg(test)]
mod tests {
    use super::{CountedBy, Loss, ParseError};

    #[test]
    fn names_are_unique_words_of_metrics() {
        for loss in Loss::ALL {
            let name = loss.name();
            assert!(
                name.bytes().all(|it| it == b'_' || it.is_ascii_lowercase()),
                "{name}"
            );
            let same = Loss::ALL.iter().filter(|other| other.name() == name);
            assert_eq!(same.count(), 1, "{name}");
            let meaning = loss.meaning();
            assert!(meaning.ends_with('.') && !meaning.contains("  "), "{name}");
        }
    }

    #[test]
    fn stored_intervals_have_the_names_that_readers_know() {
        let known = [
            "non_ip",
            "invalid_ip_header",
            "truncated",
            "too_many_headers",
            "filtered",
            "ring_full",
            "local_buffer_full",
        ];
        let mut names = Loss::ALL.iter().map(|loss| loss.name());
        for known in known {
            assert!(names.any(|name| name == known), "{known}, in this order");
        }
    }

    #[test]
    fn a_parse_error_counts_as_the_loss_of_its_name() {
        for &error in ParseError::ALL {
            let mut counts = [0; Loss::IN_KERNEL];
            *error.of_mut(&mut counts) += 1;
            assert_eq!(counts[error.loss() as usize], 1, "{error:?}");
            assert_eq!(error.loss().counted_by(), CountedBy::Parser);
        }
        let by_parser = Loss::ALL
            .iter()
            .filter(|it| it.counted_by() == CountedBy::Parser);
        assert_eq!(by_parser.count(), ParseError::ALL.len());
    }
}
