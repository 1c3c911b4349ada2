//! The frames of p2pt/2, of any bytes and of any values.

use p2pt_messaging::wire::{Frame, FrameKind, Frames, Hello, MAX_VARINT, read_varint, write_varint};
use proptest::collection::vec;
use proptest::prelude::*;

/// Integers of each length are as likely as those of others.
fn integer() -> impl Strategy<Value = u64> {
    (any::<u64>(), 2_u32..64).prop_map(|(number, shift)| number >> shift)
}

fn hello() -> impl Strategy<Value = Hello> {
    let numbers = [(); 6].map(|()| integer());
    let name = proptest::option::of(any::<[u8; 16]>());
    let parts = ("[a-z0-9,-]{0,40}", numbers, vec(any::<[u8; 32]>(), 0..=64), name);
    parts.prop_map(|(features, numbers, trackers, session_name)| {
        let [message_window, stream_window, connection_window, max_streams, max_message, reassembly] = numbers;
        let mut hello = Hello::default();
        (hello.features, hello.trackers, hello.session_name) = (features, trackers, session_name);
        (hello.message_window, hello.stream_window, hello.connection_window) =
            (message_window, stream_window, connection_window);
        (hello.max_streams, hello.max_message, hello.reassembly) = (max_streams, max_message, reassembly);
        hello
    })
}

proptest! {
    #[test]
    fn an_integer_is_read_as_it_was_written(number in integer(), behind in vec(any::<u8>(), 0..4)) {
        let mut bytes = Vec::new();
        write_varint(number, &mut bytes).unwrap();
        bytes.extend(&behind);
        let mut rest = &*bytes;
        prop_assert_eq!(read_varint(&mut rest), Ok(number));
        prop_assert_eq!(rest, &*behind);
    }

    #[test]
    fn frames_are_read_as_they_were_written(frames in vec((0..=MAX_VARINT, vec(any::<u8>(), 0..200)), 0..6)) {
        let frames: Vec<Frame> = frames.iter().map(|(kind, body)| Frame { kind: FrameKind(*kind), body }).collect();
        let mut bytes = Vec::new();
        frames.iter().for_each(|frame| frame.encode(&mut bytes).unwrap());
        let read: Result<Vec<_>, _> = Frames::new(&bytes).collect();
        prop_assert_eq!(read, Ok(frames));
    }

    #[test]
    fn any_bytes_are_frames_or_an_error(bytes in vec(any::<u8>(), 0..100)) {
        let (mut taken, mut has_ended) = (0, false);
        for frame in Frames::new(&bytes) {
            prop_assert!(!has_ended, "nothing comes behind an error");
            match frame {
                // Kind and length take two bytes at least.
                Ok(frame) => taken += frame.body.len() + 2,
                Err(_) => has_ended = true,
            }
        }
        prop_assert!(taken <= bytes.len());
    }

    #[test]
    fn a_hello_is_read_as_it_was_written(hello in hello()) {
        prop_assert_eq!(Hello::decode(&hello.encode().unwrap()), Ok(hello));
    }

    #[test]
    fn any_bytes_are_a_hello_or_an_error(bytes in vec(any::<u8>(), 0..100)) {
        if let Ok(hello) = Hello::decode(&bytes) {
            let again = hello.encode().unwrap();
            prop_assert!(again.len() <= bytes.len());
            prop_assert_eq!(Hello::decode(&again), Ok(hello));
        }
    }
}
