//! How a connection is made and kept.

use std::time::Duration;

/// Settings of one connection. The defaults suit calls inside a data centre and on one machine.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// Longest time for look-up, TCP connect, handshake and the peer's SETTINGS together. 3 s.
    pub connect_timeout: Duration,
    /// Silence on a connection with open streams after which the peer is pinged. 20 s. gRPC's servers object to pings more
    /// often than their policy allows (gRFC A8), so keep it at 10 s or more.
    pub keep_alive_interval: Duration,
    /// How long the answer to a ping may take before the connection is given up. 10 s.
    pub keep_alive_timeout: Duration,
    /// The same after a call's deadline passed without a sign of life: a short one, since there is a reason to doubt. 1 s.
    pub probe_timeout: Duration,
    /// Bytes that the peer may send on one stream before we have taken them. 2 MiB.
    pub stream_window: u32,
    /// Bytes that the peer may send on all streams together before we have taken them. 8 MiB.
    pub connection_window: u32,
    /// What small frames, received and not taken yet, may cost beyond their bytes. 256 MiB, which the windows above keep any
    /// honest peer from reaching: `h2` would otherwise end the connection when a reader of many small messages falls behind.
    pub small_frames_budget_bytes: usize,
    /// Largest list of headers accepted in a reply. 64 KiB.
    pub header_list_bytes_max: u32,
    /// Bytes kept for one stream that the peer does not take yet. 1 MiB.
    pub send_buffer_bytes: usize,
    /// TLS, unless it is to be plaintext. None.
    #[cfg(feature = "tls")]
    pub tls: Option<crate::tls::TlsConfig>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(3),
            keep_alive_interval: Duration::from_secs(20),
            keep_alive_timeout: Duration::from_secs(10),
            probe_timeout: Duration::from_secs(1),
            stream_window: 2 << 20,
            connection_window: 8 << 20,
            small_frames_budget_bytes: 256 << 20,
            header_list_bytes_max: 64 << 10,
            send_buffer_bytes: 1 << 20,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }
}
