//! Packets of p2pt/2 that come into a session.

use arbitrary::Arbitrary;
use p2pt_messaging::wire::{Hello, LinkId, Session, SessionConfig};

use crate::{base, read};

const LINK: LinkId = LinkId(0);

const MESSAGE_WINDOW: usize = 4096;
const REASSEMBLY: usize = 16 << 10;
const STREAM_MEMORY: usize = 32 << 10;
const MAX_STREAMS: usize = 4;

/// Streams that wait to be accepted hold 16 KiB of metadata each, of one opener.
const MOST_HELD: usize = 2 * MESSAGE_WINDOW + REASSEMBLY + STREAM_MEMORY + MAX_STREAMS * (16 << 10);

#[derive(Debug, Arbitrary)]
enum Step {
    /// A packet as it is.
    Packet(Vec<u8>),
    /// Frames behind the number that is next.
    Sequenced(Vec<u8>),
    Transmit,
    Message,
    GiveUp,
    Accept,
}

/// Whatever comes, the session holds no more than it said it would, and after a violation takes nothing more.
pub fn session_packets(data: &[u8]) {
    let Some(steps) = read::<Vec<Step>>(data) else { return };
    let config = SessionConfig::default()
        .message_window(MESSAGE_WINDOW)
        .max_message(8192)
        .reassembly(REASSEMBLY)
        .stream_window(1024)
        .stream_memory(STREAM_MEMORY)
        .max_streams(MAX_STREAMS);
    let mut session = Session::new(config, &Hello::default());
    session.link_opened(base(), LINK);
    let (mut next, mut accepted) = (0_u8, Vec::new());
    for step in steps {
        let packet = match step {
            Step::Packet(packet) => packet,
            // Numbers below 64 have one byte.
            Step::Sequenced(frames) if next < 64 => {
                next += 1;
                [&[4, 1, next - 1], &frames[..]].concat()
            }
            Step::Sequenced(_) => continue,
            Step::Transmit => {
                session.poll_transmit(base(), LINK, 1024);
                continue;
            }
            Step::Message => {
                session.receive_message();
                continue;
            }
            Step::GiveUp => {
                session.give_up_largest();
                continue;
            }
            Step::Accept => {
                accepted.extend(session.accept().map(|stream| stream.key));
                accepted.iter().for_each(|key| drop(session.read(*key, 700)));
                continue;
            }
        };
        let result = session.receive(base(), LINK, &packet.into());
        assert!(session.held_bytes() <= MOST_HELD, "{} bytes are held", session.held_bytes());
        if let Err(error) = result {
            assert_eq!(session.receive(base(), LINK, &Default::default()), Err(error));
            return;
        }
        while session.poll_event().is_some() {}
    }
}
