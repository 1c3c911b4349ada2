//! The chat, the drawing board and the dashboard of `examples/web` in headless Chromium and Firefox, with each other and with
//! the program; their accessibility; and `p2pt web`, which serves them.

use std::path::{Path, PathBuf};

use p2pt_tests::interop::turn;
use p2pt_tests::js::{Kind, Tracker, TrackerKind, p2pt_binary};
use p2pt_tests::page::Page;
use p2pt_tests::pipe::PATIENCE;
use p2pt_tests::program::Program;
use serde_json::json;
use tokio::process::Command;
use tokio::time::Instant;

const ROOM: &str = "Küche & <b>Bad</b>";
/// The room behind the `#` of a link.
const LINK: &str = "#room=K%C3%BCche%20%26%20%3Cb%3EBad%3C%2Fb%3E";

/// A name that would be an element, and run, if it were taken for markup.
const MARKUP: &str = "<img src=/ onerror=alert(1)>";

const BLACK: &str = "#1b1f24";
const RED: &str = "#c62828";
const WHITE: &str = "#ffffff";

/// Where screenshots are left, for people to look at.
fn screenshots(browser: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("site").join(browser)
}

/// Opens a page of the static build by the link to the room, and enters under a name.
async fn enter(browser: &str, page: &str, name: &str, tracker: &Tracker, arguments: &[&str]) -> Page {
    let search = format!("{LINK}&name={name}");
    let mut opened =
        Page::open(browser, page, &[&["--tracker", tracker.url(), "--search", &search], arguments].concat()).await;
    opened.act(json!({ "join": {} })).await;
    opened.shows("#title", ROOM).await;
    opened
}

async fn a_chat_is_held(browser: &str) {
    let _turn = turn().await;
    let tracker = Tracker::start(TrackerKind::Ours).await;
    let screenshots = screenshots(browser);
    let mut ann = enter(browser, "chat", "Ann", &tracker, &[]).await;
    ann.shows("#state", "waiting for others").await;
    ann.shows("#alone", "No other peer").await;
    let mut command = Command::new(p2pt_binary());
    command.args(["chat", ROOM, "--no-default-stun", "--name", "Ferris", "--tracker", tracker.url()]);
    let mut terminal = Program::spawn("p2pt chat", command);
    let mut bob = enter(browser, "chat", "Bob", &tracker, &["--dark"]).await;
    for name in ["Ferris", "Bob"] {
        ann.shows("#log", &format!("is {name}")).await;
    }
    for name in ["Ann", "Bob"] {
        terminal.says(&format!("is {name}")).await;
    }
    ann.shows("#state", "connected to 2 peers").await;
    ann.shows("#who", "Who is here (3)").await;
    ann.shows("#peers li.up", "direct").await;
    // Two pages see one safety code of each other, for the two people to compare.
    ann.shows("#peers .trust", "known by its key alone").await;
    let code = "Array.from(document.querySelectorAll('#peers li')).find(it => it.textContent.startsWith('NAME')).querySelector('.safety').textContent";
    let seen = ann.evaluate(&code.replace("NAME", "Bob")).await;
    bob.shows("#peers", "Ann").await;
    assert_eq!(bob.evaluate(&code.replace("NAME", "Ann")).await, seen);
    assert!(seen.as_str().is_some_and(|seen| seen.split(' ').count() == 6), "{seen}");
    ann.shows("#trackers-list li.up", "connected").await;

    // What is being written is said, and what was is a line; a link is one, and leads nowhere by itself.
    bob.act(json!({ "type": { "in": "#line", "text": "see https://example.org/?a=b." } })).await;
    ann.shows("#typing", "Bob is writing…").await;
    bob.act(json!({ "press": ["Enter"] })).await;
    terminal.says("Bob: see https://example.org/?a=b.").await;
    assert_eq!(ann.shows("#log .line p", "example.org").await, "see https://example.org/?a=b.");
    let link = ann.evaluate("document.querySelector('#log .line a').outerHTML").await;
    assert!(link.as_str().expect("a text").contains("href=\"https://example.org/?a=b\""), "{link}");
    assert!(link.as_str().expect("a text").contains("rel=\"noopener noreferrer nofollow\""), "{link}");
    assert_eq!(ann.evaluate("document.querySelector('#typing').textContent").await, "");
    terminal.write("me, \"Ferris\" <i>عربي</i>").await;
    assert_eq!(ann.shows("#log .line p", "me").await, "me, \"Ferris\" <i>عربي</i>");

    // Lines that come while earlier ones are read are counted.
    ann.act(json!({ "resize": { "width": 320, "height": 640 } })).await;
    for line in 0..12 {
        ann.say(&format!("line {line} of many")).await;
    }
    bob.shows("#log", "line 11 of many").await;
    ann.evaluate("document.querySelector('#log').scrollTop = 0").await;
    bob.say("unseen <b>one</b>").await;
    bob.say("unseen two").await;
    ann.shows("#unread", "2 new").await;
    assert!(ann.evaluate("document.title").await.as_str().expect("a text").starts_with("(2) "));
    ann.click("#unread").await;
    ann.shows("#log .line:last-child p", "unseen two").await;
    assert!(!ann.evaluate("document.title").await.as_str().expect("a text").starts_with('('));

    // A peer whose name and lines would be markup.
    let mut stranger = Kind::Rust.start(ROOM, &[tracker.url()]).await;
    let id = ann.evaluate("document.querySelector('#own-id').textContent").await.as_str().expect("a text").to_owned();
    let connected = stranger.process().expect("peer_connected", |event| starts_with(&event["peer"], &id)).await;
    for message in [json!({ "name": MARKUP }), json!(format!("{MARKUP}<script>alert(2)</script> javascript:alert(3)"))]
    {
        stranger.process().command(&json!({ "send": { "peer": connected["peer"], "message": message } })).await;
    }
    ann.shows("#log", "<script>alert(2)</script>").await;
    assert_eq!(ann.count("#room img, #room script, #room b, #room i, #room a[href^=javascript]").await, 0);
    stranger.stop().await;

    ann.is_accessible(&screenshots, "chat").await;
    bob.is_accessible(&screenshots, "chat-dark").await;

    // Who leaves is told, and may come back.
    bob.click("#leave").await;
    ann.shows("#log", "Bob has left").await;
    bob.is_accessible(&screenshots, "form-dark").await;
    bob.act(json!({ "join": { "name": "Bobby" } })).await;
    ann.shows("#log", "is Bobby").await;
    terminal.ends().await;
    for page in [ann, bob] {
        page.end().await;
    }
    tracker.stop().await;
}

fn starts_with(value: &serde_json::Value, beginning: &str) -> bool {
    value.as_str().is_some_and(|text| text.starts_with(beginning))
}

/// Waits until the boards of two pages have the same pixels.
async fn same(one: &mut Page, other: &mut Page) {
    let begun = Instant::now();
    loop {
        let pictures = [one.picture("#canvas").await, other.picture("#canvas").await];
        if pictures[0] == pictures[1] {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "the boards differ: {pictures:?}");
    }
}

/// Waits until a board has a colour at a place.
async fn has(page: &mut Page, at: (f64, f64), colour: &str) {
    let begun = Instant::now();
    loop {
        let found = page.pixel("#canvas", at).await;
        if found == colour {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{found} is at {at:?}, and not {colour}");
    }
}

async fn a_board_is_shared(browser: &str) {
    let _turn = turn().await;
    let tracker = Tracker::start(TrackerKind::Ours).await;
    let screenshots = screenshots(browser);
    let mut ann = enter(browser, "board", "Ann", &tracker, &[]).await;
    // What was drawn before anybody came is there for those who come.
    // Lines are wide enough that a place in one is all of its colour, however it falls on the screen's pixels.
    let wide = "document.querySelector('#width').value = 30";
    ann.evaluate(wide).await;
    let line = |from: (f64, f64), to: (f64, f64)| json!({ "drag": { "in": "#canvas", "points": [from, to] } });
    ann.act(line((0.1, 0.1), (0.9, 0.1))).await;
    has(&mut ann, (0.5, 0.1), BLACK).await;
    let mut bob = enter(browser, "board", "Bob", &tracker, &["--dark"]).await;
    has(&mut bob, (0.5, 0.1), BLACK).await;

    bob.evaluate(wide).await;
    bob.click(&format!("#colours input[value='{RED}']")).await;
    bob.act(line((0.1, 0.3), (0.9, 0.3))).await;
    has(&mut ann, (0.5, 0.3), RED).await;
    same(&mut ann, &mut bob).await;

    // By keyboard: from the middle, up by two steps and right by one that is long.
    ann.act(json!({ "focus": "#width" })).await;
    ann.act(json!({ "press": ["Tab", "Tab", "Tab", "Tab"] })).await;
    assert_eq!(ann.evaluate("document.activeElement.id").await, "canvas");
    ann.act(json!({ "press": ["ArrowUp", "ArrowUp", " ", "Shift+ArrowRight", "Shift+ArrowRight"] })).await;
    ann.shows("#aloud", "Pen down, 63 % from the left, 46 % from the top").await;
    ann.act(json!({ "press": [" "] })).await;
    has(&mut bob, (0.55, 0.46), BLACK).await;
    if browser == "chromium" {
        for (by, height) in [("touch", 0.7), ("pen", 0.8)] {
            let points = [(0.1, height), (0.5, height), (0.9, height)];
            ann.act(json!({ "drag": { "in": "#canvas", "points": points, "by": by } })).await;
            has(&mut bob, (0.7, height), BLACK).await;
        }
    }
    same(&mut ann, &mut bob).await;

    // One's own strokes are undone, and no other's, the last first.
    bob.click("#undo").await;
    has(&mut ann, (0.5, 0.3), WHITE).await;
    bob.click("#undo").await;
    bob.shows("#aloud", "nothing to undo").await;
    has(&mut ann, (0.5, 0.1), BLACK).await;
    bob.act(line((0.1, 0.3), (0.9, 0.3))).await;
    has(&mut ann, (0.5, 0.3), RED).await;

    // A late comer gets all of it, also what was undone.
    let mut cleo = enter(browser, "board", "Cleo", &tracker, &[]).await;
    cleo.evaluate(wide).await;
    same(&mut ann, &mut cleo).await;
    ann.is_accessible(&screenshots, "board").await;
    bob.is_accessible(&screenshots, "board-dark").await;

    // A picture to take home, in full size whatever the screen's.
    ann.evaluate(
        "(() => { const make = URL.createObjectURL; URL.createObjectURL = blob => { window.saved = blob; return make.call(URL, blob) } })()",
    )
    .await;
    ann.click("#export").await;
    ann.shows("#aloud", "The picture is saved.").await;
    let size = ann.evaluate("createImageBitmap(saved).then(({ width, height }) => [saved.type, width, height])").await;
    assert_eq!(size, json!(["image/png", 1600, 1000]));

    // Each board is cleared only if its own user agrees.
    for (by_bob, is_cleared) in [("Keep it", false), ("Clear it", true)] {
        ann.click("#clear").await;
        for (page, answer) in [(&mut cleo, "Clear it"), (&mut bob, by_bob)] {
            page.shows("#vote", "Ann would like to clear the board.").await;
            let press = format!(
                "[...document.querySelectorAll('#vote button')].find(it => it.textContent === '{answer}').click()"
            );
            page.evaluate(&press).await;
        }
        if is_cleared {
            for page in [&mut ann, &mut bob, &mut cleo] {
                page.shows("#strokes", "Nothing is drawn yet.").await;
            }
        } else {
            ann.shows("#vote", "The board stays: Bob would like to keep it.").await;
            has(&mut ann, (0.5, 0.1), BLACK).await;
            ann.click("#vote button").await;
        }
    }
    cleo.act(line((0.1, 0.5), (0.9, 0.5))).await;
    has(&mut ann, (0.5, 0.5), BLACK).await;
    for page in [ann, bob, cleo] {
        page.end().await;
    }
    tracker.stop().await;
}

async fn a_dashboard_shows_what_is_true(browser: &str) {
    let _turn = turn().await;
    let tracker = Tracker::start(TrackerKind::Ours).await;
    let screenshots = screenshots(browser);
    // A port that answers nobody: it is held, and not listened on.
    let held = tokio::net::TcpSocket::new_v4().expect("a socket");
    held.bind(([127, 0, 0, 1], 0).into()).expect("a free port");
    let dead = format!("ws://{}", held.local_addr().expect("an address"));
    let search = format!("{LINK}&tracker={}&tracker={dead}", tracker.url());
    let mut page = Page::open(browser, "dashboard", &["--search", &search]).await;
    page.act(json!({ "join": {} })).await;
    page.shows("#title", ROOM).await;
    page.shows("#trackers-list li.up", "connected").await;
    page.shows("#trackers-list li.down", "tried again in").await;
    page.shows("#failover", "1 tracker of 2 is not reached; peers are met at the others.").await;

    let mut peer = Kind::Rust.start(ROOM, &[tracker.url()]).await;
    let id = page.evaluate("document.querySelectorAll('#facts code')[1].textContent").await;
    let id = id.as_str().expect("an id").to_owned();
    peer.about("peer_connected", &id).await;
    page.shows("#facts", "connected peers1").await;
    page.shows("#peers li.up h3", &peer.id()[..8]).await;
    page.shows("#peers li", "direct (").await;
    page.shows("#peers li", " ms").await;
    page.shows("#peers li", "known by its key alone").await;
    page.shows("#peers li", "safety code").await;
    // What comes is counted, to the byte's magnitude.
    peer.process().command(&json!({ "send": { "peer": id, "message": "x".repeat(3_000_000) } })).await;
    page.shows("#peers li", "3.0 MB so far").await;
    page.shows("#chart", "B/s").await;
    // Of 3 MB in a minute the busiest second has at least 50 kB, however slow the machine is.
    let top = page.evaluate("document.querySelector('#chart .top').textContent").await;
    let text = top.as_str().expect("a text");
    assert!(text.contains("MB/s") || text.contains("kB/s"), "{top}");

    page.is_accessible(&screenshots, "dashboard").await;
    page.click("#copy-report").await;
    let report = page.value("#report").await;
    for part in [
        peer.id(),
        &id,
        &dead,
        tracker.url(),
        "1 of 2 connected",
        "last error: ",
        "3.0 MB received",
        "known by its key alone",
    ] {
        assert!(report.contains(part), "{part} is not in the report:\n{report}");
    }
    assert!(!report.contains("Küche") && !report.contains("K%C3"), "the room's name is in the report:\n{report}");

    // Its only tracker goes, and the peer stays.
    tracker.stop().await;
    page.shows("#failover", "No tracker is reached: peers that are connected stay").await;
    page.shows("#log .warning", "ws://127.0.0.1").await;
    assert_eq!(page.count("#peers li.up").await, 1);
    peer.stop().await;
    page.shows("#log", "is gone").await;
    page.shows("#alone", "No other peer").await;
    page.end().await;
    drop(held);
}

async fn the_program_serves_the_pages(browser: &str) {
    let _turn = turn().await;
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/web/dist");
    let mut command = Command::new(p2pt_binary());
    command.args(["web", "--listen", "127.0.0.1:0", "--identifier", ROOM, "--name", "Host", "--pages"]).arg(&built);
    let mut host = Program::spawn("p2pt web", command);
    let url = host.says("listening on ").await.trim_start_matches("listening on ").to_owned() + "/";

    // The room and the tracker come with the pages.
    let mut page = Page::open(browser, "chat", &["--url", &url, "--dark"]).await;
    page.act(json!({ "join": { "name": "Ann" } })).await;
    page.shows("#title", ROOM).await;
    page.shows("#log", "is Host").await;
    host.says("is Ann").await;
    page.say("from the page").await;
    host.says("Ann: from the page").await;
    host.write("from the terminal").await;
    page.shows("#log .line p", "from the terminal").await;
    // What the server says that pages may do is what they say, and more.
    let policy = page.evaluate(
        "fetch('./').then(it => [it.headers.get('content-security-policy'), document.querySelector('meta[http-equiv=Content-Security-Policy]').content])",
    );
    let policy = policy.await;
    let (served, own) = (policy[0].as_str().expect("a policy"), policy[1].as_str().expect("a policy"));
    assert_eq!(served, format!("{own}; frame-ancestors 'none'"));
    let refused = page.evaluate("fetch('https://example.org/').then(() => 'fetched', error => error.name)").await;
    assert_eq!(refused, "TypeError", "the policy forbids what is elsewhere");

    let mut board = Page::open(browser, "board", &["--url", &url, "--search", "#name=Bob"]).await;
    board.act(json!({ "join": {} })).await;
    board.shows("#trackers-list li.up", "connected").await;
    for page in [page, board] {
        page.end().await;
    }
    // Its input ends, and it serves on as a service would.
    drop(host);
}

/// A test in both browsers.
macro_rules! in_browsers {
    ($($test:ident: $chromium:ident, $firefox:ident;)+) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            #[ignore = "needs Node, npm packages, browsers and a compiler for wasm32: tests/js/setup.sh, examples/web/build, then cargo test -p p2pt-tests --test interop_site -- --ignored"]
            async fn $chromium() {
                $test("chromium").await;
            }

            #[tokio::test(flavor = "multi_thread")]
            #[ignore = "needs Node, npm packages, browsers and a compiler for wasm32: tests/js/setup.sh, examples/web/build, then cargo test -p p2pt-tests --test interop_site -- --ignored"]
            async fn $firefox() {
                $test("firefox").await;
            }
        )+
    };
}

in_browsers! {
    a_chat_is_held: a_chat_is_held_in_chromium, a_chat_is_held_in_firefox;
    a_board_is_shared: a_board_is_shared_in_chromium, a_board_is_shared_in_firefox;
    a_dashboard_shows_what_is_true: a_dashboard_in_chromium_shows_what_is_true, a_dashboard_in_firefox_shows_what_is_true;
    the_program_serves_the_pages: the_program_serves_the_pages_to_chromium, the_program_serves_the_pages_to_firefox;
}
