//! What is there: all pages of a scope at one revision, read and put together.

use std::{collections::HashSet, sync::Arc};

use bytes::Bytes;
use callsign_core::{
    Domain, Node, ServiceName,
    error::{Error, ErrorKind, Result},
};

use super::{
    Handle,
    client::{Fault, api},
    clock::Moment,
    entry::Read,
    keys,
    pages::Pages,
};

/// How often a list is begun anew that was overtaken by a compaction or a restart.
const BEGINNINGS_MAX: usize = 3;
/// Entries read between two chances for others to run.
const READ_AT_ONCE: usize = 64;

/// What is looked at.
#[derive(Debug, Clone)]
pub(super) struct Scope {
    pub(super) domain: Domain,
    pub(super) service: Option<ServiceName>,
}

/// A scope's entries at one moment.
#[derive(Debug)]
pub(super) struct Picture {
    pub(super) nodes: Vec<Arc<Node>>,
    pub(super) poisoned: usize,
    pub(super) moment: Moment,
    /// Whether some entries are where no node of theirs is at home: those may be there twice.
    pub(super) has_strays: bool,
    /// What was written last.
    pub(super) witness: Option<Witness>,
}

/// A writing that is part of one store's history, and of no other's: leases have numbers that nobody has twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Witness {
    pub(super) key: Bytes,
    pub(super) revision: i64,
    pub(super) lease: i64,
}

/// Entries as they are read.
#[derive(Debug, Default)]
struct Gathered {
    witness: Option<Witness>,
    nodes: Vec<Arc<Node>>,
    strays: Vec<Arc<Node>>,
    poisoned: usize,
}

// === impl Scope ===

impl Scope {
    pub(super) fn covers(&self, node: &Node) -> bool {
        self.domain.covers(node.domain()) && self.service.as_ref().is_none_or(|name| name == node.service())
    }

    fn pages(&self) -> Vec<Pages> {
        keys::ranges(&self.domain, self.service.as_ref()).into_iter().map(Pages::new).collect()
    }
}

// === impl Handle ===

impl Handle {
    /// Reads a scope.
    pub(super) async fn picture(&self, op: &'static str, scope: &Scope) -> Result<Picture> {
        for _ in 0..BEGINNINGS_MAX {
            match self.try_picture(scope).await {
                Ok(Some(picture)) => return Ok(picture),
                Ok(None) => {}
                Err(fault) if fault.is_other_revision() => {}
                Err(fault) => return Err(fault.into_error(op)),
            }
            tracing::debug!("the list was overtaken; reading it anew");
        }
        let message = "etcd's history was compacted or begun anew each time before the list was whole";
        Err(Error::new(ErrorKind::Unavailable, op, message))
    }

    /// `None` when etcd began its count anew meanwhile.
    async fn try_picture(&self, scope: &Scope) -> Result<Option<Picture>, Fault> {
        let mut pages = scope.pages();
        let mut gathered = Gathered::default();
        let mark = self.clock.mark();
        let (revision, firsts) = self.first_pages(&mut pages).await?;
        let Some(moment) = self.clock.moment(mark, revision) else { return Ok(None) };
        for (pages, first) in pages.iter_mut().zip(firsts) {
            let mut page = first;
            loop {
                let with_values = pages.took(&page);
                if pages.is_done() {
                    self.gather(&page.kvs, with_values, scope, &mut gathered).await;
                    break;
                }
                // While this page is read, etcd gets the next one ready.
                let (next, ()) = futures_util::join!(
                    self.next_page(pages, revision),
                    self.gather(&page.kvs, with_values, scope, &mut gathered)
                );
                page = next?;
            }
        }
        let Gathered { witness, mut nodes, strays, poisoned } = gathered;
        let has_strays = !strays.is_empty();
        if has_strays {
            let mut there: HashSet<_> = nodes.iter().map(|node| node.key()).collect();
            nodes.extend(strays.into_iter().filter(|stray| there.insert(stray.key())));
        }
        Ok(Some(Picture { nodes, poisoned, moment, has_strays, witness }))
    }

    /// The first page of each range, all of one revision.
    async fn first_pages(&self, pages: &mut [Pages]) -> Result<(i64, Vec<api::RangeResponse>), Fault> {
        loop {
            let requests: Vec<_> = pages.iter().map(|pages| pages.request(0)).collect();
            match self.client.read(requests, self.client.deadline()).await {
                Ok(answer) => {
                    let revision = answer.header.map_or(0, |header| header.revision);
                    let ranges =
                        answer.responses.into_iter().filter_map(|response| match response.response {
                            Some(api::response_op::Response::ResponseRange(range)) => Some(range),
                            _ => None,
                        });
                    let ranges: Vec<_> = ranges.collect();
                    if ranges.len() != pages.len() {
                        return Err(Fault::NotEtcd("it left a question unanswered".into()));
                    }
                    return Ok((revision, ranges));
                }
                Err(fault) if fault.is_too_big() => {
                    let smaller: Vec<_> = pages.iter_mut().map(Pages::shrink).collect();
                    if !smaller.contains(&true) {
                        return Err(fault);
                    }
                }
                Err(fault) => return Err(fault),
            }
        }
    }

    async fn next_page(&self, pages: &mut Pages, revision: i64) -> Result<api::RangeResponse, Fault> {
        loop {
            match self.client.range(&pages.request(revision), self.client.deadline()).await {
                Err(fault) if fault.is_too_big() && pages.shrink() => {}
                answer => return answer,
            }
        }
    }

    async fn gather(&self, kvs: &[api::KeyValue], with_values: bool, scope: &Scope, gathered: &mut Gathered) {
        let newest = kvs.iter().max_by_key(|kv| kv.mod_revision).map(Witness::of);
        gathered.witness =
            gathered.witness.take().into_iter().chain(newest).max_by_key(|witness| witness.revision);
        for some in kvs.chunks(READ_AT_ONCE) {
            if with_values {
                let entries = some.iter().map(|kv| (&*kv.key, &*kv.value));
                self.reader.read_all(entries, |key, read| gathered.take(key, read, scope));
            } else {
                for kv in some {
                    tracing::warn!(key = %Key(&kv.key), "entry too long to be read; skipped");
                    gathered.poisoned += 1;
                }
            }
            tokio::task::yield_now().await;
        }
    }
}

// === impl Witness ===

impl Witness {
    pub(super) fn of(kv: &api::KeyValue) -> Self {
        Self { key: kv.key.clone(), revision: kv.mod_revision, lease: kv.lease }
    }
}

// === impl Gathered ===

impl Gathered {
    fn take(&mut self, key: &[u8], read: Read, scope: &Scope) {
        let Read { nodes, poison } = read;
        self.poisoned += usize::from(poison.is_some());
        for node in nodes {
            if !scope.covers(&node) {
                continue;
            }
            let strays = is_stray(key, &node);
            if strays { &mut self.strays } else { &mut self.nodes }.push(Arc::new(node));
        }
    }
}

/// Whether an entry of this node would be written elsewhere.
pub(super) fn is_stray(key: &[u8], node: &Node) -> bool {
    let home =
        |place: keys::Place<'_>| place.is_home_of(node.domain(), node.service().as_str(), node.id().as_str());
    !keys::place(key).is_some_and(home)
}

/// A key for a log line.
pub(super) struct Key<'a>(pub(super) &'a [u8]);

impl std::fmt::Display for Key<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.0))
    }
}
