//! Ports on the loopback that are free, and stay so while their server is down.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// Below the ports that the kernel gives to whoever asks for any: a server that is started again must find its own free.
const RANGE: std::ops::Range<u16> = 12_000..32_000;

/// An address on the loopback where nothing listens.
pub(crate) fn free() -> SocketAddr {
    loop {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, fastrand::u16(RANGE)));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}
