//! A node id for a process that was given none.

use std::hash::{BuildHasher as _, RandomState};

/// `<service>-<random version 4 UUID>`, as go-micro names its nodes.
pub(crate) fn random_node_id(service: &str) -> String {
    // The standard library keys its hashers from the operating system's entropy.
    let random = || u64::to_be_bytes(RandomState::new().hash_one("node"));
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&random());
    bytes[8..].copy_from_slice(&random());
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = |range: std::ops::Range<usize>| -> String {
        bytes[range].iter().map(|byte| format!("{byte:02x}")).collect()
    };
    format!("{service}-{}-{}-{}-{}-{}", hex(0..4), hex(4..6), hex(6..8), hex(8..10), hex(10..16))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ids_look_like_go_micros_and_do_not_repeat() {
        let ids: BTreeSet<String> = (0..1000).map(|_| random_node_id("greeter")).collect();
        assert_eq!(ids.len(), 1000);
        for id in ids {
            let uuid = id.strip_prefix("greeter-").unwrap();
            assert_eq!(uuid.split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12], "{uuid}");
            assert_eq!(uuid.as_bytes()[14], b'4');
            assert!(b"89ab".contains(&uuid.as_bytes()[19]), "{uuid}");
        }
    }
}
