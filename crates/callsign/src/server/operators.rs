//! From whom a server takes an operator's word, and its answers to one.

use std::fmt;

use callsign_core::{Error, Result};
use http::{Request, Response, header::AUTHORIZATION};
use http_body_util::{BodyExt as _, Limited};
use prost::Message as _;
use tonic::{Status, body::Body};

use super::{
    connection::ConnectionInfo,
    orders::{Order, Orders},
};
use crate::{
    frame::{HEAD_BYTES, reply},
    operator::{ASK, DRAIN, Reply, UNDRAIN, Word},
};

/// Nobody who speaks to a node as its operator has more to say.
const WORD_BYTES_MAX: usize = 4 << 10;

/// Who may drain this node, and take that back, over its own port. Nobody, unless [`Builder::operators`](super::Builder::operators)
/// says so.
#[derive(Clone)]
pub struct Operators {
    token: Option<String>,
}

/// Answers operators.
#[derive(Debug)]
pub(crate) struct Desk {
    operators: Operators,
    node: String,
    orders: Orders,
}

/// How busy the server is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Business {
    pub(crate) inflight: usize,
    pub(crate) started: u64,
}

// === impl Operators ===

impl Operators {
    /// Whoever calls from this machine, by a loopback address.
    ///
    /// Not for a node behind a proxy on its own machine (a sidecar, a mesh): there, all callers come by loopback.
    #[must_use]
    pub fn on_loopback() -> Self {
        Self { token: None }
    }

    /// Whoever shows this token, from anywhere. Without TLS it can be read on the way.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](callsign_core::ErrorKind::InvalidInput) for an empty token.
    pub fn with_token(token: impl AsRef<str>) -> Result<Self> {
        match token.as_ref().trim() {
            "" => Err(Error::invalid("say who may drain the node", "the token is empty")),
            token => Ok(Self { token: Some(format!("Bearer {token}")) }),
        }
    }

    fn admit<B>(&self, request: &Request<B>) -> Result<(), Status> {
        let Some(wanted) = &self.token else {
            let peer = request.extensions().get::<ConnectionInfo>().map(ConnectionInfo::peer);
            return match peer {
                Some(peer) if peer.ip().to_canonical().is_loopback() => Ok(()),
                Some(peer) => Err(Status::permission_denied(format!(
                    "this node takes it from its own machine only, and not from {}",
                    peer.ip()
                ))),
                None => Err(Status::permission_denied("this node takes it from its own machine only")),
            };
        };
        let shown = request.headers().get(AUTHORIZATION);
        let shown =
            shown.ok_or_else(|| Status::unauthenticated("this node wants a token, and none was shown"))?;
        // All of it is compared whatever the first difference, so that the time it takes tells nothing but the length.
        let (shown, wanted) = (shown.as_bytes(), wanted.as_bytes());
        let differences = shown.iter().zip(wanted).fold(0, |all, (a, b)| all | (a ^ b));
        match shown.len() == wanted.len() && differences == 0 {
            true => Ok(()),
            false => Err(Status::unauthenticated("the token is not the one that this node wants")),
        }
    }
}

impl fmt::Debug for Operators {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operators").field("token", &self.token.as_ref().map(|_| "...")).finish()
    }
}

// === impl Desk ===

impl Desk {
    pub(crate) fn new(operators: Operators, node: String, orders: Orders) -> Self {
        Self { operators, node, orders }
    }

    /// Does what is said, and tells how the node stands.
    pub(crate) async fn answer(
        &self,
        request: Request<Body>,
        business: impl Fn() -> Business,
    ) -> Response<Body> {
        match self.obey(request).await {
            Ok(()) => {
                let Business { inflight, started } = business();
                reply(&Reply {
                    drained: self.orders.current() != Order::Serve,
                    carried_out: self.orders.are_carried_out(),
                    inflight: inflight as u64,
                    started,
                    node: self.node.clone(),
                })
            }
            Err(status) => status.into_http(),
        }
    }

    async fn obey(&self, request: Request<Body>) -> Result<(), Status> {
        self.operators.admit(&request)?;
        let (parts, body) = request.into_parts();
        let body = Limited::new(body, WORD_BYTES_MAX).collect().await;
        let body =
            body.map_err(|error| Status::invalid_argument(format!("what was said is cut short: {error}")))?;
        let bytes = body.to_bytes();
        let word = bytes.get(HEAD_BYTES..).and_then(|message| Word::decode(message).ok());
        let Some(word) = word.filter(|_| bytes.first() == Some(&0)) else {
            return Err(Status::invalid_argument("what was said is garbled"));
        };
        if !word.node.is_empty() && word.node != self.node {
            let text = format!("{} is meant, and this is {}", word.node, self.node);
            return Err(Status::failed_precondition(text));
        }
        let path = parts.uri.path();
        if matches!(path, DRAIN | UNDRAIN) && self.orders.are_over() {
            return Err(Status::aborted("it was told to end, and gets no calls any more"));
        }
        match path {
            DRAIN => self.orders.give(if word.unlist { Order::Unlist } else { Order::Drain }),
            UNDRAIN => self.orders.give(Order::Serve),
            ASK => {}
            other => return Err(Status::unimplemented(format!("an operator has no word {other}"))),
        }
        Ok(())
    }
}
