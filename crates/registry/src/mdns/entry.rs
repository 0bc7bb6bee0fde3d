//! What is said of a node on the link, and what others say.
//!
//! go-micro's clients read packets in a way of their own, and it decides what packets look like here: an answer echoes the
//! question, says one node and no more, and names the host before the host's address.

use std::{
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
    time::Duration,
};

use callsign_core::{
    Node, NodeKey,
    error::{Error, Result},
    model::wire,
};

use super::{
    dns::{
        AUTHORITATIVE, CLASS_TOP, Data, Message, Name, Names, Question, RESPONSE, Read, Record, Srv, kind,
    },
    names,
    text::{self, Beside, Stamp},
};

/// How long others may believe what is said, as they are told.
pub(super) const TTL_S: u32 = 120;
/// The largest packet: what RFC 6762 (17) allows, with room for the headers of IPv6.
pub(super) const PACKET_BYTES_MAX: usize = 8952;
/// The port that go-micro's list entries have.
const LISTED_PORT: u16 = 9999;
const PRIORITY: u16 = 10;
const WEIGHT: u16 = 1;

/// What is said of one node.
#[derive(Debug, Clone)]
pub(super) struct Telling {
    pub(super) key: NodeKey,
    pub(super) node: Arc<Node>,
    pub(super) stamp: Option<Stamp>,
    /// What its service is asked for by.
    pub(super) service: Name,
    /// Its own name.
    pub(super) instance: Name,
    host: Name,
    port: u16,
    address: Option<IpAddr>,
    text: Vec<u8>,
}

/// What somebody said.
#[derive(Debug)]
pub(super) enum Heard {
    Node(Box<HeardNode>),
    /// There are nodes of a service in a domain; the service by the name to ask for.
    Listed {
        domain: Name,
        service: Name,
    },
    /// There is a domain.
    Domain(Name),
    /// Something that cannot be understood.
    Garbled {
        instance: Name,
        reason: String,
        lives: Option<Duration>,
    },
}

/// What somebody said of a node.
#[derive(Debug)]
pub(super) struct HeardNode {
    pub(super) key: NodeKey,
    pub(super) node: Node,
    pub(super) service: Name,
    pub(super) stamp: Option<Stamp>,
    /// How long it may be believed; `None` when it is leaving.
    pub(super) lives: Option<Duration>,
}

// === impl Telling ===

impl Telling {
    /// What is to be said of `node`.
    ///
    /// # Errors
    ///
    /// When it has no port, or does not fit into a packet.
    pub(super) fn new(op: &'static str, node: &Arc<Node>, host: &Name, stamp: Option<Stamp>) -> Result<Self> {
        let at = node.dial_address().map_err(|error| {
            let key = node.key();
            Error::invalid(op, format!("mDNS says a port of every node, and {key} has none"))
                .with_source(error)
        })?;
        let (key, node) = (node.key(), node.clone());
        let instance = names::instance(&key);
        let service = names::service(&key.domain, &key.service);
        // An interface has a name on one machine alone; who reads the address puts in its own.
        let address: Option<IpAddr> = at.host().split('%').next().and_then(|host| host.parse().ok());
        let plain = |id: &Name| id.text().is_some_and(|text| key.id == *text.as_str());
        let beside = Beside {
            id: !instance.before(&service).is_some_and(|id| plain(&id)),
            address: address.is_none() || at.to_string() != node.address(),
            stamp,
        };
        let text = text::encode(&node, beside);
        let telling =
            Self { key, node, stamp, service, instance, host: host.clone(), port: at.port(), address, text };
        telling.check_size(op)?;
        Ok(telling)
    }

    /// Whether nobody but this machine could reach it.
    pub(super) fn is_loopback(&self) -> bool {
        self.address.is_some_and(|address| address.is_loopback())
    }

    /// Asks who else has its name, and says what it would be.
    pub(super) fn probe(&self, id: u16) -> Vec<u8> {
        let questions = [Question::new(self.instance.clone(), kind::PTR)];
        let mut authorities = self.records(TTL_S, (0, 0));
        authorities.retain(|record| matches!(record.data, Data::Srv(_) | Data::Txt(_)));
        Message { id, flags: 0, questions: &questions, answers: &[], authorities: &authorities }
            .write(Names::Full)
    }

    /// Says that it is there.
    pub(super) fn announcement(&self) -> Vec<u8> {
        self.unasked(TTL_S)
    }

    /// Says that it is leaving.
    pub(super) fn goodbye(&self) -> Vec<u8> {
        self.unasked(0)
    }

    /// Answers a question for it or its service.
    pub(super) fn answer(&self, question: &Question, query_id: u16) -> Vec<u8> {
        let mut answers = Vec::with_capacity(4);
        if question.name == self.service {
            answers.push(pointer(&self.service, &self.instance));
        }
        answers.extend(self.records(TTL_S, (PRIORITY, WEIGHT)));
        answer(question, query_id, &answers)
    }

    /// What two who want one name at the same time compare (RFC 6762, 8.2).
    pub(super) fn contest(&self) -> Contest<'_> {
        Contest { port: self.port, text: &self.text }
    }

    fn unasked(&self, ttl_s: u32) -> Vec<u8> {
        let answers = self.records(ttl_s, (PRIORITY, WEIGHT));
        Message { id: 0, flags: RESPONSE, questions: &[], answers: &answers, authorities: &[] }
            .write(Names::Full)
    }

    fn records(&self, ttl_s: u32, (priority, weight): (u16, u16)) -> Vec<Record> {
        let target = self.host.clone();
        let service = Data::Srv(Srv { priority, weight, port: self.port, target });
        let address = self.address.map(|address| (self.host.clone(), address_data(address)));
        let records = [(self.instance.clone(), service)]
            .into_iter()
            .chain(address)
            .chain([(self.instance.clone(), Data::Txt(self.text.clone()))]);
        records.map(|(name, data)| Record { name, ttl_s, data }).collect()
    }

    fn check_size(&self, op: &'static str) -> Result<()> {
        let question = Question::new(self.service.clone(), kind::PTR);
        let bytes = self.announcement().len().max(self.answer(&question, 0).len());
        if bytes <= PACKET_BYTES_MAX {
            return Ok(());
        }
        let endpoints = self.node.endpoints().len();
        let pairs = [self.node.metadata(), self.node.service_metadata()];
        let longest = pairs.iter().flat_map(|pairs| pairs.iter()).max_by_key(|(_, value)| value.len());
        let longest = longest.map_or_else(String::new, |(key, value)| {
            format!(", the longest of them {} bytes under {key:?}", value.len())
        });
        let pairs: usize = pairs.iter().map(|pairs| pairs.len()).sum();
        let message = format!(
            "the entry of {} takes {bytes} bytes, and an mDNS packet has room for {PACKET_BYTES_MAX}: it has \
             {pairs} pairs of metadata{longest}, and {endpoints} endpoints",
            self.key
        );
        Err(Error::invalid(op, message)
            .with_hint("shorten the metadata, or publish fewer endpoints; other registries have more room"))
    }
}

/// What is compared of two who want one name.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Contest<'a> {
    port: u16,
    text: &'a [u8],
}

/// Answers the question for all services of a domain with one of them.
pub(super) fn listed(
    question: &Question,
    query_id: u16,
    service: &Name,
    domain: &Name,
    host: &Name,
) -> Option<Vec<u8>> {
    let name = service.before(domain)?.within(&question.name)?;
    let target = host.clone();
    let srv = Srv { priority: PRIORITY, weight: WEIGHT, port: LISTED_PORT, target };
    let record = |name: &Name, data| Record { name: name.clone(), ttl_s: TTL_S, data };
    let answers = [
        pointer(&question.name, &name),
        record(&name, Data::Srv(srv)),
        record(host, Data::A([0, 0, 0, 0].into())),
        record(&name, Data::Txt(Vec::new())),
    ];
    Some(answer(question, query_id, &answers))
}

/// Answers a question with a name and nothing else.
pub(super) fn named(question: &Question, query_id: u16, name: &Name) -> Vec<u8> {
    answer(question, query_id, &[pointer(&question.name, name)])
}

/// Asks for everything under `name`.
pub(super) fn query(id: u16, name: &Name, kind: u16) -> Vec<u8> {
    let questions = [Question::new(name.clone(), kind)];
    Message { id, flags: 0, questions: &questions, answers: &[], authorities: &[] }.write(Names::Full)
}

/// What a probe wants for a name that it asks for.
pub(super) fn wanted<'a>(probe: &'a Read, instance: &Name) -> Option<Contest<'a>> {
    let own = || probe.authorities.iter().filter(|record| record.name == *instance);
    let port = own().find_map(|record| match &record.data {
        Data::Srv(srv) => Some(srv.port),
        _ => None,
    })?;
    let text = own().find_map(|record| match &record.data {
        Data::Txt(text) => Some(&**text),
        _ => None,
    })?;
    Some(Contest { port, text })
}

/// Everything that a response says. `zone` is the interface that it came by, where that is part of its addresses.
pub(super) fn heard(response: &Read, zone: Option<&str>, decoder: &mut wire::Decoder) -> Vec<Heard> {
    let mut all = Vec::new();
    for record in &response.answers {
        match &record.data {
            Data::Ptr(target) => all.extend(pointed(&record.name, target)),
            Data::Srv(srv) if !names::is_listed(&record.name) => {
                all.extend(node(response, record, srv, zone, decoder));
            }
            _ => {}
        }
    }
    all
}

/// A pointer that leads to a service or a domain.
fn pointed(name: &Name, target: &Name) -> Option<Heard> {
    if *name == names::domains() {
        return Some(Heard::Domain(target.clone()));
    }
    let domain = Name::of(name.labels().skip(1))?;
    if *name != names::services(&domain) {
        return None;
    }
    let service = target.before(name)?.within(&domain)?;
    Some(Heard::Listed { domain, service })
}

/// The node that a service record belongs to; nothing when it is no entry of ours at all.
fn node(
    response: &Read,
    record: &Record,
    srv: &Srv,
    zone: Option<&str>,
    decoder: &mut wire::Decoder,
) -> Option<Heard> {
    let instance = &record.name;
    let (text, text_ttl_s) = response.answers.iter().find_map(|other| match &other.data {
        Data::Txt(text) if other.name == *instance => Some((text, other.ttl_s)),
        _ => None,
    })?;
    let ttl_s = record.ttl_s.min(text_ttl_s);
    let lives = (ttl_s > 0).then(|| Duration::from_secs(ttl_s.into()));
    let mut read = || -> Result<HeardNode> {
        let invalid = |what: String| Error::invalid("read registry entry", what);
        let text = text::decode(text)?;
        let key = names::key(instance, &text.service, text.id.as_deref(), text.domain.as_deref())
            .ok_or_else(|| invalid(format!("it says that it is of {:?}", text.service)))?;
        let address = match &text.address {
            Some(address) => address.clone(),
            None => address(response, instance, srv, zone)
                .ok_or_else(|| invalid("it has no address or no port".to_owned()))?,
        };
        let node = text.node(&key.domain, key.id.as_str(), &address, decoder)?;
        let service = names::service(&key.domain, &key.service);
        Ok(HeardNode { key, node, service, stamp: text.stamp, lives })
    };
    Some(match read() {
        Ok(node) => Heard::Node(Box::new(node)),
        Err(error) => Heard::Garbled { instance: instance.clone(), reason: error.chain(), lives },
    })
}

/// The address and port of an instance: as go-micro reads them, the last of each kind, and IPv4 before IPv6.
fn address(response: &Read, instance: &Name, srv: &Srv, zone: Option<&str>) -> Option<String> {
    let own = response.answers.iter().rev().filter(|r| r.name == srv.target || r.name == *instance);
    let v4 = own.clone().find_map(|record| match record.data {
        Data::A(address) => Some(address),
        _ => None,
    });
    let v6 = own.clone().find_map(|record| match record.data {
        Data::Aaaa(address) => Some(address),
        _ => None,
    });
    let port = srv.port;
    match (v4, v6, zone) {
        (_, _, _) if port == 0 => None,
        (Some(v4), ..) => Some(format!("{v4}:{port}")),
        (None, Some(v6), Some(zone)) if is_link_local(v6) => Some(format!("[{v6}%{zone}]:{port}")),
        (None, Some(v6), _) => Some(format!("[{v6}]:{port}")),
        (None, None, _) => None,
    }
}

/// Addresses that mean something only together with an interface.
pub(super) fn is_link_local(address: Ipv6Addr) -> bool {
    address.segments()[0] & 0xffc0 == 0xfe80
}

fn answer(question: &Question, query_id: u16, answers: &[Record]) -> Vec<u8> {
    // Who asks for an answer by unicast recognises it by its number.
    let id = if question.class & CLASS_TOP == 0 { 0 } else { query_id };
    let questions = std::slice::from_ref(question);
    Message { id, flags: RESPONSE | AUTHORITATIVE, questions, answers, authorities: &[] }.write(Names::Short)
}

fn pointer(name: &Name, target: &Name) -> Record {
    Record { name: name.clone(), ttl_s: TTL_S, data: Data::Ptr(target.clone()) }
}

fn address_data(address: IpAddr) -> Data {
    match address {
        IpAddr::V4(address) => Data::A(address),
        IpAddr::V6(address) => Data::Aaaa(address),
    }
}

#[cfg(test)]
mod tests;
