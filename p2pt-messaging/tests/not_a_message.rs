//! What the compiler says of a value that is no message: the words that lead to the method that is meant.
#![allow(
    unexpected_cfgs,
    reason = "a cfg of this file alone, which the test below sets when it builds this file again"
)]

use std::process::Command;

use p2pt_messaging::{IntoPayload, Payload};

fn send(message: impl IntoPayload) -> Payload {
    message.into_payload()
}

#[cfg(not_a_message)]
struct Question;

#[cfg(not_a_message)]
fn ask() {
    send(Question);
}

#[test]
fn a_struct_that_is_sent_as_it_is_has_the_compiler_name_send_json() {
    assert_eq!(send("text"), Payload::from("text"), "what is a message compiles");
    let built = Command::new(env!("CARGO"))
        .args(["rustc", "--package", "p2pt-messaging", "--test", "not_a_message", "--offline", "--color", "never"])
        .args(["--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")])
        .args(["--", "--cfg", "not_a_message"])
        .output()
        .expect("cargo runs this test, so it is there");
    let said = String::from_utf8_lossy(&built.stderr);
    assert!(!built.status.success(), "{said}");
    for words in [
        "`Question` is not a message as it is",
        "neither text, nor a number, nor JSON",
        "if it implements `serde::Serialize`, use the method whose name ends in `_json`: `send_json(&value)`",
        "implement `IntoPayload`",
        "`&payload` is a message",
        "`queue_frame(frame)`",
    ] {
        assert!(said.contains(words), "without {words:?}: {said}");
    }
}
