//! Where a node can be reached.

use std::{
    fmt,
    net::{Ipv6Addr, SocketAddr},
    str::FromStr,
};

use crate::error::{Error, Result};

/// The most bytes that a host name can have.
const HOST_BYTES_MAX: usize = 253;

/// `host:port`, checked: what a node can be reached at.
///
/// ```
/// use callsign_core::model::Address;
///
/// let address: Address = "[fd00::5]:8080".parse()?;
/// assert_eq!((address.host(), address.port()), ("fd00::5", 8080));
///
/// let error = "10.0.0.5".parse::<Address>().unwrap_err();
/// assert_eq!(error.to_string(), "cannot read address: \"10.0.0.5\" is not host:port: there is no port");
/// # Ok::<(), callsign_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address {
    host: Box<str>,
    port: u16,
}

// === impl Address ===

impl Address {
    /// The host: a name, an IPv4 address, or an IPv6 address without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, never 0.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The socket address, when the host is an IP address and needs no look-up.
    #[must_use]
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        Some(SocketAddr::new(self.host.parse().ok()?, self.port))
    }
}

impl FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        read(text).map(|(host, port)| Self { host: host.into(), port }).map_err(|problem| {
            Error::invalid("read address", format!("{text:?} is not host:port: {problem}"))
                .with_hint("write it like 10.0.0.5:8080 or [fd00::5]:8080")
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Host (an IPv6 address without its brackets) and port, or what is wrong.
fn read(text: &str) -> Result<(&str, u16), &'static str> {
    if text.contains('/') {
        return Err("it holds a slash, and no scheme or path belongs here");
    }
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once("]:").ok_or("there is no port")?;
            (v6(host).ok_or("what stands in brackets is not an IPv6 address")?, port)
        }
        None => {
            let (host, port) = text.rsplit_once(':').ok_or("there is no port")?;
            (name(host)?, port)
        }
    };
    // Digits alone: the parser of numbers would take a plus sign and leading zeros, too.
    if port.is_empty() || port.starts_with('0') && port.len() > 1 || !port.bytes().all(|b| b.is_ascii_digit())
    {
        return Err("the port is not a number from 1 to 65535");
    }
    match port.parse() {
        Ok(0) => Err("port 0 is no place to call"),
        Ok(port) => Ok((host, port)),
        Err(_) => Err("the port is not a number from 1 to 65535"),
    }
}

/// An IPv6 address, with or without the interface that it belongs to: `fe80::1%eth0`.
fn v6(host: &str) -> Option<&str> {
    let (address, zone) = host.split_once('%').unwrap_or((host, "any"));
    let named = !zone.is_empty() && zone.bytes().all(|b| b.is_ascii_graphic() && !b"[]%:".contains(&b));
    (named && address.parse::<Ipv6Addr>().is_ok()).then_some(host)
}

/// A host name or an IPv4 address.
fn name(host: &str) -> Result<&str, &'static str> {
    if host.is_empty() {
        Err("there is no host")
    } else if host.parse::<Ipv6Addr>().is_ok() || host.contains(':') {
        Err("there is no port, or an IPv6 address is not in brackets")
    } else if host.contains(|c: char| c.is_whitespace() || c.is_control()) {
        Err("the host holds a space or a control character")
    } else if !host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) {
        Err("the host holds a character that no host name has")
    } else if host.len() > HOST_BYTES_MAX {
        Err("the host is longer than the 253 bytes that a host name can have")
    } else {
        Ok(host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written_back() {
        let long = format!("{}:80", "a.".repeat(126));
        for text in [
            "10.0.0.5:8080",
            "[fd00::5]:8080",
            "[fe80::1%eth0]:1",
            "greeter.local:1",
            "my_box-1:2",
            "localhost:65535",
            &*long,
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        assert_eq!("[fd00::5]:80".parse::<Address>().unwrap().host(), "fd00::5");
    }

    #[test]
    fn a_bad_address_says_what_is_wrong_with_it() {
        let long = format!("{}:80", "a".repeat(254));
        for (text, said) in [
            ("localhost", "no port"),
            ("[fd00::5]", "no port"),
            (":80", "no host"),
            ("a:0", "port 0"),
            ("a:", "not a number"),
            ("a:70000", "not a number"),
            ("a:+80", "not a number"),
            ("a:080", "not a number"),
            ("a:８０", "not a number"),
            ("fd00::5:80", "not in brackets"),
            ("fd00::5", "not in brackets"),
            ("[greeter]:80", "not an IPv6 address"),
            ("[]:80", "not an IPv6 address"),
            ("[fe80::1%]:80", "not an IPv6 address"),
            ("http://a:80", "slash"),
            ("a b:80", "a space"),
            ("a\u{7f}:80", "control character"),
            ("user@host:80", "no host name has"),
            ("höst:80", "no host name has"),
            (&*long, "253 bytes"),
            ("", "no port"),
        ] {
            let error = text.parse::<Address>().unwrap_err();
            assert!(error.to_string().contains(said), "{text}: {error}");
        }
    }
}
