//! The call: from a request to a response, within one deadline.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    task::{Context, Poll},
};

use bytes::Bytes;
use callsign_core::Error;
use http::{HeaderMap, Request, Response, header::CONTENT_TYPE};
use http_body::Body;
use tokio::time::{Sleep, sleep_until};

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
        // By reference, or the future would hold it twice.
        let time = match &time {
            Ok(time) => time,
            Err(failure) => return refuse(grpc, failure.clone()),
        };
        let made = {
            let travel = pin!(journey.travel(&channel, &options, &mut head, &mut body));
            let mut timer = pin!(time.head.map(sleep_until));
            tokio::select! {
                biased;
                made = travel => Some(made),
                () = poll_fn(|cx| poll_timer(timer.as_mut(), cx)) => None,
            }
        };
        match made {
            Some(Ok(answer)) => Ok(journey.arrive(channel, *time, grpc, answer, body)),
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

/// Pending for ever without a timer.
fn poll_timer(timer: Pin<&mut Option<Sleep>>, cx: &mut Context<'_>) -> Poll<()> {
    timer.as_pin_mut().map_or(Poll::Pending, |timer| timer.poll(cx))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    /// The largest piece of memory that glibc's allocator hands out without looking for it.
    const FAST_BYTES_MAX: usize = 1032;

    #[tokio::test]
    async fn a_call_is_small_enough_for_the_fast_path_of_malloc() {
        type AnyBody = Pin<Box<dyn Body<Data = Bytes, Error = Infallible> + Send>>;
        let body: AnyBody = Box::pin(http_body_util::Empty::new());
        let channel = Channel::from_target("static://127.0.0.1:1").unwrap();
        let bytes = size_of_val(&call(channel, Request::new(body)));
        assert!(bytes <= FAST_BYTES_MAX, "{bytes} bytes");
    }
}
