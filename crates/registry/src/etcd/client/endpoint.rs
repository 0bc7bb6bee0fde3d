//! Where etcd's members listen, and in which order they are tried.

use std::{fmt, net::IpAddr, str::FromStr};

use callsign_core::error::{Error, Result};
use callsign_net::Host;

/// etcd's port for clients.
const PORT_DEFAULT: u16 = 2379;

/// One member's address: `host:port`, `host`, or a URL with the scheme `http` or `https`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    host: Host,
    scheme: Scheme,
}

/// What an address says of how to speak there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    Unsaid,
    Plain,
    Tls,
}

/// Whose turn it is: the member that answered last, then those after it, round and round.
#[derive(Debug)]
pub(super) struct Order {
    count: usize,
    preferred: usize,
}

// === impl Endpoint ===

impl Endpoint {
    pub(crate) fn host(&self) -> &Host {
        &self.host
    }

    pub(crate) fn scheme(&self) -> Scheme {
        self.scheme
    }
}

impl FromStr for Endpoint {
    type Err = Error;

    /// # Errors
    ///
    /// [`InvalidInput`](callsign_core::ErrorKind::InvalidInput), saying what is wrong with the address.
    fn from_str(text: &str) -> Result<Self> {
        let wrong = |problem: &str| {
            Error::invalid("read etcd endpoint", format!("{text:?} is not an address: {problem}"))
                .with_hint("write it like 10.0.0.1:2379, [fd00::1]:2379 or https://etcd.example:2379")
        };
        let (scheme, rest) = match text.trim().split_once("://") {
            None => (Scheme::Unsaid, text.trim()),
            Some(("http", rest)) => (Scheme::Plain, rest),
            Some(("https", rest)) => (Scheme::Tls, rest),
            Some((scheme, _)) => {
                return Err(wrong(&format!("the scheme {scheme} is neither http nor https")));
            }
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['/', '?', '#', '@']) || rest.contains(char::is_whitespace) {
            return Err(wrong("only a host and a port belong here"));
        }
        let (host, port) = match rest.strip_prefix('[') {
            Some(inside) => {
                let (host, after) = inside.split_once(']').ok_or_else(|| wrong("a bracket is not closed"))?;
                let port = after.strip_prefix(':').or(after.is_empty().then_some(""));
                (host, port.ok_or_else(|| wrong("something other than a port follows the bracket"))?)
            }
            None if rest.matches(':').count() > 1 => (rest, ""),
            None => rest.split_once(':').unwrap_or((rest, "")),
        };
        let port = match port {
            "" => PORT_DEFAULT,
            digits => match digits.parse() {
                Ok(port) if port != 0 => port,
                _ => return Err(wrong(&format!("{digits:?} is not a port from 1 to 65535"))),
            },
        };
        let host = match host.parse::<IpAddr>() {
            Ok(ip) => Host::Ip((ip, port).into()),
            Err(_) if host.is_empty() => return Err(wrong("there is no host")),
            Err(_) if host.contains(':') => return Err(wrong("the host is no IPv6 address")),
            Err(_) => Host::Name(host.into(), port),
        };
        Ok(Self { host, scheme })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.host.fmt(f)
    }
}

// === impl Order ===

impl Order {
    /// Begins with one at random, so that clients spread over the members.
    pub(super) fn new(count: usize, rng: &mut fastrand::Rng) -> Self {
        Self { count, preferred: rng.usize(..count.max(1)) }
    }

    /// The `step`th to try.
    pub(super) fn at(&self, step: usize) -> usize {
        (self.preferred + step) % self.count.max(1)
    }

    /// It answered: the next time it is tried first.
    pub(super) fn prefer(&mut self, index: usize) {
        self.preferred = index;
    }

    /// It was connected to and of no use: the others first.
    pub(super) fn skip(&mut self, index: usize) {
        self.preferred = (index + 1) % self.count.max(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_people_write_them() {
        use Scheme::{Plain, Tls, Unsaid};
        for (text, shown, scheme) in [
            ("10.0.0.1:2379", "10.0.0.1:2379", Unsaid),
            ("10.0.0.1", "10.0.0.1:2379", Unsaid),
            ("localhost", "localhost:2379", Unsaid),
            (" etcd.example:1234 ", "etcd.example:1234", Unsaid),
            ("http://a:1/", "a:1", Plain),
            ("https://a", "a:2379", Tls),
            ("[::1]:5", "[::1]:5", Unsaid),
            ("[::1]", "[::1]:2379", Unsaid),
            ("fd00::5", "[fd00::5]:2379", Unsaid),
        ] {
            let endpoint: Endpoint = text.parse().unwrap();
            assert_eq!((endpoint.to_string().as_str(), endpoint.scheme()), (shown, scheme), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_with_an_address_is_said() {
        for (text, said) in [
            ("", "no host"),
            (":2379", "no host"),
            ("a:0", "not a port"),
            ("a:b", "not a port"),
            ("ftp://a", "scheme ftp"),
            ("a:1/path", "only a host and a port"),
            ("user:pw@a:1", "only a host and a port"),
            ("[::1", "bracket"),
            ("[::1]5", "bracket"),
            ("[what]:5", ""),
            ("a:b:c", "IPv6"),
        ] {
            match text.parse::<Endpoint>() {
                Err(error) => assert!(error.to_string().contains(said), "{text}: {error}"),
                Ok(endpoint) => assert_eq!(said, "", "{text} was read as {endpoint}"),
            }
        }
    }

    #[test]
    fn every_member_gets_its_turn_and_a_bad_one_the_last() {
        let mut order = Order::new(3, &mut fastrand::Rng::with_seed(1));
        order.prefer(1);
        assert_eq!([0, 1, 2, 3].map(|step| order.at(step)), [1, 2, 0, 1]);
        order.skip(1);
        assert_eq!([0, 1, 2].map(|step| order.at(step)), [2, 0, 1]);
    }
}
