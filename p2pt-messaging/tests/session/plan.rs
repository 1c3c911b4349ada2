//! What happens in a run of the model.

use std::time::Duration;

use p2pt_messaging::wire::{MessageKind, SessionConfig, Urgency};
use proptest::{collection::vec, prelude::*, sample::Index};

/// One of the two sides: 0 or 1.
pub(crate) type Side = usize;

/// Something that an application, a driver or the network does.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Send {
        side: Side,
        urgency: Urgency,
        kind: MessageKind,
        response: bool,
        size: usize,
    },
    Cancel {
        side: Side,
        which: Index,
    },
    Receive {
        side: Side,
        most: usize,
    },
    GiveUp {
        side: Side,
    },
    Open {
        side: Side,
        urgency: Urgency,
        metadata: usize,
    },
    Accept {
        side: Side,
    },
    Write {
        side: Side,
        which: Index,
        size: usize,
    },
    Read {
        side: Side,
        which: Index,
        most: usize,
    },
    Finish {
        side: Side,
        which: Index,
    },
    Reset {
        side: Side,
        which: Index,
        code: u64,
    },
    Stop {
        side: Side,
        which: Index,
        code: u64,
    },
    /// A packet of a side goes into a channel.
    Transmit {
        side: Side,
        which: Index,
        budget: usize,
    },
    /// The oldest packets of a side come out of a channel.
    Deliver {
        side: Side,
        which: Index,
        most: usize,
    },
    /// All channels carry what there is, this often.
    Exchange {
        times: usize,
        budget: usize,
    },
    OpenChannel,
    /// A channel breaks: of what is under way, some at the end is lost for each direction.
    Break {
        which: Index,
        lost: [usize; 2],
    },
    /// A side sees that a channel is closed, or closes it.
    Close {
        side: Side,
        which: Index,
    },
    Leaving {
        side: Side,
        which: Index,
    },
    Wait {
        time: Duration,
    },
    /// A driver takes the events of a side.
    Events {
        side: Side,
    },
}

#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) configs: [SessionConfig; 2],
    pub(crate) steps: Vec<Step>,
}

fn urgency() -> impl Strategy<Value = Urgency> {
    // Few, so that they meet.
    prop_oneof![Just(Urgency::URGENT), Just(Urgency::DEFAULT), Just(Urgency::BACKGROUND)]
}

fn kind() -> impl Strategy<Value = MessageKind> {
    use MessageKind::*;
    prop_oneof![Just(Text), Just(Json), Just(Bytes), Just(Raw)]
}

/// Small windows, so that they are reached.
fn config() -> impl Strategy<Value = SessionConfig> {
    let messages = (1024_usize..5000, 0_usize..30_000, 0_usize..40_000);
    let streams = (1024_usize..3000, 0_usize..20_000, 0_usize..5);
    (messages, streams, 0_usize..20_000, 1024_usize..6000).prop_map(|(messages, streams, unacknowledged, frame)| {
        let (window, largest, reassembly) = messages;
        let (stream_window, pool, max_streams) = streams;
        SessionConfig::default()
            .message_window(window)
            .max_message(largest)
            .reassembly(reassembly)
            .stream_window(stream_window)
            .stream_memory(2 * max_streams * stream_window + pool)
            .max_streams(max_streams)
            .max_unacknowledged(unacknowledged)
            .max_frame(frame)
            .ping_after(Duration::from_secs(10))
            .dead_after(Duration::from_secs(5))
    })
}

fn size() -> impl Strategy<Value = usize> {
    prop_oneof![0_usize..40, 0_usize..2000, 0_usize..30_000]
}

fn step() -> impl Strategy<Value = Step> {
    let (side, which) = (0_usize..2, any::<Index>());
    let (at, budget) = ((side.clone(), which.clone()), 0_usize..8000);
    let code = 0_u64..5;
    prop_oneof![
        8 => (side.clone(), urgency(), kind(), any::<bool>(), size())
            .prop_map(|(side, urgency, kind, response, size)| Step::Send { side, urgency, kind, response, size }),
        2 => at.clone().prop_map(|(side, which)| Step::Cancel { side, which }),
        4 => (side.clone(), 0_usize..5).prop_map(|(side, most)| Step::Receive { side, most }),
        1 => side.clone().prop_map(|side| Step::GiveUp { side }),
        4 => (side.clone(), urgency(), 0_usize..3000)
            .prop_map(|(side, urgency, metadata)| Step::Open { side, urgency, metadata }),
        4 => side.clone().prop_map(|side| Step::Accept { side }),
        8 => (at.clone(), size()).prop_map(|((side, which), size)| Step::Write { side, which, size }),
        6 => (at.clone(), size()).prop_map(|((side, which), most)| Step::Read { side, which, most }),
        2 => at.clone().prop_map(|(side, which)| Step::Finish { side, which }),
        1 => (at.clone(), code.clone()).prop_map(|((side, which), code)| Step::Reset { side, which, code }),
        1 => (at.clone(), code).prop_map(|((side, which), code)| Step::Stop { side, which, code }),
        8 => (at.clone(), budget.clone())
            .prop_map(|((side, which), budget)| Step::Transmit { side, which, budget }),
        8 => (at.clone(), 1_usize..5).prop_map(|((side, which), most)| Step::Deliver { side, which, most }),
        4 => (1_usize..6, budget).prop_map(|(times, budget)| Step::Exchange { times, budget }),
        2 => Just(Step::OpenChannel),
        1 => (which, [0_usize..4, 0_usize..4]).prop_map(|(which, lost)| Step::Break { which, lost }),
        2 => at.clone().prop_map(|(side, which)| Step::Close { side, which }),
        1 => at.prop_map(|(side, which)| Step::Leaving { side, which }),
        1 => (0_u64..12_000).prop_map(|millis| Step::Wait { time: Duration::from_millis(millis) }),
        3 => side.prop_map(|side| Step::Events { side }),
    ]
}

pub(crate) fn plan() -> impl Strategy<Value = Plan> {
    ([config(), config()], vec(step(), 1..160)).prop_map(|(configs, steps)| Plan { configs, steps })
}
