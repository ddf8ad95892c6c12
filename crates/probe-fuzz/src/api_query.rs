//! Queries of the API: what stands behind the `?` of a request.

use probe_api::{
    Problem,
    v1::{
        flows::{FlowsQuery, groups::GroupsQuery, stream::StreamQuery},
        reload::dry_run,
        wanted_interfaces,
    },
};
use probe_flow::filter::MAX_LENGTH;

/// Reads a query of each kind that there is. What is refused must be told with the parameter; a
/// query of flows that is accepted must be the same when a client sends it.
pub fn check(input: &[u8]) {
    let raw = String::from_utf8_lossy(input);
    check_refusal(dry_run(Some(&raw)));
    check_refusal(wanted_interfaces(Some(&raw)));
    if let Some(stream) = check_refusal(StreamQuery::parse(Some(&raw))) {
        assert!((1..=60).contains(&stream.every.as_secs()), "{raw:?}");
        check_sent(&stream.flows);
    }
    if let Some(groups) = check_refusal(GroupsQuery::parse(Some(&raw)))
        && groups.filter.to_string().len() <= MAX_LENGTH
    {
        let sent = groups.encode();
        assert_eq!(GroupsQuery::parse(Some(&sent)), Ok(groups), "{sent}");
    }
    if let Some(flows) = check_refusal(FlowsQuery::parse(Some(&raw))) {
        check_sent(&flows);
    }
}

fn check_sent(query: &FlowsQuery) {
    // A filter with many abbreviations may be too long once they are written out.
    if query.filter.to_string().len() <= MAX_LENGTH {
        let sent = query.encode();
        assert_eq!(FlowsQuery::parse(Some(&sent)).as_ref(), Ok(query), "{sent}");
    }
}

fn check_refusal<T>(outcome: Result<T, Problem>) -> Option<T> {
    let problem = match outcome {
        Ok(value) => return Some(value),
        Err(problem) => problem,
    };
    assert_eq!(problem.status, 400, "{problem:?}");
    super::assert_printable(&problem.detail);
    let names_parameter = ["parameter `", "unknown parameter `"]
        .iter()
        .any(|start| problem.detail.starts_with(start));
    assert!(names_parameter, "{problem:?}");
    assert!(
        problem.column.is_none_or(|column| column > 0),
        "{problem:?}"
    );
    None
}
