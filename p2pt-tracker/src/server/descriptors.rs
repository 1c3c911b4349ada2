//! How many sockets the operating system lets the process have.

use std::io;

use super::ServerConfig;

/// Raises the limit of open files of this process as far as the system lets it, to the hard limit, and returns what it is
/// now; [`u64::MAX`] where there is no such limit. Each connection of a tracker takes one.
///
/// The limit that a process begins with is often 1024, or 256 on macOS. [`TrackerServer::bind`](crate::TrackerServer::bind)
/// does not change it, since it belongs to the whole process: a program calls this once at its start, as `p2pt` does.
/// One that uses `select(2)`, which takes no descriptor above 1023, must not.
///
/// # Errors
///
/// If the system does not tell the limit or refuses to raise it. Then it is what it was.
pub fn raise_descriptor_limit() -> io::Result<u64> {
    #[cfg(unix)]
    return rlimit::increase_nofile_limit(u64::MAX);
    #[cfg(not(unix))]
    Ok(u64::MAX)
}

/// How many files this process may have open; `None` if there is no limit or it is not told.
fn limit() -> Option<u64> {
    #[cfg(unix)]
    return rlimit::Resource::NOFILE.get_soft().ok();
    #[cfg(not(unix))]
    None
}

/// How many of so many descriptors are for clients. The rest is for what the process has besides: the runtime, the
/// listener, standard streams, files, and, where a node runs beside the tracker, its sockets.
fn for_clients(limit: u64) -> u64 {
    limit.saturating_sub((limit / 8).clamp(16, 128))
}

/// Makes connections and handshakes as few as descriptors allow, so that clients are refused in words before the system
/// refuses a socket, and the connections of an address no more than half of them.
///
/// # Errors
///
/// If there is no room for a single client.
pub(super) fn fit(config: ServerConfig) -> io::Result<ServerConfig> {
    match limit() {
        Some(limit) => fit_to(config, limit),
        None => Ok(config),
    }
}

fn fit_to(mut config: ServerConfig, limit: u64) -> io::Result<ServerConfig> {
    let room = usize::try_from(for_clients(limit)).unwrap_or(usize::MAX);
    let configured = config.swarms.max_connections;
    if configured.saturating_add(config.max_handshakes) <= room {
        return Ok(config);
    }
    if room < 2 {
        let text =
            format!("the limit of open files is {limit}, too low for a tracker: raise it, as by `ulimit -n 1024`");
        return Err(io::Error::other(text));
    }
    config.max_handshakes = config.max_handshakes.min((room / 8).max(1));
    config.swarms.max_connections = configured.min(room - config.max_handshakes);
    if config.max_connections_per_address != usize::MAX {
        // Chosen with more connections in mind, it may now be more than there are, and one client could keep all others
        // away. Half is as much as a crowd behind one address can be given without that.
        let half = (config.swarms.max_connections / 2).max(1);
        config.max_connections_per_address = config.max_connections_per_address.min(half);
    }
    tracing::warn!(
        configured,
        possible = config.swarms.max_connections,
        per_address = config.max_connections_per_address,
        descriptors = limit,
        "fewer connections than configured, as the limit of open files is low"
    );
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fitted(connections: usize, handshakes: usize, limit: u64) -> Option<(usize, usize)> {
        let mut config = ServerConfig::default();
        config.swarms.max_connections = connections;
        config.max_handshakes = handshakes;
        fit_to(config, limit).ok().map(|config| (config.swarms.max_connections, config.max_handshakes))
    }

    #[test]
    fn where_descriptors_are_few_no_address_has_all_connections() {
        let fitted = |per_address: usize, limit: u64| {
            let config = ServerConfig::default().max_connections_per_address(per_address);
            fit_to(config, limit).expect("room").max_connections_per_address
        };
        for (per_address, limit, expected) in [
            (1000, u64::MAX, 1000),
            (1000, 10_000, 1000),
            (1000, 1024, 392),
            (1000, 64, 21),
            (1000, 18, 1),
            (5, 64, 5),
            // The limit was lifted: all clients come from one address, and a proxy counts.
            (usize::MAX, 64, usize::MAX),
        ] {
            assert_eq!(fitted(per_address, limit), expected, "{per_address} with {limit}");
        }
    }

    #[test]
    fn connections_and_handshakes_have_room_beside_the_reserve() {
        for (limit, expected) in [
            (0, None),
            (17, None),
            (18, Some((1, 1))),
            (64, Some((42, 6))),
            (1024, Some((784, 112))),
            (10_384, Some((10_000, 256))),
            (10_383, Some((9999, 256))),
            (u64::MAX, Some((10_000, 256))),
        ] {
            assert_eq!(fitted(10_000, 256, limit), expected, "{limit}");
        }
        assert_eq!(fitted(20, 256, 64), Some((20, 6)), "connections that fit are left alone");
        assert_eq!(fitted(1, 1, 18), Some((1, 1)));
        assert_eq!(fitted(usize::MAX, usize::MAX, 1024), Some((784, 112)));
    }
}
