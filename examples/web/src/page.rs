//! The page's elements, by their ids in `index.html`. What peers say becomes text, never markup.

use wasm_bindgen::prelude::*;
use web_sys::{Document, Element, HtmlElement, HtmlInputElement, UrlSearchParams, Window};

/// So many lines of the conversation are kept.
const MAX_LINES: u32 = 500;

fn window() -> Window {
    web_sys::window().expect("this runs in a page")
}

fn document() -> Document {
    window().document().expect("a page has a document")
}

fn element(id: &str) -> Element {
    document().get_element_by_id(id).expect("index.html has it")
}

fn input(id: &str) -> HtmlInputElement {
    element(id).unchecked_into()
}

/// What an input holds, without blanks around it.
pub(crate) fn value(id: &str) -> String {
    input(id).value().trim().to_owned()
}

/// What an input holds, which is empty from then on.
pub(crate) fn take_value(id: &str) -> String {
    let value = value(id);
    input(id).set_value("");
    value
}

/// Fills inputs with what the page's address says: `?identifier=lobby&tracker=ws://…`.
pub(crate) fn prefill() {
    let search = window().location().search().unwrap_or_default();
    let Ok(given) = UrlSearchParams::new_with_str(&search) else { return };
    for id in ["identifier", "name", "tracker"] {
        if let Some(value) = given.get(id) {
            input(id).set_value(&value);
        }
    }
}

/// Calls `act` when a form is submitted, for as long as the page lives.
pub(crate) fn on_submit(form: &str, act: impl Fn() + 'static) {
    let handler = Closure::<dyn Fn(web_sys::Event)>::new(move |event: web_sys::Event| {
        event.prevent_default();
        act();
    });
    element(form)
        .add_event_listener_with_callback("submit", handler.as_ref().unchecked_ref())
        .expect("a form takes handlers");
    handler.forget();
}

pub(crate) fn show(id: &str, visible: bool) {
    element(id).unchecked_into::<HtmlElement>().set_hidden(!visible);
}

pub(crate) fn focus(id: &str) {
    // An element that cannot be focused is no reason to fail.
    let _ = input(id).focus();
}

pub(crate) fn set_text(id: &str, text: &str) {
    element(id).set_text_content(Some(text));
}

/// Shows these lines in a list, in place of those it had.
pub(crate) fn list(id: &str, lines: &[String]) {
    let list = element(id);
    list.set_text_content(None);
    for line in lines {
        append(&list, "li", line, "");
    }
}

/// Shows a line of the conversation.
pub(crate) fn said(name: &str, text: &str) {
    log(&format!("{name}: {text}"), "line");
}

/// Shows what happened.
pub(crate) fn news(text: &str) {
    log(text, "news");
}

fn log(text: &str, class: &str) {
    let log = element("log");
    append(&log, "p", text, class);
    if log.child_element_count() > MAX_LINES
        && let Some(oldest) = log.first_element_child()
    {
        oldest.remove();
    }
    log.set_scroll_top(log.scroll_height());
}

fn append(parent: &Element, tag: &str, text: &str, class: &str) {
    let child = document().create_element(tag).expect("the tag is a word");
    child.set_text_content(Some(text));
    child.set_class_name(class);
    parent.append_child(&child).expect("a new element is nobody's parent");
}
