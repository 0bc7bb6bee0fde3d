//! What services, nodes and domains are called in the DNS.
//!
//! go-micro writes `<node id>.<service>.<domain>.`, where each dot in a part begins a new label. Most parts can be written
//! so. One that cannot (with an empty label, or one of more than 63 bytes, or too long for a name of 255 bytes altogether)
//! stands as one label, `_h-` and a hash of it, and its true spelling is in the entry's text. Names that mean something
//! here (`_services`) are hashed too when somebody calls a service so.
//!
//! A name alone is no key: the node `a.b` of `c` and the node `a` of `b.c` are called the same. The text says which it is.

use callsign_core::{Domain, NodeId, NodeKey, ServiceName};

use super::dns::Name;
use crate::hash::fnv1a;

/// What a list of services is asked for by, in go-micro's words.
const SERVICES: &str = "_services";
/// What a list of domains is asked for by; ours alone.
const DOMAINS: &str = "_domains";
/// How a hashed part begins.
const HASHED: &str = "_h-";
/// The longest part that is written out, as labels with their lengths. A hashed one takes 36 bytes. The rest of a name is
/// the id's: a service of 100 bytes leaves go-micro's ids, which hold its name and a UUID, as they are.
const DOMAIN_BYTES_MAX: usize = 48;
const SERVICE_BYTES_MAX: usize = 112;
const NAME_BYTES_MAX: usize = 254;

/// The name that everything in `domain` is under.
pub(super) fn domain(domain: &Domain) -> Name {
    part(domain.as_str(), DOMAIN_BYTES_MAX)
}

/// The name by which a service is asked for.
pub(super) fn service(domain: &Domain, service: &ServiceName) -> Name {
    under(&part(service.as_str(), SERVICE_BYTES_MAX), &self::domain(domain))
}

/// A node's own name.
pub(super) fn instance(key: &NodeKey) -> Name {
    let service = service(&key.domain, &key.service);
    under(&part(key.id.as_str(), NAME_BYTES_MAX - service.wire().len()), &service)
}

/// The name by which all services of a domain are asked for.
pub(super) fn services(domain: &Name) -> Name {
    under(&part_of(&[SERVICES]), domain)
}

/// The same, as DNS-SD has it (RFC 6763, 9).
pub(super) fn dns_sd_services(domain: &Name) -> Name {
    under(&part_of(&[SERVICES, "_dns-sd", "_udp"]), domain)
}

/// The name by which all domains are asked for.
pub(super) fn domains() -> Name {
    under(&part_of(&[DOMAINS]), &domain(&Domain::default()))
}

/// Whether this is the name of something in a list of services.
pub(super) fn is_listed(name: &Name) -> bool {
    name.labels().any(|label| label == SERVICES.as_bytes())
}

/// The key of what is called `instance` and says in its text that it is of `service`, and what it says of its id and
/// domain; `None` when this is not its name.
pub(super) fn key(
    instance: &Name,
    service: &str,
    id: Option<&str>,
    in_domain: Option<&str>,
) -> Option<NodeKey> {
    let service = ServiceName::new(service).ok()?;
    let domain = match in_domain {
        Some(domain) => Domain::new(domain).ok()?,
        None => domain_of(instance, &service)?,
    };
    let id = match id {
        Some(id) => NodeId::new(id).ok()?,
        None => NodeId::new(instance.before(&self::service(&domain, &service))?.text()?).ok()?,
    };
    let key = NodeKey { domain, service, id };
    (self::instance(&key) == *instance).then_some(key)
}

/// The domain of an entry that does not say it: go-micro's usual one, else what follows on the service's name.
fn domain_of(instance: &Name, service: &ServiceName) -> Option<Domain> {
    let usual = Domain::default();
    if instance.before(&self::service(&usual, service)).is_some() {
        return Some(usual);
    }
    let labels: Vec<_> = instance.labels().collect();
    let service = part(service.as_str(), SERVICE_BYTES_MAX);
    let service: Vec<_> = service.labels().collect();
    let at = (1..labels.len()).rev().find(|at| labels[*at..].starts_with(&service))?;
    let domain = Name::of(labels[at + service.len()..].iter().copied())?;
    Domain::new(domain.text()?).ok()
}

/// A part written out if it can be, hashed if not.
fn part(text: &str, bytes_max: usize) -> Name {
    let ours = |label: &str| [SERVICES, DOMAINS].contains(&label) || label.starts_with(HASHED);
    if !text.split('.').any(ours) {
        match Name::of(text.split('.').map(str::as_bytes)) {
            Some(name) if name.wire().len() <= bytes_max => return name,
            _ => {}
        }
    }
    part_of(&[&format!("{HASHED}{:032x}", fnv1a(text.as_bytes()))])
}

/// A name of labels that are known to be good ones.
fn part_of(labels: &[&str]) -> Name {
    Name::of(labels.iter().map(|label| label.as_bytes())).unwrap_or_else(|| unreachable!("short labels"))
}

fn under(part: &Name, parent: &Name) -> Name {
    part.within(parent).unwrap_or_else(|| unreachable!("the parts' limits add up to no more than a name"))
}
