//! What a call is about, read from its request.

use std::{fmt, str::FromStr};

use callsign_core::{Error, Result, select::hash_key};
use http::{HeaderName, request::Parts};

/// Where a call's key comes from, unless the call has one of its own
/// ([`CallOptions::hash_key`](super::CallOptions::hash_key)).
///
/// As text, `header:x-user`, or `method` for the path of the request.
///
/// ```
/// use callsign::client::HashBy;
///
/// let by: HashBy = "header:x-user".parse()?;
/// assert_eq!(by.to_string(), "header:x-user");
/// # Ok::<(), callsign::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum HashBy {
    /// The value of a header; its values, joined by commas, if there are several. A request without it has no key.
    Header(HeaderName),
    /// The path of the request: `/greeter.Greeter/Hello`.
    Method,
}

// === impl HashBy ===

impl HashBy {
    /// The hash of what the request is about, if it says so.
    pub(crate) fn of(&self, request: &Parts) -> Option<u64> {
        match self {
            Self::Method => Some(hash_key(request.uri.path().as_bytes())),
            Self::Header(name) => {
                let mut values = request.headers.get_all(name).iter();
                let (first, second) = (values.next()?, values.next());
                let Some(second) = second else { return Some(hash_key(first.as_bytes())) };
                let mut joined = first.as_bytes().to_vec();
                for value in std::iter::once(second).chain(values) {
                    joined.push(b',');
                    joined.extend_from_slice(value.as_bytes());
                }
                Some(hash_key(&joined))
            }
        }
    }
}

impl fmt::Display for HashBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Method => f.write_str("method"),
        }
    }
}

impl FromStr for HashBy {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = |what: String| {
            Error::invalid("read hash key", what)
                .with_hint("write header:NAME, such as header:x-user, or method")
        };
        match text.split_once(':') {
            Some(("header", name)) => match name.parse() {
                Ok(name) => Ok(Self::Header(name)),
                Err(_) => Err(wrong(format!("{name:?} cannot be the name of a header"))),
            },
            None if text == "method" => Ok(Self::Method),
            _ => Err(wrong(format!("{text:?} does not say what a call is about"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn request(users: &[&str]) -> Parts {
        let mut request = Request::builder().uri("http://greeter/greeter.Greeter/Hello");
        for user in users {
            request = request.header("x-user", *user);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn the_key_is_the_header_or_the_path() {
        let header: HashBy = "header:X-User".parse().unwrap();
        assert_eq!(header.of(&request(&["ada"])), Some(hash_key(b"ada")));
        assert_eq!(header.of(&request(&["ada", "bob", "cy"])), Some(hash_key(b"ada,bob,cy")));
        assert_eq!(header.of(&request(&[])), None);
        assert_eq!(HashBy::Method.of(&request(&[])), Some(hash_key(b"/greeter.Greeter/Hello")));
    }

    #[test]
    fn what_cannot_be_a_source_of_keys_is_refused_with_a_hint() {
        for text in ["", "x-user", "header:", "header:a b", "cookie:x"] {
            let error = text.parse::<HashBy>().unwrap_err();
            assert!(error.hint().is_some_and(|hint| hint.contains("header:")), "{text}: {error}");
        }
        assert_eq!("method".parse::<HashBy>().unwrap().to_string(), "method");
    }
}
