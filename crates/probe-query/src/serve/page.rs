//! The files of the page, which are part of the binary.

use axum::{
    extract::Path,
    response::{IntoResponse, Response},
};

use super::routes::{nothing, with_kind};

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

macro_rules! files {
    ($($name:literal: $kind:expr),* $(,)?) => {
        [$(($name, $kind, include_str!(concat!("page/", $name)))),*]
    };
}

/// Names, media types, and text.
pub(super) const FILES: [(&str, &str, &str); 19] = files! {
    "api.js": SCRIPT,
    "app.js": SCRIPT,
    "chart.js": SCRIPT,
    "chart.css": CSS,
    "command.js": SCRIPT,
    "completeness.js": SCRIPT,
    "controls.js": SCRIPT,
    "dom.js": SCRIPT,
    "format.js": SCRIPT,
    "icon.svg": SVG,
    "lane.js": SCRIPT,
    "page.css": CSS,
    "range.js": SCRIPT,
    "scale.js": SCRIPT,
    "state.js": SCRIPT,
    "table.css": CSS,
    "table.js": SCRIPT,
    "talkers.js": SCRIPT,
    "theme.js": SCRIPT,
};

/// Answers the page itself, which names its files.
pub(super) async fn index() -> Response {
    with_kind(include_str!("page/index.html"), HTML)
}

/// A file of the page.
pub(super) async fn file(Path(name): Path<String>) -> Response {
    let file = FILES.iter().find(|(known, ..)| *known == name);
    match file {
        Some((_, kind, text)) => with_kind(*text, kind),
        None => nothing().await.into_response(),
    }
}
