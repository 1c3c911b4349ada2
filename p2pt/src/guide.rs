//! The guide: a page for each thing that a program may want to do, with code that runs.
//!
//! The order in which they teach is that of the list on the [front page](crate#guide). Nearly every code block is run by the
//! tests, most of them in a world of the feature `testing`: a `world` in them is that, and its `builder()` is a
//! `P2pt::builder()` with the trackers and the network of that world.

// Links of the pages are looked up here.
#[cfg(doc)]
#[allow(unused_imports, reason = "for the links of the pages alone")]
use crate::*;

/// Declares the pages: a module without items for each, whose documentation is the file of its name.
macro_rules! pages {
    ($($(#[doc = $about:literal])+ $page:ident = $file:literal;)+) => {
        $(
            $(#[doc = $about])+
            ///
            #[doc = include_str!(concat!("../guide/", $file))]
            pub mod $page {}
        )+
    };
}

pages! {
    /// Text, JSON, types of one's own and bytes: sending and receiving them.
    messages = "messages.md";
    /// Questions and answers with deadlines: of one peer, of many, in chains.
    requests = "requests.md";
    /// What holds and what does not: events, delivery, order, addresses, identity.
    promises = "promises.md";
    /// One node in several swarms, and moving between them.
    swarms = "swarms.md";
    /// Who may connect: filters, proofs, disconnecting, bans.
    admission = "admission.md";
    /// STUN and TURN servers, and hiding one's address behind a relay.
    relay = "relay.md";
    /// Tests of an application in memory, under virtual time and from a seed.
    testing = "testing.md";
    /// A tracker inside a program, with limits and TLS.
    embedded_tracker = "embedded_tracker.md";
    /// Programs that talk to trackers alone: scraping, announcing, reading frames.
    tracker_tools = "tracker_tools.md";
    /// Another transport than WebRTC, or one around it.
    own_transport = "own_transport.md";
    /// Every limit: its default, what sets it, and what is seen when it is reached.
    limits = "limits.md";
    /// What can fail, what is seen of it, what follows by itself, and what helps.
    failures = "failures.md";
    /// For the person who runs nodes: cost, ports, buffers, systemd, logs, metrics.
    operating = "operating.md";
    /// Each call of the JavaScript library, and what it is called here.
    javascript = "javascript.md";
}
