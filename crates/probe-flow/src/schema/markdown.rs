//! The schema as the table of docs/STORAGE.md.

use super::{FIELDS, Read};

impl Read {
    /// Type of the column as DuckDB names it, and type of the value in JSON.
    const fn types(self) -> (&'static str, &'static str) {
        match self {
            Self::Iface => ("VARCHAR (in the path)", "string"),
            Self::Bound(_) | Self::Tick(_) => ("TIMESTAMP WITH TIME ZONE", "string, RFC 3339"),
            Self::Host | Self::Address(_) | Self::Name(_) => ("VARCHAR", "string"),
            Self::U8(_) => ("UTINYINT", "number"),
            Self::U16(_) => ("USMALLINT", "number"),
            Self::U64(_) => ("UBIGINT", "number"),
            Self::Bool(_) => ("BOOLEAN", "boolean"),
        }
    }
}

/// The table of all fields, in Markdown.
pub fn markdown() -> String {
    let head = "| field | Parquet | JSON | unit | meaning |\n\
                | --- | --- | --- | --- | --- |\n";
    let rows = FIELDS.iter().map(|field| {
        let (column, json) = field.read.types();
        let unit = if field.unit.is_empty() {
            "–"
        } else {
            field.unit
        };
        let (name, meaning) = (field.name, field.meaning);
        format!("| `{name}` | {column} | {json} | {unit} | {meaning} |\n")
    });
    [head.to_owned()].into_iter().chain(rows).collect()
}
