//! The bucket of a time series that a time lies in.

use std::sync::Arc;

use datafusion::{
    arrow::{
        array::{Array, AsArray, TimestampMicrosecondArray},
        datatypes::{DataType, TimeUnit, TimestampMicrosecondType},
    },
    common::{Result, exec_err},
    logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility},
};

/// The type of all times of a store.
pub(super) fn time_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// The function of the engine that gives the start of the bucket that a time lies in.
#[derive(Debug, Eq, Hash, PartialEq)]
pub struct Bucket {
    /// Starts of all buckets in microseconds since 1970, in order.
    starts: Vec<i64>,
    signature: Signature,
}

impl Bucket {
    /// The function for buckets that start then, in order.
    pub fn new(starts: Vec<i64>) -> Self {
        Self {
            starts,
            signature: Signature::exact(vec![time_type()], Volatility::Immutable),
        }
    }

    /// What lies before the first bucket counts to it.
    pub fn start_of(&self, time: i64) -> i64 {
        let behind = self.starts.partition_point(|start| *start <= time);
        let place = behind.saturating_sub(1);
        self.starts.get(place).copied().unwrap_or(time)
    }
}

impl ScalarUDFImpl for Bucket {
    fn name(&self) -> &'static str {
        "bucket"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(time_type())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some(first) = args.args.first() else {
            return exec_err!("bucket takes a time");
        };
        let array = first.to_array(args.number_rows)?;
        let Some(times) = array.as_primitive_opt::<TimestampMicrosecondType>() else {
            return exec_err!("bucket takes a time, and got {}", array.data_type());
        };
        // The rows of an interval are neighbours, or its time comes back soon.
        let mut last = (i64::MIN, 0);
        let each = times.iter().map(|time| {
            let time = time?;
            if time != last.0 {
                last = (time, self.start_of(time));
            }
            Some(last.1)
        });
        let starts: TimestampMicrosecondArray = each.collect();
        Ok(ColumnarValue::Array(Arc::new(starts.with_timezone("UTC"))))
    }
}
