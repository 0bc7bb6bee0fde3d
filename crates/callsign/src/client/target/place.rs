//! What stands before the `?`: the service, and where its nodes come from.

use std::sync::Arc;

use callsign_core::{Node, Result, ServiceName};
use callsign_registry::RegistryUrl;

use super::options::{Options, Value};
use crate::client::roster::fixed_node;

/// Where the nodes of a target come from.
#[derive(Debug, Clone)]
pub(in crate::client) enum Origin {
    /// The registry that the program has, or the default one.
    Default,
    Registry(RegistryUrl),
    Nodes(Arc<[Arc<Node>]>),
}

pub(super) fn read(place: &str, options: &mut Options<'_>) -> Result<(ServiceName, Origin)> {
    let (name, weight) = (options.take("name"), options.take("weight"));
    let (scheme, rest) = match place.split_once("://") {
        Some(("static", addresses)) => return listed(addresses, name, weight, options),
        Some(parts) => parts,
        None if place.contains(':') => {
            return Err(options
                .malformed("after the scheme come two slashes")
                .with_hint("for an address without a registry write static://HOST:PORT"));
        }
        None => ("registry", place),
    };
    if let Some(value) = name.or(weight) {
        return Err(value.idle("is for static:// only"));
    }
    match scheme {
        "registry" if rest.contains('/') => Err(options
            .malformed("registry:// is followed by the name alone")
            .with_hint("write a slash within a name as %2F")),
        "registry" => Ok((ServiceName::new(options.decode(rest)?)?, Origin::Default)),
        _ => registered(scheme, rest, options),
    }
}

/// `etcd://10.0.0.1:2379/greeter`
fn registered(scheme: &str, rest: &str, options: &Options<'_>) -> Result<(ServiceName, Origin)> {
    let nameless = || {
        options
            .malformed("the name of the service is missing after the last slash")
            .with_hint(format!("write it like `{scheme}:///greeter` or `{scheme}://HOST:PORT/greeter`"))
    };
    let (place, name) = match rest.rsplit_once('/') {
        // `etcd://https://10.0.0.1:2379`: that slash belongs to the address.
        Some((place, _)) if place.ends_with(":/") => return Err(nameless()),
        Some((_, "")) => return Err(nameless()),
        Some((place, name)) => (place, name),
        // Of those without a host, such as `local://greeter`, it can only be the name.
        None if is_hostless(scheme) => ("", rest),
        None => return Err(nameless()),
    };
    let service = ServiceName::new(options.decode(name)?)?;
    let url = if place.is_empty() { format!("{scheme}:") } else { format!("{scheme}://{place}") };
    Ok((service, Origin::Registry(url.parse()?)))
}

/// `static://127.0.0.1:4000,127.0.0.1:4001`, with their weights if there are any.
fn listed(
    addresses: &str,
    name: Option<Value<'_>>,
    weights: Option<Value<'_>>,
    options: &Options<'_>,
) -> Result<(ServiceName, Origin)> {
    let service = ServiceName::new(name.map_or_else(|| Ok("static".to_owned()), |name| name.text())?)?;
    let addresses: Vec<&str> = addresses.trim_end_matches('/').split(',').collect();
    let weights: Vec<Option<u16>> = match weights {
        None => vec![None; addresses.len()],
        Some(weights) => weights
            .text()?
            .split(',')
            .map(|weight| {
                let problem = || format!("the weight {weight:?} is not a whole number from 0 to 65535");
                weight.parse().map(Some).map_err(|_| options.malformed(&problem()))
            })
            .collect::<Result<_>>()?,
    };
    if weights.len() != addresses.len() {
        let problem = format!("there are {} addresses and {} weights", addresses.len(), weights.len());
        return Err(options.malformed(&problem));
    }
    let mut nodes: Vec<Arc<Node>> = Vec::with_capacity(addresses.len());
    for (address, weight) in addresses.into_iter().zip(weights) {
        let address = address.parse()?;
        let node = fixed_node(&service, &address, weight)?;
        if nodes.iter().any(|known| known.id() == node.id()) {
            return Err(options.malformed(&format!("the address {address} is given twice")));
        }
        nodes.push(node);
    }
    Ok((service, Origin::Nodes(nodes.into())))
}

fn is_hostless(scheme: &str) -> bool {
    scheme.parse::<RegistryUrl>().is_ok_and(|kind| kind.is_hostless())
}
