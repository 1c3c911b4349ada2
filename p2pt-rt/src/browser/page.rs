//! The life of the page, and what its errors say.

use js_sys::{Function, Reflect};
use tokio::sync::oneshot;
use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    // Of the global object. Node has none, which is no error: a program there ends otherwise.
    #[wasm_bindgen(catch, js_name = addEventListener)]
    fn add_event_listener(kind: &str, listener: &Function) -> Result<(), JsValue>;
    #[wasm_bindgen(catch, js_name = removeEventListener)]
    fn remove_event_listener(kind: &str, listener: &Function) -> Result<(), JsValue>;
}

const PAGE_HIDE: &str = "pagehide";

/// A listener that is taken off when it is dropped.
struct Listener(Closure<dyn FnMut(JsValue)>);

impl Drop for Listener {
    fn drop(&mut self) {
        // Fails where there is nothing to listen to.
        let _ = remove_event_listener(PAGE_HIDE, self.0.as_ref().unchecked_ref());
    }
}

/// An error that JavaScript has thrown, for people: its message, or what it is where it is no `Error`.
#[must_use]
pub fn error_text(error: &JsValue) -> String {
    error.dyn_ref::<js_sys::Error>().map_or_else(|| format!("{error:?}"), |error| String::from(error.message()))
}

/// Waits until the page goes for good: it is closed, reloaded or left for another one that does not keep it.
///
/// What runs then without waiting for timers or for the network still runs, and nothing else does.
pub async fn ending() {
    let (goes, gone) = oneshot::channel();
    let mut goes = Some(goes);
    let listener = Listener(Closure::new(move |event: JsValue| {
        // A page that is kept may come back, with its timers stopped meanwhile.
        let is_kept = Reflect::get(&event, &"persisted".into()).is_ok_and(|kept| kept.is_truthy());
        if let Some(goes) = goes.take_if(|_| !is_kept) {
            // The future may have been dropped.
            let _ = goes.send(());
        }
    }));
    if add_event_listener(PAGE_HIDE, listener.0.as_ref().unchecked_ref()).is_err() || gone.await.is_err() {
        std::future::pending::<()>().await;
    }
}
