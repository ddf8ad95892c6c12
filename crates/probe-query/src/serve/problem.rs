//! Errors as problem documents (RFC 9457), as the agent's API has them.

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use probe_flow::filter::FilterError;
use serde::Serialize;

use crate::error::QueryError;

/// Why a request was not answered.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub(super) struct Problem {
    r#type: &'static str,
    title: String,
    status: u16,
    /// A sentence with the remedy, as the command line tells it.
    pub(super) detail: String,
    /// The parameter that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    parameter: Option<&'static str>,
    /// Where the filter is wrong, in characters from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<usize>,
    #[serde(skip)]
    retry_seconds: Option<u64>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            r#type: "about:blank",
            title: status.canonical_reason().unwrap_or_default().to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            parameter: None,
            column: None,
            retry_seconds: None,
        }
    }

    /// A parameter that cannot be read.
    pub(super) fn parameter(name: &'static str, detail: impl Into<String>) -> Self {
        Self {
            parameter: Some(name),
            ..Self::new(StatusCode::BAD_REQUEST, detail)
        }
    }

    /// A filter that cannot be read, with its place.
    pub(super) fn filter(error: &FilterError) -> Self {
        Self {
            column: Some(error.column()),
            ..Self::parameter("filter", format!("the filter cannot be read: {error}"))
        }
    }

    /// It may go better later.
    pub(super) fn busy(detail: impl Into<String>) -> Self {
        Self {
            retry_seconds: Some(5),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
        }
    }
}

impl From<QueryError> for Problem {
    fn from(error: QueryError) -> Self {
        let detail = error.to_string();
        match error {
            QueryError::Usage(_) | QueryError::Sql(_) => Self {
                parameter: ["since", "until", "by", "sort"]
                    .into_iter()
                    .find(|name| detail.starts_with(&format!("--{name}:"))),
                ..Self::new(StatusCode::BAD_REQUEST, detail)
            },
            QueryError::Memory { .. } => Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail),
            QueryError::Gone { .. } | QueryError::Cancelled => Self::busy(detail),
            _ => Self::new(StatusCode::INTERNAL_SERVER_ERROR, detail),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let text = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = Response::new(Body::from(text));
        *response.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        let kind = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, kind);
        if let Some(seconds) = self.retry_seconds {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if self.status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Bearer realm=\"probe\"");
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}
