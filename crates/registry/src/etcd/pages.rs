//! Reading a range in pages, all of one state.
//!
//! Pages are bounded by their number of entries, because that is the only bound etcd knows. When one turns out to be too long
//! (somebody keeps large values among the entries), it is asked for again with fewer; an entry that is too long by itself is
//! asked for without its value, and passed over.

use bytes::{BufMut, Bytes, BytesMut};

use super::client::{Range, api};

/// Entries on a page; half a megabyte of usual ones.
const ENTRIES_MAX: i64 = 1000;

/// What is still to be read of a range.
#[derive(Debug)]
pub(super) struct Pages {
    next: Bytes,
    end: Bytes,
    entries_max: i64,
    keys_only: bool,
    done: bool,
}

// === impl Pages ===

impl Pages {
    pub(super) fn new(range: Range) -> Self {
        let Range { key, end } = range;
        Self { next: key, end, entries_max: ENTRIES_MAX, keys_only: false, done: false }
    }

    pub(super) fn is_done(&self) -> bool {
        self.done
    }

    /// The request for the next page, of the state at `revision`; 0 stands for the present.
    pub(super) fn request(&self, revision: i64) -> api::RangeRequest {
        api::RangeRequest {
            key: self.next.clone(),
            range_end: self.end.clone(),
            limit: self.entries_max,
            revision,
            keys_only: self.keys_only,
        }
    }

    /// Takes the page that was asked for, and says whether its entries have their values.
    pub(super) fn took(&mut self, page: &api::RangeResponse) -> bool {
        let with_values = !self.keys_only;
        self.keys_only = false;
        self.entries_max = (self.entries_max * 2).min(ENTRIES_MAX);
        match page.kvs.last() {
            Some(last) if page.more => {
                let mut next = BytesMut::with_capacity(last.key.len() + 1);
                next.put_slice(&last.key);
                next.put_u8(0);
                self.next = next.freeze();
            }
            _ => self.done = true,
        }
        with_values
    }

    /// The page was too long: fewer entries, and at last one without its value. `false` when even that was asked for.
    pub(super) fn shrink(&mut self) -> bool {
        if self.entries_max > 1 {
            self.entries_max = (self.entries_max / 8).max(1);
            return true;
        }
        !std::mem::replace(&mut self.keys_only, true)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// etcd in ten lines: entries by key, and a limit for messages.
    fn answer(
        store: &BTreeMap<Vec<u8>, usize>,
        request: &api::RangeRequest,
        bytes_max: usize,
    ) -> Option<api::RangeResponse> {
        let found: Vec<_> = store.range(request.key.to_vec()..request.range_end.to_vec()).collect();
        let page = &found[..found.len().min(request.limit as usize)];
        let bytes: usize = if request.keys_only { 0 } else { page.iter().map(|(_, size)| **size).sum() };
        let kvs =
            page.iter().map(|(key, _)| api::KeyValue { key: (*key).clone().into(), ..Default::default() });
        (bytes <= bytes_max).then(|| api::RangeResponse {
            kvs: kvs.collect(),
            more: page.len() < found.len(),
            ..Default::default()
        })
    }

    proptest! {
        #[test]
        fn every_entry_is_read_once_and_in_order_whatever_the_sizes(
            sizes in prop::collection::vec(prop_oneof![9 => 1usize..100, 1 => 100usize..5000], 0..400),
            bytes_max in 100usize..2000,
        ) {
            let store: BTreeMap<_, _> =
                sizes.iter().enumerate().map(|(n, size)| (format!("/r/{n:05}").into_bytes(), *size)).collect();
            let mut pages = Pages::new(Range { key: "/r/".into(), end: "/r0".into() });
            let (mut seen, mut requests) = (Vec::new(), 0);
            while !pages.is_done() {
                requests += 1;
                prop_assert!(requests < 4 * sizes.len() + 10, "no end");
                let request = pages.request(7);
                prop_assert_eq!(request.revision, 7);
                match answer(&store, &request, bytes_max) {
                    Some(page) => {
                        let with_values = pages.took(&page);
                        seen.extend(page.kvs.into_iter().map(|kv| (kv.key.to_vec(), with_values)));
                    }
                    None => prop_assert!(pages.shrink()),
                }
            }
            let wanted: Vec<_> = store.into_iter().map(|(key, size)| (key, size <= bytes_max)).collect();
            prop_assert!(seen.iter().map(|(key, _)| key).eq(wanted.iter().map(|(key, _)| key)));
            // Only what is too long by itself may have been read without its value.
            prop_assert!(seen.iter().zip(&wanted).all(|(seen, wanted)| seen.1 == wanted.1));
        }
    }
}
