//! Who listens on a port, as the kernel tells: for a message that somebody can act on.

use crate::node::host::Host;

/// `etcd (process 712)`; none if it cannot be found out.
pub(super) fn of(host: &Host, port: u16) -> Option<String> {
    let inode = ["/proc/net/tcp", "/proc/net/tcp6"].iter().find_map(|table| {
        let text = host.root.text(table).ok()??;
        text.lines().skip(1).find_map(|line| inode_of_listener(line, port))
    })?;
    let socket = format!("socket:[{inode}]");
    for pid in host.root.list("/proc").ok()? {
        if !pid.bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        // A process may have ended meanwhile.
        for open in host.root.list(&format!("/proc/{pid}/fd")).unwrap_or_default() {
            let link = std::fs::read_link(host.root.place(&format!("/proc/{pid}/fd/{open}")));
            if link.is_ok_and(|link| link.as_os_str() == socket.as_str()) {
                let name = host.root.text(&format!("/proc/{pid}/comm")).ok()?.unwrap_or_default();
                return Some(format!("{} (process {pid})", name.trim()));
            }
        }
    }
    None
}

/// A line of `/proc/net/tcp`: local address in the second column, state (0A: it listens) in the
/// fourth, inode in the tenth.
fn inode_of_listener(line: &str, port: u16) -> Option<String> {
    let columns: Vec<&str> = line.split_whitespace().collect();
    let (_, local_port) = columns.get(1)?.rsplit_once(':')?;
    let listens = columns.get(3) == Some(&"0A");
    let same = u16::from_str_radix(local_port, 16).ok()? == port;
    (listens && same).then(|| columns.get(9).copied().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_found_in_the_kernels_table() {
        let line = |state: &str| {
            format!(
                "   0: 0100007F:094B 00000000:0000 {state} 00000000:00000000 00:00000000 00000000     0        0 31337 1 0"
            )
        };
        assert_eq!(inode_of_listener(&line("0A"), 2379).as_deref(), Some("31337"));
        assert_eq!(inode_of_listener(&line("01"), 2379), None);
        assert_eq!(inode_of_listener(&line("0A"), 2380), None);
        assert_eq!(inode_of_listener("", 1), None);
    }
}
