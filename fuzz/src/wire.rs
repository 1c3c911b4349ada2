//! Binary frames of p2pt/2.

use p2pt_messaging::wire::{Frames, Hello};

/// Frames lie one behind the other in what came, and are written as something that reads the same; so is a HELLO.
pub fn wire_frames(data: &[u8]) {
    let (mut written, mut read) = (Vec::new(), Vec::new());
    for frame in Frames::new(data).map_while(Result::ok) {
        frame.encode(&mut written).expect("what was read can be written");
        read.push(frame);
        if let Ok(hello) = Hello::decode(frame.body) {
            let again = hello.encode().expect("what was read can be written");
            assert_eq!(Hello::decode(&again), Ok(hello));
        }
    }
    assert!(written.len() <= data.len(), "integers are written in the fewest bytes");
    let again: Result<Vec<_>, _> = Frames::new(&written).collect();
    assert_eq!(again, Ok(read));
}
