//! Noticing that the reader of standard output goes away, also while nothing is written.

use tokio::sync::oneshot;

/// Watches over who reads standard output, where that is a pipe or a socket.
///
/// A file has no reader, and the end of a terminal is a hangup, which [`StopSignals`](crate::signals::StopSignals) are
/// about. Where the system does not say that a reader has gone, the next write fails instead.
#[derive(Debug)]
pub(crate) struct OutputReader(oneshot::Receiver<()>);

impl OutputReader {
    /// Begins to watch, in a thread of its own: the system's call blocks, and is given up with the process.
    pub(crate) fn watch() -> Self {
        let (gone, noticed) = oneshot::channel();
        #[cfg(unix)]
        if !std::io::IsTerminal::is_terminal(&std::io::stdout()) {
            let watch = move || {
                if unix::wait_until_gone(&std::io::stdout()) {
                    // A program that has stopped no longer asks.
                    let _ = gone.send(());
                }
            };
            // Without a thread to spare, the next write tells.
            let _ = std::thread::Builder::new().name("output-reader".to_owned()).spawn(watch);
        }
        #[cfg(not(unix))]
        drop(gone);
        Self(noticed)
    }

    /// Resolves when the reader is gone, and never if that is not noticed. Cancel-safe.
    pub(crate) async fn gone(&mut self) {
        if self.0.is_terminated() || (&mut self.0).await.is_err() {
            std::future::pending().await
        }
    }
}

#[cfg(unix)]
mod unix {
    use std::os::fd::AsFd;

    use rustix::event::{PollFd, PollFlags, poll};
    use rustix::io::Errno;

    /// Blocks until what is written there has no reader any more; `false` if the system cannot say.
    pub(super) fn wait_until_gone(output: &impl AsFd) -> bool {
        loop {
            // Errors and hangups are reported without being asked for.
            let mut watched = [PollFd::new(output, PollFlags::empty())];
            match poll(&mut watched, None) {
                Err(Errno::INTR) => {}
                Err(_) => return false,
                Ok(_) => return watched[0].revents().intersects(PollFlags::ERR | PollFlags::HUP),
            }
        }
    }

    #[cfg(test)]
    mod tests {
        use std::io;
        use std::os::unix::net::UnixStream;
        use std::time::Duration;

        use super::*;

        /// A guard against hanging, not a measurement.
        const DEADLINE: Duration = Duration::from_secs(60);

        fn watch(output: impl AsFd + Send + 'static) -> std::sync::mpsc::Receiver<bool> {
            let (said, hears) = std::sync::mpsc::channel();
            std::thread::spawn(move || said.send(wait_until_gone(&output)));
            hears
        }

        #[test]
        fn the_reader_of_a_pipe_or_a_socket_is_missed() {
            let (reader, writer) = io::pipe().unwrap();
            let gone = watch(writer);
            assert!(gone.try_recv().is_err(), "it is still there");
            drop(reader);
            assert_eq!(gone.recv_timeout(DEADLINE), Ok(true));

            let (reader, writer) = UnixStream::pair().unwrap();
            // A reader that says no more still reads.
            reader.shutdown(std::net::Shutdown::Write).unwrap();
            let gone = watch(writer);
            assert!(gone.try_recv().is_err(), "it is still there");
            drop(reader);
            assert_eq!(gone.recv_timeout(DEADLINE), Ok(true));
        }
    }
}
