//! SVG as text. Whatever is written passes the escape here.

use std::fmt::{Display, Write};

use super::style::STYLE;

/// Size of text in pixels.
pub(super) const TEXT: f64 = 12.0;

/// Elements in their order.
#[derive(Default)]
pub(super) struct Markup(String);

/// Where a text stands, seen from its point.
#[derive(Clone, Copy)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

impl Markup {
    /// An element with attributes; with a title, which browsers show at the pointer.
    pub(super) fn element(&mut self, name: &str, attributes: &[(&str, &dyn Display)], title: &str) {
        self.open(name, attributes);
        if title.is_empty() {
            self.push("/>\n");
        } else {
            self.push("><title>");
            self.escape(title);
            self.push("</title></");
            self.push(name);
            self.push(">\n");
        }
    }

    /// Text that begins at a point.
    pub(super) fn text(&mut self, class: &str, x: f64, y: f64, text: &str) {
        self.anchored(class, Anchor::Start, x, y, text);
    }

    /// Text that is aligned to a point.
    pub(super) fn anchored(&mut self, class: &str, anchor: Anchor, x: f64, y: f64, text: &str) {
        let class = match anchor {
            Anchor::Start => class.to_owned(),
            Anchor::Middle => format!("{class} middle"),
            Anchor::End => format!("{class} end"),
        };
        self.open("text", &[("class", &class), ("x", &px(x)), ("y", &px(y))]);
        self.push(">");
        self.escape(text);
        self.push("</text>\n");
    }

    /// The whole document around what was drawn.
    pub(super) fn document(
        self,
        title: &str,
        description: &str,
        width: f64,
        height: f64,
    ) -> String {
        let mut all = Self::default();
        let size = format!("0 0 {} {}", px(width), px(height));
        let attributes: [(&str, &dyn Display); 7] = [
            ("xmlns", &"http://www.w3.org/2000/svg"),
            ("width", &px(width)),
            ("height", &px(height)),
            ("viewBox", &size),
            ("role", &"img"),
            ("aria-labelledby", &"probe-title probe-desc"),
            ("font-size", &TEXT),
        ];
        all.open("svg", &attributes);
        all.push(">\n<title id=\"probe-title\">");
        all.escape(title);
        all.push("</title>\n<desc id=\"probe-desc\">");
        all.escape(description);
        all.push("</desc>\n");
        all.push(STYLE);
        let all_of_it = &"100%";
        let sheet: [(&str, &dyn Display); 3] = [
            ("class", &"sheet"),
            ("width", all_of_it),
            ("height", all_of_it),
        ];
        all.element("rect", &sheet, "");
        all.push(&self.0);
        all.push("</svg>\n");
        all.0
    }

    fn open(&mut self, name: &str, attributes: &[(&str, &dyn Display)]) {
        self.push("<");
        self.push(name);
        for (name, value) in attributes {
            // Writing to a string cannot fail.
            let _ = write!(self.0, " {name}=\"");
            self.escape(&value.to_string());
            self.push("\"");
        }
    }

    fn push(&mut self, text: &str) {
        self.0.push_str(text);
    }

    fn escape(&mut self, text: &str) {
        for char in text.chars() {
            match char {
                '&' => self.push("&amp;"),
                '<' => self.push("&lt;"),
                '>' => self.push("&gt;"),
                '"' => self.push("&quot;"),
                '\n' => self.push("\n"),
                // No document may have them, not even escaped (XML 1.0, section 2.2).
                char if char.is_control() || matches!(char, '\u{fffe}' | '\u{ffff}') => {
                    self.push("\u{fffd}");
                }
                char => self.0.push(char),
            }
        }
    }
}

/// Pixels with as many digits as can be seen.
pub(super) fn px(pixels: f64) -> String {
    let text = format!("{pixels:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" {
        "0".to_owned()
    } else {
        text.to_owned()
    }
}
