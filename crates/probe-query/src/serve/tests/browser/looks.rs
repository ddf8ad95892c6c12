//! Light, dark, and on a phone.

use super::{
    super::{cdp::Browser, day},
    DAY, is_content, number, picture, started, text, url,
};

#[test]
fn dark_is_what_the_system_says_or_what_is_chosen() {
    let day = day::store();
    let Some((server, mut browser)) = started(day.path()) else {
        return;
    };
    let ground = "getComputedStyle(document.body).backgroundColor";
    browser.prefer("dark");
    browser.open(&url(&server, DAY));
    assert_eq!(
        text(&mut browser, "document.documentElement.dataset.theme"),
        "dark"
    );
    let dark = text(&mut browser, ground);
    let faint = faint_texts(&mut browser);
    assert!(faint.is_empty(), "{faint}");
    browser.resize(1280, 1240);
    browser.open(&url(
        &server,
        &format!("{DAY}&filter=iface+eth0+or+iface+wg0"),
    ));
    picture(&mut browser, "page-dark.png");
    browser.click("#theme");
    assert_ne!(text(&mut browser, ground), dark);
    let faint = faint_texts(&mut browser);
    assert!(faint.is_empty(), "{faint}");
    // What was chosen stays.
    browser.open(&url(&server, DAY));
    assert_eq!(
        text(&mut browser, "document.documentElement.dataset.theme"),
        "light"
    );
    is_content(browser);
}

/// Texts whose contrast is below 4.5 (WCAG 2.2, success criterion 1.4.3).
fn faint_texts(browser: &mut Browser) -> String {
    let expression = "(() => {
        const numbers = (color) => color.match(/[\\d.]+/g).map(Number);
        const light = (color) => {
            const [r, g, b] = numbers(color).map((part) => {
                const share = part / 255;
                return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
            });
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
        };
        const ground = (element) => {
            for (let at = element; at; at = at.parentElement) {
                const color = getComputedStyle(at).backgroundColor;
                if ((numbers(color)[3] ?? 1) === 1) return color;
            }
            return 'rgb(255, 255, 255)';
        };
        const faint = [];
        for (const element of document.querySelectorAll('body *')) {
            const hasText = [...element.childNodes].some((it) => it.nodeType === 3 && it.data.trim());
            if (!hasText || !element.checkVisibility() || element.disabled) continue;
            const style = getComputedStyle(element);
            const color = element instanceof SVGElement ? style.fill : style.color;
            const [a, b] = [light(color), light(ground(element))];
            const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
            if (contrast < 4.5) faint.push(`${contrast.toFixed(2)} ${element.tagName} ${element.textContent.trim()}`);
        }
        return faint.join('\\n');
    })()";
    text(browser, expression)
}

#[test]
fn a_phone_shows_all_without_scrolling_sideways() {
    let day = day::store();
    let Some((server, mut browser)) = started(day.path()) else {
        return;
    };
    browser.resize(360, 760);
    browser.open(&url(&server, &format!("{DAY}&by=agg_talk_port")));
    let wide = "document.documentElement.scrollWidth";
    assert_eq!(number(&mut browser, wide), 360);
    picture(&mut browser, "page-phone.png");
    browser.value("document.getElementById('talkers').scrollIntoView()");
    assert_eq!(number(&mut browser, wide), 360);
    // The line about completeness stays in sight.
    let top = number(
        &mut browser,
        "document.getElementById('completeness').getBoundingClientRect().top",
    );
    assert_eq!(top, 0);
    picture(&mut browser, "page-phone-table.png");
    is_content(browser);
}
