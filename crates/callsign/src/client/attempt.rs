//! One attempt: the request goes to one node, and the head of its response comes back.

use std::{future::poll_fn, pin::Pin, sync::Arc};

use bytes::Bytes;
use callsign_core::{
    Node,
    select::{Outcome, Ticket},
};
use callsign_net::{Connection, Disposition, Incoming, Outgoing, Slot};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri, Version, header::USER_AGENT,
    uri::PathAndQuery,
};
use http_body::Body;
use tokio::time::Instant;

use super::{link::Link, names, replay::Replay, timeout};
use crate::{BoxError, draining::DRAINING};

const AGENT: HeaderValue = HeaderValue::from_static(concat!("callsign/", env!("CARGO_PKG_VERSION")));

/// The head of a request, from which each attempt makes its own.
pub(crate) struct Head {
    method: Method,
    path: PathAndQuery,
    /// For the first attempt. Most calls make no other.
    headers: Option<HeaderMap>,
    /// The same for the others, as a list: a map costs several times as much to copy.
    spare: Vec<(HeaderName, HeaderValue)>,
    /// When the node is to give up, if the caller has set a time.
    deadline: Option<Instant>,
}

/// A call's place on a node. Dropped without a word, it tells nothing about the node.
pub(crate) struct Berth {
    /// For the report, if the caller wants one.
    pub(crate) node: Option<Arc<Node>>,
    pub(crate) link: Arc<Link>,
    pub(crate) ticket: Ticket,
    /// Why it is another node than the shape asks for.
    pub(crate) instead: Option<Arc<str>>,
    pub(crate) since: Instant,
    /// What the request went out on.
    pub(crate) connection: Option<Arc<Connection>>,
}

/// The head of a response, and what is still to be sent.
pub(crate) struct Answer {
    pub(crate) response: Response<Incoming>,
    pub(crate) outgoing: Outgoing,
    pub(crate) at: Instant,
}

// === impl Head ===

impl Head {
    pub(crate) fn new(parts: http::request::Parts, deadline: Option<Instant>) -> Self {
        let http::request::Parts { method, uri, mut headers, .. } = parts;
        let path = uri.into_parts().path_and_query.unwrap_or_else(|| PathAndQuery::from_static("/"));
        headers.entry(USER_AGENT).or_insert(AGENT);
        let spare = headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        Self { method, path, headers: Some(headers), spare, deadline }
    }

    fn request(&mut self, link: &Link, now: Instant) -> Request<()> {
        let mut uri = http::uri::Parts::default();
        uri.scheme = Some(link.scheme.clone());
        uri.authority = Some(link.authority.clone());
        uri.path_and_query = Some(self.path.clone());
        let mut request = Request::new(());
        *request.method_mut() = self.method.clone();
        *request.version_mut() = Version::HTTP_2;
        *request.headers_mut() = self.headers.take().unwrap_or_else(|| self.spare.iter().cloned().collect());
        // All three parts are there, which is all that is asked of them.
        *request.uri_mut() = Uri::from_parts(uri).unwrap_or_default();
        if let Some(deadline) = self.deadline {
            let left = timeout::format(deadline.saturating_duration_since(now));
            request.headers_mut().insert(&names::TIMEOUT, left);
        }
        request
    }
}

// === impl Berth ===

impl Berth {
    /// Sends the request and waits for the head of the response.
    pub(crate) async fn send<B>(
        &mut self,
        connection: Arc<Connection>,
        slot: Slot,
        head: &mut Head,
        body: &mut Replay<B>,
    ) -> Result<Answer, callsign_net::Error>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: Into<BoxError>,
    {
        let request = head.request(&self.link, self.since);
        let connection = self.connection.insert(connection);
        let (mut stream, mut outgoing) = slot.open(connection, request, body.is_end_stream())?;
        let response = poll_fn(|cx| {
            if !outgoing.is_done()
                && let std::task::Poll::Ready(Err(error)) = outgoing.poll_send(cx, Pin::new(&mut *body))
            {
                return std::task::Poll::Ready(Err(error));
            }
            stream.poll_response(cx)
        })
        .await?;
        if response.headers().contains_key(&DRAINING) {
            self.link.hear_leaving();
        }
        Ok(Answer { response, outgoing, at: Instant::now() })
    }

    /// The attempt failed.
    pub(crate) fn failed(&self, disposition: Disposition) {
        let outcome = match disposition {
            Disposition::Unsent | Disposition::Refused => Outcome::NotSent,
            Disposition::Unknown => Outcome::Failure,
        };
        let now = Instant::now();
        self.link.mark(&self.ticket, outcome, now - self.since, now);
    }

    /// The call's time ran out here.
    pub(crate) fn expired(&self) {
        let now = Instant::now();
        self.link.mark(&self.ticket, Outcome::DeadlineExceeded, now - self.since, now);
        if let Some(connection) = &self.connection {
            connection.probe();
        }
    }
}
