//! The call: from a request to a response, within one deadline.

use std::pin::pin;

use bytes::Bytes;
use callsign_core::Error;
use http::{HeaderMap, Request, Response, header::CONTENT_TYPE};
use http_body::Body;
use tokio::time::{Instant, sleep_until};

use super::{
    attempt::Head, channel::Channel, failure::Failure, journey::Journey, options::CallOptions,
    replay::Replay, response::ResponseBody, timeout::Time,
};
use crate::BoxError;

/// Makes one call. The error is for requests that are not gRPC; gRPC gets its status.
///
/// What needs no waiting is done at once, so that the future is made in one piece and holds nothing twice.
pub(crate) fn call<B>(
    channel: Channel,
    request: Request<B>,
) -> impl Future<Output = Result<Response<ResponseBody>, Error>> + Send
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    let (mut parts, body) = request.into_parts();
    let mut options = parts.extensions.remove::<CallOptions>().unwrap_or_default();
    if options.hash.is_none() {
        options.hash = channel.settings().hash_by.as_ref().and_then(|by| by.of(&parts));
        if options.hash.is_none() {
            channel.roster().note_keyless();
        }
    }
    let grpc = is_grpc(&parts.headers);
    let mut journey = Journey::new();
    let time = Time::of(&parts.headers, &options, channel.settings(), journey.since);
    let mut head = Head::new(parts, time.as_ref().ok().and_then(|time| time.whole));
    let mut body = Replay::new(body);
    async move {
        let time = match time {
            Ok(time) => time,
            Err(failure) => return refuse(grpc, failure),
        };
        let made = {
            let travel = pin!(journey.travel(&channel, &options, &mut head, &mut body));
            tokio::select! {
                biased;
                made = travel => Some(made),
                () = at(time.head) => None,
            }
        };
        match made {
            Some(Ok(answer)) => Ok(journey.arrive(channel, time, grpc, answer, body)),
            Some(Err(failure)) => refuse(grpc, failure),
            None => refuse(grpc, journey.expire(channel.roster(), time.timeout)),
        }
    }
}

fn refuse(grpc: bool, failure: Failure) -> Result<Response<ResponseBody>, Error> {
    if grpc { Ok(failure.into_response()) } else { Err(failure.into_error()) }
}

fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
