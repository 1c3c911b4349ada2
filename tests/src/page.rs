//! The pages of `examples/web` in a browser, used as people use them: by the keyboard, the pointer and fingers.
//!
//! `tests/js/demo.mjs` drives the browser, and says what each command does.

use std::path::Path;

use serde_json::{Value, json};

use crate::js::javascript;
use crate::pipe::LineProcess;

/// The sizes in which pages are looked at, and what each is called: a screen, a phone, and the smallest phone.
pub const SIZES: [(&str, u32, u32); 3] = [("wide", 1280, 800), ("phone", 390, 844), ("small", 320, 640)];

/// A page in a browser of its own.
#[derive(Debug)]
pub struct Page(LineProcess);

impl Page {
    /// Opens a page: `rust-chat`, `chat`, `board` or `dashboard`.
    pub async fn open(browser: &str, page: &str, arguments: &[&str]) -> Self {
        let mut command = javascript("demo.mjs", &["--browser", browser, "--page", page]);
        command.args(arguments);
        let mut process = LineProcess::spawn(format!("the {page} in {browser}"), command);
        process.expect("ready", |_| true).await;
        Self(process)
    }

    /// Has a command carried out that says nothing.
    pub async fn act(&mut self, command: Value) {
        self.0.command(&command).await;
    }

    async fn ask(&mut self, command: Value, event: &str) -> Value {
        self.0.command(&command).await;
        self.0.expect(event, |_| true).await
    }

    /// Clicks on an element.
    pub async fn click(&mut self, selector: &str) {
        self.act(json!({ "click": selector })).await;
    }

    /// Types a line of a chat, and sends it.
    pub async fn say(&mut self, line: &str) {
        self.act(json!({ "say": line })).await;
    }

    /// Waits until an element that is visible shows this, and returns all its text.
    pub async fn shows(&mut self, selector: &str, text: &str) -> String {
        self.act(json!({ "await": { "in": selector, "text": text } })).await;
        let shown = self.0.expect("shown", |shown| shown["in"] == selector).await;
        shown["text"].as_str().expect("a text").to_owned()
    }

    /// How many such elements there are.
    pub async fn count(&mut self, selector: &str) -> u64 {
        self.ask(json!({ "count": selector }), "count").await["count"].as_u64().expect("a number")
    }

    /// What stands in a field.
    pub async fn value(&mut self, selector: &str) -> String {
        self.ask(json!({ "value": selector }), "value").await["value"].as_str().expect("a text").to_owned()
    }

    /// What a script says.
    pub async fn evaluate(&mut self, script: &str) -> Value {
        self.ask(json!({ "evaluate": script }), "evaluated").await["value"].take()
    }

    /// What tells a canvas's pixels apart from others.
    pub async fn picture(&mut self, selector: &str) -> String {
        self.ask(json!({ "picture": selector }), "picture").await["hash"].as_str().expect("a hash").to_owned()
    }

    /// The colour of a canvas at a place, by parts of its width and height.
    pub async fn pixel(&mut self, selector: &str, at: (f64, f64)) -> String {
        let pixels = self.ask(json!({ "pixels": { "in": selector, "at": [at] } }), "pixels").await;
        pixels["colours"][0].as_str().expect("a colour").to_owned()
    }

    /// Takes a screenshot, and checks that it is a PNG of that size, of more than a blank page.
    pub async fn screenshot(&mut self, path: &Path, width: u32, height: u32) {
        self.ask(json!({ "screenshot": { "path": path, "width": width, "height": height } }), "screenshot").await;
        let png = std::fs::read(path).expect("a screenshot");
        assert_eq!(&png[..8], b"\x89PNG\r\n\x1a\n");
        let number = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().expect("four bytes"));
        assert_eq!((number(16), number(20)), (width, height));
        // A blank page of the larger size has 4 KB at most.
        assert!(png.len() > 6_000, "{} bytes are too few to show anything", png.len());
    }

    /// Checks in all [`SIZES`] that axe-core finds nothing and that the page is no wider than the screen; screenshots are
    /// `<name>-<size>.png` in a folder.
    pub async fn is_accessible(&mut self, folder: &Path, name: &str) {
        std::fs::create_dir_all(folder).expect("a folder");
        for (size, width, height) in SIZES {
            self.screenshot(&folder.join(format!("{name}-{size}.png")), width, height).await;
            let found = self.ask(json!({ "axe": true }), "axe").await;
            assert_eq!(found["violations"], json!([]), "{name}, {size}");
            assert_eq!(found["overflow"], 0, "{name} is wider than {width} pixels");
        }
    }

    /// Closes the browser.
    pub async fn end(self) {
        self.0.end().await;
    }
}
