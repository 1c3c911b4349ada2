//! `p2pt key`, and what is said of keys that cannot be used.

use std::process::{Output, Stdio};

use p2pt_tests::pipe::PATIENCE;
use tokio::time::timeout;

use crate::program::{Folder, p2pt, run, text};

/// Runs `p2pt` with a configuration of its own.
async fn run_in(folder: &Folder, arguments: &[&str]) -> Output {
    let mut command = p2pt(arguments);
    command.env("XDG_CONFIG_HOME", folder.path("config")).env("HOME", folder.path("home")).stdin(Stdio::null());
    timeout(PATIENCE, command.output()).await.expect("it ends in time").expect("it starts")
}

/// What it says to a failure.
fn complaint(output: &Output) -> &str {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    text(&output.stderr)
}

#[tokio::test]
async fn a_key_is_made_once_and_shown_as_often_as_one_likes() {
    let folder = Folder::new("key-once");
    let file = folder.path("config/p2pt/key");
    let shown = run_in(&folder, &["key", "file"]).await;
    assert_eq!(text(&shown.stdout).trim_end(), file);
    let missing = run_in(&folder, &["key", "show"]).await;
    assert!(complaint(&missing).contains("there is no key: p2pt key new makes one"), "{missing:?}");

    let made = run_in(&folder, &["key", "new"]).await;
    let key = text(&made.stdout).trim_end().to_owned();
    assert!(made.status.success() && key.len() == 52, "{made:?}");
    assert!(text(&made.stderr).contains(&file) && text(&made.stderr).contains("p2pt chat --key default"), "{made:?}");
    let secret = std::fs::read_to_string(&file).unwrap();
    assert!(secret.starts_with("p2pt-secret-"), "{secret}");
    let shown = run_in(&folder, &["key", "show"]).await;
    assert_eq!(text(&shown.stdout).trim_end(), key);

    // Never over one that is there, unless that is asked for.
    let again = run_in(&folder, &["key", "new"]).await;
    assert!(complaint(&again).contains("use --force"), "{again:?}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), secret);
    let replaced = run_in(&folder, &["key", "new", "--force"]).await;
    assert!(replaced.status.success() && text(&replaced.stdout).trim_end() != key, "{replaced:?}");
    // Nothing is left beside it, and nothing shows the secret.
    assert_eq!(std::fs::read_dir(folder.path("config/p2pt")).unwrap().count(), 1);
    for output in [&made, &shown, &again, &replaced] {
        let said = [text(&output.stdout), text(&output.stderr)].concat();
        assert!(!said.contains("p2pt-secret-") && !said.contains(secret[12..].trim_end()), "{said}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_key_is_for_its_owner_alone() {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    let folder = Folder::new("key-owner");
    assert!(run_in(&folder, &["key", "new"]).await.status.success());
    let mode = |file: &str| fs::metadata(folder.path(file)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("config/p2pt/key"), mode("config/p2pt")), (0o600, 0o700));
    let file = folder.path("config/p2pt/key");
    for (shared, said) in [(0o640, "mode 0640"), (0o604, "mode 0604"), (0o620, "mode 0620")] {
        fs::set_permissions(&file, Permissions::from_mode(shared)).unwrap();
        for arguments in [&["key", "show"][..], &["pipe", "app", "--loopback", "--key", "default"]] {
            let refused = run_in(&folder, arguments).await;
            let said_why = complaint(&refused);
            assert!(said_why.contains(said) && said_why.contains("chmod 600"), "{said_why}");
        }
    }
    // A link that is in the way is not followed, even one that leads nowhere.
    let link = folder.path("link");
    std::os::unix::fs::symlink(folder.path("elsewhere"), &link).unwrap();
    assert!(complaint(&run_in(&folder, &["key", "new", &link]).await).contains("there is a file already"));
    assert!(fs::symlink_metadata(folder.path("elsewhere")).is_err());
}

#[tokio::test]
async fn a_file_that_has_no_key_is_named_and_not_shown() {
    let folder = Folder::new("key-none");
    let none = folder.path("none.txt");
    write_private(&none, "chance-lemon-bridge");
    let long = folder.path("long.txt");
    write_private(&long, &"a".repeat(10_000));
    for (file, why) in [(&none, "a secret key begins with"), (&long, "longer than 8192 bytes"), (&folder.path(""), "")]
    {
        for arguments in [&["key", "show", file][..], &["chat", "app", "--loopback", "--key", file]] {
            let refused = run_in(&folder, arguments).await;
            let said = complaint(&refused);
            assert!(said.contains(file.as_str()) && said.contains(why) && !said.contains("lemon"), "{said}");
        }
    }
    let nowhere = p2pt(&["key", "file"]).env_remove("HOME").env("XDG_CONFIG_HOME", "relative").output().await.unwrap();
    assert!(cfg!(windows) || complaint(&nowhere).contains("set XDG_CONFIG_HOME or HOME"), "{nowhere:?}");
}

#[tokio::test]
async fn an_id_of_ones_own_and_a_key_exclude_each_other() {
    let id = "a1".repeat(20);
    for others in [&["--key", "default"][..], &["--signed"], &["--only", "ann"]] {
        let output = run(&[&["pipe", "app", "--peer-id", &id], others].concat()).await;
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(text(&output.stderr).contains("cannot be used with"), "{output:?}");
    }
}

/// A file that its owner alone can read, as a key's should be.
fn write_private(path: &str, contents: &str) {
    std::fs::write(path, contents).expect("it is written");
    #[cfg(unix)]
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("it is ours");
}
