//! Whether there are file descriptors to begin with.

/// File descriptors that must be free at the start. The demo takes the most to do its work, 17; with this many every
/// command reaches the point from which it says itself what it lacks.
#[cfg(unix)]
const NEEDED: usize = 32;

/// There are too few file descriptors for any command; only Unix has so few.
#[cfg_attr(not(unix), allow(dead_code))]
#[derive(Debug, thiserror::Error)]
#[error(
    "too few file descriptors: {needed} are needed to begin with, and no more than {free} can be opened; raise the \
     limit, for instance with `ulimit -n 1024` in the shell"
)]
pub(crate) struct TooFew {
    needed: usize,
    free: usize,
}

/// Fails if there are too few, which the runtime would notice too late: where it cannot listen for signals it panics.
pub(crate) fn check() -> Result<(), TooFew> {
    #[cfg(unix)]
    {
        use std::os::fd::AsFd;

        let stdin = std::io::stdin();
        let opened: Vec<_> = (0..NEEDED).map_while(|_| stdin.as_fd().try_clone_to_owned().ok()).collect();
        if opened.len() < NEEDED {
            return Err(TooFew { needed: NEEDED, free: opened.len() });
        }
    }
    Ok(())
}
