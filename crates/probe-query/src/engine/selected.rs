//! Whether the interval of a row is asked for.

use std::{hash::Hash, sync::Arc};

use datafusion::{
    arrow::{
        array::{AsArray, BooleanArray},
        datatypes::{DataType, TimestampMicrosecondType},
    },
    common::{Result, ScalarValue, exec_err},
    logical_expr::{
        ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
        lit,
    },
    prelude::ident,
};
use jiff::Timestamp;

use super::bucket::time_type;
use crate::time::Range;

/// The function of the engine that says whether an interval is asked for: [`Range::selects`].
#[derive(Debug, Eq, Hash, PartialEq)]
struct Selected {
    since: i64,
    until: i64,
    signature: Signature,
}

/// An expression that is true for the rows of the intervals that the range selects.
pub fn selected(range: Range) -> Expr {
    let (since, until) = (range.since.as_microsecond(), range.until.as_microsecond());
    let bound = |micros| {
        lit(ScalarValue::TimestampMicrosecond(
            Some(micros),
            Some("UTC".into()),
        ))
    };
    let exactly = ScalarUDF::new_from_impl(Selected {
        since,
        until,
        signature: Signature::exact(vec![time_type(), time_type()], Volatility::Immutable),
    });
    // By these, row groups and pages are skipped.
    let about = ident("interval_end")
        .gt_eq(bound(since))
        .and(ident("interval_start").lt_eq(bound(until)));
    about.and(exactly.call(vec![ident("interval_start"), ident("interval_end")]))
}

impl ScalarUDFImpl for Selected {
    fn name(&self) -> &'static str {
        "selected"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [start, end] = args.args.as_slice() else {
            return exec_err!("selected takes the bounds of an interval");
        };
        let arrays = [
            start.to_array(args.number_rows)?,
            end.to_array(args.number_rows)?,
        ];
        let times = arrays
            .each_ref()
            .map(|it| it.as_primitive_opt::<TimestampMicrosecondType>());
        let [Some(starts), Some(ends)] = times else {
            return exec_err!("selected takes times");
        };
        let time = |micros| Timestamp::from_microsecond(micros).unwrap_or_default();
        let range = Range {
            since: time(self.since),
            until: time(self.until),
        };
        let mut last = ((0, 0), range.selects(time(0), time(0)));
        let each = starts.iter().zip(ends.iter()).map(|(start, end)| {
            let bounds = (start?, end?);
            if bounds != last.0 {
                last = (bounds, range.selects(time(bounds.0), time(bounds.1)));
            }
            Some(last.1)
        });
        Ok(ColumnarValue::Array(Arc::new(
            each.collect::<BooleanArray>(),
        )))
    }
}
