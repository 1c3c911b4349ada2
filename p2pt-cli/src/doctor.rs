//! `p2pt doctor`: what this machine and its network let p2pt do, and what to do about the rest.

mod machine;
mod partner;
mod stun;
mod trackers;
mod turn;

use std::io;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use serde::Serialize;

use crate::args::DoctorArgs;
use crate::terminal::{Colour, Terminal, clean};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    Good,
    /// It works, but not as well or not everywhere.
    Warning,
    Bad,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// What kind of thing, such as `tracker`.
    check: &'static str,
    verdict: Verdict,
    /// What was found, as a sentence.
    found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

impl Finding {
    fn good(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Good, found: found.into(), advice: None }
    }

    fn warning(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Warning, found: found.into(), advice: Some(advice.into()) }
    }

    fn bad(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Bad, found: found.into(), advice: Some(advice.into()) }
    }
}

/// Why the doctor does not say that all is well.
#[derive(Debug, thiserror::Error)]
#[error("{0} of {1} checks failed")]
struct Unwell(usize, usize);

#[derive(Debug, Serialize)]
struct Report<'a> {
    version: &'static str,
    findings: &'a [Finding],
}

pub(crate) async fn run(args: DoctorArgs) -> Result<(), crate::Failure> {
    let mut terminal = Terminal::stdout();
    let findings = examine(&args, |finding| if args.json { Ok(()) } else { show(&mut terminal, finding) }).await?;
    if args.json {
        let report = Report { version: env!("CARGO_PKG_VERSION"), findings: &findings };
        terminal.line(serde_json::to_string(&report)?)?;
    }
    let bad = findings.iter().filter(|finding| finding.verdict == Verdict::Bad).count();
    if bad > 0 { Err(Unwell(bad, findings.len()).into()) } else { Ok(()) }
}

/// Looks at everything at the same time, and reports each finding when it is there.
async fn examine(
    args: &DoctorArgs,
    mut report: impl FnMut(&Finding) -> io::Result<()>,
) -> Result<Vec<Finding>, crate::Failure> {
    let connector = args.network.connector()?;
    let mut checks: FuturesUnordered<BoxFuture<'_, Vec<Finding>>> = FuturesUnordered::new();
    let trackers = args.network.announce_urls();
    if trackers.is_empty() {
        checks.push(Box::pin(async {
            let advice = "peers meet at trackers: --tracker";
            vec![Finding::warning("tracker", "there is no tracker to look at", advice)]
        }));
    }
    for url in trackers {
        checks.push(Box::pin(trackers::look(url, connector.clone(), args.deadline)));
    }
    checks.push(Box::pin(stun::look(args.network.stun_urls(), args.deadline)));
    for (url, server) in args.network.turn_servers() {
        checks.push(Box::pin(turn::look(url, server, args.deadline)));
    }
    checks.push(Box::pin(async { machine::look() }));
    let mut findings = Vec::new();
    while let Some(found) = checks.next().await {
        for finding in found {
            report(&finding)?;
            findings.push(finding);
        }
    }
    // After the others, whose traffic would disturb it, and with what they say on the screen while it waits.
    if let Some(identifier) = &args.identifier {
        let builder = args.network.builder()?;
        for finding in partner::look(builder, identifier, args.wait).await? {
            report(&finding)?;
            findings.push(finding);
        }
    }
    Ok(findings)
}

fn show(terminal: &mut Terminal, finding: &Finding) -> io::Result<()> {
    let (mark, colour) = match finding.verdict {
        Verdict::Good => ("good", Colour::Green),
        Verdict::Warning => ("warn", Colour::Yellow),
        Verdict::Bad => ("BAD ", Colour::Red),
    };
    let mark = terminal.paint(colour, mark);
    terminal.line(format_args!("{mark}  {:<8} {}", finding.check, clean(&finding.found)))?;
    match &finding.advice {
        Some(advice) => terminal.line(terminal.paint(Colour::Dim, format_args!("               {}", clean(advice)))),
        None => Ok(()),
    }
}

/// A time as people read it.
fn millis(time: Duration) -> String {
    format!("{:.0} ms", time.as_secs_f64() * 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_json_of_its_own_words() {
        let finding = Finding::bad("udp", "nothing comes back", "open the firewall for UDP");
        let json = serde_json::to_value(&finding).unwrap();
        assert_eq!(json["verdict"], "bad");
        assert_eq!(json["advice"], "open the firewall for UDP");
        let good = serde_json::to_value(Finding::good("udp", "works")).unwrap();
        assert!(good.get("advice").is_none());
    }
}
