//! What rows are made of: the columns that flows are added up by, and the sums.

use probe_flow::schema::{FIELDS, Field, Read};

use crate::time::Step;

/// A column that flows are added up by.
#[derive(Clone, Debug)]
pub enum By {
    /// A field of the schema.
    Field(&'static Field),
    /// The bucket in which the interval starts; without a length, the interval itself.
    Time(Option<Step>),
}

/// Short words for fields, as goQuery, tcpdump and people have them.
const SHORT: [(&str, &str); 14] = [
    ("src", "src_addr"),
    ("dst", "dst_addr"),
    ("sip", "src_addr"),
    ("dip", "dst_addr"),
    ("sport", "src_port"),
    ("dport", "dst_port"),
    ("proto", "ip_protocol"),
    ("protocol", "ip_protocol"),
    ("interface", "iface"),
    ("ip", "ip_version"),
    ("flags", "tcp_flags"),
    ("evidence", "direction_evidence"),
    ("confidence", "direction_confidence"),
    ("hostname", "host"),
];

/// goQuery's names for the usual lists of columns, and ours.
pub const LISTS: [(&str, &str); 6] = [
    ("talk_conv", "src,dst"),
    ("talk_src", "src"),
    ("talk_dst", "dst"),
    ("apps_port", "dport,proto"),
    ("agg_talk_port", "src,dst,dport,proto"),
    ("raw", "time,host,iface,src,sport,dst,dport,proto"),
];

impl By {
    /// All words for columns, the short ones first.
    pub fn words() -> Vec<&'static str> {
        let short = SHORT.iter().map(|(short, _)| *short);
        let fields = FIELDS.iter().filter(|field| is_key(field));
        let fields = fields.map(|field| field.name);
        ["time"].into_iter().chain(short).chain(fields).collect()
    }

    /// Name of the column in the answer.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Field(field) => field.name,
            Self::Time(_) => "time",
        }
    }

    /// What stands above it in a table.
    pub const fn heading(&self) -> &'static str {
        match self {
            Self::Field(field) => field.heading,
            Self::Time(_) => "time",
        }
    }

    /// Reads a list of columns.
    ///
    /// # Errors
    ///
    /// A sentence that names the word and the columns there are.
    pub fn read_list(text: &str) -> Result<Vec<Self>, String> {
        let mut columns = Vec::new();
        for word in text.split(',').map(str::trim) {
            let list = LISTS.iter().find(|(name, _)| *name == word);
            match list {
                Some((_, words)) => {
                    for word in words.split(',') {
                        push(&mut columns, Self::read(word)?, word)?;
                    }
                }
                None => push(&mut columns, Self::read(word)?, word)?,
            }
        }
        Ok(columns)
    }

    fn read(word: &str) -> Result<Self, String> {
        if let Some(step) = word.strip_prefix("time=") {
            return Step::read(step).map(|step| Self::Time(Some(step)));
        }
        if word == "time" {
            return Ok(Self::Time(None));
        }
        let name = SHORT.iter().find(|(short, _)| *short == word);
        let name = name.map_or(word, |(_, name)| name);
        let field = FIELDS
            .iter()
            .find(|field| field.name == name && is_key(field));
        field.map(Self::Field).ok_or_else(|| unknown(word))
    }
}

fn push(columns: &mut Vec<By>, column: By, word: &str) -> Result<(), String> {
    if columns.iter().any(|known| known.name() == column.name()) {
        return Err(format!("column `{word}` is asked for twice"));
    }
    columns.push(column);
    Ok(())
}

/// Whether rows can be added up by it: sums cannot, and of times there is `time`.
const fn is_key(field: &Field) -> bool {
    !matches!(field.read, Read::U64(_) | Read::Tick(_) | Read::Bound(_))
}

fn unknown(word: &str) -> String {
    let fields = FIELDS
        .iter()
        .filter(|field| is_key(field))
        .map(|field| field.name);
    let short = SHORT.iter().map(|(short, _)| *short);
    let lists = LISTS.iter().map(|(name, _)| *name);
    let all: Vec<_> = ["time"]
        .into_iter()
        .chain(fields)
        .chain(short)
        .chain(lists)
        .collect();
    let near = all
        .iter()
        .map(|known| (strsim::damerau_levenshtein(word, known), *known))
        .filter(|(distance, known)| *distance <= 2 && *distance < known.len());
    let meant = near.min_by_key(|(distance, _)| *distance);
    let meant = meant.map_or(String::new(), |(_, known)| {
        format!(" (did you mean `{known}`?)")
    });
    format!(
        "unknown column {}{meant}; columns are src, sport, dst, dport, proto, iface, host, time, time=1h \
         and the other fields of a flow; {} are lists of columns",
        probe_flow::text::quoted(word),
        LISTS.map(|(name, _)| name).join(", "),
    )
}

/// A sum over the flows of a row.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Measure {
    /// Octets of received packets.
    BytesRcvd,
    /// Octets of sent packets.
    BytesSent,
    /// Packets that were received.
    PacketsRcvd,
    /// Packets that were sent.
    PacketsSent,
    /// Octets of both directions.
    Bytes,
    /// Packets of both directions.
    Packets,
    /// Stored flows: one for each interval in which a flow had packets.
    Flows,
}

impl Measure {
    /// Name of the column in the answer.
    pub const fn name(self) -> &'static str {
        match self {
            Self::BytesRcvd => "bytes_rcvd",
            Self::BytesSent => "bytes_sent",
            Self::PacketsRcvd => "packets_rcvd",
            Self::PacketsSent => "packets_sent",
            Self::Bytes => "bytes",
            Self::Packets => "packets",
            Self::Flows => "flows",
        }
    }

    /// Whether it counts octets.
    pub const fn is_bytes(self) -> bool {
        matches!(self, Self::BytesRcvd | Self::BytesSent | Self::Bytes)
    }
}

/// Which directions are asked for.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Directions {
    /// Received and sent, each in its own columns.
    #[default]
    Both,
    /// Counts of received packets.
    Rcvd,
    /// Counts of sent packets.
    Sent,
    /// Both directions added up.
    Sum,
}

impl Directions {
    /// The sums that are shown.
    pub const fn measures(self) -> &'static [Measure] {
        use Measure::{Bytes, BytesRcvd, BytesSent, Flows, Packets, PacketsRcvd, PacketsSent};
        match self {
            Self::Both => &[PacketsRcvd, PacketsSent, BytesRcvd, BytesSent, Flows],
            Self::Rcvd => &[PacketsRcvd, BytesRcvd, Flows],
            Self::Sent => &[PacketsSent, BytesSent, Flows],
            Self::Sum => &[Packets, Bytes, Flows],
        }
    }
}

/// What rows are sorted by.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sort {
    /// Octets of the directions that are asked for.
    Bytes,
    /// Packets of the directions that are asked for.
    Packets,
    /// The number of stored flows.
    Flows,
    /// A column of the answer, by its number in the list of columns.
    Column(usize),
}

impl Sort {
    /// Reads the name of what rows are sorted by.
    ///
    /// # Errors
    ///
    /// A sentence that says what there is.
    pub fn read(word: &str, by: &[By]) -> Result<Self, String> {
        Ok(match word {
            "bytes" => Self::Bytes,
            "packets" => Self::Packets,
            "flows" => Self::Flows,
            word => {
                let wanted = By::read(word)?;
                let place = by.iter().position(|column| column.name() == wanted.name());
                Self::Column(place.ok_or_else(|| {
                    format!("rows are not made by `{word}`: add it to --by, or sort by bytes, packets or flows")
                })?)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{By, LISTS, Sort};

    fn names(text: &str) -> Vec<&'static str> {
        By::read_list(text).unwrap().iter().map(By::name).collect()
    }

    #[test]
    fn columns_have_short_names_and_long_ones() {
        assert_eq!(
            names("src,dst_port, proto"),
            ["src_addr", "dst_port", "ip_protocol"]
        );
        assert_eq!(names("time=1h,iface"), ["time", "iface"]);
        assert_eq!(
            names("agg_talk_port"),
            ["src_addr", "dst_addr", "dst_port", "ip_protocol"]
        );
        for (list, _) in LISTS {
            assert!(!names(list).is_empty());
        }
    }

    #[test]
    fn what_is_no_column_is_told_with_the_nearest() {
        let error = By::read_list("src,dprot").unwrap_err();
        assert!(
            error.contains("unknown column `dprot` (did you mean `dport`?)"),
            "{error}"
        );
        assert!(
            By::read_list("bytes_rcvd")
                .unwrap_err()
                .contains("unknown column")
        );
        assert!(By::read_list("src,sip").unwrap_err().contains("twice"));
        assert!(By::read_list("time=0h").unwrap_err().contains("time="));
        assert!(By::read_list("").unwrap_err().contains("unknown column"));
    }

    #[test]
    fn rows_are_sorted_by_what_they_have() {
        let by = By::read_list("src,time=1h").unwrap();
        assert_eq!(Sort::read("time", &by), Ok(Sort::Column(1)));
        assert_eq!(Sort::read("packets", &by), Ok(Sort::Packets));
        assert!(
            Sort::read("dst", &by)
                .unwrap_err()
                .contains("add it to --by")
        );
    }
}
