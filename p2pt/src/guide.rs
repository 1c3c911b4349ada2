//! The guide: a page for each thing that a program may want to do, with code that runs.
//!
//! The order in which they teach is that of the list on the [front page](crate#guide). Nearly every code block is run by the
//! tests, most of them in a world of the feature `testing`: a `world` in them is that, and its `builder()` is a
//! `P2pt::builder()` with the trackers and the network of that world.

// Links of the pages are looked up here.
#[cfg(doc)]
#[allow(unused_imports, reason = "for the links of the pages alone")]
use crate::{
    trust::{Passphrase, Policy, RoomLink},
    *,
};

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
    /// What holds and what does not: events, delivery, order, addresses, keys.
    promises = "promises.md";
    /// One node in several swarms, and moving between them.
    swarms = "swarms.md";
    /// Who may connect: filters, keys, handshakes, disconnecting, bans.
    admission = "admission.md";
    /// Who a peer is, and who may listen: keys, pins, policies, rooms with a secret, codes, agreement.
    trust = "trust.md";
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
    /// The same program in a page, as WebAssembly.
    browser = "browser.md";
    /// Every limit: its default, what sets it, and what is seen when it is reached.
    limits = "limits.md";
    /// What can fail, what is seen of it, what follows by itself, and what helps.
    failures = "failures.md";
    /// For the person who runs nodes: cost, ports, buffers, systemd, logs, metrics.
    operating = "operating.md";
    /// Each call of the JavaScript library, and what it is called here.
    javascript = "javascript.md";
}

#[cfg(all(test, feature = "webrtc"))]
mod tests {
    use std::collections::BTreeMap;
    use std::fmt::Debug;
    use std::path::Path;

    use p2pt_messaging::{Limits, MessageId};
    use p2pt_tracker::ClientConfig;
    use p2pt_transport::webrtc::WebRtcConfig;

    use crate::settings::PeerConfig;

    fn read(path: &str) -> String {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// What the table in this text says that each page teaches, where `begins` and `ends` enclose the name of a page.
    fn listed<'a>(text: &'a str, begins: &str, ends: &str) -> BTreeMap<&'a str, &'a str> {
        let row = |line: &'a str| {
            let (name, teaches) = line.split_once(begins)?.1.split_once(ends)?;
            Some((name, teaches.split_once(" | ")?.1.strip_suffix(" |")?))
        };
        text.lines().filter_map(row).collect()
    }

    #[test]
    fn every_page_is_declared_and_listed_alike_on_both_front_pages() {
        let (front, readme, guide) = (read("src/lib.rs"), read("README.md"), read("src/guide.rs"));
        let front = listed(&front, "//! | [`guide::", "`]");
        assert_eq!(front, listed(&readme, "](guide/", ".md)"));
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("guide").read_dir().expect("a folder");
        let mut pages: Vec<String> = folder
            .map(|file| file.expect("readable").path().file_stem().and_then(|name| name.to_str()).expect("text").into())
            .collect();
        pages.sort();
        assert_eq!(pages, front.into_keys().collect::<Vec<_>>());
        for page in pages {
            assert!(guide.contains(&format!("    {page} = \"{page}.md\";")), "{page} is not declared");
        }
    }

    /// A number of bytes as the page writes it.
    fn bytes(bytes: usize) -> String {
        if bytes >= 1 << 20 { format!("{} MiB", bytes >> 20) } else { format!("{} KiB", bytes >> 10) }
    }

    /// The value of a field, as `Debug` writes it.
    fn field(config: &impl Debug, name: &str) -> String {
        let text = format!("{config:?}");
        let (_, value) = text.split_once(&format!(" {name}: ")).unwrap_or_else(|| panic!("{name} is not in {text}"));
        value.split([',', ' ']).next().expect("a first part").to_owned()
    }

    #[test]
    fn the_page_on_limits_has_the_defaults() {
        let page = read("guide/limits.md");
        let (peers, limits, client) = (PeerConfig::default(), Limits::default(), ClientConfig::default());
        let webrtc = |name| field(&WebRtcConfig::default(), name);
        let size = |name| bytes(webrtc(name).parse().expect("a number"));
        let seconds = |time: std::time::Duration| format!("{} s", time.as_secs());
        let spelled = |number: u32| format!("{},{:03}", number / 1000, number % 1000);
        let limits = [
            ("`Limits::max_message_bytes`", bytes(limits.max_message_bytes)),
            ("`Limits::max_frame_bytes`", bytes(limits.max_frame_bytes)),
            ("`Limits::max_chunks`", spelled(limits.max_chunks)),
            ("`Limits::idle_timeout`", seconds(limits.idle_timeout)),
            ("`Limits::max_in_flight_messages`", limits.max_in_flight_messages.to_string()),
            ("`Limits::max_held_bytes`", bytes(limits.max_held_bytes)),
            ("`MessageId::MAX_BYTES`", format!("{} bytes", MessageId::MAX_BYTES)),
            ("`Builder::request_timeout`", seconds(peers.request_timeout)),
            ("`Builder::send_timeout`", seconds(peers.send_timeout)),
            ("`Builder::inbox_bytes`", bytes(peers.inbox_bytes)),
            ("`Builder::send_queue_bytes`", bytes(peers.send_queue_bytes)),
            ("`Builder::flush_timeout`", seconds(peers.flush_timeout)),
            ("`Builder::receive_memory`", bytes(peers.receive_memory)),
            ("`Builder::send_memory`", bytes(peers.send_memory)),
            ("`WebRtcConfig::max_frame_bytes`", size("max_frame_bytes")),
            ("`WebRtcConfig::send_buffer_bytes`", size("send_buffer_bytes")),
            ("`WebRtcConfig::receive_buffer_bytes`", size("receive_buffer_bytes")),
            ("`WebRtcConfig::idle_timeout`", webrtc("idle_timeout").replace('s', " s")),
            ("`WebRtcConfig::gather_timeout`", webrtc("gather_timeout").replace("300ms", "0.3 s")),
            ("`WebRtcConfig::connect_timeout`", format!("15 s; {}", webrtc("connect_timeout").replace('s', " s"))),
            ("`WebRtcConfig::max_connections`", webrtc("max_connections")),
            ("`WebRtcConfig::max_offers`", webrtc("max_offers")),
            ("`interval_min`", format!("{} to {}", seconds(client.interval_min), seconds(client.interval_max))),
            ("`max_offers`", client.max_offers.to_string()),
            ("`max_incoming_offers_per_minute`", client.max_incoming_offers_per_minute.to_string()),
            ("`backoff_min`", format!("{} to {}", seconds(client.backoff_min), seconds(client.backoff_max))),
        ];
        for (setter, default) in limits {
            let rows = page.lines().filter_map(|line| {
                let cells: Vec<&str> = line.split(" | ").collect();
                (cells.len() == 4 && cells[2].split(", ").next() == Some(setter)).then(|| cells[1])
            });
            let defaults: Vec<&str> = rows.collect();
            let first = defaults.first().unwrap_or_else(|| panic!("no row for {setter}"));
            assert!(first.starts_with(&default), "{setter} is {default} by default, and not {first}");
        }
    }
}
