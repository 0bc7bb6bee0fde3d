//! What a server says about being asked again: `grpc-retry-pushback-ms`, as gRFC A6 has it.

use std::time::Duration;

use http::{HeaderMap, HeaderValue};

use super::names;

/// A caller that reads it does not try again: neither does the one above it, if a handler hands the status on.
pub(crate) const NEVER: HeaderValue = HeaderValue::from_static("-1");

/// What a server says about being asked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pushback {
    Unsaid,
    /// After exactly this long.
    After(Duration),
    /// Not at all. Whatever cannot be read means this too.
    Never,
}

// === impl Pushback ===

impl Pushback {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let Some(value) = headers.get(&names::PUSHBACK) else { return Self::Unsaid };
        let millis = value.to_str().ok().and_then(|text| text.parse::<i32>().ok());
        match millis.map(u64::try_from) {
            Some(Ok(millis)) => Self::After(Duration::from_millis(millis)),
            _ => Self::Never,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_number_of_milliseconds_means_never() {
        let of = |text: &str| {
            Pushback::of(&HeaderMap::from_iter([(names::PUSHBACK.clone(), text.parse().unwrap())]))
        };
        assert_eq!(Pushback::of(&HeaderMap::new()), Pushback::Unsaid);
        assert_eq!(of("0"), Pushback::After(Duration::ZERO));
        assert_eq!(of("1500"), Pushback::After(Duration::from_millis(1500)));
        for text in ["-1", "-0.5", "", "soon", "1.5", "99999999999999999999", " 5"] {
            assert_eq!(of(text), Pushback::Never, "{text:?}");
        }
    }
}
