//! Where a server listens: an address, or a host with a range of ports of which the first free one is taken.

use std::{fmt, io, net::SocketAddr, ops::RangeInclusive, str::FromStr, time::Duration};

use tokio::net::{TcpListener, lookup_host};

use crate::{Error, ErrorKind, Result};

/// How long the look-up of a host name may take.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

/// A host, and the ports that will do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BindAddress {
    host: String,
    ports: RangeInclusive<u16>,
}

// === impl BindAddress ===

impl BindAddress {
    /// Listens on the first port that is free.
    pub(crate) async fn listen(&self) -> Result<TcpListener> {
        let mut in_use = None;
        for port in self.ports.clone() {
            for address in self.resolve(port).await? {
                match TcpListener::bind(address).await {
                    Ok(listener) => return Ok(listener),
                    Err(error) if error.kind() == io::ErrorKind::AddrInUse => in_use = Some(error),
                    Err(error) => return Err(self.refused(address, error)),
                }
            }
        }
        Err(self.all_in_use(in_use))
    }

    async fn resolve(&self, port: u16) -> Result<Vec<SocketAddr>> {
        let fail = |message: String| {
            Error::new(ErrorKind::InvalidInput, "bind", message)
                .with_hint("bind to an address of this machine, to 0.0.0.0 for all of them, or to localhost")
        };
        let host = self.host.as_str();
        match tokio::time::timeout(LOOKUP_TIMEOUT, lookup_host((host, port))).await {
            Ok(Ok(addresses)) => Ok(addresses.collect()),
            Ok(Err(error)) => Err(fail(format!("the host {host} has no address")).with_source(error)),
            Err(_) => Err(fail(format!("the look-up of {host} took over {LOOKUP_TIMEOUT:?}"))),
        }
    }

    fn refused(&self, address: SocketAddr, error: io::Error) -> Error {
        let (kind, hint) = match error.kind() {
            io::ErrorKind::AddrNotAvailable => {
                (ErrorKind::InvalidInput, "no interface of this machine has that address: see `ip addr`")
            }
            io::ErrorKind::PermissionDenied => {
                (ErrorKind::PermissionDenied, "ports below 1024 need privileges: choose a higher one")
            }
            _ => (ErrorKind::Unavailable, "look at the cause"),
        };
        Error::new(kind, "bind", format!("{self} cannot be listened on at {address}"))
            .with_hint(hint)
            .with_source(error)
    }

    fn all_in_use(&self, error: Option<io::Error>) -> Error {
        let message = if self.ports.start() == self.ports.end() {
            format!("{self} is in use")
        } else {
            format!("every port of {self} is in use")
        };
        let hint = "take another port, a range such as 0.0.0.0:4000-4010, or port 0 for any free one";
        let failed = Error::new(ErrorKind::Conflict, "bind", message).with_hint(hint);
        match error {
            Some(error) => failed.with_source(error),
            None => failed,
        }
    }
}

impl FromStr for BindAddress {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let fail = |problem: &str| {
            Error::invalid("read bind address", format!("{text:?} is not host:port: {problem}"))
                .with_hint("write it like 127.0.0.1:0, 0.0.0.0:4000-4010 or [::1]:4000")
        };
        if text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '/') {
            return Err(fail("it holds a slash or a space, and no scheme or path belongs here"));
        }
        let (host, ports) = text.rsplit_once(':').ok_or_else(|| fail("there is no port"))?;
        let host = match host.strip_prefix('[') {
            Some(inner) => inner.strip_suffix(']').ok_or_else(|| fail("a bracket is not closed"))?,
            None if host.contains(':') => return Err(fail("an IPv6 host stands in brackets")),
            None => host,
        };
        let number = |digits: &str| -> Result<u16> {
            let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            let port = if plain { digits.parse().ok() } else { None };
            port.ok_or_else(|| fail("a port is a number from 0 to 65535, or two of them with a dash between"))
        };
        let ports = match ports.split_once('-') {
            None => number(ports)?..=number(ports)?,
            Some((first, last)) => {
                let (first, last) = (number(first)?, number(last)?);
                if first == 0 || first > last {
                    return Err(fail("a range of ports goes from a smaller one above 0 to a larger one"));
                }
                first..=last
            }
        };
        // As in Go: no host means all of them.
        let host = if host.is_empty() { "0.0.0.0" } else { host };
        Ok(Self { host: host.to_owned(), ports })
    }
}

impl fmt::Display for BindAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, last) = (self.ports.start(), self.ports.end());
        if self.host.contains(':') {
            write!(f, "[{}]:{first}", self.host)?;
        } else {
            write!(f, "{}:{first}", self.host)?;
        }
        if first == last { Ok(()) } else { write!(f, "-{last}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_ranges_are_read_and_written_back() {
        for text in ["127.0.0.1:0", "0.0.0.0:4000-4010", "[::1]:4000", "localhost:80", "[::]:1-65535"] {
            assert_eq!(text.parse::<BindAddress>().unwrap().to_string(), text);
        }
        assert_eq!(":4000".parse::<BindAddress>().unwrap().to_string(), "0.0.0.0:4000");
    }

    #[test]
    fn what_is_wrong_with_an_address_is_said() {
        for (text, said) in [
            ("localhost", "no port"),
            ("::1:80", "brackets"),
            ("[::1:80", "not closed"),
            ("a:", "a port is a number"),
            ("a:+1", "a port is a number"),
            ("a:65536", "a port is a number"),
            ("a:4010-4000", "smaller one"),
            ("a:0-10", "smaller one"),
            ("http://a:1", "slash"),
        ] {
            let error = text.parse::<BindAddress>().unwrap_err();
            assert!(error.to_string().contains(said), "{text}: {error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic_and_what_is_read_is_written_back(text in "[a-z0-9.:\\[\\]-]{0,24}|.{0,24}") {
            if let Ok(address) = text.parse::<BindAddress>() {
                proptest::prop_assert_eq!(address.to_string().parse::<BindAddress>().unwrap(), address);
            }
        }
    }

    #[tokio::test]
    async fn a_range_gives_its_first_free_port_and_an_error_when_none_is() {
        // Port 0 finds two neighbours: hold one, and ask for the range that begins with it.
        let (held, first) = loop {
            let held = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = held.local_addr().unwrap().port();
            let next = port.checked_add(1).map(|next| ("127.0.0.1", next));
            if let Some(next) = next
                && TcpListener::bind(next).await.is_ok()
            {
                break (held, port);
            }
        };
        let range: BindAddress = format!("127.0.0.1:{first}-{}", first + 1).parse().unwrap();
        let second = range.listen().await.unwrap();
        assert_eq!(second.local_addr().unwrap().port(), first + 1);

        let error = range.listen().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert!(error.to_string().contains(&format!("every port of {range}")), "{error}");
        drop(held);
    }

    #[tokio::test]
    async fn an_address_of_another_machine_is_refused_with_advice() {
        let error = "192.0.2.1:0".parse::<BindAddress>().unwrap().listen().await.unwrap_err();
        assert!(error.hint().unwrap().contains("no interface"), "{error:?}");
    }
}
