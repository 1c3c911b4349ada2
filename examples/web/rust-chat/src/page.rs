//! The page's elements, by their ids in `index.html`. What peers say becomes text, never markup.

use p2pt::PeerId;
use wasm_bindgen::prelude::*;
use web_sys::{Document, Element, HtmlButtonElement, HtmlElement, HtmlInputElement, UrlSearchParams, Window};

/// So many lines of the conversation are kept.
const MAX_LINES: u32 = 500;
/// The log follows what is said while it is scrolled to within so many pixels of its end.
const NEAR_END: i32 = 60;

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

/// Has the page's address say this, so that it leads others to the same room; `#invitation` links to it.
pub(crate) fn set_address(given: &[(&str, &str)]) {
    let Ok(search) = UrlSearchParams::new() else { return };
    for (name, value) in given {
        search.append(name, value);
    }
    let address = format!("?{}", search.to_string());
    // A page without an address of its own, as one in a frame may be, is shown all the same.
    let _ = window().history().and_then(|history| history.replace_state_with_url(&JsValue::NULL, "", Some(&address)));
    let _ = element("invitation").set_attribute("href", &address);
}

/// Calls `act` at each such event of an element, for as long as the page lives; the browser itself does nothing then.
pub(crate) fn on(id: &str, event: &str, act: impl Fn() + 'static) {
    let handler = Closure::<dyn Fn(web_sys::Event)>::new(move |event: web_sys::Event| {
        event.prevent_default();
        act();
    });
    element(id)
        .add_event_listener_with_callback(event, handler.as_ref().unchecked_ref())
        .expect("an element takes handlers");
    handler.forget();
}

pub(crate) fn show(id: &str, visible: bool) {
    element(id).unchecked_into::<HtmlElement>().set_hidden(!visible);
}

/// Whether a button waits for what it has started.
pub(crate) fn set_busy(id: &str, busy: bool) {
    let button = element(id).unchecked_into::<HtmlButtonElement>();
    button.set_disabled(busy);
    button.set_text_content(Some(if busy { "Joining…" } else { "Join" }));
}

pub(crate) fn focus(id: &str) {
    // An element that cannot be focused is no reason to fail.
    let _ = input(id).focus();
}

/// Sets a text where it is another than before, so that what reads the page aloud says only what is new.
pub(crate) fn set_text(id: &str, text: &str) {
    set_text_of(&element(id), text);
}

fn set_text_of(element: &Element, text: &str) {
    if element.text_content().as_deref() != Some(text) {
        element.set_text_content(Some(text));
    }
}

/// Takes all out of an element.
pub(crate) fn clear(id: &str) {
    element(id).set_text_content(None);
}

/// A peer or a tracker as the swarm's lists show it.
pub(crate) struct Row {
    /// `up`, `down` or `between`.
    pub(crate) state: &'static str,
    pub(crate) title: String,
    /// The class of the title.
    pub(crate) class: String,
    pub(crate) details: String,
}

/// Shows these rows in a list. Only what has changed is touched, so that a selection of the rest stays.
pub(crate) fn list(id: &str, rows: &[Row]) {
    let list = element(id);
    let items = list.children();
    while items.length() > rows.len() as u32 {
        if let Some(last) = list.last_element_child() {
            last.remove();
        }
    }
    for (place, row) in (0..).zip(rows) {
        let item = items.item(place).unwrap_or_else(|| {
            let item = append(&list, "li", "", "");
            append(&item, "bdi", "", "");
            append(&item, "small", "", "");
            item
        });
        item.set_class_name(row.state);
        if let (Some(title), Some(details)) = (item.first_element_child(), item.last_element_child()) {
            title.set_class_name(&row.class);
            set_text_of(&title, &row.title);
            set_text_of(&details, &row.details);
        }
    }
}

/// The author of a line.
pub(crate) struct Speaker<'a> {
    pub(crate) name: &'a str,
    pub(crate) id: PeerId,
    pub(crate) class: &'a str,
}

/// Shows a line of the conversation.
pub(crate) fn said(speaker: &Speaker<'_>, text: &str) {
    log(|log| {
        let line = append(log, "div", "", &format!("line {}", speaker.class));
        let name = append(&line, "bdi", speaker.name, "name");
        // The id tells those apart who have the same name.
        let _ = name.set_attribute("title", &speaker.id.to_string());
        append(&line, "time", &time_of_day(), "");
        let text = append(&line, "p", text, "");
        // Each text runs in the direction of its own script.
        let _ = text.set_attribute("dir", "auto");
    });
}

/// Shows what has happened.
pub(crate) fn note(text: &str) {
    log(|log| drop(append(log, "div", text, "note")));
}

/// Shows what has gone wrong.
pub(crate) fn warn(text: &str) {
    log(|log| drop(append(log, "div", text, "note warning")));
}

/// Adds to the log, which stays at its end if that is what is seen.
fn log(add: impl FnOnce(&Element)) {
    let log = element("log");
    let is_at_end = log.scroll_height() - log.scroll_top() - log.client_height() < NEAR_END;
    add(&log);
    if log.child_element_count() > MAX_LINES
        && let Some(oldest) = log.first_element_child()
    {
        oldest.remove();
    }
    if is_at_end {
        log.set_scroll_top(log.scroll_height());
    }
}

/// Hours and minutes, as is usual where the page is read.
fn time_of_day() -> String {
    let options = js_sys::Object::new();
    for part in ["hour", "minute"] {
        let _ = js_sys::Reflect::set(&options, &part.into(), &"2-digit".into());
    }
    js_sys::Date::new_0().to_locale_time_string_with_options("default", &options).into()
}

fn append(parent: &Element, tag: &str, text: &str, class: &str) -> Element {
    let child = document().create_element(tag).expect("the tag is a word");
    child.set_text_content(Some(text));
    child.set_class_name(class);
    parent.append_child(&child).expect("a new element has no parent yet");
    child
}
