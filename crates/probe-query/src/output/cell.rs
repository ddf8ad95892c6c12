//! One value of an answer.

use datafusion::arrow::{
    array::{Array, AsArray},
    datatypes::{
        DataType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimeUnit,
        TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
    },
    util::display::{ArrayFormatter, FormatOptions},
};
use jiff::Timestamp;
use serde::Serialize;

/// A value as all formats take it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub(crate) enum Cell {
    Null,
    Bool(bool),
    Number(u64),
    Signed(i64),
    Float(f64),
    Time(Timestamp),
    Text(String),
}

impl Cell {
    /// The value of a row. What has no type here is shown as the engine shows it.
    pub(crate) fn of(array: &dyn Array, row: usize) -> Self {
        if array.is_null(row) {
            return Self::Null;
        }
        match array.data_type() {
            DataType::Boolean => Self::Bool(array.as_boolean().value(row)),
            DataType::UInt8 => Self::Number(array.as_primitive::<UInt8Type>().value(row).into()),
            DataType::UInt16 => Self::Number(array.as_primitive::<UInt16Type>().value(row).into()),
            DataType::UInt32 => Self::Number(array.as_primitive::<UInt32Type>().value(row).into()),
            DataType::UInt64 => Self::Number(array.as_primitive::<UInt64Type>().value(row)),
            DataType::Int8 => Self::Signed(array.as_primitive::<Int8Type>().value(row).into()),
            DataType::Int16 => Self::Signed(array.as_primitive::<Int16Type>().value(row).into()),
            DataType::Int32 => Self::Signed(array.as_primitive::<Int32Type>().value(row).into()),
            DataType::Int64 => Self::Signed(array.as_primitive::<Int64Type>().value(row)),
            DataType::Float32 => Self::Float(array.as_primitive::<Float32Type>().value(row).into()),
            DataType::Float64 => Self::Float(array.as_primitive::<Float64Type>().value(row)),
            DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => {
                let micros = array.as_primitive::<TimestampMicrosecondType>().value(row);
                Timestamp::from_microsecond(micros).map_or(Self::Null, Self::Time)
            }
            DataType::Utf8View => Self::Text(array.as_string_view().value(row).to_owned()),
            DataType::Utf8 => Self::Text(array.as_string::<i32>().value(row).to_owned()),
            _ => match ArrayFormatter::try_new(array, &FormatOptions::default()) {
                Ok(formatter) => Self::Text(formatter.value(row).to_string()),
                Err(_) => Self::Null,
            },
        }
    }

    /// The number, if it is one.
    pub(crate) fn number(&self) -> Option<u64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Signed(number) => u64::try_from(*number).ok(),
            _ => None,
        }
    }
}
