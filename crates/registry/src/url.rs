//! Which registry: `local:`, `local:///run/shop`, `etcd://10.0.0.1:2379`.

use std::{fmt, str::FromStr};

use callsign_core::error::{Error, Result};

const OP: &str = "read registry url";

/// A registry's name, and where it is: `scheme:`, `scheme:///path` or `scheme://authority/path`. A name alone is taken as
/// `name:`, so that go-micro's `MICRO_REGISTRY=etcd` can be passed on as it is.
///
/// ```
/// use callsign_registry::RegistryUrl;
///
/// let url: RegistryUrl = "local:///run/my%20shop".parse()?;
/// assert_eq!((url.scheme(), url.authority(), url.path()), ("local", "", "/run/my shop"));
/// assert_eq!("local".parse::<RegistryUrl>()?.to_string(), "local:");
/// # Ok::<(), callsign_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryUrl {
    scheme: String,
    authority: String,
    path: String,
}

// === impl RegistryUrl ===

impl RegistryUrl {
    /// The kind of registry, in lower case.
    #[must_use]
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// Host and port, or several of them, as they were given; may be empty.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The path with its leading slash, unescaped; may be empty.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl FromStr for RegistryUrl {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (scheme, rest) = text.split_once(':').unwrap_or((text, ""));
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
        if !scheme.starts_with(|c: char| c.is_ascii_alphabetic()) || !scheme.chars().all(plain) {
            return Err(malformed(text, "it does not begin with the name of a registry"));
        }
        if let Some(extra) = rest.chars().find(|c| matches!(c, '?' | '#')) {
            return Err(malformed(
                text,
                &format!("it has settings after a {extra:?}, which no registry takes"),
            ));
        }
        let (authority, path) = match rest.strip_prefix("//") {
            Some(rest) => rest.split_at(rest.find('/').unwrap_or(rest.len())),
            None if rest.is_empty() || rest.starts_with('/') => ("", rest),
            None => {
                return Err(malformed(text, "after the colon there is neither a path nor `//` and a host"));
            }
        };
        let path =
            unescape(path).ok_or_else(|| malformed(text, "a % in its path is not followed by two digits"))?;
        if path.contains('\0') || authority.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(malformed(text, "it holds a character that cannot be in a host or path"));
        }
        Ok(Self { scheme: scheme.to_ascii_lowercase(), authority: authority.to_owned(), path })
    }
}

impl fmt::Display for RegistryUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scheme, authority, path } = self;
        write!(f, "{scheme}:")?;
        if !authority.is_empty() || !path.is_empty() {
            write!(f, "//{authority}")?;
        }
        path.chars().try_for_each(|c| match c {
            '%' | '?' | '#' => write!(f, "%{:02X}", u32::from(c)),
            c => write!(f, "{c}"),
        })
    }
}

pub(crate) fn malformed(text: &str, problem: &str) -> Error {
    Error::invalid(OP, format!("{text:?} is malformed: {problem}"))
        .with_hint("write it like `local:`, `local:///path/to/folder` or `etcd://127.0.0.1:2379`")
}

fn unescape(path: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let [byte, tail @ ..] = rest {
        rest = tail;
        if *byte != b'%' {
            bytes.push(*byte);
            continue;
        }
        let (digits, tail) =
            rest.split_at_checked(2).filter(|(digits, _)| digits.iter().all(u8::is_ascii_hexdigit))?;
        bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        rest = tail;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_parts_are_told_apart() {
        for (text, scheme, authority, path) in [
            ("local", "local", "", ""),
            ("local:", "local", "", ""),
            ("LOCAL://", "local", "", ""),
            ("local:///run/shop", "local", "", "/run/shop"),
            ("local:/run/shop", "local", "", "/run/shop"),
            ("etcd://a:2379,b:2379/prefix", "etcd", "a:2379,b:2379", "/prefix"),
        ] {
            let url: RegistryUrl = text.parse().unwrap();
            assert_eq!((url.scheme(), url.authority(), url.path()), (scheme, authority, path), "{text}");
        }
    }

    #[test]
    fn what_is_malformed_is_named() {
        for (text, said) in [
            ("", "name of a registry"),
            ("://a", "name of a registry"),
            ("9p:", "name of a registry"),
            ("/run/shop", "name of a registry"),
            ("local:run/shop", "neither a path"),
            ("local:///a%2", "two digits"),
            ("local:///a%+1", "two digits"),
            ("local:///a?b=c", "settings"),
            ("local:///a%00b", "character"),
        ] {
            let error = text.parse::<RegistryUrl>().unwrap_err();
            assert!(error.to_string().contains(said), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic_and_what_is_read_is_written_back(text in "[a-z]{0,8}:?(//)?[^?#]{0,30}") {
            if let Ok(url) = text.parse::<RegistryUrl>() {
                prop_assert_eq!(url.to_string().parse::<RegistryUrl>().unwrap(), url);
            }
        }
    }
}
