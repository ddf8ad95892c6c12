//! A browser that is driven by the DevTools protocol, over a pair of pipes: no port, no web socket.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use serde_json::{Value, json};

/// The program; Debian's package has the same name.
pub(super) const CHROMIUM: &str = "chromium";

/// A headless Chromium with one page and a profile of its own, until it is dropped.
pub(super) struct Browser {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    number: u64,
    session: Option<String>,
    /// What the console and the engine complained of.
    pub(super) complaints: Vec<String>,
    _profile: tempfile::TempDir,
}

impl Browser {
    /// Starts it. The shell puts the pipes where the protocol has them: commands at 3, answers at 4.
    pub(super) fn start() -> Self {
        let profile = tempfile::tempdir().unwrap();
        let script = "exec \"$0\" \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1";
        let mut child = Command::new("sh")
            .args(["-c", script, CHROMIUM])
            .args([
                "--headless=new",
                "--remote-debugging-pipe",
                "--no-first-run",
            ])
            // Of root it asks for that. It opens nothing but the pages of the tests.
            .args(["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
            .args([
                "--disable-background-networking",
                "--disable-component-update",
            ])
            .args([
                "--disable-extensions",
                "--disable-sync",
                "--hide-scrollbars",
            ])
            .args(["--force-color-profile=srgb", "--font-render-hinting=none"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .env("TZ", "UTC")
            .env("HOME", profile.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut browser = Self {
            input: child.stdin.take().unwrap(),
            output: BufReader::new(child.stdout.take().unwrap()),
            child,
            number: 0,
            session: None,
            complaints: Vec::new(),
            _profile: profile,
        };
        browser.attach();
        browser
    }

    fn attach(&mut self) {
        let target = self.call("Target.createTarget", &json!({ "url": "about:blank" }));
        let wanted = json!({ "targetId": target["targetId"], "flatten": true });
        let session = self.call("Target.attachToTarget", &wanted);
        self.session = Some(session["sessionId"].as_str().unwrap().to_owned());
        for domain in ["Page", "Runtime", "Log", "Network"] {
            self.call(&format!("{domain}.enable"), &json!({}));
        }
    }

    /// Calls a method, and waits for its result. Events that come meanwhile are kept if they complain.
    pub(super) fn call(&mut self, method: &str, parameters: &Value) -> Value {
        self.number += 1;
        let mut message = json!({ "id": self.number, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        let mut octets = message.to_string().into_bytes();
        octets.push(0);
        self.input.write_all(&octets).unwrap();
        loop {
            let mut octets = Vec::new();
            self.output.read_until(0, &mut octets).unwrap();
            assert_eq!(octets.pop(), Some(0), "the browser has ended");
            let message: Value = serde_json::from_slice(&octets).unwrap();
            if message["id"] == self.number {
                assert!(message["error"].is_null(), "{method}: {}", message["error"]);
                return message["result"].clone();
            }
            self.keep(&message);
        }
    }

    fn keep(&mut self, event: &Value) {
        let parameters = &event["params"];
        let complaint = match event["method"].as_str() {
            Some("Runtime.exceptionThrown") => Some(&parameters["exceptionDetails"]),
            Some("Runtime.consoleAPICalled") if parameters["type"] != "log" => {
                Some(&parameters["args"])
            }
            Some("Log.entryAdded") => Some(&parameters["entry"]),
            _ => None,
        };
        self.complaints.extend(complaint.map(ToString::to_string));
    }

    /// The value of an expression of the page, of a promise when it is settled.
    pub(super) fn value(&mut self, expression: &str) -> Value {
        let wanted =
            json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let answer = self.call("Runtime.evaluate", &wanted);
        assert!(
            answer["exceptionDetails"].is_null(),
            "{expression}: {}",
            answer["exceptionDetails"]
        );
        answer["result"]["value"].clone()
    }

    /// Waits until an expression is true: asks once for each picture that the page draws.
    pub(super) fn wait(&mut self, expression: &str) {
        let watched = format!(
            "new Promise((resolve) => {{
                const begun = performance.now();
                const look = () => {{
                    if ({expression}) resolve(true);
                    else if (performance.now() - begun > 60000) resolve(false);
                    else requestAnimationFrame(look);
                }};
                look();
            }})"
        );
        let found = self.value(&watched);
        if found != true {
            let text = self.value("document.body.innerText");
            panic!(
                "never true: {expression}\n{}",
                text.as_str().unwrap_or_default()
            );
        }
    }

    /// Opens an address, and waits until its answers are shown.
    pub(super) fn open(&mut self, url: &str) {
        // The same page with another fragment would not be loaded anew.
        self.call("Page.navigate", &json!({ "url": "about:blank" }));
        self.wait("location.href === 'about:blank'");
        self.call("Page.navigate", &json!({ "url": url }));
        self.wait("document.readyState === 'complete' && document.getElementById('talkers')");
        self.settle();
    }

    /// Waits until the answers are shown.
    pub(super) fn settle(&mut self) {
        self.wait("!document.querySelector('[aria-busy=true]')");
    }

    /// A key with its modifiers (8 is Shift).
    pub(super) fn key(&mut self, key: &str, modifiers: u8) {
        let code = match key {
            "Enter" => 13,
            "Escape" => 27,
            "ArrowLeft" => 37,
            "ArrowRight" => 39,
            "Home" => 36,
            "End" => 35,
            "Tab" => 9,
            other => u32::from(other.chars().next().unwrap().to_ascii_uppercase()),
        };
        let text = match key {
            "Enter" => "\r",
            key if key.chars().count() == 1 => key,
            _ => "",
        };
        let mut event = json!({ "key": key, "code": key, "windowsVirtualKeyCode": code, "modifiers": modifiers });
        event["type"] = json!(if text.is_empty() {
            "rawKeyDown"
        } else {
            "keyDown"
        });
        event["text"] = json!(text);
        self.call("Input.dispatchKeyEvent", &event);
        event["type"] = json!("keyUp");
        self.call("Input.dispatchKeyEvent", &event);
    }

    /// Text, as from a keyboard, where the focus is.
    pub(super) fn type_text(&mut self, text: &str) {
        self.call("Input.insertText", &json!({ "text": text }));
    }

    /// The mouse: `mousePressed`, `mouseMoved` or `mouseReleased`, at a place of the window.
    pub(super) fn mouse(&mut self, kind: &str, (x, y): (f64, f64)) {
        let buttons = u8::from(kind != "mouseReleased");
        let event = json!({ "type": kind, "x": x, "y": y, "button": "left", "buttons": buttons, "clickCount": 1 });
        self.call("Input.dispatchMouseEvent", &event);
    }

    /// Clicks in the middle of the first element that the selector finds.
    pub(super) fn click(&mut self, selector: &str) {
        let place = self.value(&format!(
            "(() => {{ const found = document.querySelector({selector:?});
                found.scrollIntoView({{ block: 'center', behavior: 'instant' }});
                const box = found.getBoundingClientRect();
                return [box.x + box.width / 2, box.y + box.height / 2]; }})()"
        ));
        let at = (place[0].as_f64().unwrap(), place[1].as_f64().unwrap());
        self.mouse("mousePressed", at);
        self.mouse("mouseReleased", at);
    }

    /// The window as large as that.
    pub(super) fn resize(&mut self, width: u32, height: u32) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500 });
        self.call("Emulation.setDeviceMetricsOverride", &size);
    }

    /// What the system wants: `light` or `dark`.
    pub(super) fn prefer(&mut self, scheme: &str) {
        let wanted = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.call("Emulation.setEmulatedMedia", &json!({ "features": wanted }));
    }

    /// A picture of the window, in base64.
    pub(super) fn picture(&mut self) -> String {
        let answer = self.call("Page.captureScreenshot", &json!({ "format": "png" }));
        answer["data"].as_str().unwrap().to_owned()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Its other processes end with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
