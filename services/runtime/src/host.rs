//! Where another end is: on this machine, or anywhere else.

use std::net::IpAddr;

/// Whether `host`, as a URL or an `authority` names it, is this machine, so that what is said to it in plain text doesn't leave it.
/// No name is looked up: one that leads here today may lead elsewhere tomorrow.
pub fn is_loopback(host: &str) -> bool {
    // An address of IPv6 stands in brackets in URLs.
    let inner = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    host.eq_ignore_ascii_case("localhost")
        || inner
            .unwrap_or(host)
            .parse::<IpAddr>()
            // One of IPv4 may come as one of IPv6.
            .is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_what_nothing_leaves() {
        for host in [
            "localhost",
            "LocalHost",
            "127.0.0.1",
            "127.255.0.7",
            "::1",
            "[::1]",
            "::ffff:127.0.0.1",
            "[::ffff:127.0.0.1]",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "",
            "[]",
            "[::1",
            "::1]",
            "[localhost]",
            "localhost:7400",
            "localhost.",
            "localhost.example",
            "127.0.0.1.example",
            "127.0.0.1:7400",
            "x@127.0.0.1",
            " 127.0.0.1",
            "0.0.0.0",
            "::",
            "10.0.0.1",
            "192.0.2.1",
            "::ffff:192.0.2.1",
            "fe80::1",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
