//! A headless Chromium, which `tools/chromium.sh` brings, driven as W3C's `WebDriver` says: that is JSON over HTTP, so it
//! takes no library.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use base64::Engine as _;
use reqwest::{Client, Method};
use serde_json::{Value, json};

use crate::support::PATIENCE;

/// The name of an element's ID in what a driver says.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// Keys that are no letters.
pub(crate) const TAB: &str = "\u{e004}";
pub(crate) const ENTER: &str = "\u{e007}";
pub(crate) const ESCAPE: &str = "\u{e00c}";

/// A window; closed when dropped.
pub(crate) struct Browser {
    driver: Child,
    port: u16,
    session: String,
    client: Client,
    /// Its profile, and all that it writes.
    _dir: tempfile::TempDir,
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver ends the browser, and nothing else does.
        if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) {
            let end = format!("DELETE /session/{} HTTP/1.1\r\n", self.session);
            let end = end + "Host: localhost\r\n\r\n";
            let _ = stream.set_read_timeout(Some(PATIENCE));
            // It answers when the browser has ended, and leaves the connection open.
            let _ = stream.write_all(end.as_bytes()).and_then(|()| stream.read(&mut [0; 1024]));
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

impl Browser {
    pub(crate) async fn start() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let bin = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/chromium/bin");
        let driver = bin.join("chromedriver");
        assert!(driver.exists(), "there is no browser; run tools/chromium.sh");
        let dir = tempfile::tempdir().unwrap();
        let mut driver = Command::new(driver)
            .arg("--port=0")
            .envs([("TMPDIR", dir.path()), ("HOME", dir.path())])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = said.find_map(|line| {
            line.unwrap().strip_suffix('.')?.split_once("successfully on port ")?.1.parse().ok()
        });
        let port = port.expect("the driver says where it listens");
        // To its end, so that it never waits for somebody to read.
        std::thread::spawn(move || said.all(|line| line.is_ok()));
        let client = Client::builder().tls_certs_only([]).timeout(PATIENCE * 2).build().unwrap();
        let mut browser = Self { driver, port, session: String::new(), client, _dir: dir };
        let asked = json!({"capabilities": {"alwaysMatch": {
            "goog:loggingPrefs": {"performance": "ALL"},
            "timeouts": {"script": u64::try_from(PATIENCE.as_millis()).unwrap()},
            "goog:chromeOptions": {
                "binary": bin.join("chromium"),
                // In containers there is nothing to make its sandbox of; it sees no page but ours.
                "args": ["--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--lang=en"],
            },
        }}});
        let begun = browser.call(Method::POST, "", asked).await;
        begun["sessionId"].as_str().unwrap().clone_into(&mut browser.session);
        browser.size(1280, 900).await;
        browser
    }

    /// What a command answers.
    async fn call(&self, method: Method, path: &str, body: Value) -> Value {
        let session = if self.session.is_empty() { "" } else { "/" };
        let url = format!("http://127.0.0.1:{}/session{session}{}{path}", self.port, self.session);
        let mut request = self.client.request(method, url);
        if !body.is_null() {
            request = request.json(&body);
        }
        let mut answer: Value = request.send().await.unwrap().json().await.unwrap();
        let value = answer["value"].take();
        assert!(value["error"].is_null(), "{path}: {}: {}", value["error"], value["message"]);
        value
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        self.call(Method::POST, path, body).await
    }

    /// A command of the browser's own protocol.
    pub(crate) async fn own(&self, command: &str, parameters: Value) -> Value {
        self.post("/goog/cdp/execute", json!({"cmd": command, "params": parameters})).await
    }

    /// What is seen of a page, in pixels of a style sheet.
    pub(crate) async fn size(&self, width: u32, height: u32) {
        let metrics =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.own("Emulation.setDeviceMetricsOverride", metrics).await;
    }

    /// As somebody who likes it `light` or `dark`.
    pub(crate) async fn likes(&self, scheme: &str) {
        let feature = json!({"name": "prefers-color-scheme", "value": scheme});
        self.own("Emulation.setEmulatedMedia", json!({"features": [feature]})).await;
    }

    pub(crate) async fn open(&self, url: &str) {
        self.post("/url", json!({"url": url})).await;
    }

    /// What a piece of script says; it is the page's own world, without its limits.
    pub(crate) async fn says(&self, script: &str) -> Value {
        let script = format!("return {script};");
        self.post("/execute/sync", json!({"script": script, "args": []})).await
    }

    pub(crate) async fn text(&self, selector: &str) -> String {
        let said =
            self.says(&format!("document.querySelector({}).innerText", json!(selector))).await;
        said.as_str().unwrap().to_owned()
    }

    /// Until an expression of a script is true, looked at whenever the page changes.
    pub(crate) async fn until(&self, condition: &str) {
        let script = format!(
            "const done = arguments[0]; const holds = () => ({condition}); \
             const watch = new MutationObserver(() => {{ if (holds()) {{ watch.disconnect(); done(true); }} }}); \
             watch.observe(document, {{subtree: true, childList: true, characterData: true, attributes: true}}); \
             if (holds()) {{ watch.disconnect(); done(true); }}"
        );
        let path = "/execute/async";
        self.post(path, json!({"script": script, "args": []})).await;
    }

    async fn find(&self, selector: &str) -> String {
        let asked = json!({"using": "css selector", "value": selector});
        let found = self.post("/element", asked).await;
        format!("/element/{}", found[ELEMENT].as_str().unwrap())
    }

    pub(crate) async fn click(&self, selector: &str) {
        let element = self.find(selector).await;
        self.post(&format!("{element}/click"), json!({})).await;
    }

    /// In the place of what a field has.
    pub(crate) async fn write(&self, selector: &str, text: &str) {
        let element = self.find(selector).await;
        self.post(&format!("{element}/clear"), json!({})).await;
        self.post(&format!("{element}/value"), json!({"text": text})).await;
    }

    /// One of a list, by the keys of its name: a click on an option does nothing in some versions of the browser, which
    /// show the list in a window of its own.
    pub(crate) async fn choose(&self, selector: &str, option: &str) {
        let element = self.find(selector).await;
        self.post(&format!("{element}/value"), json!({"text": option})).await;
    }

    /// Keys, wherever the focus is.
    pub(crate) async fn press(&self, keys: &str) {
        let each = |key: char| ["keyDown", "keyUp"].map(|what| json!({"type": what, "value": key}));
        let actions: Vec<Value> = keys.chars().flat_map(each).collect();
        let keyboard = json!({"type": "key", "id": "keyboard", "actions": actions});
        self.post("/actions", json!({"actions": [keyboard]})).await;
    }

    /// What is focused: its name, as a reader of the screen says it.
    pub(crate) async fn focused(&self) -> String {
        let said =
            self.says("document.activeElement.innerText || document.activeElement.name || ''");
        said.await.as_str().unwrap().to_owned()
    }

    /// What was asked for over the network since this was asked last.
    pub(crate) async fn requests(&self) -> Vec<String> {
        let log = self.post("/se/log", json!({"type": "performance"})).await;
        let messages = log.as_array().unwrap().iter().map(|entry| {
            serde_json::from_str::<Value>(entry["message"].as_str().unwrap()).unwrap()
        });
        let sent = messages.filter(|it| it["message"]["method"] == "Network.requestWillBeSent");
        let url =
            |it: Value| it["message"]["params"]["request"]["url"].as_str().unwrap().to_owned();
        sent.map(url).collect()
    }

    /// What is seen, as a picture.
    pub(crate) async fn picture(&self) -> Vec<u8> {
        let picture = self.call(Method::GET, "/screenshot", Value::Null).await;
        base64::prelude::BASE64_STANDARD.decode(picture.as_str().unwrap()).unwrap()
    }
}
