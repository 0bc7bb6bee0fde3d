//! What clients themselves have counted, from their admin addresses.
//!
//! Each page is read twice, and what its counters have grown by is what happened meanwhile. As with Prometheus' `increase`, a counter
//! that is smaller than it was has begun anew at zero, for its process was started again; and then the other one of the page has too,
//! however large it is by now. Unlike there, a counter that was not there at the first reading counts in full: with Callsign they begin
//! at zero with their channel, so all of it is of the time between.

use std::time::Duration;

use serde::Serialize;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::{
    error::{CliError, Result},
    exit::Exit,
};

const ATTEMPTS: &str = "callsign_client_attempts_total";
const FAILED: &str = "callsign_client_attempts_failed_total";
/// How long a page may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// A page that is longer is none of ours.
const PAGE_BYTES_MAX: u64 = 16 << 20;

/// Where a client shows its metrics: `http://HOST:PORT/PATH`.
#[derive(Debug, Clone)]
pub(crate) struct Page {
    url: String,
    authority: String,
    path: String,
}

/// What stood on a page, of one service. Nothing, if there is no channel to it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counted {
    attempts: Option<u64>,
    failed: Option<u64>,
}

/// What one client counted meanwhile, as far as it can be known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Client {
    pub(super) url: String,
    /// Attempts that ended, at any node.
    pub(super) attempts: Option<u64>,
    /// Those that the node failed. Many of them were answered elsewhere.
    pub(super) failed_attempts: Option<u64>,
    /// It was started again, and these are the numbers since then.
    pub(super) restarted: bool,
    /// Why there are no numbers.
    pub(super) unreadable: Option<String>,
}

// === impl Page ===

impl Page {
    /// Reads a URL.
    ///
    /// # Errors
    ///
    /// What is wrong with it, as a sentence.
    pub(crate) fn parse(url: &str) -> Result<Self, String> {
        let Some(rest) = url.strip_prefix("http://") else {
            return Err(format!(
                "{url:?} does not begin with http://; write it like http://127.0.0.1:9090/metrics"
            ));
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, "metrics"));
        let port = authority.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
        if port.is_none() || authority.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(format!("{url:?} has no port; write it like http://127.0.0.1:9090/metrics"));
        }
        if path.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(format!("{url:?} has a blank in it"));
        }
        Ok(Self { url: url.to_owned(), authority: authority.to_owned(), path: format!("/{path}") })
    }

    /// Reads the page.
    ///
    /// # Errors
    ///
    /// Why that is not possible, with the URL.
    pub(super) async fn read(&self, service: &str, token: Option<&str>) -> Result<Counted> {
        let failed = |why: &str| CliError::new(Exit::Other, format!("cannot read {}: {why}", self.url));
        let text = match timeout(TIMEOUT, self.get(token)).await {
            Ok(Ok(text)) => text,
            Ok(Err(error)) => return Err(failed("no answer").because_of(&error)),
            Err(_) => return Err(failed("no answer in time")),
        };
        let (head, body) = text.split_once("\r\n\r\n").ok_or_else(|| failed("the answer is no HTTP"))?;
        let status = head.split(' ').nth(1).unwrap_or_default();
        match status {
            "200" => Ok(Counted::read(body, service)),
            "401" => Err(failed("it wants a token")
                .exit_as(Exit::NotAllowed)
                .hint("give it by CALLSIGN_METRICS_TOKEN")),
            _ => Err(failed(&format!("it answers with HTTP status {status}"))),
        }
    }

    /// By HTTP/1.0, which has no chunks and ends with its connection.
    async fn get(&self, token: Option<&str>) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(&self.authority).await?;
        let mut request = format!("GET {} HTTP/1.0\r\nhost: {}\r\n", self.path, self.authority);
        if let Some(token) = token {
            request.push_str(&format!("authorization: Bearer {}\r\n", token.trim()));
        }
        request.push_str("\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut bytes = Vec::new();
        stream.take(PAGE_BYTES_MAX).read_to_end(&mut bytes).await?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// What was counted between two readings.
    pub(super) fn between(&self, before: Counted, after: Result<Counted>) -> Client {
        let url = self.url.clone();
        let unknown = |why| Client {
            url: url.clone(),
            attempts: None,
            failed_attempts: None,
            restarted: false,
            unreadable: Some(why),
        };
        match after {
            Err(error) => unknown(error.on_one_line()),
            Ok(Counted { attempts: Some(attempts), failed: Some(failed) }) => {
                let (then, failed_then) = (before.attempts.unwrap_or(0), before.failed.unwrap_or(0));
                let restarted = attempts < then || failed < failed_then;
                let grown = |now: u64, then: u64| if restarted { now } else { now - then };
                Client {
                    url,
                    attempts: Some(grown(attempts, then)),
                    failed_attempts: Some(grown(failed, failed_then)),
                    restarted,
                    unreadable: None,
                }
            }
            Ok(_) => unknown(format!("{} counts no calls to the service", self.url)),
        }
    }
}

// === impl Client ===

impl Client {
    /// What there is to say of it, for a person.
    pub(super) fn line(&self) -> String {
        let (Some(attempts), Some(failed)) = (self.attempts, self.failed_attempts) else {
            return self.unreadable.clone().unwrap_or_default();
        };
        let how = if self.restarted { " since it was started again" } else { ", most likely repeated" };
        format!("{}: {failed} of {attempts} attempts failed{how}", self.url)
    }
}

// === impl Counted ===

impl Counted {
    fn read(page: &str, service: &str) -> Self {
        let value = |name: &str| {
            let series = format!("{name}{{service=\"{service}\"}} ");
            let value = page.lines().find_map(|line| line.strip_prefix(&series))?;
            value.parse::<f64>().ok().map(|value| value as u64)
        };
        Self { attempts: value(ATTEMPTS), failed: value(FAILED) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: Counted = Counted { attempts: Some(100), failed: Some(2) };

    fn grown(before: Counted, attempts: u64, failed: u64) -> (Option<u64>, Option<u64>, bool) {
        let page = Page::parse("http://127.0.0.1:9090/metrics").unwrap();
        let after = Counted { attempts: Some(attempts), failed: Some(failed) };
        let client = page.between(before, Ok(after));
        assert_eq!(client.unreadable, None);
        (client.attempts, client.failed_attempts, client.restarted)
    }

    #[test]
    fn counters_are_those_of_the_service() {
        let page = "# TYPE callsign_client_attempts_total counter\n\
                    callsign_client_attempts_total{service=\"cart\"} 7\n\
                    callsign_client_attempts_total{service=\"greeter\"} 100\n\
                    callsign_client_attempts_failed_total{service=\"greeter\"} 2\n";
        assert_eq!(Counted::read(page, "greeter"), BEFORE);
        assert_eq!(Counted::read(page, "cart"), Counted { attempts: Some(7), failed: None });
    }

    #[test]
    fn what_has_begun_anew_counts_from_zero() {
        assert_eq!(grown(BEFORE, 150, 2), (Some(50), Some(0), false));
        // A channel that was not there at the first reading.
        assert_eq!(grown(Counted::default(), 150, 3), (Some(150), Some(3), false));
        // One of the two is enough to tell that the process was started again.
        assert_eq!(grown(BEFORE, 50, 3), (Some(50), Some(3), true));
        assert_eq!(grown(BEFORE, 150, 1), (Some(150), Some(1), true));
    }

    #[test]
    fn a_page_without_numbers_is_not_one_without_failures() {
        let page = Page::parse("http://a:1/metrics").unwrap();
        let client = page.between(BEFORE, Ok(Counted::default()));
        assert_eq!((client.attempts, client.failed_attempts), (None, None));
        assert_eq!(client.unreadable.unwrap(), "http://a:1/metrics counts no calls to the service");
    }

    #[test]
    fn urls_that_cannot_be_are_told() {
        for (url, said) in [
            ("127.0.0.1:9090", "http://"),
            ("https://a:1/metrics", "http://"),
            ("http://a/metrics", "no port"),
            ("http://a:1/me trics", "blank"),
        ] {
            let error = Page::parse(url).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
        assert_eq!(Page::parse("http://a:1").unwrap().path, "/metrics");
    }
}
