//! Messages to frames and back, in bytes of text a second.

use std::fmt;

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use p2pt_benches::base;
use p2pt_messaging::{Chunks, DEFAULT_BUDGET, Limits, MessageId, Payload, Progress, Reassembler};

fn main() {
    divan::main();
}

#[derive(Debug, Clone, Copy)]
enum Text {
    Ascii,
    /// Three bytes for each character, none of them escaped.
    Cjk,
    /// Source code in a string: an escape every few characters.
    Escapes,
    Json,
}

#[derive(Debug, Clone, Copy)]
struct Case(Text, usize);

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(text, bytes) = self;
        write!(f, "{text:?} {bytes}")
    }
}

fn cases() -> impl Iterator<Item = Case> {
    let sizes = [100, 16_000, 1_000_000, 16_000_000];
    [Text::Ascii, Text::Cjk, Text::Escapes, Text::Json]
        .into_iter()
        .flat_map(move |text| sizes.into_iter().map(move |bytes| Case(text, bytes)))
}

impl Case {
    fn payload(self) -> Payload {
        let Self(text, bytes) = self;
        let repeated = |piece: &str| piece.repeat(bytes.div_ceil(piece.len()));
        match text {
            Text::Ascii => repeated("The quick brown fox jumps over the lazy dog, and again. ").into(),
            Text::Cjk => repeated("色は匂へど散りぬるを我が世誰ぞ常ならむ").into(),
            Text::Escapes => repeated("\tlet s = \"a\\b\";\n").into(),
            Text::Json => {
                let row = serde_json::json!({"id": 4711, "name": "Anaïs \"A\" Nin", "tags": ["x", "y"], "at": 1.5});
                let rows = bytes.div_ceil(row.to_string().len() + 1);
                serde_json::Value::from(vec![row; rows]).into()
            }
        }
    }

    fn frames(self) -> Vec<String> {
        let (id, payload) = (MessageId::from(1 << 50), self.payload());
        Chunks::new(&id, &payload, DEFAULT_BUDGET).expect("a budget").collect()
    }
}

#[divan::bench(args = cases())]
fn chunk(bencher: Bencher<'_, '_>, case: Case) {
    let (id, payload) = (MessageId::from(1 << 50), case.payload());
    bencher.counter(BytesCount::of_str(payload.as_str())).bench_local(|| {
        for frame in Chunks::new(&id, &payload, DEFAULT_BUDGET).expect("a budget") {
            drop(black_box(frame));
        }
    });
}

#[divan::bench(args = cases())]
fn reassemble(bencher: Bencher<'_, '_>, case: Case) {
    let (frames, now) = (case.frames(), base());
    let mut reassembler = Reassembler::new(Limits::default());
    bencher.counter(BytesCount::of_str(case.payload().as_str())).bench_local(|| {
        for frame in &frames {
            if let Progress::Complete(message) = reassembler.push(now, frame.as_bytes()).expect("a chunk") {
                drop(black_box(message));
                return;
            }
        }
        unreachable!("the last chunk completes it");
    });
}

/// A yardstick: the text as one JSON string.
#[divan::bench(args = cases())]
fn serde_json_writes(bencher: Bencher<'_, '_>, case: Case) {
    let payload = case.payload();
    let text = payload.as_str();
    bencher.counter(BytesCount::of_str(text)).bench_local(|| drop(black_box(serde_json::to_string(text))));
}

/// A yardstick: one JSON string to text, and that checked to be JSON if it should be.
#[divan::bench(args = cases())]
fn serde_json_reads(bencher: Bencher<'_, '_>, case: Case) {
    let payload = case.payload();
    let json = serde_json::to_string(payload.as_str()).expect("a string");
    bencher.counter(BytesCount::of_str(payload.as_str())).bench_local(|| {
        let text: String = serde_json::from_slice(json.as_bytes()).expect("a string");
        if payload.as_json().is_some() {
            black_box(serde_json::from_str::<serde::de::IgnoredAny>(&text).expect("JSON"));
        }
        drop(black_box(text));
    });
}
