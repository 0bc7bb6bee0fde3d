//! What to call, as one line of text.
//!
//! ```text
//! greeter                                           the name in the default registry
//! registry://greeter?group=blue&version=1.2         the same, with conditions
//! registry://greeter?split=version:2@10&prefer=group:blue,group:green&near=eu-1a,eu-1b
//! registry://greeter?strategy=maglev&hash=header:x-user&max_load=1.25
//! local:///greeter         local:///run/shop/greeter
//! etcd:///greeter          etcd://10.0.0.1:2379,10.0.0.2:2379/greeter?domain=shop
//! mdns:///greeter          a registry, then the name
//! static://127.0.0.1:4000,127.0.0.1:4001?weight=1,3
//! ```
//!
//! Scheme, authority and path up to the last slash say which registry, as in a `RegistryUrl`; what follows the last slash is
//! the service, and the query says which of its nodes and how. Names are percent-encoded where they hold what has a meaning here (`/`, `?`, `&`, `%`).

use std::{borrow::Cow, fmt, str::FromStr, sync::Arc, time::Duration};

use callsign_core::{
    Domain, Error, Node, Result, ServiceName,
    select::{Filter, Filters, Shape, Strategy},
};
use callsign_registry::RegistryUrl;
use percent_encoding::percent_decode_str;

use super::{HashBy, roster::fixed_node};

const OP: &str = "read target";

/// The options that every target takes; `label.` is followed by the label's key.
const OPTIONS: [&str; 16] = [
    "domain",
    "endpoint",
    "group",
    "hash",
    "label.",
    "max_load",
    "name",
    "near",
    "prefer",
    "split",
    "strategy",
    "timeout",
    "version",
    "wait_for_ready",
    "weight",
    "zone",
];

/// What a channel is to call: a name, where it is looked up, and on which conditions.
///
/// ```
/// use callsign::client::Target;
///
/// let target: Target = "registry://greeter?group=blue&strategy=round-robin".parse()?;
/// assert_eq!(target.service(), "greeter");
///
/// let error = "registry://greeter?gruop=blue".parse::<Target>().unwrap_err();
/// assert!(error.hint().is_some_and(|hint| hint.contains("`group`")));
/// # Ok::<(), callsign::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Target {
    pub(super) service: ServiceName,
    pub(super) origin: Origin,
    pub(super) domain: Option<Domain>,
    pub(super) filters: Filters,
    pub(super) shape: Shape,
    pub(super) strategy: Option<Strategy>,
    pub(super) hash_by: Option<HashBy>,
    pub(super) timeout: Option<Duration>,
    pub(super) wait_for_ready: bool,
}

/// Where the nodes of a target come from.
#[derive(Debug, Clone)]
pub(super) enum Origin {
    /// The registry that the program has, or the default one.
    Default,
    Registry(RegistryUrl),
    Nodes(Arc<[Arc<Node>]>),
}

// === impl Target ===

impl Target {
    /// The service to call.
    #[must_use]
    pub fn service(&self) -> &ServiceName {
        &self.service
    }

    /// The registry that the target names, unless it leaves that to the program or lists addresses.
    #[must_use]
    pub fn registry(&self) -> Option<&RegistryUrl> {
        match &self.origin {
            Origin::Registry(url) => Some(url),
            Origin::Default | Origin::Nodes(_) => None,
        }
    }

    fn plain(name: &str) -> Result<Self> {
        Ok(Self {
            service: ServiceName::new(name)?,
            origin: Origin::Default,
            domain: None,
            filters: Filters::default(),
            shape: Shape::default(),
            strategy: None,
            hash_by: None,
            timeout: None,
            wait_for_ready: false,
        })
    }

    /// The part before the `?`.
    fn place(text: &str, scheme: &str, rest: &str, options: &Options<'_>) -> Result<Self> {
        match scheme {
            "registry" => match rest.split_once('/') {
                None => Self::plain(&decode(text, rest)?),
                Some(_) => Err(malformed(text, "registry:// is followed by the name alone")
                    .with_hint("write a slash within a name as %2F")),
            },
            "static" => {
                let name = options.get("name").unwrap_or("static");
                let mut target = Self::plain(&decode(text, name)?)?;
                target.origin = Origin::Nodes(nodes(text, &target.service, rest, options.get("weight"))?);
                Ok(target)
            }
            _ => {
                let (place, name) = match rest.rsplit_once('/') {
                    // `etcd://https://10.0.0.1:2379`: that slash belongs to the address.
                    Some((place, _)) if place.ends_with(":/") => return Err(nameless(text, scheme)),
                    Some((_, "")) => return Err(nameless(text, scheme)),
                    Some((place, name)) => (place, name),
                    // Of those without a host, such as `local://greeter`, it can only be the name.
                    None if is_hostless(scheme) => ("", rest),
                    None => return Err(nameless(text, scheme)),
                };
                let mut target = Self::plain(&decode(text, name)?)?;
                let url = if place.is_empty() { format!("{scheme}:") } else { format!("{scheme}://{place}") };
                target.origin = Origin::Registry(url.parse()?);
                Ok(target)
            }
        }
    }

    fn set(&mut self, text: &str, key: &str, value: &str) -> Result<()> {
        let owned = || decode(text, value);
        let filter = match key {
            "group" => Filter::group(owned()?),
            "version" => Filter::version(owned()?),
            "zone" => Filter::zone(owned()?),
            "endpoint" => Filter::endpoint(owned()?),
            "domain" => {
                self.domain = Some(Domain::new(owned()?)?);
                return Ok(());
            }
            "strategy" => {
                self.strategy = Some(owned()?.parse()?);
                return Ok(());
            }
            "split" => {
                self.shape = std::mem::take(&mut self.shape).with_splits(&owned()?)?;
                return Ok(());
            }
            "prefer" => {
                self.shape = std::mem::take(&mut self.shape).with_preferences(&owned()?)?;
                return Ok(());
            }
            "near" => {
                let zones = owned()?;
                if zones.split(',').any(str::is_empty) {
                    return Err(malformed(text, "a zone that is to be near has no name"));
                }
                self.shape = std::mem::take(&mut self.shape).near(zones.split(','));
                return Ok(());
            }
            "hash" => {
                self.hash_by = Some(owned()?.parse()?);
                return Ok(());
            }
            // Means something to a strategy only, and that may come after it.
            "max_load" => return Ok(()),
            "timeout" => {
                self.timeout = Some(duration(&owned()?).ok_or_else(|| {
                    malformed(text, &format!("the timeout {value:?} is not like 250ms, 2s or 1m"))
                })?);
                return Ok(());
            }
            "wait_for_ready" => {
                self.wait_for_ready = value.parse().map_err(|_| {
                    malformed(text, &format!("wait_for_ready is {value:?}, not true or false"))
                })?;
                return Ok(());
            }
            "name" | "weight" if matches!(self.origin, Origin::Nodes(_)) => return Ok(()),
            "name" | "weight" => {
                return Err(malformed(text, &format!("the option {key} is for static:// only")));
            }
            _ => match key.strip_prefix("label.") {
                Some(label) if !label.is_empty() => Filter::label(decode(text, label)?, owned()?),
                _ => return Err(unknown_option(text, key)),
            },
        };
        self.filters = self.filters.and(filter);
        Ok(())
    }
}

impl FromStr for Target {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (place, query) = text.split_once('?').unwrap_or((text, ""));
        let options = Options::read(text, query)?;
        let mut target = match place.split_once("://") {
            Some((scheme, rest)) => Self::place(text, scheme, rest, &options)?,
            None if place.contains(':') => {
                return Err(malformed(text, "after the scheme come two slashes")
                    .with_hint("for an address without a registry write static://HOST:PORT"));
            }
            None => Self::plain(&decode(text, place)?)?,
        };
        for (key, value) in &options.0 {
            target.set(text, key, value)?;
        }
        if let Some(factor) = options.get("max_load") {
            let factor = factor.parse().map_err(|_| {
                malformed(text, &format!("max_load is {factor:?}, not a number such as 1.25"))
            })?;
            target.strategy = Some(target.strategy.unwrap_or_default().with_max_load(factor)?);
        }
        Ok(target)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.service.fmt(f)
    }
}

/// The options after the `?`, still encoded, each key once.
struct Options<'a>(Vec<(&'a str, &'a str)>);

// === impl Options ===

impl<'a> Options<'a> {
    fn read(text: &str, query: &'a str) -> Result<Self> {
        let mut options: Vec<(&str, &str)> = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let Some((key, value)) = pair.split_once('=') else {
                return Err(malformed(text, &format!("the option {pair:?} has no value")));
            };
            if options.iter().any(|(known, _)| *known == key) {
                return Err(malformed(text, &format!("the option {key} is given twice")));
            }
            options.push((key, value));
        }
        Ok(Self(options))
    }

    fn get(&self, key: &str) -> Option<&'a str> {
        self.0.iter().find(|(known, _)| *known == key).map(|(_, value)| *value)
    }
}

/// The nodes of a list of addresses, with their weights if there are any.
fn nodes(
    text: &str,
    service: &ServiceName,
    addresses: &str,
    weights: Option<&str>,
) -> Result<Arc<[Arc<Node>]>> {
    let addresses: Vec<&str> = addresses.trim_end_matches('/').split(',').collect();
    let weights: Vec<Option<u16>> = match weights {
        None => vec![None; addresses.len()],
        Some(weights) => weights
            .split(',')
            .map(|weight| {
                weight.parse().map(Some).map_err(|_| {
                    malformed(text, &format!("the weight {weight:?} is not a whole number from 0 to 65535"))
                })
            })
            .collect::<Result<_>>()?,
    };
    if weights.len() != addresses.len() {
        let problem = format!("there are {} addresses and {} weights", addresses.len(), weights.len());
        return Err(malformed(text, &problem));
    }
    let mut nodes: Vec<Arc<Node>> = Vec::with_capacity(addresses.len());
    for (address, weight) in addresses.into_iter().zip(weights) {
        let address = address.parse()?;
        let node = fixed_node(service, &address, weight)?;
        if nodes.iter().any(|known| known.id() == node.id()) {
            return Err(malformed(text, &format!("the address {address} is given twice")));
        }
        nodes.push(node);
    }
    Ok(nodes.into())
}

fn decode(text: &str, part: &str) -> Result<String> {
    percent_decode_str(part)
        .decode_utf8()
        .map(Cow::into_owned)
        .map_err(|_| malformed(text, "what its percent signs stand for is not UTF-8"))
}

/// `250ms`, `2s`, `1.5s`, `1m`, `1h`; never zero.
fn duration(text: &str) -> Option<Duration> {
    let at = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(at);
    let number: f64 = number.parse().ok()?;
    let seconds = match unit {
        "ms" => number / 1000.0,
        "s" => number,
        "m" => number * 60.0,
        "h" => number * 3600.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(seconds).ok().filter(|duration| !duration.is_zero())
}

fn malformed(text: &str, problem: &str) -> Error {
    Error::invalid(OP, format!("{:?} is malformed: {problem}", without_user(text)))
}

/// The text without what stands between the scheme and an `@`: it may be a password, and errors are shown to everybody.
fn without_user(text: &str) -> Cow<'_, str> {
    match (text.split_once("://"), text.rsplit_once('@')) {
        (Some((scheme, _)), Some((before, after))) if before.len() > scheme.len() => {
            format!("{scheme}://...@{after}").into()
        }
        _ => text.into(),
    }
}

fn is_hostless(scheme: &str) -> bool {
    scheme.parse::<RegistryUrl>().is_ok_and(|kind| kind.is_hostless())
}

fn nameless(text: &str, scheme: &str) -> Error {
    malformed(text, "the name of the service is missing after the last slash")
        .with_hint(format!("write it like `{scheme}:///greeter` or `{scheme}://HOST:PORT/greeter`"))
}

fn unknown_option(text: &str, key: &str) -> Error {
    let near = OPTIONS.iter().min_by_key(|known| strsim::damerau_levenshtein(key, known));
    let hint = match near {
        Some(known) if strsim::damerau_levenshtein(key, known) <= 2 => format!("did you mean `{known}`?"),
        _ => format!("known are {}", OPTIONS.join(", ")),
    };
    malformed(text, &format!("there is no option {key:?}")).with_hint(hint)
}

#[cfg(test)]
mod tests {
    use callsign_core::ErrorKind;
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Target {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn each_form_is_read() {
        assert_eq!(parse("greeter").service(), "greeter");
        assert!(parse("registry://a%2Fb").registry().is_none());
        assert_eq!(parse("registry://a%2Fb").service(), "a/b");
        assert_eq!(parse("local://greeter").registry().unwrap().to_string(), "local:");
        let folder = parse("local:///run/shop/greeter");
        assert_eq!((folder.service().as_str(), folder.registry().unwrap().path()), ("greeter", "/run/shop"));
        let etcd = parse("etcd://10.0.0.1:2379,10.0.0.2:2379/user-server");
        assert_eq!(etcd.service(), "user-server");
        assert_eq!(etcd.registry().unwrap().authority(), "10.0.0.1:2379,10.0.0.2:2379");
        let secure = parse("etcd://https://10.0.0.1:2379/a%2Fb?group=A");
        assert_eq!(secure.service(), "a/b");
        assert_eq!(secure.registry().unwrap().authority(), "https://10.0.0.1:2379");
        for scheme in ["etcd", "mdns", "local"] {
            let target = parse(&format!("{scheme}:///greeter"));
            assert_eq!(target.service(), "greeter");
            assert_eq!(target.registry().unwrap().to_string(), format!("{scheme}:"));
        }
        assert_eq!(parse("mdns://greeter").service(), "greeter");
    }

    #[test]
    fn options_are_read() {
        let target = parse(
            "registry://user-server?group=A&version=1.2&label.team=shop%20floor&strategy=random&timeout=250ms\
             &domain=eu&wait_for_ready=true",
        );
        assert_eq!(target.filters.iter().count(), 3);
        assert_eq!(target.strategy.unwrap().name(), "random");
        assert_eq!(target.timeout, Some(Duration::from_millis(250)));
        assert_eq!(target.domain.unwrap().as_str(), "eu");
        assert!(target.wait_for_ready);
    }

    #[test]
    fn a_strategy_has_its_settings() {
        let target = parse("greeter?max_load=1.25&strategy=maglev&hash=header:x-user");
        let expected =
            "maglev".parse::<callsign_core::select::Strategy>().unwrap().with_max_load(1.25).unwrap();
        assert_eq!(format!("{:?}", target.strategy.unwrap()), format!("{expected:?}"));
        assert_eq!(target.hash_by.unwrap().to_string(), "header:x-user");
    }

    #[test]
    fn calls_have_a_shape() {
        let target = parse("greeter?split=version:2@10&prefer=group:blue,version:1,none&near=eu-1a,eu-1b");
        assert_eq!(
            target.shape.to_string(),
            "10 % to version=2, rather group=blue, rather version=1, nobody else, near eu-1a, near eu-1b"
        );
        assert!(parse("greeter").shape.is_plain());
    }

    #[test]
    fn fixed_addresses_have_weights() {
        let Origin::Nodes(nodes) = parse("static://127.0.0.1:1,[::1]:2?weight=0,3&name=greeter").origin
        else {
            panic!("not a list")
        };
        let seen: Vec<_> = nodes.iter().map(|node| (node.address(), node.weight())).collect();
        assert_eq!(seen, [("127.0.0.1:1", Some(0)), ("[::1]:2", Some(3))]);
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, said) in [
            ("", "it is empty"),
            ("registry://", "it is empty"),
            ("registry://a/b", "name alone"),
            ("registry:greeter", "two slashes"),
            ("127.0.0.1:80", "two slashes"),
            ("etcd://10.0.0.1:2379", "name of the service is missing"),
            ("etcd://https://10.0.0.1:2379", "name of the service is missing"),
            ("etcd://10.0.0.1:2379/", "name of the service is missing"),
            ("mdns:///", "name of the service is missing"),
            ("etcd://shop:s3cret@10.0.0.1:2379/greeter", "user or a password"),
            ("registry://a?x=1", "no option \"x\""),
            ("registry://a?group", "has no value"),
            ("registry://a?group=1&group=2", "given twice"),
            ("registry://a?weight=1", "static:// only"),
            ("registry://a?timeout=0s", "not like"),
            ("registry://a?timeout=5", "not like"),
            ("registry://a?wait_for_ready=yes", "not true or false"),
            ("registry://%ff", "not UTF-8"),
            ("registry://a?strategy=maglef", "no strategy \"maglef\""),
            ("registry://a?split=version:2@120", "not 120"),
            ("registry://a?prefer=group", "no `=`"),
            ("registry://a?near=,", "has no name"),
            ("registry://a?hash=x-user", "does not say what a call is about"),
            ("registry://a?strategy=maglev&max_load=NaN", "not NaN"),
            ("registry://a?strategy=maglev&max_load=much", "not a number"),
            ("registry://a?strategy=random&max_load=2", "the strategy random has no bound"),
            ("static://a:1,b", "no port"),
            ("static://a:1,a:1", "given twice"),
            ("static://a:1?weight=1,2", "1 addresses and 2 weights"),
            ("static://a:1?weight=-1", "not a whole number"),
        ] {
            let error = text.parse::<Target>().expect_err(text);
            assert!(error.to_string().contains(said), "{text}: {error}");
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{text}");
        }
        let error = "registry://a?stratgy=random".parse::<Target>().unwrap_err();
        assert_eq!(error.hint(), Some("did you mean `strategy`?"));
    }

    #[test]
    fn a_password_is_refused_and_not_repeated() {
        for place in
            ["etcd://me:s3cret@a:1/greeter", "etcd://me:s3cret@a:1", "etcd://https://me:s3cret@a:1/x?y=z"]
        {
            let error = place.parse::<Target>().unwrap_err();
            assert!(!format!("{error:?}").contains("s3cret"), "{error:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,60}") {
            let _ = text.parse::<Target>();
        }

        #[test]
        fn no_query_makes_it_panic(query in "([a-z._]{0,9}[=&,:%0-9a-z]{0,9}){0,6}") {
            let _ = format!("static://a:1?{query}").parse::<Target>();
        }
    }
}
