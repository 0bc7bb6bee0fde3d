//! Text to text, packed: what services, nodes and endpoints carry beside their fields.
//!
//! A client of a large fleet holds the metadata of every node in it, and a map of strings costs ten times the text: a
//! header and an allocation for each key and each value. Here all of it is one text with the positions of its parts
//! beside it, shared by every clone. Reading is a binary search; changing it packs it anew, which only builders do.

use std::{collections::BTreeMap, fmt, sync::Arc};

use serde::ser::{Serialize, Serializer};

/// Pairs of text in the (byte) order of their keys, each key once. Cheap to clone.
///
/// ```
/// use callsign_core::model::Metadata;
///
/// let metadata = Metadata::from_iter([("zone", "eu-1a"), ("group", "blue")]);
/// assert_eq!(metadata.get("zone"), Some("eu-1a"));
/// assert_eq!(metadata.iter().next(), Some(("group", "blue")));
/// ```
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Metadata(Option<Arc<Packed>>);

/// All keys and values one after the other, and where each of them ends.
#[derive(PartialEq, Eq, Hash)]
struct Packed {
    text: Box<str>,
    ends: Box<[u32]>,
}

// === impl Metadata ===

impl Metadata {
    /// No pairs. Allocates nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self(None)
    }

    /// The value under `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        let packed = self.0.as_deref()?;
        let (mut from, mut to) = (0, packed.len());
        while from < to {
            let middle = (from + to) / 2;
            let (found, value) = packed.pair(middle);
            match found.cmp(key) {
                std::cmp::Ordering::Less => from = middle + 1,
                std::cmp::Ordering::Equal => return Some(value),
                std::cmp::Ordering::Greater => to = middle,
            }
        }
        None
    }

    /// Whether there is a value under `key`.
    #[must_use]
    pub fn contains_key(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// Puts `value` under `key`, in place of what was there.
    ///
    /// Takes time in proportion to the whole: collect into a [`Metadata`] rather than insert one by one.
    pub fn insert(&mut self, key: impl Into<String>, value: impl Into<String>) {
        let (key, value) = (key.into(), value.into());
        self.extend([(key, value)]);
    }

    /// The pairs, in the order of their keys.
    #[must_use]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> + Clone {
        (0..self.len()).map(|index| self.0.as_deref().map_or(("", ""), |packed| packed.pair(index)))
    }

    /// The keys, in order.
    #[must_use]
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &str> + Clone {
        self.iter().map(|(key, _)| key)
    }

    /// How many pairs there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.as_deref().map_or(0, Packed::len)
    }

    /// Whether another handle holds the same pairs.
    pub(super) fn is_shared(&self) -> bool {
        self.0.as_ref().is_some_and(|packed| Arc::strong_count(packed) > 1)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Metadata {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let sorted: BTreeMap<String, String> =
            pairs.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        Packed::pack(&sorted)
    }
}

impl<K: Into<String>, V: Into<String>> Extend<(K, V)> for Metadata {
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, pairs: I) {
        let old = self.iter().map(|(key, value)| (key.to_owned(), value.to_owned()));
        *self = old.chain(pairs.into_iter().map(|(key, value)| (key.into(), value.into()))).collect();
    }
}

impl<K: Into<String>, V: Into<String>, const N: usize> From<[(K, V); N]> for Metadata {
    fn from(pairs: [(K, V); N]) -> Self {
        pairs.into_iter().collect()
    }
}

impl Serialize for Metadata {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

// === impl Packed ===

impl Packed {
    /// Text past four gigabytes cannot be addressed, and is left out from the first such pair on; limits on names and
    /// metadata lie a thousand times lower.
    fn pack(pairs: &BTreeMap<String, String>) -> Metadata {
        let mut text = String::with_capacity(pairs.iter().map(|(key, value)| key.len() + value.len()).sum());
        let mut ends = Vec::with_capacity(pairs.len() * 2);
        for (key, value) in pairs {
            let Ok(end) = u32::try_from(text.len() + key.len() + value.len()) else { break };
            text.push_str(key);
            ends.extend([end - value.len() as u32, end]);
            text.push_str(value);
        }
        if ends.is_empty() {
            return Metadata(None);
        }
        Metadata(Some(Arc::new(Self { text: text.into(), ends: ends.into() })))
    }

    fn len(&self) -> usize {
        self.ends.len() / 2
    }

    fn pair(&self, index: usize) -> (&str, &str) {
        let end = |at: usize| self.ends[at] as usize;
        let start = if index == 0 { 0 } else { end(2 * index - 1) };
        let (key_end, value_end) = (end(2 * index), end(2 * index + 1));
        (&self.text[start..key_end], &self.text[key_end..value_end])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_map_of_strings(
            pairs in prop::collection::vec(any::<(String, String)>(), 0..12), absent: String,
        ) {
            let model: BTreeMap<String, String> = pairs.iter().cloned().collect();
            let packed: Metadata = pairs.iter().cloned().collect();
            prop_assert_eq!(packed.len(), model.len());
            prop_assert_eq!(packed.is_empty(), model.is_empty());
            prop_assert!(packed.iter().eq(model.iter().map(|(key, value)| (&**key, &**value))));
            for key in model.keys().chain([&absent]) {
                prop_assert_eq!(packed.get(key), model.get(key).map(String::as_str));
            }
            let mut grown = Metadata::new();
            for (key, value) in pairs {
                grown.insert(key, value);
            }
            prop_assert_eq!(grown, packed);
        }
    }

    #[test]
    fn the_usual_five_pairs_take_less_than_two_hundred_bytes() {
        let metadata = Metadata::from([
            ("broker", "http"),
            ("protocol", "grpc"),
            ("registry", "etcd"),
            ("server", "grpc"),
            ("transport", "grpc"),
        ]);
        let packed = metadata.0.unwrap();
        let bytes = size_of::<Packed>() + 2 * size_of::<usize>() + packed.text.len() + 4 * packed.ends.len();
        assert!(bytes < 200, "{bytes}");
    }
}
