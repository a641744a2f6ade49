//! Which process is at the other end of a loopback TCP connection (Linux: proc(5)). A label for people, not a boundary.

use std::net::SocketAddr;

/// The most processes that are looked at.
#[cfg(target_os = "linux")]
const MAX_PROCESSES: usize = 8192;

/// The process id behind a connection from `peer` to our `door`, if it is one of our own user's.
#[cfg(target_os = "linux")]
#[must_use]
pub fn process_of(peer: SocketAddr, door: SocketAddr) -> Option<u32> {
    let table = if peer.is_ipv4() { "/proc/net/tcp" } else { "/proc/net/tcp6" };
    let own = rustix::process::geteuid().as_raw().to_string();
    let inode = inode_in(&std::fs::read_to_string(table).ok()?, &hex(peer), &hex(door), &own)?;
    let wanted = format!("socket:[{inode}]");
    std::fs::read_dir("/proc")
        .ok()?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .take(MAX_PROCESSES)
        .find(|pid| {
            std::fs::read_dir(format!("/proc/{pid}/fd")).is_ok_and(|descriptors| {
                descriptors.flatten().any(|descriptor| {
                    std::fs::read_link(descriptor.path()).is_ok_and(|link| link.as_os_str() == wanted.as_str())
                })
            })
        })
}

/// Elsewhere nobody tells.
#[cfg(not(target_os = "linux"))]
#[must_use]
pub fn process_of(_peer: SocketAddr, _door: SocketAddr) -> Option<u32> {
    None
}

/// The inode of the socket with this local and remote address and owner, in the kernel's table.
#[cfg(target_os = "linux")]
fn inode_in(table: &str, local: &str, remote: &str, uid: &str) -> Option<u64> {
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let matches = fields.get(1) == Some(&local) && fields.get(2) == Some(&remote) && fields.get(7) == Some(&uid);
        if matches { fields.get(9)?.parse().ok() } else { None }
    })
}

/// An address as the kernel's table writes it: 32-bit words in the machine's byte order.
#[cfg(target_os = "linux")]
fn hex(address: SocketAddr) -> String {
    let words = |octets: &[u8]| {
        octets
            .chunks_exact(4)
            .filter_map(|word| <[u8; 4]>::try_from(word).ok())
            .map(|word| format!("{:08X}", u32::from_ne_bytes(word)))
            .collect::<String>()
    };
    let host = match address.ip() {
        std::net::IpAddr::V4(ip) => words(&ip.octets()),
        std::net::IpAddr::V6(ip) => words(&ip.octets()),
    };
    format!("{host}:{:04X}", address.port())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn finds_this_very_process() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let door = listener.local_addr().unwrap();
        let client = std::net::TcpStream::connect(door).unwrap();
        assert_eq!(process_of(client.local_addr().unwrap(), door), Some(std::process::id()));
    }

    #[test]
    fn a_stranger_is_nobody() {
        let table = "  sl  local_address rem_address st tx_queue rx_queue tr tm->when retrnsmt uid timeout inode\n\
                     0: 0100007F:1F90 0100007F:0050 01 0:0 00:0 0 1000 0 4242 1\n";
        assert_eq!(inode_in(table, "0100007F:1F90", "0100007F:0050", "1000"), Some(4242));
        assert_eq!(inode_in(table, "0100007F:1F90", "0100007F:0050", "1001"), None);
        assert_eq!(inode_in(table, "0100007F:1F91", "0100007F:0050", "1000"), None);
    }
}
