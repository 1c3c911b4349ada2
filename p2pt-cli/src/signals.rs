//! Being asked to stop from outside.

use std::io;

/// Ctrl-C, and on Unix SIGTERM and, where asked for, SIGHUP. Once it exists, none of them ends the program by itself any
/// more.
#[derive(Debug)]
pub(crate) struct StopSignals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    hangup: Option<tokio::signal::unix::Signal>,
}

impl StopSignals {
    /// For commands that may do something else at a hangup, or nothing.
    pub(crate) fn new() -> io::Result<Self> {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            let (interrupt, terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
            Ok(Self { interrupt, terminate, hangup: None })
        }
        #[cfg(not(unix))]
        Ok(Self {})
    }

    /// For commands to which the end of their terminal is a reason to stop in order, unless they were started with
    /// `nohup`.
    pub(crate) fn with_hangup() -> io::Result<Self> {
        let signals = Self::new()?;
        #[cfg(unix)]
        if !hangup_is_ignored() {
            use tokio::signal::unix::{SignalKind, signal};
            return Ok(Self { hangup: Some(signal(SignalKind::hangup())?), ..signals });
        }
        Ok(signals)
    }

    /// Waits until a stop that is under way is asked not to wait: by a second signal, of which the first may have been what
    /// began it.
    pub(crate) async fn second(&mut self, began_by_one: bool) {
        if !began_by_one {
            self.next().await;
        }
        self.next().await;
    }

    /// Waits for the next one. Cancel-safe.
    pub(crate) async fn next(&mut self) {
        #[cfg(unix)]
        {
            let hangup = async {
                match &mut self.hangup {
                    Some(hangup) => hangup.recv().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = self.interrupt.recv() => {}
                _ = self.terminate.recv() => {}
                _ = hangup => {}
            }
        }
        #[cfg(not(unix))]
        if tokio::signal::ctrl_c().await.is_err() {
            // It cannot be listened for, so it still ends the program by itself.
            std::future::pending().await
        }
    }
}

/// Whether the program was started to survive a hangup, as `nohup` does. To listen for the signal would undo that. Only
/// Linux says so without unsafe code; elsewhere a hangup is always a reason to stop.
#[cfg(unix)]
fn hangup_is_ignored() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| ignores_hangup(&status))
}

/// Reads the mask of ignored signals, whose lowest bit is the first signal, SIGHUP.
#[cfg(unix)]
fn ignores_hangup(status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn an_ignored_hangup_is_seen_in_the_mask() {
        for (status, ignored) in [
            ("Name:\tp2pt\nSigBlk:\t0000000000000001\nSigIgn:\t0000000000001000\n", false),
            ("Name:\tp2pt\nSigIgn:\t0000000000001001\nSigCgt:\t0\n", true),
            ("SigIgn:\tnonsense\n", false),
            ("", false),
        ] {
            assert_eq!(ignores_hangup(status), ignored, "{status:?}");
        }
    }
}
