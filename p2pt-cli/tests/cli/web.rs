//! `p2pt web`, from its links to the chat behind them.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;

use p2pt_tests::pipe::PATIENCE;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::program::{exit_code, p2pt, run, stdout, text, until};

/// A folder with pages of a kind, and something beside them that is none of theirs.
fn pages(test: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("p2pt-web-{}-{test}", std::process::id()));
    fs::create_dir_all(folder.join("pages/chat")).expect("a folder of its own");
    fs::write(folder.join("secret"), "no page").expect("a folder of its own");
    fs::write(folder.join("pages/index.html"), "<title>all pages</title>").expect("a folder of its own");
    fs::write(folder.join("pages/chat/index.html"), "<title>a chat</title>").expect("a folder of its own");
    fs::write(folder.join("pages/config.json"), "{}").expect("a folder of its own");
    #[cfg(unix)]
    std::os::unix::fs::symlink("../secret", folder.join("pages/link")).expect("a folder of its own");
    folder
}

async fn ask(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    stream.write_all(format!("{request} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await.expect("it reads");
    let mut response = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut response)).await.expect("it ends in time");
    String::from_utf8(response).expect("text")
}

#[tokio::test]
async fn pages_are_served_and_their_room_is_chatted_in() {
    let folder = pages("served");
    let directory = folder.join("pages").to_string_lossy().into_owned();
    let arguments =
        ["web", "--listen", "127.0.0.1:0", "--identifier", "Küche", "--name", "Host", "--pages", &directory];
    // Without input, as a service has it.
    let mut web = p2pt(&arguments).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("it starts");
    let mut printed = stdout(&mut web);
    let address =
        until(&mut printed, "listening on http://").await.trim_start_matches("listening on http://").to_owned();
    until(&mut printed, &format!("Chat: http://{address}/chat/#room=K%C3%BCche")).await;

    assert!(ask(&address, "GET /").await.ends_with("<title>all pages</title>"));
    let chat = ask(&address, "GET /chat/").await;
    assert!(chat.ends_with("<title>a chat</title>") && chat.contains("frame-ancestors 'none'"), "{chat}");
    // The folder's own says nothing of this tracker and this room.
    let config = ask(&address, "GET /config.json").await;
    assert!(config.contains("\"trackers\":[\"/\"]") && config.contains("\"room\":\"Küche\""), "{config}");
    for path in ["/../secret", "/%2e%2e/secret", "/chat/../../secret", "/link", "//etc/passwd"] {
        let refused = ask(&address, &format!("GET {path}")).await;
        assert!(refused.starts_with("HTTP/1.1 404 "), "{path}: {refused}");
    }

    let tracker = format!("ws://{address}");
    let guest = ["chat", "Küche", "--name", "Guest", "--no-default-stun", "--tracker", &tracker];
    let mut guest = p2pt(&guest).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
    let mut heard = stdout(&mut guest);
    until(&mut heard, "is Host").await;
    until(&mut printed, "is Guest").await;
    guest.stdin.as_mut().expect("it is piped").write_all(b"hello\n").await.expect("it reads");
    until(&mut printed, "Guest: hello").await;
    drop(guest.stdin.take());
    assert_eq!(exit_code(guest).await, Some(0));
    until(&mut printed, "Guest has left").await;
    #[cfg(unix)]
    {
        let pid = web.id().expect("it runs").to_string();
        assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs").success());
        assert_eq!(exit_code(web).await, Some(0));
    }
    fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn without_pages_it_says_how_to_get_them() {
    let folder = pages("none");
    let no_pages = folder.join("pages/chat/nothing").to_string_lossy().into_owned();
    fs::create_dir_all(&no_pages).unwrap();
    for (arguments, complaint) in [
        (vec!["web", "--pages", &no_pages], "there is no index.html"),
        (vec!["web", "--pages", "/nowhere"], "/nowhere: "),
        (vec!["web", "--identifier", " "], "may not be empty"),
        (vec!["web", "--listen", "8080"], "such as 0.0.0.0:8000"),
    ] {
        let output = run(&arguments).await;
        assert!(!output.status.success() && text(&output.stderr).contains(complaint), "{output:?}");
    }
    // These tests are of a program that was built without, unless it was asked for.
    if option_env!("P2PT_WEB_PAGES").is_none() {
        let output = run(&["web", "--listen", "127.0.0.1:0"]).await;
        assert!(text(&output.stderr).contains("examples/web/build"), "{output:?}");
        assert_eq!(output.status.code(), Some(1));
    }
    fs::remove_dir_all(folder).unwrap();
}
