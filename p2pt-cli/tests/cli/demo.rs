//! `p2pt demo`, which is also `p2pt` alone.

use crate::program::{run, text};

#[tokio::test]
async fn the_demo_does_all_its_steps() {
    let output = run(&[]).await;
    let (said, errors) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{said}\n{errors}");
    for step in ["tracker", "meet", "chat", "request", "1 MB", "leave", "stop"] {
        let line = said.lines().find(|line| line.contains(&format!("✓ {step} ")));
        assert!(line.is_some_and(|line| line.ends_with(" ms")), "no {step} in\n{said}");
    }
    assert!(said.contains("Yes! Nice to meet you, alice.") && said.contains("1,000,000 bytes"), "{said}");
    assert!(said.lines().last().is_some_and(|line| line.starts_with("All of it worked")), "{said}");
    // No terminal, no colours; and nothing to warn of.
    assert!(!said.contains('\x1b') && errors.is_empty(), "{said}\n{errors}");
}

#[tokio::test]
async fn a_demo_out_of_time_says_where_it_was() {
    let output = run(&["demo", "--deadline", "0.000001"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("✗ meet"), "{output:?}");
    assert!(text(&output.stderr).contains("failed at the step \"meet\""), "{output:?}");
}
