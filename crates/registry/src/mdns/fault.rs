//! What the kernel's refusals mean: the one place that turns them into an [`Error`].

use std::io;

use callsign_core::error::{Error, ErrorKind};

use super::{config::MdnsConfig, link::Link};

const OP: &str = "use mDNS";

/// The interfaces cannot be asked for.
pub(super) fn interfaces(error: io::Error) -> Error {
    away("the network interfaces of this machine cannot be listed", error)
        .with_hint("see whether `ip address` works for this user")
}

/// No socket can be had.
pub(super) fn sockets(port: u16, error: io::Error) -> Error {
    let hint = match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "another program has the port for itself alone (`ss -ulpn sport = :{port}`): end it, or have it share the port"
        ),
        io::ErrorKind::PermissionDenied => {
            "see whether a sandbox or security policy keeps this process from the network".to_owned()
        }
        _ => "see whether this machine has a network at all (`ip address`), or choose another registry"
            .to_owned(),
    };
    away(format!("UDP port {port} cannot be opened"), error).with_hint(hint)
}

/// There is no interface to use.
pub(super) fn no_interface(config: &MdnsConfig) -> Error {
    let family = match (config.ipv4, config.ipv6) {
        (true, false) => "an IPv4 address",
        (false, true) => "an IPv6 address",
        _ => "an address",
    };
    let message = if config.interfaces.is_empty() {
        format!("no network interface is up and has {family}, not even loopback")
    } else {
        let names: Vec<_> = config.interfaces.iter().map(String::as_str).collect();
        format!("none of the interfaces {} is up and has {family}", names.join(", "))
    };
    Error::new(ErrorKind::Unavailable, OP, message)
        .with_hint("see `ip address`; it goes on by itself once there is one, or choose another registry")
}

/// Nothing can be sent to everybody on any interface.
pub(super) fn sending(link: &Link, error: io::Error) -> Error {
    let names: Vec<_> = link.interfaces().map(|(_, interface)| interface.name.as_str()).collect();
    let hint = match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "see whether a firewall or security policy forbids UDP port 5353 to 224.0.0.251 and ff02::fb"
        }
        _ => {
            "multicast needs a route (`ip route get 224.0.0.251`, `ip -6 route show table all ff00::/8`); many \
             containers and VPNs have none: choose another registry there"
        }
    };
    away(format!("multicast cannot be sent on {}", names.join(", ")), error).with_hint(hint)
}

fn away(message: impl Into<String>, error: io::Error) -> Error {
    Error::new(ErrorKind::Unavailable, OP, message.into()).with_source(error)
}
