//! The resources below `/api/v1`: one file each, with what it answers as types that server and
//! clients share.
//!
//! Fields are never renamed or removed, new ones may come: readers ignore what they do not know.
//! Reading changes nothing.

use super::{ApiState, problem::Problem, query::Query};

pub mod config;
pub mod flows;
pub mod info;
pub mod interfaces;
pub mod ledger;
pub mod reload;
pub mod retention;
pub mod rotation;
pub mod status;

/// All interfaces that a request asks for must be captured.
fn check_interfaces(state: &ApiState, wanted: &[String]) -> Result<(), Problem> {
    if wanted.is_empty() {
        return Ok(());
    }
    let captured = state.manager.interfaces(&[]);
    let unknown = wanted
        .iter()
        .find(|name| !captured.iter().any(|it| *it.name == ***name));
    match unknown {
        Some(name) => Err(Problem::not_found(format!(
            "no interface `{}` is captured; /api/v1/interfaces lists those that are",
            name.escape_debug()
        ))),
        None => Ok(()),
    }
}

/// Reads a query of nothing but `iface`, which may be repeated.
///
/// # Errors
///
/// Another parameter is given: status 400, and `detail` names the parameter.
pub fn wanted_interfaces(raw: Option<&str>) -> Result<Vec<String>, Problem> {
    Ok(Query::parse(raw, &["iface"])?.all("iface"))
}

/// Reads a query of nothing but `iface`, and checks it.
fn only_interfaces(state: &ApiState, raw: Option<&str>) -> Result<Vec<String>, Problem> {
    let wanted = wanted_interfaces(raw)?;
    check_interfaces(state, &wanted)?;
    Ok(wanted)
}

/// Whether a name is wanted; an empty list wants all.
fn is_wanted(wanted: &[String], name: &str) -> bool {
    wanted.is_empty() || wanted.iter().any(|it| it == name)
}
