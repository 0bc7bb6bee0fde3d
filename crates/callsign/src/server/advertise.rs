//! The address that a server registers: where others reach it, which is not always where it listens.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use callsign_core::model::Address;

use crate::{Error, Result};

/// The address to register for a server that listens on `bound`.
///
/// What the user says wins; a host without a port gets the port that was bound. Otherwise a concrete address is its own
/// answer, and one that stands for all interfaces (`0.0.0.0`, `::`) is replaced as go-micro does it: the first private
/// address among the `interfaces`, else a public one, else loopback.
pub(crate) fn address(
    explicit: Option<&str>,
    bound: SocketAddr,
    interfaces: impl FnOnce() -> Vec<IpAddr>,
) -> Result<String> {
    if let Some(text) = explicit {
        return said(text, bound.port());
    }
    let ip = if bound.ip().is_unspecified() { choose(bound.ip(), &interfaces()) } else { bound.ip() };
    Ok(SocketAddr::new(ip, bound.port()).to_string())
}

/// The addresses of this machine, in the order of its interfaces; those of interfaces without a carrier are left out.
pub(crate) fn interfaces() -> Vec<IpAddr> {
    use if_addrs::IfOperStatus::{Down, LowerLayerDown, NotPresent};

    let interfaces = if_addrs::get_if_addrs().unwrap_or_else(|error| {
        tracing::warn!(%error, "cannot list the network interfaces, so the loopback address is advertised");
        Vec::new()
    });
    interfaces
        .iter()
        .filter(|interface| !matches!(interface.oper_status, Down | LowerLayerDown | NotPresent))
        .map(if_addrs::Interface::ip)
        .collect()
}

fn said(text: &str, port: u16) -> Result<String> {
    let address: Address = if let Ok(ip) = text.parse::<IpAddr>() {
        SocketAddr::new(ip, port).to_string().parse()?
    } else if text.contains(':') {
        text.parse()?
    } else {
        format!("{text}:{port}").parse()?
    };
    if address.socket_addr().is_some_and(|address| address.ip().is_unspecified()) {
        return Err(Error::invalid(
            "read advertised address",
            format!("{text} stands for all addresses of this machine, so nobody could call it"),
        )
        .with_hint("advertise the address or host name that clients reach this machine by"));
    }
    Ok(address.to_string())
}

fn choose(bound: IpAddr, interfaces: &[IpAddr]) -> IpAddr {
    // A socket bound to 0.0.0.0 has no IPv6; one bound to :: mostly has both.
    let reachable = |ip: &&IpAddr| bound.is_ipv6() || ip.is_ipv4();
    let usable = || interfaces.iter().filter(reachable).filter(|ip| !ip.is_loopback() && !is_link_local(ip));
    let chosen = usable().find(|ip| is_private(ip)).or_else(|| usable().next());
    chosen.copied().unwrap_or(match bound {
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    })
}

/// The ranges that go-micro counts as private, older and newer ones: with 100.64/10 for carriers and fc00::/7.
fn is_private(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_private() || (ip.octets()[0] == 100 && ip.octets()[1] & 0xc0 == 64),
        IpAddr::V6(ip) => ip.is_unique_local(),
    }
}

/// Addresses that mean something on one cable only.
fn is_link_local(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn advertised(explicit: Option<&str>, bound: &str, interfaces: &[&str]) -> String {
        let interfaces = interfaces.iter().map(|ip| ip.parse().unwrap()).collect();
        address(explicit, bound.parse().unwrap(), || interfaces).unwrap()
    }

    #[test]
    fn a_concrete_address_is_advertised_as_it_is() {
        assert_eq!(advertised(None, "127.0.0.1:4000", &["10.0.0.5"]), "127.0.0.1:4000");
        assert_eq!(advertised(None, "[::1]:4000", &["10.0.0.5"]), "[::1]:4000");
        assert_eq!(advertised(None, "192.168.1.7:4000", &["10.0.0.5"]), "192.168.1.7:4000");
    }

    #[test]
    fn for_all_interfaces_the_first_private_address_is_taken_then_a_public_one_then_loopback() {
        let bound = "0.0.0.0:4000";
        for (interfaces, expected) in [
            (&["127.0.0.1", "8.8.8.8", "172.20.0.3", "10.0.0.5"][..], "172.20.0.3:4000"),
            (&["127.0.0.1", "100.64.1.1"], "100.64.1.1:4000"),
            (&["169.254.1.1", "8.8.8.8", "9.9.9.9"], "8.8.8.8:4000"),
            (&["169.254.1.1"], "127.0.0.1:4000"),
            (&["fd00::5", "8.8.8.8"], "8.8.8.8:4000"),
            (&[], "127.0.0.1:4000"),
        ] {
            assert_eq!(advertised(None, bound, interfaces), expected, "{interfaces:?}");
        }
        assert_eq!(advertised(None, "[::]:4000", &["fe80::1", "fd00::5", "10.0.0.5"]), "[fd00::5]:4000");
        assert_eq!(advertised(None, "[::]:4000", &[]), "[::1]:4000");
    }

    #[test]
    fn what_the_user_says_wins_and_may_leave_the_port_out() {
        for (said, expected) in [
            ("10.0.0.5:80", "10.0.0.5:80"),
            ("greeter.example:80", "greeter.example:80"),
            ("greeter.example", "greeter.example:4000"),
            ("10.0.0.5", "10.0.0.5:4000"),
            ("fd00::5", "[fd00::5]:4000"),
            ("[fd00::5]:80", "[fd00::5]:80"),
        ] {
            assert_eq!(advertised(Some(said), "0.0.0.0:4000", &[]), expected);
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic_and_what_is_taken_can_be_called(text in "[a-z0-9.:\\[\\]-]{0,24}|.{0,24}") {
            if let Ok(address) = address(Some(&text), "0.0.0.0:4000".parse().unwrap(), Vec::new) {
                proptest::prop_assert!(address.parse::<Address>().is_ok(), "{}", address);
            }
        }
    }

    #[test]
    fn an_address_that_nobody_could_call_is_refused() {
        let bound = "0.0.0.0:4000".parse().unwrap();
        for bad in ["0.0.0.0", "[::]:80", "a b", "", "a:0", "http://a:1"] {
            assert!(address(Some(bad), bound, Vec::new).is_err(), "{bad:?}");
        }
    }
}
