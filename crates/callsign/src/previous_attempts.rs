//! How often a call was made before, as its header says (gRFC A6), so that only one layer of a tree of calls repeats.

use http::{HeaderMap, HeaderName};

/// The header.
pub(crate) static NAME: HeaderName = HeaderName::from_static("grpc-previous-rpc-attempts");

/// How often the caller of a request has made the same call before: an extension of the request, if it was at least once.
///
/// Three layers that each try three times are 27 calls at the bottom. A handler that gives its request's extensions to
/// [`CallOptions::within`](crate::CallOptions::within) makes no repetitions while its caller does. Nothing is carried along by
/// itself: a handler may also do work that nobody waits for.
///
/// ```
/// use callsign::CallOptions;
/// # struct Order;
///
/// async fn place(request: tonic::Request<Order>) {
///     let options = CallOptions::new().within(request.extensions());
///     let mut reservation = tonic::Request::new(request.into_inner());
///     reservation.extensions_mut().insert(options);
///     // stock.reserve(reservation).await
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PreviousAttempts(u32);

// === impl PreviousAttempts ===

impl PreviousAttempts {
    /// How many there were: one or more.
    #[must_use]
    pub fn count(self) -> u32 {
        self.0
    }

    /// What a request's headers say. A count that cannot be read is taken for one: it is no leave to repeat.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let value = headers.get(&NAME)?;
        let count = value.to_str().ok().and_then(|text| text.parse().ok()).unwrap_or(1);
        (count > 0).then_some(Self(count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unreadable_count_is_taken_for_one() {
        assert_eq!(PreviousAttempts::of(&HeaderMap::new()), None);
        for (text, count) in [
            ("0", None),
            ("2", Some(2)),
            ("x", Some(1)),
            ("-1", Some(1)),
            ("", Some(1)),
            ("99999999999", Some(1)),
        ] {
            let headers = HeaderMap::from_iter([(NAME.clone(), text.parse().unwrap())]);
            assert_eq!(PreviousAttempts::of(&headers).map(PreviousAttempts::count), count, "{text:?}");
        }
    }
}
