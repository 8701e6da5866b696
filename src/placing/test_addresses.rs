//! Addresses for property tests: of both families, near each other, and IPv4 in IPv6.

use proptest::prelude::*;

use crate::placing::address::EMBEDDINGS;

/// The length of the family in bits, 32 or 128, and the address.
pub(super) fn any_address() -> impl Strategy<Value = (u8, u128)> {
    prop_oneof![
        any::<u32>().prop_map(|a| (32, u128::from(a))),
        (0_u32..256).prop_map(|a| (32, u128::from(0xC000_0200 | a))),
        any::<u128>().prop_map(|a| (128, a)),
        (0_u128..512, any::<u64>()).prop_map(|(top, low)| (128, (0x2000 + top) << 112 | u128::from(low))),
        (0_u128..256, any::<u64>()).prop_map(|(net, low)| (128, 0x2001_0DB8 << 96 | net << 72 | u128::from(low))),
        (0_usize..3, any::<u32>()).prop_map(|(e, v4)| {
            let e = EMBEDDINGS[e];
            (128, e.start | u128::from(v4) << (96 - u32::from(e.len)))
        }),
    ]
}
