//! Whether an address lies in a network, where addresses are stored as text.
//!
//! Text sorts, so a network whose prefix ends with an octet of IPv4 is a range of texts, which row
//! groups and pages are skipped by. What is narrower than that is decided address by address.

use std::{hash::Hash, net::IpAddr, sync::Arc};

use datafusion::{
    arrow::{
        array::{Array, AsArray, BooleanArray, StringViewArray},
        datatypes::DataType,
    },
    common::{Result, exec_err},
    logical_expr::{
        ColumnarValue, Expr as Ask, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
        Volatility, lit,
    },
    prelude::ident,
};
use probe_flow::filter::Net;

use super::text;

/// An expression that is true where the text of the column is an address of the network.
pub(super) fn lies_in(column: &str, net: Net) -> Ask {
    if net.is_host() {
        return ident(column).eq(text(&net.addr().to_string()));
    }
    let exact = || ScalarUDF::new_from_impl(InNet::new(net)).call(vec![ident(column)]);
    match net.addr() {
        IpAddr::V4(_) => {
            let range = texts_of(net).map(|(low, high)| {
                let (low, high) = (text(&low), text(&high));
                ident(column).gt_eq(low).and(ident(column).lt(high))
            });
            let version = ident("ip_version").eq(lit(4_u8));
            match (range, net.prefix_len()) {
                (_, 0) => version,
                (Some(range), 8 | 16 | 24) => range,
                (Some(range), _) => range.and(exact()),
                (None, _) => version.and(exact()),
            }
        }
        IpAddr::V6(_) => {
            let version = ident("ip_version").eq(lit(6_u8));
            if net.prefix_len() == 0 {
                version
            } else {
                version.and(exact())
            }
        }
    }
}

/// The texts of the addresses of a network of IPv4 lie between these; others may, too, unless its prefix ends with
/// an octet. `None` for networks that no texts bound.
pub(crate) fn texts_of(net: Net) -> Option<(String, String)> {
    let IpAddr::V4(addr) = net.addr() else {
        return None;
    };
    let whole = usize::from(net.prefix_len() / 8);
    if whole == 0 {
        return None;
    }
    let octets: Vec<_> = addr.octets()[..whole]
        .iter()
        .map(ToString::to_string)
        .collect();
    let octets = octets.join(".");
    // A dot is behind the octets, and the slash follows the dot in ASCII.
    Some((format!("{octets}."), format!("{octets}/")))
}

/// The function of the engine that says whether an address lies in a network.
#[derive(Debug, Eq, Hash, PartialEq)]
pub struct InNet {
    addr: IpAddr,
    prefix_len: u8,
    signature: Signature,
}

impl InNet {
    /// The function for one network.
    pub fn new(net: Net) -> Self {
        Self {
            addr: net.addr(),
            prefix_len: net.prefix_len(),
            signature: Signature::exact(vec![DataType::Utf8View], Volatility::Immutable),
        }
    }

    fn all(&self, texts: &StringViewArray) -> Option<BooleanArray> {
        let net = Net::new(self.addr, self.prefix_len)?;
        // Neighbours are alike.
        let mut last = ("", false);
        let each = texts.iter().map(|text| {
            let text = text?;
            if text != last.0 {
                last = (text, text.parse().is_ok_and(|addr| net.contains(addr)));
            }
            Some(last.1)
        });
        Some(each.collect())
    }
}

impl ScalarUDFImpl for InNet {
    fn name(&self) -> &'static str {
        "in_net"
    }

    fn schema_name(&self, args: &[Ask]) -> Result<String> {
        let args: Vec<_> = args.iter().map(ToString::to_string).collect();
        Ok(format!(
            "in_net({}, {}/{})",
            args.join(", "),
            self.addr,
            self.prefix_len
        ))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some(first) = args.args.first() else {
            return exec_err!("in_net takes an address");
        };
        let array = first.to_array(args.number_rows)?;
        let texts = array.as_string_view_opt();
        let Some(answers) = texts.and_then(|texts| self.all(texts)) else {
            return exec_err!("in_net takes an address, and got {}", array.data_type());
        };
        Ok(ColumnarValue::Array(Arc::new(answers)))
    }
}
