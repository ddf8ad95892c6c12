//! The chart: what is drawn, and how a time is chosen in it.

use super::{
    super::{cdp::Browser, day},
    DAY, is_content, number, picture, started, state, text, text_of, url,
};

#[test]
fn a_day_is_shown_with_all_that_it_lacks() {
    let day = day::store();
    let Some((server, mut browser)) = started(day.path()) else {
        return;
    };
    browser.open(&url(&server, DAY));
    assert!(text_of(&mut browser, "#completeness").starts_with("INCOMPLETE: 2026-11-20"));
    let lacks = text_of(&mut browser, "#completeness-list");
    for lack in [
        "no data 2026-11-20 03:10:00 – 04:05:00: the agent was not running",
        "wg0: no data",
    ] {
        assert!(lacks.contains(lack), "{lacks}");
    }
    let in_lane = |browser: &mut Browser, iface: &str, kind: &str| {
        let lanes = "[...document.querySelectorAll('.lane')]";
        let expression = format!(
            "{lanes}.find((it) => it.dataset.iface === '{iface}').querySelectorAll('.curtain.{kind}').length"
        );
        number(browser, &expression)
    };
    assert_eq!(
        number(&mut browser, "document.querySelectorAll('.lane').length"),
        3
    );
    assert_eq!(in_lane(&mut browser, "eth0", "lost"), 5);
    assert_eq!(in_lane(&mut browser, "eth0", "blind"), 1);
    assert_eq!(in_lane(&mut browser, "eth0", "hole"), 1);
    assert_eq!(in_lane(&mut browser, "wg0", "lost"), 0);
    assert_eq!(in_lane(&mut browser, "wg0", "hole"), 3);
    // A name is text, whatever it looks like.
    assert_eq!(in_lane(&mut browser, day::HOSTILE, "hole"), 1);
    assert_eq!(number(&mut browser, "document.images.length"), 0);
    // Two fifths were seen: three fifths hang from above.
    let unseen = text(
        &mut browser,
        "document.querySelector('.curtain.blind').dataset.share",
    );
    assert_eq!(unseen, "0.6000");
    // The moment under the pointer in words.
    let (x, y) = place_of(&mut browser, 13.0 + 50.0 / 60.0);
    browser.mouse("mouseMoved", (x, y));
    let words = text_of(&mut browser, ".lane[data-iface=eth0] .values");
    assert!(
        words.contains("packets lost (") && words.contains("Mbit/s"),
        "{words}"
    );
    let (x, y) = place_of(&mut browser, 3.5);
    browser.mouse("mouseMoved", (x, y));
    let words = text_of(&mut browser, ".lane[data-iface=wg0] .values");
    assert_eq!(words, "no data: the agent was not running");
    browser.mouse("mouseMoved", (5.0, 5.0));
    // The same as a table.
    browser.click("#chart-table summary");
    browser.wait("document.querySelector('#chart-table tbody tr')");
    let lost = "[...document.querySelectorAll('#chart-table tbody tr')].length";
    assert_eq!(number(&mut browser, lost), 100);
    browser.resize(1280, 1240);
    browser.open(&url(
        &server,
        &format!("{DAY}&by=agg_talk_port&filter=iface+eth0+or+iface+wg0"),
    ));
    picture(&mut browser, "page-light.png");
    is_content(browser);
}

/// Where an hour of the day is in the chart.
fn place_of(browser: &mut Browser, hour: f64) -> (f64, f64) {
    browser.value(
        "document.getElementById('chart').scrollIntoView({ block: 'center', behavior: 'instant' })",
    );
    let expression =
        "(() => { const box = document.querySelector('.ground').getBoundingClientRect();
        return [box.left, box.width, box.top + box.height / 2]; })()";
    let found = browser.value(expression);
    let at = |place: usize| found[place].as_f64().unwrap();
    (at(0) + at(1) * hour / 24.0, at(2))
}

#[test]
fn a_time_is_chosen_with_the_mouse_and_taken_back() {
    let day = day::store();
    let Some((server, mut browser)) = started(day.path()) else {
        return;
    };
    browser.open(&url(&server, DAY));
    let (from, y) = place_of(&mut browser, 12.0);
    let (to, _) = place_of(&mut browser, 18.0);
    browser.mouse("mousePressed", (from, y));
    browser.mouse("mouseMoved", (f64::midpoint(from, to), y));
    browser.wait("!document.querySelector('.chosen').hidden");
    browser.mouse("mouseMoved", (to, y));
    browser.mouse("mouseReleased", (to, y));
    browser.wait("location.hash.includes('since=2026-11-20T1')");
    browser.settle();
    assert!(state(&mut browser, "since").starts_with("2026-11-20T1"));
    assert!(state(&mut browser, "until").starts_with("2026-11-20T1"));
    let head = text_of(&mut browser, "#completeness-head");
    assert!(head.contains("2026-11-20 1"), "{head}");
    // In the fields a time stands as people read it.
    let since = text(&mut browser, "document.getElementById('since').value");
    assert!(since.starts_with("2026-11-20 1"), "{since}");
    browser.value("history.back()");
    browser.wait("location.hash.includes('2026-11-20T00:00:00Z')");
    browser.settle();
    assert!(
        text_of(&mut browser, "#completeness-head").contains("2026-11-20 00:00:00 – 2026-11-21")
    );
    browser.value("history.forward()");
    browser.wait("!location.hash.includes('2026-11-20T00:00:00Z')");
    browser.settle();
    let narrow = state(&mut browser, "since");
    browser.click("#zoom-out");
    browser.wait(&format!(
        "!location.hash.includes(encodeURIComponent('{narrow}'))"
    ));
    browser.settle();
    browser.click("[data-since='-7d']");
    browser.settle();
    assert_eq!(state(&mut browser, "since"), "-7d");
    assert_eq!(state(&mut browser, "until"), "");
    is_content(browser);
}

#[test]
fn the_keyboard_is_enough() {
    let day = day::store();
    let Some((server, mut browser)) = started(day.path()) else {
        return;
    };
    browser.open(&url(&server, DAY));
    let mut seen = Vec::new();
    for _ in 0..30 {
        browser.key("Tab", 0);
        let place = text(
            &mut browser,
            "document.activeElement.id || document.activeElement.dataset.since || ''",
        );
        let is_visible = browser.value("document.activeElement.matches(':focus-visible')");
        assert_eq!(is_visible, true, "{place}");
        seen.push(place);
        if seen.last().is_some_and(|place| place == "chart") {
            break;
        }
    }
    for wanted in ["live", "theme", "filter", "since", "until", "-24h", "chart"] {
        assert!(
            seen.iter().any(|place| place == wanted),
            "{wanted}: {seen:?}"
        );
    }
    browser.key("End", 0);
    browser.key("ArrowLeft", 0);
    let words = text(
        &mut browser,
        "document.getElementById('chart').getAttribute('aria-valuetext')",
    );
    assert!(
        words.starts_with("2026-11-20 23:50 – 23:55. ") && words.contains("eth0: ↓"),
        "{words}"
    );
    for _ in 0..3 {
        browser.key("ArrowLeft", 8);
    }
    assert_eq!(
        browser.value("document.querySelector('.chosen').hidden"),
        false
    );
    browser.key("Enter", 0);
    browser.wait("location.hash.includes('since=2026-11-20T23')");
    browser.settle();
    assert_eq!(state(&mut browser, "since"), "2026-11-20T23:35:00Z");
    assert_eq!(state(&mut browser, "until"), "2026-11-20T23:55:00Z");
    // More time again, and from there on through the table.
    browser.key("-", 0);
    browser.wait("location.hash.includes('since=2026-11-20T23%3A25')");
    browser.settle();
    assert_eq!(text(&mut browser, "document.activeElement.id"), "chart");
    is_content(browser);
}
