//! `p2pt doctor`: what this machine and its network let p2pt do, and what to do about the rest.

mod machine;
mod partner;
mod stun;
mod trackers;
mod turn;

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use serde::Serialize;

pub(crate) use self::machine::outward;
use crate::args::{DoctorArgs, quoted};
use crate::progress::Waiting;
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
    /// It is that a name has no address.
    #[serde(skip)]
    is_unknown_name: bool,
}

impl Finding {
    fn good(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Good, found: found.into(), advice: None, is_unknown_name: false }
    }

    fn warning(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { verdict: Verdict::Warning, advice: Some(advice.into()), ..Self::good(check, found) }
    }

    fn bad(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { verdict: Verdict::Bad, ..Self::warning(check, found, advice) }
    }
}

/// Why the doctor does not say that all is well.
#[derive(Debug, thiserror::Error)]
#[error("{0} of {1} checks failed: do what is said below them")]
struct Unwell(usize, usize);

#[derive(Debug, Serialize)]
struct Report<'a> {
    version: &'static str,
    findings: &'a [Finding],
}

pub(crate) async fn run(args: DoctorArgs) -> Result<(), crate::Failure> {
    let mut terminal = Terminal::stdout();
    let findings = examine(&args, |finding| if args.json { Ok(()) } else { show(&mut terminal, finding) }).await?;
    if let Some(summary) = summary(&findings).filter(|_| !args.json) {
        let summary = terminal.paint(Colour::Bold, summary);
        terminal.line("")?;
        terminal.line(summary)?;
    }
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
    let mut checks = Checks::default();
    let trackers = args.network.announce_urls();
    if trackers.is_empty() {
        checks.add("trackers", async {
            let advice = "peers meet at trackers: --tracker";
            vec![Finding::warning("tracker", "there is no tracker to look at", advice)]
        });
    }
    for url in trackers {
        checks.add(url.to_string(), trackers::look(url, connector.clone(), args.deadline));
    }
    // Where they are not used, that there is none is no finding.
    if args.network.uses_stun() {
        checks.add("the STUN servers", stun::look(args.network.stun_urls(), args.deadline));
    }
    for (url, server) in args.network.turn_servers() {
        checks.add(url.clone(), turn::look(url, server, args.deadline));
    }
    checks.add("this machine", async { machine::look() });
    let mut waiting = Waiting::new(args.json);
    let mut findings = Vec::new();
    while let Some(found) = waiting.until(checks.names(), checks.next()).await {
        for finding in found {
            report(&finding)?;
            findings.push(finding);
        }
    }
    if let Some(finding) = names(&findings) {
        report(&finding)?;
        findings.push(finding);
    }
    // After the others, whose traffic would disturb it, and with what they say on the screen while it waits.
    if let Some(identifier) = &args.identifier {
        let builder = args.network.builder()?;
        let command = format!("p2pt doctor {}{}", quoted(identifier), args.network.for_others());
        if waiting.is_watched() {
            let header = if args.network.has_headers() { ", with your --header" } else { "" };
            Terminal::stdout()
                .line(format_args!("wait  partner  run this on the other machine now{header}: {command}"))?;
        }
        let what = format!("the partner, {} s at most", args.wait.as_secs());
        let met = Waiting::new(args.json).until(what, partner::look(builder, identifier, &command, args.wait)).await;
        for finding in met? {
            report(&finding)?;
            findings.push(finding);
        }
    }
    Ok(findings)
}

/// Checks that run at the same time, by what each of them looks at.
#[derive(Default)]
struct Checks<'a> {
    running: FuturesUnordered<BoxFuture<'a, (String, Vec<Finding>)>>,
    names: BTreeSet<String>,
}

impl<'a> Checks<'a> {
    fn add(&mut self, name: impl Into<String>, check: impl Future<Output = Vec<Finding>> + Send + 'a) {
        let name = name.into();
        self.names.insert(name.clone());
        self.running.push(Box::pin(async move { (name, check.await) }));
    }

    /// What is still being looked at.
    fn names(&self) -> String {
        self.names.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
    }

    /// What the next check that ends has found.
    async fn next(&mut self) -> Option<Vec<Finding>> {
        let (name, found) = self.running.next().await?;
        self.names.remove(&name);
        Some(found)
    }
}

/// What all of it comes to, if nothing is bad: that is an error of the program.
fn summary(findings: &[Finding]) -> Option<String> {
    let count = |verdict| findings.iter().filter(|finding| finding.verdict == verdict).count();
    match (count(Verdict::Bad), count(Verdict::Warning)) {
        (0, 0) => Some("All is well.".to_owned()),
        (0, 1) => Some(format!("It works; 1 of {} checks could be better.", findings.len())),
        (0, warnings) => Some(format!("It works; {warnings} of {} checks could be better.", findings.len())),
        _ => None,
    }
}

/// That no name can be looked up, if that is so: what was said of each server then follows from it.
fn names(findings: &[Finding]) -> Option<Finding> {
    let mut asked = findings.iter().filter(|finding| matches!(finding.check, "tracker" | "stun")).peekable();
    let is_so = asked.peek().is_some() && asked.clone().count() > 1 && asked.all(|finding| finding.is_unknown_name);
    is_so.then(|| {
        let advice = "look at this before the others: this machine is offline, or its name server does not answer";
        Finding::bad("names", "no name at all can be looked up", advice)
    })
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
        assert_eq!(json.as_object().unwrap().len(), 4, "{json}");
        let good = serde_json::to_value(Finding::good("udp", "works")).unwrap();
        assert!(good.get("advice").is_none());
    }

    #[test]
    fn a_machine_that_knows_no_name_is_told_apart_from_a_name_that_is_misspelt() {
        let unknown = |check| Finding { is_unknown_name: true, ..Finding::bad(check, "no address", "?") };
        let works = Finding::good("tracker", "works");
        let machine = Finding::good("clock", "works");
        assert_eq!(names(&[unknown("tracker"), machine.clone(), unknown("stun")]).unwrap().check, "names");
        for findings in [vec![], vec![machine], vec![unknown("tracker"), works], vec![unknown("tracker")]] {
            assert_eq!(names(&findings), None);
        }
    }
}
