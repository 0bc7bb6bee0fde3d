//! From what a call is about to a number, the same in every process, on every machine and in every version.
//!
//! Clients that are to send the same to the same node must agree on this to the bit. So it is simple enough to be written again
//! in any language:
//!
//! - a key's hash is XXH64 of its bytes with seed 0, as gRPC's ring hash has it (gRFC A42);
//! - a node's hash is XXH64 of its id with seed 0;
//! - where more numbers than one are needed of a hash `h`, they are those of the generator SplitMix64 that begins at `h`.

use twox_hash::XxHash64;

/// What SplitMix64 adds for each number: 2^64 divided by the golden ratio, made odd.
const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// The hash of what a call is about, for strategies that send the same to the same node: XXH64 with seed 0.
///
/// ```
/// use callsign_core::select::hash_key;
///
/// assert_eq!(hash_key(b"user-17"), hash_key(b"user-17"));
/// assert_eq!(hash_key(b""), 0xef46_db37_51d8_e999);
/// ```
#[must_use]
pub fn hash_key(key: &[u8]) -> u64 {
    XxHash64::oneshot(0, key)
}

/// The number at `index` of the generator SplitMix64 that begins at `hash`. All bits of both reach all bits of the result.
#[inline]
pub(super) fn spread(hash: u64, index: u64) -> u64 {
    let mut z = hash.wrapping_add(GAMMA.wrapping_mul(index.wrapping_add(1)));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the reference implementations of XXH64 and of SplitMix64.
    #[test]
    fn the_numbers_are_those_of_the_reference_implementations() {
        for (key, hash) in
            [("", 0xef46_db37_51d8_e999), ("a", 0xd24e_c4f1_a98c_6e5b), ("abc", 0x44bc_2cf5_ad77_0999)]
        {
            assert_eq!(hash_key(key.as_bytes()), hash, "{key:?}");
        }
        let numbers: Vec<u64> = (0..3).map(|index| spread(1_234_567, index)).collect();
        assert_eq!(
            numbers,
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
    }
}
