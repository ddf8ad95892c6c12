//! Filters, links, rows, and what cannot be answered.

use std::{fs, time::Duration};

use super::{
    super::{
        day,
        server::{KEY, Server, with_key},
    },
    DAY, is_content, number, picture, started, state, text, text_of, url,
};
use crate::month::script::Script;

#[test]
fn a_filter_narrows_and_a_wrong_one_is_shown_with_its_place() {
    let day = day::store();
    let Some((server, mut browser)) = started(day.path()) else {
        return;
    };
    browser.open(&url(&server, DAY));
    browser.value("document.getElementById('filter').focus()");
    browser.type_text("tcp and port htps or udp");
    browser.key("Enter", 0);
    browser.wait("!document.getElementById('filter-error').hidden");
    let error = text_of(&mut browser, "#filter-error");
    assert!(error.starts_with("column 14: expected a port"), "{error}");
    let lines: Vec<_> = text_of(&mut browser, "#filter-error pre")
        .lines()
        .map(str::to_owned)
        .collect();
    let at = lines[0].find("htps").unwrap();
    assert_eq!(lines[1].find('^'), Some(at), "{lines:?}");
    assert_eq!(
        number(
            &mut browser,
            "document.getElementById('filter').selectionStart"
        ),
        13
    );
    picture(&mut browser, "page-filter.png");
    // A 400 is what was wanted; the browser tells each in the console.
    browser
        .complaints
        .retain(|complaint| !complaint.contains("status of 400"));

    browser.value("document.getElementById('filter').select()");
    browser.type_text("udp port 53");
    browser.key("Enter", 0);
    browser.wait("document.getElementById('filter-error').hidden");
    browser.settle();
    let hosts = number(
        &mut browser,
        "document.querySelectorAll('#table tbody tr').length",
    );
    assert!(hosts > 1, "{hosts}");
    // A click on a value is one more test.
    browser.click("#table tbody td.src_addr button");
    browser.wait("location.hash.includes('src_addr')");
    browser.settle();
    let filter = state(&mut browser, "filter");
    assert!(
        filter.starts_with("udp port 53 and src_addr = 10.20."),
        "{filter}"
    );
    assert_eq!(
        number(
            &mut browser,
            "document.querySelectorAll('#table tbody tr').length"
        ),
        1
    );
    let command = text_of(&mut browser, "#command");
    assert!(command.contains(&format!("-f '{filter}'")), "{command}");
    is_content(browser);
}

#[test]
fn a_link_shows_the_same_again() {
    let day = day::store();
    let Some((server, mut browser)) = started(day.path()) else {
        return;
    };
    browser.open(&url(
        &server,
        &format!("{DAY}&by=apps_port&sort=packets&filter=iface+eth0"),
    ));
    let before = text_of(&mut browser, "#table");
    assert!(before.contains("443") && before.contains("tcp"), "{before}");
    assert_eq!(
        text(&mut browser, "document.getElementById('by').value"),
        "apps_port"
    );
    assert_eq!(
        text(
            &mut browser,
            "document.querySelector('th[aria-sort]').innerText"
        ),
        "packets"
    );
    browser.call("Page.reload", &serde_json::json!({}));
    browser.wait("document.readyState === 'complete' && document.querySelector('#table tbody')");
    browser.settle();
    assert_eq!(text_of(&mut browser, "#table"), before);
    assert_eq!(
        number(&mut browser, "document.querySelectorAll('.lane').length"),
        1
    );
    // The other order, by the heading.
    browser.click("th[aria-sort] button");
    browser.wait("document.querySelector('th[aria-sort=ascending]')");
    assert_eq!(state(&mut browser, "order"), "asc");
    // Any other columns.
    browser.value(
        "(() => { const by = document.getElementById('by');
            by.value = 'other'; by.dispatchEvent(new Event('change')); })()",
    );
    browser.value("document.getElementById('columns').select()");
    browser.type_text("iface,prot");
    browser.key("Enter", 0);
    browser.wait("!document.getElementById('filter-error').hidden");
    let error = text_of(&mut browser, "#filter-error");
    assert!(error.contains("did you mean `proto`?"), "{error}");
    browser
        .complaints
        .retain(|complaint| !complaint.contains("status of 400"));
    is_content(browser);
}

#[test]
fn ten_thousand_rows_are_a_page_at_a_time() {
    let day = day::store();
    let Some((server, mut browser)) = started(day.path()) else {
        return;
    };
    browser.open(&url(&server, &format!("{DAY}&by=src&limit=10000")));
    let note = text_of(&mut browser, "#totals");
    assert!(note.starts_with("the first 10,000 of 10,5"), "{note}");
    assert_eq!(
        number(
            &mut browser,
            "document.querySelectorAll('#table tbody tr').length"
        ),
        100
    );
    browser.click("[data-place=next]");
    browser.click("[data-place=next]");
    let page = text_of(&mut browser, "#table .pager span");
    assert_eq!(page, "201 – 300 of 10,000");
    // The focus stays where it was.
    let place = text(&mut browser, "document.activeElement.dataset.place");
    assert_eq!(place, "next");
    is_content(browser);
}

#[test]
fn what_cannot_be_shown_is_told_plainly() {
    let dir = tempfile::tempdir().unwrap();
    let Some((server, mut browser)) = started(dir.path()) else {
        return;
    };
    browser.open(&url(&server, ""));
    let told = text_of(&mut browser, "#failure");
    assert!(told.contains("is no store of flows"), "{told}");
    picture(&mut browser, "page-no-store.png");
    browser
        .complaints
        .retain(|complaint| !complaint.contains("status of 500"));

    let script = Script::new();
    let server = Server::new(&script.root());
    browser.open(&url(&server, "since=2020-01-01&until=2020-01-02"));
    let told = text_of(&mut browser, "#completeness-list");
    assert_eq!(told.trim(), "nothing is stored of this time");
    assert!(text_of(&mut browser, "#chart").contains("Nothing is stored of this time."));

    let damaged = script.root().join("iface=eth0/date=2026-11-03");
    let damaged = fs::read_dir(damaged)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    fs::write(&damaged, "x").unwrap();
    browser.open(&url(&server, "since=2026-11-03&until=2026-11-04"));
    let told = text_of(&mut browser, "#completeness-list");
    assert!(told.contains(damaged.to_str().unwrap()), "{told}");
    is_content(browser);
}

#[test]
fn a_key_is_asked_for_and_kept() {
    let script = Script::new();
    let Some((_, mut browser)) = started(&script.root()) else {
        return;
    };
    let server = Server::with(&script.root(), with_key(), Duration::from_mins(1));
    let month = "since=2026-11-01&until=2026-12-01";
    let target = url(&server, month);
    browser.call("Page.navigate", &serde_json::json!({ "url": target }));
    browser.wait("document.getElementById('key-dialog')?.open");
    browser.type_text(&KEY.replace('0', "1"));
    browser.key("Enter", 0);
    browser.wait("document.getElementById('key-refused').checkVisibility()");
    browser.type_text(KEY);
    browser.key("Enter", 0);
    browser.wait("document.querySelectorAll('.lane').length === 4");
    browser
        .complaints
        .retain(|complaint| !complaint.contains("status of 401"));
    browser.open(&target);
    assert_eq!(
        number(&mut browser, "document.querySelectorAll('.lane').length"),
        4
    );
    is_content(browser);
}

#[test]
fn live_is_asked_again_and_again() {
    let script = Script::new();
    let Some((server, mut browser)) = started(&script.root()) else {
        return;
    };
    browser.open(&url(&server, "since=2026-11-01&until=2026-12-01"));
    browser.value(
        "(() => { const before = window.fetch; window.asked = 0;
            window.fetch = (...all) => { window.asked += 1; return before(...all); }; })()",
    );
    browser.click("#live");
    assert_eq!(state(&mut browser, "live"), "1");
    browser.wait("window.asked >= 4");
    browser.settle();
    assert_eq!(
        browser.value("document.getElementById('live').getAttribute('aria-pressed')"),
        "true"
    );
    is_content(browser);
}
