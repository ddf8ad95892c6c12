//! The page in a browser: what it shows, and how it is used.
//!
//! `PROBE_PICTURES=DIR` writes pictures of it there; those of docs/PAGE.md are made so.

mod answers;
mod chart;
mod looks;

use std::{env, fs, path::Path};

use probe_testkit::skip;

use super::{
    cdp::{Browser, CHROMIUM},
    server::Server,
};

const DAY: &str = "since=2026-11-20T00:00:00Z&until=2026-11-21T00:00:00Z";

/// A server of this store, and a browser.
fn started(store: &Path) -> Option<(Server, Browser)> {
    if !skip::tools_or_skip(&[CHROMIUM]) {
        return None;
    }
    let mut browser = Browser::start();
    browser.resize(1280, 900);
    browser.prefer("light");
    Some((Server::new(store), browser))
}

fn url(server: &Server, fragment: &str) -> String {
    format!("http://{}/#{fragment}", server.addr)
}

fn number(browser: &mut Browser, expression: &str) -> i64 {
    let value = browser.value(expression);
    value
        .as_i64()
        .unwrap_or_else(|| panic!("{expression} is {value}"))
}

fn text(browser: &mut Browser, expression: &str) -> String {
    let value = browser.value(expression);
    value
        .as_str()
        .unwrap_or_else(|| panic!("{expression} is {value}"))
        .to_owned()
}

fn text_of(browser: &mut Browser, selector: &str) -> String {
    text(
        browser,
        &format!("document.querySelector({selector:?}).innerText"),
    )
}

fn state(browser: &mut Browser, name: &str) -> String {
    let expression = format!("new URLSearchParams(location.hash.slice(1)).get('{name}') ?? ''");
    text(browser, &expression)
}

fn picture(browser: &mut Browser, name: &str) {
    let Some(dir) = env::var_os("PROBE_PICTURES") else {
        return;
    };
    // The path of a store that lives no longer than this test tells nobody anything.
    browser.value(
        "document.getElementById('stores').textContent = '/var/lib/probe/flows';
        document.getElementById('command').textContent =
            document.getElementById('command').textContent.replace(/ --store \\S+/, '');
        scrollTo(0, scrollY)",
    );
    let octets = decoded(&browser.picture());
    fs::create_dir_all(&dir).unwrap();
    fs::write(Path::new(&dir).join(name), octets).unwrap();
}

/// The octets of text in base64 (RFC 4648).
fn decoded(text: &str) -> Vec<u8> {
    let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let value = |char: u8| digits.iter().position(|digit| *digit == char).unwrap();
    let digits: Vec<_> = text.trim_end_matches('=').bytes().map(value).collect();
    let octets = digits.chunks(4).flat_map(|part| {
        let word = part.iter().fold(0, |word, digit| word << 6 | digit) << (6 * (4 - part.len()));
        word.to_be_bytes()[5..4 + part.len()].to_vec()
    });
    octets.collect()
}

/// No word of the console, of the engine, of the policy of contents.
fn is_content(mut browser: Browser) {
    // All that was said is here before this answer is.
    browser.value("1");
    assert!(browser.complaints.is_empty(), "{:#?}", browser.complaints);
}
