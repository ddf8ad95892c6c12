//! The columns of the files: the fields of the schema but the interface, which is in the path.

use std::sync::Arc;

use parquet::{
    basic::{LogicalType, Repetition, TimeUnit, Type as PhysicalType},
    errors::Result,
    schema::types::{Type, TypePtr},
};

use probe_flow::schema::{FIELDS, Field, Read};

/// All columns, in the order of the file. No column of an interval's file is ever null.
pub(crate) fn columns() -> impl Iterator<Item = &'static Field> {
    FIELDS.iter().filter(|field| field.is_column())
}

/// The schema as Parquet has it. `optional` are the columns that may be null: compacted files have
/// them, from files of older versions.
pub(crate) fn message_type(optional: &[&str]) -> Result<TypePtr> {
    let fields = columns().map(|field| {
        let (physical, logical) = types(field.read);
        let repetition = if optional.contains(&field.name) {
            Repetition::OPTIONAL
        } else {
            Repetition::REQUIRED
        };
        let column = Type::primitive_type_builder(field.name, physical)
            .with_repetition(repetition)
            .with_logical_type(logical);
        column.build().map(Arc::new)
    });
    let message = Type::group_type_builder("flows").with_fields(fields.collect::<Result<_>>()?);
    message.build().map(Arc::new)
}

/// Type of a column's values, and what they mean.
pub(crate) fn types(read: Read) -> (PhysicalType, Option<LogicalType>) {
    match read {
        Read::Bound(_) | Read::Tick(_) => (
            PhysicalType::INT64,
            Some(LogicalType::timestamp(true, TimeUnit::MICROS)),
        ),
        Read::Host | Read::Iface | Read::Address(_) | Read::Name(_) => {
            (PhysicalType::BYTE_ARRAY, Some(LogicalType::String))
        }
        Read::U8(_) => (PhysicalType::INT32, Some(LogicalType::integer(8, false))),
        Read::U16(_) => (PhysicalType::INT32, Some(LogicalType::integer(16, false))),
        Read::U64(_) => (PhysicalType::INT64, Some(LogicalType::integer(64, false))),
        Read::Bool(_) => (PhysicalType::BOOLEAN, None),
    }
}
