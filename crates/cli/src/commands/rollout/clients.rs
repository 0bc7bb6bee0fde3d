//! What clients themselves have counted, from their admin addresses.

use std::{collections::BTreeMap, time::Duration};

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

const ATTEMPTS: &str = "callsign_client_calls_total";
const FAILURES: &str = "callsign_client_failures_total";
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

/// What stood on a page, of one service.
#[derive(Debug, Default)]
pub(super) struct Counted {
    attempts: BTreeMap<String, f64>,
    failures: BTreeMap<String, f64>,
}

/// What one client counted meanwhile.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Client {
    pub(super) url: String,
    /// Attempts that ended, at any node.
    pub(super) attempts: u64,
    /// Those that the node failed. Many of them were answered elsewhere.
    pub(super) failed_attempts: u64,
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
    pub(super) fn between(&self, before: &Counted, after: &Counted) -> Client {
        Client {
            url: self.url.clone(),
            attempts: growth(&before.attempts, &after.attempts),
            failed_attempts: growth(&before.failures, &after.failures),
        }
    }
}

// === impl Counted ===

impl Counted {
    fn read(page: &str, service: &str) -> Self {
        let ours = format!("service=\"{service}\"");
        let mut counted = Self::default();
        for line in page.lines() {
            let Some((series, value)) = line.rsplit_once(' ') else { continue };
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let Ok(value) = value.parse::<f64>() else { continue };
            let into = match name {
                ATTEMPTS => &mut counted.attempts,
                FAILURES => &mut counted.failures,
                _ => continue,
            };
            if labels.contains(&ours) {
                into.insert(series.to_owned(), value);
            }
        }
        counted
    }
}

/// By how much the series have grown; one that is smaller than it was has begun anew.
fn growth(before: &BTreeMap<String, f64>, after: &BTreeMap<String, f64>) -> u64 {
    let grown = after.iter().map(|(series, &now)| match before.get(series) {
        Some(&then) if then <= now => now - then,
        _ => now,
    });
    grown.sum::<f64>() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_counted_by_series_of_the_service() {
        let page = |a: u64, b: u64, other: u64| {
            let text = format!(
                "# TYPE callsign_client_calls_total counter\n\
                 callsign_client_calls_total{{service=\"greeter\",node=\"a\"}} {a}\n\
                 callsign_client_calls_total{{service=\"greeter\",node=\"b\"}} {b}\n\
                 callsign_client_calls_total{{service=\"cart\",node=\"a\"}} {other}\n\
                 callsign_client_failures_total{{service=\"greeter\",node=\"a\"}} {a}\n"
            );
            Counted::read(&text, "greeter")
        };
        let url = Page::parse("http://127.0.0.1:9090/metrics").unwrap();
        let client = url.between(&page(10, 20, 0), &page(15, 3, 99));
        assert_eq!((client.attempts, client.failed_attempts), (5 + 3, 5));
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
