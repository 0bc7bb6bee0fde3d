//! What the tests have in common.

#[cfg(target_os = "linux")]
#[path = "../../tests/support/host.rs"]
mod host;
#[cfg(target_os = "linux")]
mod namespaced;

/// What was seen of live go-micro processes.
pub(super) fn vectors() -> serde_json::Value {
    serde_json::from_str(include_str!("../../tests/fixtures/go-micro-mdns.json")).unwrap()
}

pub(super) fn unhex(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().as_chunks::<2>().0.iter();
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}
