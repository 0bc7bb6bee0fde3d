//! An operator's word to a node, as it goes over the wire: get no more calls, take calls again, how do you stand?
//!
//! Unary gRPC calls to a service of its own, on the node's own port, since that is the one place where every node can be reached
//! whatever registry it is in. A node takes such a word only if its [`Operators`](crate::server::Operators) say from whom.

use std::time::Duration;

use callsign_core::{Error, ErrorKind, Node, Result};
use http::uri::PathAndQuery;
use tonic::{Code, Request, Status, client::Grpc, metadata::AsciiMetadataValue};
use tonic_prost::ProstCodec;

use crate::{CallOptions, Channel};

/// What the methods' paths begin with.
pub(crate) const SERVICE: &str = "/callsign.operator.v1.Operator/";
pub(crate) const DRAIN: &str = "/callsign.operator.v1.Operator/Drain";
pub(crate) const UNDRAIN: &str = "/callsign.operator.v1.Operator/Undrain";
pub(crate) const ASK: &str = "/callsign.operator.v1.Operator/Ask";

/// The request of all three.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Word {
    /// The node that is meant: its port may be another one's by now.
    #[prost(string, tag = "1")]
    pub(crate) node: String,
    /// Take the entry out of the registry as well.
    #[prost(bool, tag = "2")]
    pub(crate) unlist: bool,
}

/// The reply of all three.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Reply {
    #[prost(bool, tag = "1")]
    pub(crate) drained: bool,
    #[prost(bool, tag = "2")]
    pub(crate) carried_out: bool,
    #[prost(uint64, tag = "3")]
    pub(crate) inflight: u64,
    #[prost(uint64, tag = "4")]
    pub(crate) started: u64,
    #[prost(string, tag = "5")]
    pub(crate) node: String,
}

/// How a node stands, by its own word.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Standing {
    /// Its id.
    pub node: String,
    /// An operator has said that it is to get no calls.
    pub drained: bool,
    /// The registry shows what was said last.
    pub carried_out: bool,
    /// Calls in flight on it, of all clients.
    pub inflight: u64,
    /// Calls that have come to it since its start, of all clients.
    pub started: u64,
}

/// Speaks to nodes as their operator, through a channel to their service.
///
/// ```no_run
/// # async fn f(channel: callsign::Channel) -> callsign::Result<()> {
/// use callsign::Operator;
///
/// let operator = Operator::new(channel.clone());
/// for status in channel.nodes() {
///     let standing = operator.ask(&status.node).await?;
///     println!("{}: {} calls in flight", standing.node, standing.inflight);
/// }
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct Operator {
    channel: Channel,
    bearer: Option<AsciiMetadataValue>,
    timeout: Duration,
}

/// How long a node may take to answer.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);

// === impl Operator ===

impl Operator {
    /// Shows no token, and gives each node 5 s to answer.
    #[must_use]
    pub fn new(channel: Channel) -> Self {
        Self { channel, bearer: None, timeout: TIMEOUT_DEFAULT }
    }

    /// Shows this token.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput) for a token that fits into no header.
    pub fn token(self, token: &str) -> Result<Self> {
        let bearer: Option<AsciiMetadataValue> = format!("Bearer {}", token.trim()).parse().ok();
        let Some(mut bearer) = bearer.filter(|_| !token.trim().is_empty()) else {
            return Err(Error::invalid("show a token", "it is empty, or has signs in it other than ASCII's"));
        };
        bearer.set_sensitive(true);
        Ok(Self { bearer: Some(bearer), ..self })
    }

    /// Gives each node this long to answer.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Has a node get no more calls, until [`undrain`](Self::undrain) or its end: its entry says so by a weight of zero, its health
    /// and its replies do as well. With `unlist` its entry leaves the registry, for clients that do not go by weights.
    ///
    /// Returns as soon as the node has heard of it; [`Standing::carried_out`] says when the registry shows it.
    ///
    /// # Errors
    ///
    /// [`Unsupported`](ErrorKind::Unsupported) if the node takes no operator's word,
    /// [`PermissionDenied`](ErrorKind::PermissionDenied) if not from this one, [`NotFound`](ErrorKind::NotFound) if another node is at
    /// its address, [`Closed`](ErrorKind::Closed) if it was told to end, [`Unavailable`](ErrorKind::Unavailable) if it does not answer.
    ///
    /// # Cancel safety
    ///
    /// The node may have heard of it although the future was dropped.
    pub async fn drain(&self, node: &Node, unlist: bool) -> Result<Standing> {
        self.tell(DRAIN, node, unlist, "drain the node").await
    }

    /// Has a node take calls again.
    ///
    /// # Errors
    ///
    /// As [`drain`](Self::drain).
    ///
    /// # Cancel safety
    ///
    /// As [`drain`](Self::drain).
    pub async fn undrain(&self, node: &Node) -> Result<Standing> {
        self.tell(UNDRAIN, node, false, "undrain the node").await
    }

    /// Asks a node how it stands.
    ///
    /// # Errors
    ///
    /// As [`drain`](Self::drain).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn ask(&self, node: &Node) -> Result<Standing> {
        self.tell(ASK, node, false, "ask the node").await
    }

    async fn tell(
        &self,
        path: &'static str,
        node: &Node,
        unlist: bool,
        op: &'static str,
    ) -> Result<Standing> {
        // A node that is known by its address alone has it for an id, and is not asked whether it is another.
        let id = node.id().as_str();
        let id = if id == node.address() { "" } else { id };
        let mut request = Request::new(Word { node: id.to_owned(), unlist });
        let options = CallOptions::new().address(node.dial_address()?).timeout(self.timeout).idempotent(true);
        // Who has taken a word back has said GOAWAY, so the next question may come between two connections.
        let options = options.wait_for_ready(path == ASK);
        request.extensions_mut().insert(options);
        if let Some(bearer) = &self.bearer {
            request.metadata_mut().insert("authorization", bearer.clone());
        }
        let failed = |status: Status| refused(op, node, &status);
        let mut grpc = Grpc::new(self.channel.clone());
        grpc.ready().await.map_err(|error| failed(Status::unavailable(error.to_string())))?;
        let codec = ProstCodec::<Word, Reply>::default();
        let reply = grpc.unary(request, PathAndQuery::from_static(path), codec).await.map_err(failed)?;
        let Reply { drained, carried_out, inflight, started, node } = reply.into_inner();
        Ok(Standing { node, drained, carried_out, inflight, started })
    }
}

/// What a node's refusal means to the operator.
fn refused(op: &'static str, node: &Node, status: &Status) -> Error {
    let whom = format!("{} at {}", node.id(), node.address());
    let (kind, what, hint) = match status.code() {
        Code::Unimplemented => (
            ErrorKind::Unsupported,
            "takes no operator's word",
            Some("its server must say who may drain it, by `Builder::operators`"),
        ),
        Code::Unauthenticated | Code::PermissionDenied => {
            (ErrorKind::PermissionDenied, "does not take it from here", None)
        }
        Code::FailedPrecondition => (
            ErrorKind::NotFound,
            "is gone, and another node is at its address",
            Some("look again which nodes there are"),
        ),
        Code::Aborted => {
            (ErrorKind::Closed, "is leaving", Some("once it is gone, look again which nodes there are"))
        }
        Code::DeadlineExceeded | Code::Unavailable => (
            ErrorKind::Unavailable,
            "does not answer",
            Some("see whether its process runs, and whether its address can be reached from here"),
        ),
        _ => (ErrorKind::Internal, "failed", None),
    };
    let error =
        Error::new(kind, op, format!("{whom} {what}")).with_source(Plain(status.message().to_owned()));
    match hint {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

/// What a status says, without what a status says of itself.
#[derive(Debug)]
struct Plain(String);

impl std::fmt::Display for Plain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Plain {}
