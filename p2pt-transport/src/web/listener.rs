//! Handlers of events, taken off with what holds them, and counts of what a page holds.

use std::cell::Cell;

use wasm_bindgen::prelude::*;
use web_sys::EventTarget;

thread_local! {
    static CONNECTIONS: Cell<usize> = const { Cell::new(0) };
    static LISTENERS: Cell<usize> = const { Cell::new(0) };
}

/// What the page holds for all transports together. For tests that look for leaks; no API.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Held {
    /// Connections of the browser that have not been closed, or whose state has not been freed.
    pub connections: usize,
    /// Handlers of events that have not been taken off.
    pub listeners: usize,
}

/// What the page holds now.
#[doc(hidden)]
#[must_use]
pub fn held() -> Held {
    Held { connections: CONNECTIONS.get(), listeners: LISTENERS.get() }
}

/// One connection, as it is counted.
#[derive(Debug)]
pub(super) struct Counted(());

impl Counted {
    pub(super) fn new() -> Self {
        CONNECTIONS.set(CONNECTIONS.get() + 1);
        Self(())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        CONNECTIONS.set(CONNECTIONS.get() - 1);
    }
}

/// A handler of one kind of event of one object. The object lets go of it when it is dropped.
#[derive(Debug)]
pub(super) struct Listener {
    target: EventTarget,
    event: &'static str,
    closure: Closure<dyn FnMut(JsValue)>,
}

impl Listener {
    /// Has `handle` called with each such event.
    pub(super) fn new(target: &EventTarget, event: &'static str, handle: impl FnMut(JsValue) + 'static) -> Self {
        let closure = Closure::new(handle);
        LISTENERS.set(LISTENERS.get() + 1);
        // It fails for no object that has events.
        let _ = target.add_event_listener_with_callback(event, closure.as_ref().unchecked_ref());
        Self { target: target.clone(), event, closure }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = self.target.remove_event_listener_with_callback(self.event, self.closure.as_ref().unchecked_ref());
        LISTENERS.set(LISTENERS.get() - 1);
    }
}
