//! Which nodes may take a call at all.

use std::{
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    str::FromStr,
    sync::Arc,
};

use crate::{
    error::{Error, Result},
    model::{Node, keys},
};

/// One condition on a node.
///
/// As text, `version=1.2`, `group=blue`, `zone=eu-1a`, `endpoint=Greeter.Hello`, `protocol=grpc`, and `label.team=shop` for
/// any other pair of a node's metadata.
#[derive(Clone)]
#[non_exhaustive]
pub enum Filter {
    /// The version, or the first parts of it: `1.2` admits `1.2` and `1.2.7`, but not `1.20`.
    Version(String),
    /// A pair of the node's metadata.
    Label {
        /// The metadata key.
        key: String,
        /// Its value.
        value: String,
    },
    /// A method that the node says it offers.
    Endpoint(String),
    /// The node's group.
    Group(String),
    /// The node's zone.
    Zone(String),
    /// What the node speaks.
    Protocol(String),
    /// A condition of your own. Clones are the same; two that were made apart are not.
    Custom(Arc<dyn CustomFilter>),
}

/// A condition of your own: give it to [`Filter::Custom`]. A closure does as well: [`Filter::custom`].
pub trait CustomFilter: fmt::Debug + Send + Sync {
    /// What messages call it.
    fn name(&self) -> &str;

    /// Whether a node passes. Called when nodes change, never on a pick; the same node must always get the same answer.
    fn passes(&self, node: &Node) -> bool;
}

/// Conditions that a node must all meet. None at all admits every node.
///
/// Order and repetition do not matter. Clones share their storage, and the hash is computed once, so a set that is made once
/// and cloned for each call costs the pick next to nothing.
#[derive(Clone, Default)]
pub struct Filters(Option<Arc<Set>>);

struct Closure<F> {
    name: String,
    passes: F,
}

struct Set {
    /// Sorted, each once.
    filters: Vec<Filter>,
    hash: u64,
}

// === impl Filter ===

impl Filter {
    /// The version, or the first parts of it.
    pub fn version(version: impl Into<String>) -> Self {
        Self::Version(version.into())
    }

    /// A pair of the node's metadata.
    pub fn label(key: impl Into<String>, value: impl Into<String>) -> Self {
        Self::Label { key: key.into(), value: value.into() }
    }

    /// A method that the node says it offers: `Greeter.Hello`.
    pub fn endpoint(name: impl Into<String>) -> Self {
        Self::Endpoint(name.into())
    }

    /// The node's group.
    pub fn group(group: impl Into<String>) -> Self {
        Self::Group(group.into())
    }

    /// The node's zone.
    pub fn zone(zone: impl Into<String>) -> Self {
        Self::Zone(zone.into())
    }

    /// What the node speaks.
    pub fn protocol(protocol: impl Into<String>) -> Self {
        Self::Protocol(protocol.into())
    }

    /// A condition of your own; `name` is what messages call it.
    pub fn custom(name: impl Into<String>, passes: impl Fn(&Node) -> bool + Send + Sync + 'static) -> Self {
        Self::Custom(Arc::new(Closure { name: name.into(), passes }))
    }

    /// Whether `node` meets the condition.
    #[must_use]
    pub fn passes(&self, node: &Node) -> bool {
        match self {
            Self::Version(version) => version_matches(node.version(), version),
            Self::Endpoint(name) => node.endpoints().iter().any(|endpoint| endpoint.name == *name),
            Self::Custom(custom) => custom.passes(node),
            Self::Label { value, .. } | Self::Group(value) | Self::Zone(value) | Self::Protocol(value) => {
                self.found_in(node) == Some(value)
            }
        }
    }

    /// What `node` has in the place that the condition looks at, for those that look at one.
    pub(super) fn found_in<'a>(&self, node: &'a Node) -> Option<&'a str> {
        let key = match self {
            Self::Version(_) => return Some(node.version()),
            Self::Endpoint(_) | Self::Custom(_) => return None,
            Self::Label { key, value: _ } => key,
            Self::Group(_) => keys::GROUP,
            Self::Zone(_) => keys::ZONE,
            Self::Protocol(_) => keys::PROTOCOL,
        };
        node.metadata().get(key)
    }

    /// Whether both want something else in the same place.
    fn contradicts(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Version(a), Self::Version(b)) => !version_matches(a, b) && !version_matches(b, a),
            (Self::Group(a), Self::Group(b))
            | (Self::Zone(a), Self::Zone(b))
            | (Self::Protocol(a), Self::Protocol(b)) => a != b,
            (Self::Label { key: k, value: a }, Self::Label { key: l, value: b }) => k == l && a != b,
            _ => false,
        }
    }

    /// What makes two filters the same, in the order they are sorted by.
    fn identity(&self) -> (u8, &str, &str, usize) {
        match self {
            Self::Version(version) => (0, version, "", 0),
            Self::Label { key, value } => (1, key, value, 0),
            Self::Endpoint(name) => (2, name, "", 0),
            Self::Group(group) => (3, group, "", 0),
            Self::Zone(zone) => (4, zone, "", 0),
            Self::Protocol(protocol) => (5, protocol, "", 0),
            Self::Custom(custom) => (6, custom.name(), "", Arc::as_ptr(custom).cast::<()>() as usize),
        }
    }
}

impl PartialEq for Filter {
    fn eq(&self, other: &Self) -> bool {
        // Not by identity: a pick compares filters, and this touches the texts once.
        match (self, other) {
            (Self::Version(a), Self::Version(b))
            | (Self::Endpoint(a), Self::Endpoint(b))
            | (Self::Group(a), Self::Group(b))
            | (Self::Zone(a), Self::Zone(b))
            | (Self::Protocol(a), Self::Protocol(b)) => a == b,
            (Self::Label { key: k, value: a }, Self::Label { key: l, value: b }) => a == b && k == l,
            (Self::Custom(_), Self::Custom(_)) => self.identity() == other.identity(),
            _ => false,
        }
    }
}

impl Eq for Filter {}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(version) => write!(f, "version={version}"),
            Self::Label { key, value } => write!(f, "label.{key}={value}"),
            Self::Endpoint(name) => write!(f, "endpoint={name}"),
            Self::Group(group) => write!(f, "group={group}"),
            Self::Zone(zone) => write!(f, "zone={zone}"),
            Self::Protocol(protocol) => write!(f, "protocol={protocol}"),
            Self::Custom(custom) => f.write_str(custom.name()),
        }
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Filter({self})")
    }
}

impl FromStr for Filter {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = |what: String| {
            Error::invalid("read filter", what)
                .with_hint("write one of version=, group=, zone=, endpoint=, protocol=, label.KEY=")
        };
        let (key, value) = text
            .split_once('=')
            .ok_or_else(|| wrong(format!("{text:?} has no `=` between key and value")))?;
        if value.is_empty() {
            return Err(wrong(format!("{text:?} has no value after the `=`")));
        }
        match key {
            "version" => Ok(Self::version(value)),
            "endpoint" => Ok(Self::endpoint(value)),
            "group" => Ok(Self::group(value)),
            "zone" => Ok(Self::zone(value)),
            "protocol" => Ok(Self::protocol(value)),
            _ => match key.strip_prefix("label.") {
                Some(label) if !label.is_empty() => Ok(Self::label(label, value)),
                _ => Err(wrong(format!("there is no filter {key:?}"))),
            },
        }
    }
}

// === impl Closure ===

impl<F: Fn(&Node) -> bool + Send + Sync> CustomFilter for Closure<F> {
    fn name(&self) -> &str {
        &self.name
    }

    fn passes(&self, node: &Node) -> bool {
        (self.passes)(node)
    }
}

impl<F> fmt::Debug for Closure<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

// === impl Filters ===

impl Filters {
    /// The conjunction of `filters`.
    pub fn new(filters: impl IntoIterator<Item = Filter>) -> Self {
        let mut filters: Vec<_> = filters.into_iter().collect();
        if filters.is_empty() {
            return Self(None);
        }
        filters.sort_by(|a, b| a.identity().cmp(&b.identity()));
        filters.dedup();
        let mut hasher = DefaultHasher::new();
        for filter in &filters {
            filter.identity().hash(&mut hasher);
        }
        Self(Some(Arc::new(Set { filters, hash: hasher.finish() })))
    }

    /// These filters and one more.
    #[must_use]
    pub fn and(&self, filter: Filter) -> Self {
        Self::new(self.iter().cloned().chain([filter]))
    }

    /// These filters and those of `other`.
    #[must_use]
    pub fn and_all(&self, other: &Self) -> Self {
        if other.is_empty() {
            return self.clone();
        }
        Self::new(self.iter().chain(other.iter()).cloned())
    }

    /// Fails if no node can meet all conditions, because two of them want different values in the same place.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) with these two.
    pub fn check(&self) -> Result<()> {
        for (n, one) in self.iter().enumerate() {
            if let Some(other) = self.iter().skip(n + 1).find(|other| one.contradicts(other)) {
                let message = format!("no node can be of {one} and of {other}");
                return Err(Error::invalid("narrow down the nodes", message)
                    .with_hint("leave one of them out, or prefer one to the other"));
            }
        }
        Ok(())
    }

    /// Whether every node passes, because there is no condition.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The conditions, in an order of their own.
    pub fn iter(&self) -> std::slice::Iter<'_, Filter> {
        self.0.as_ref().map_or(&[][..], |set| &set.filters).iter()
    }

    /// Whether `node` meets all conditions.
    #[must_use]
    pub fn pass(&self, node: &Node) -> bool {
        self.iter().all(|filter| filter.passes(node))
    }

    pub(super) fn cached_hash(&self) -> u64 {
        self.0.as_ref().map_or(0, |set| set.hash)
    }
}

impl PartialEq for Filters {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (None, None) => true,
            (Some(a), Some(b)) => Arc::ptr_eq(a, b) || (a.hash == b.hash && a.filters == b.filters),
            (None, Some(_)) | (Some(_), None) => false,
        }
    }
}

impl Eq for Filters {}

impl Hash for Filters {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.cached_hash().hash(state);
    }
}

impl From<Filter> for Filters {
    fn from(filter: Filter) -> Self {
        Self::new([filter])
    }
}

impl FromIterator<Filter> for Filters {
    fn from_iter<I: IntoIterator<Item = Filter>>(filters: I) -> Self {
        Self::new(filters)
    }
}

impl<'a> IntoIterator for &'a Filters {
    type Item = &'a Filter;
    type IntoIter = std::slice::Iter<'a, Filter>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Filters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, filter) in self.iter().enumerate() {
            if n > 0 {
                f.write_str(" and ")?;
            }
            filter.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Filters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Filters({self})")
    }
}

/// Whether `version` is `wanted` or continues it after a dot.
fn version_matches(version: &str, wanted: &str) -> bool {
    version.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node() -> Node {
        Node::builder("greeter", "greeter-1", "127.0.0.1:1")
            .version("1.2.7")
            .group("blue")
            .zone("eu-1a")
            .metadata(keys::PROTOCOL, "grpc")
            .metadata("team", "shop")
            .endpoints([crate::Endpoint { name: "Greeter.Hello".into(), ..crate::Endpoint::default() }])
            .build()
            .unwrap()
    }

    #[test]
    fn each_filter_looks_at_its_own_place() {
        for (text, passes) in [
            ("version=1.2.7", true),
            ("version=1.2", true),
            ("version=1.20", false),
            ("version=1.2.", false),
            ("version=1.2.7.1", false),
            ("group=blue", true),
            ("group=blu", false),
            ("zone=eu-1a", true),
            ("zone=eu", false),
            ("protocol=grpc", true),
            ("protocol=http", false),
            ("endpoint=Greeter.Hello", true),
            ("endpoint=Greeter", false),
            ("label.team=shop", true),
            ("label.team=pay", false),
            ("label.none=shop", false),
        ] {
            let filter: Filter = text.parse().unwrap();
            assert_eq!(filter.to_string(), text);
            assert_eq!(filter.passes(&node()), passes, "{text}");
        }
        assert!(Filter::custom("short id", |node| node.id().as_str().len() < 10).passes(&node()));
    }

    #[test]
    fn a_malformed_filter_says_what_is_wrong_with_it() {
        for (text, said) in [
            ("group", "no `=`"),
            ("group=", "no value"),
            ("grup=a", "no filter \"grup\""),
            ("label.=a", "no filter"),
        ] {
            let error = text.parse::<Filter>().unwrap_err();
            assert!(error.to_string().contains(said), "{error}");
            assert!(error.hint().is_some());
        }
    }

    #[test]
    fn a_set_is_the_same_whatever_the_order_and_repetition() {
        let (a, b) = (Filter::group("blue"), Filter::zone("eu-1a"));
        let one = Filters::new([a.clone(), b.clone()]);
        let other = Filters::new([b.clone(), a.clone(), b.clone()]);
        assert_eq!(one, other);
        assert_eq!(one.cached_hash(), other.cached_hash());
        assert_ne!(one, Filters::from(a.clone()));
        assert_ne!(one, Filters::default());
        assert_eq!(Filters::from(a).and(b), one);
        assert_eq!(Filters::default().and_all(&one), one);
        assert_eq!(Filters::new([]), Filters::default());
    }

    #[test]
    fn custom_filters_are_told_apart_by_function() {
        let one = Filter::custom("odd", |_| true);
        assert_eq!(one, one.clone());
        assert_ne!(one, Filter::custom("odd", |_| false));
        assert_eq!(one.to_string(), "odd");
    }
}
