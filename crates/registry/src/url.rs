//! Which registry: `local:`, `local:///run/shop`, `etcd://10.0.0.1:2379`.

use std::{borrow::Cow, fmt, str::FromStr};

use callsign_core::error::{Error, Result};

const OP: &str = "read registry url";

/// Registries that are not at any host.
const HOSTLESS: [&str; 3] = ["local", "mdns", "memory"];

/// What may stand before each address of an authority.
const PREFIXES: [&str; 2] = ["http://", "https://"];

/// A registry's name, and where it is: `scheme:`, `scheme:///path` or `scheme://authority/path`. A name alone is taken as
/// `name:`, so that go-micro's `MICRO_REGISTRY=etcd` can be passed on as it is.
///
/// The authority is one address or several with commas between them. Each may have `http://` or `https://` before it, as in
/// `etcd://https://10.0.0.1:2379`: that is how addresses of etcd are often written, and `https` asks for TLS. It never holds
/// a user or a password: those are [`Access`](crate::Access).
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

    /// The same kind of registry, at an address that was given apart from it: what `MICRO_REGISTRY_ADDRESS` is to
    /// `MICRO_REGISTRY`. Spaces around the commas between several of them, and slashes at their ends, do not matter.
    ///
    /// ```
    /// use callsign_registry::RegistryUrl;
    ///
    /// let url = "etcd".parse::<RegistryUrl>()?.with_address("10.0.0.1:2379, 10.0.0.2:2379")?;
    /// assert_eq!(url.to_string(), "etcd://10.0.0.1:2379,10.0.0.2:2379");
    /// # Ok::<(), callsign_core::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](callsign_core::ErrorKind::InvalidInput) when the registry has an address already, when this kind of
    /// registry has none, or when the text is no address.
    pub fn with_address(&self, address: &str) -> Result<Self> {
        if self.is_whole() {
            return Err(Error::invalid(
                OP,
                format!("the registry's address is given twice: {self} and {}", hide_user(address)),
            )
            .with_hint("leave one of them out"));
        }
        if self.is_hostless() && !address.starts_with('/') {
            let problem = format!(
                "the {} registry has no host, and {:?} is the address of one",
                self.scheme,
                hide_user(address)
            );
            return Err(Error::invalid(OP, problem).with_hint("say which registry is there, as with `etcd`"));
        }
        if address.starts_with('/') {
            return format!("{}://{address}", self.scheme).parse();
        }
        let parts: Vec<_> = address.split(',').map(|part| part.trim().trim_end_matches('/')).collect();
        format!("{}://{}", self.scheme, parts.join(",")).parse()
    }

    /// Whether this kind of registry is at no host (`local`, `mdns`, `memory`): it has no address, and asks nobody who they
    /// are.
    #[must_use]
    pub fn is_hostless(&self) -> bool {
        HOSTLESS.contains(&self.scheme.as_str())
    }

    /// Whether an address that was set in a weaker place is meant for another registry.
    #[must_use]
    pub fn needs_no_address(&self) -> bool {
        self.is_whole() || self.is_hostless()
    }

    fn is_whole(&self) -> bool {
        !self.authority.is_empty() || !self.path.is_empty()
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
            Some(rest) => rest.split_at(authority_end(rest)),
            None if rest.is_empty() || rest.starts_with('/') => ("", rest),
            None => {
                return Err(malformed(text, "after the colon there is neither a path nor `//` and a host"));
            }
        };
        let path =
            unescape(path).ok_or_else(|| malformed(text, "a % in its path is not followed by two digits"))?;
        if authority.contains('@') {
            return Err(malformed(text, "it holds a user or a password, and would show them to everybody")
                .with_hint("set ETCD_USERNAME and ETCD_PASSWORD instead"));
        }
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
    Error::invalid(OP, format!("{:?} is malformed: {problem}", hide_user(text)))
        .with_hint("write it like `local:`, `local:///path/to/folder` or `etcd://127.0.0.1:2379`")
}

/// Where the addresses end and the path begins: at the first slash that is not part of `http://` or `https://`.
fn authority_end(rest: &str) -> usize {
    let mut at = 0;
    loop {
        let prefix = PREFIXES.iter().find(|prefix| rest[at..].starts_with(**prefix));
        at += prefix.map_or(0, |prefix| prefix.len());
        match rest[at..].find(['/', ',']) {
            None => return rest.len(),
            Some(next) => {
                at += next;
                if rest[at..].starts_with('/') {
                    return at;
                }
                at += 1;
            }
        }
    }
}

/// The text without what stands before an `@`, which may be a password.
fn hide_user(text: &str) -> Cow<'_, str> {
    match text.rsplit_once('@') {
        None => text.into(),
        Some((_, rest)) => format!("...@{rest}").into(),
    }
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
            ("etcd://https://a:2379", "etcd", "https://a:2379", ""),
            ("etcd://https://a:2379,http://b,c/x/y", "etcd", "https://a:2379,http://b,c", "/x/y"),
            ("etcd://[::1]:2379/", "etcd", "[::1]:2379", "/"),
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

    #[test]
    fn an_address_given_apart_is_put_in_its_place() {
        let together = |registry: &str, address: &str| {
            registry.parse::<RegistryUrl>().unwrap().with_address(address).map(|url| url.to_string())
        };
        for (registry, address, whole) in [
            ("etcd", "10.0.0.5", "etcd://10.0.0.5"),
            ("etcd", "a:1, b:2 ", "etcd://a:1,b:2"),
            ("etcd", "https://a:1/,https://b:2/", "etcd://https://a:1,https://b:2"),
            ("local", "/run/shop", "local:///run/shop"),
        ] {
            assert_eq!(together(registry, address).unwrap(), whole);
        }
        for (registry, address, said) in [
            ("etcd://a:1", "b:2", "given twice: etcd://a:1 and b:2"),
            ("mdns", "b:2", "the mdns registry has no host"),
            ("etcd", "a b", "character"),
        ] {
            let error = together(registry, address).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn a_password_in_a_url_is_refused_and_not_repeated() {
        for error in [
            "etcd://shop:s3cret@a:1".parse::<RegistryUrl>().unwrap_err(),
            "etcd://https://shop:s3cret@a:1,b:2/x".parse::<RegistryUrl>().unwrap_err(),
            "etcd://shop:s3cret@a:1?x=1".parse::<RegistryUrl>().unwrap_err(),
            "etcd://a:1".parse::<RegistryUrl>().unwrap().with_address("shop:s3cret@b:1").unwrap_err(),
            "local".parse::<RegistryUrl>().unwrap().with_address("shop:s3cret@b:1").unwrap_err(),
        ] {
            let shown = format!("{error:?}");
            assert!(!shown.contains("s3cret"), "{shown}");
        }
        let error = "etcd://shop:s3cret@a:1".parse::<RegistryUrl>().unwrap_err();
        assert_eq!(error.hint(), Some("set ETCD_USERNAME and ETCD_PASSWORD instead"));
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
