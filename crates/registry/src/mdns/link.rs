//! The network interfaces of this machine, as they are now.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use if_addrs::IfAddr;

use super::{config::MdnsConfig, entry::is_link_local};

/// The interfaces that are up and wanted, by their numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Link {
    interfaces: BTreeMap<u32, Interface>,
    /// The addresses of this machine, on every interface, and how many bits of each are its network's.
    addresses: BTreeSet<(IpAddr, u8)>,
}

/// One interface.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Interface {
    pub(super) name: String,
    pub(super) loopback: bool,
    /// The address by which the interface is told to the kernel.
    pub(super) v4: Option<Ipv4Addr>,
    pub(super) v6: bool,
}

// === impl Link ===

impl Link {
    /// Looks at the interfaces.
    ///
    /// # Errors
    ///
    /// Why the kernel does not say.
    pub(super) fn scan(config: &MdnsConfig) -> io::Result<Self> {
        let mut link = Self::default();
        for found in if_addrs::get_if_addrs()? {
            let (Some(index), true) = (found.index, found.is_oper_up()) else { continue };
            let bits = match &found.addr {
                IfAddr::V4(v4) => v4.prefixlen,
                IfAddr::V6(v6) => v6.prefixlen,
            };
            link.addresses.insert((found.ip(), bits));
            if !config.interfaces.is_empty() && !config.interfaces.contains(&found.name) {
                continue;
            }
            let interface = link.interfaces.entry(index).or_default();
            interface.loopback |= found.is_loopback();
            interface.name = found.name;
            match found.addr {
                IfAddr::V4(v4) if config.ipv4 => {
                    interface.v4.get_or_insert(v4.ip);
                }
                IfAddr::V6(_) if config.ipv6 => interface.v6 = true,
                IfAddr::V4(_) | IfAddr::V6(_) => {}
            }
        }
        link.interfaces.retain(|_, interface| interface.v4.is_some() || interface.v6);
        Ok(link)
    }

    pub(super) fn interfaces(&self) -> impl Iterator<Item = (u32, &Interface)> {
        self.interfaces.iter().map(|(index, interface)| (*index, interface))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.interfaces.is_empty()
    }

    /// The name of an interface.
    pub(super) fn name(&self, index: u32) -> Option<&str> {
        self.interfaces.get(&index).map(|interface| &*interface.name)
    }

    /// Whether it is an address of this machine.
    pub(super) fn is_local(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_loopback() || self.addresses.iter().any(|(own, _)| *own == address)
    }

    /// Whether who has it is on one of our networks. What comes from elsewhere is not for us (RFC 6762, 11).
    pub(super) fn is_near(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        if matches!(address, IpAddr::V6(v6) if is_link_local(v6)) || self.is_local(address) {
            return true;
        }
        self.addresses.iter().any(|(own, bits)| is_same_network(*own, address, *bits))
    }
}

fn is_same_network(one: IpAddr, other: IpAddr, bits: u8) -> bool {
    let same = |one: u128, other: u128, length: u32| {
        let differ = (one ^ other).checked_shr(length.saturating_sub(u32::from(bits)));
        differ.unwrap_or(0) == 0
    };
    match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => same(one.to_bits().into(), other.to_bits().into(), 32),
        (IpAddr::V6(one), IpAddr::V6(other)) => same(Ipv6Addr::to_bits(one), other.to_bits(), 128),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(own: &str, bits: u8, other: &str) -> bool {
        let link = Link { addresses: BTreeSet::from([(own.parse().unwrap(), bits)]), ..Link::default() };
        link.is_near(other.parse().unwrap())
    }

    #[test]
    fn who_shares_a_network_with_us_is_near_and_nobody_else() {
        assert!(near("10.1.2.3", 24, "10.1.2.200"));
        assert!(!near("10.1.2.3", 24, "10.1.3.200"));
        assert!(near("10.1.2.3", 32, "10.1.2.3"));
        assert!(!near("10.1.2.3", 32, "10.1.2.4"));
        assert!(near("10.1.2.3", 0, "192.0.2.1"));
        assert!(near("fd00::1", 64, "fd00::2") && !near("fd00::1", 64, "fd00:0:0:1::2"));
        assert!(!near("10.1.2.3", 8, "fd00::1"));
        assert!(near("10.1.2.3", 24, "fe80::1") && near("10.1.2.3", 24, "127.0.0.1"));
        assert!(near("10.1.2.3", 24, "::ffff:10.1.2.9"));
    }
}
