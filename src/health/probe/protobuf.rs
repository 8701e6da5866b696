//! Decodes the response of the gRPC health service, HealthCheckResponse { ServingStatus status = 1; }, as any protobuf
//! parser does: unknown fields are skipped, the order doesn't matter, and of a repeated field the last one counts.
//! Pure, in one pass.

// The wire types (protobuf, "Encoding"): how long the value of a field is.
const VARINT: u64 = 0;
const FIXED_64: u64 = 1;
const LEN: u64 = 2;
const GROUP_START: u64 = 3;
const GROUP_END: u64 = 4;
const FIXED_32: u64 = 5;

/// The number of the field `status`.
const STATUS: u64 = 1;
/// The most nested groups. Every parser has such a bound; this is the usual one.
const MAX_GROUPS: usize = 100;

/// The status. It is 0 if the field is missing, because protobuf leaves out a field with the value 0. `None` if
/// `message` is malformed.
pub(super) fn serving_status(message: &[u8]) -> Option<i32> {
    let (mut rest, mut status) = (message, 0);
    let mut groups: Vec<u64> = Vec::new();
    while !rest.is_empty() {
        let key = varint(&mut rest)?;
        let (field, wire_type) = (key >> 3, key & 7);
        // Field numbers have 29 bits, and 0 is not one.
        if field == 0 || field >= 1 << 29 {
            return None;
        }
        match wire_type {
            VARINT => {
                let value = varint(&mut rest)?;
                if field == STATUS && groups.is_empty() {
                    // An enum has 32 bits; the higher bits are dropped.
                    status = value as i32;
                }
            }
            FIXED_64 => rest = rest.get(8..)?,
            LEN => {
                let len = usize::try_from(varint(&mut rest)?).ok()?;
                rest = rest.get(len..)?;
            }
            GROUP_START if groups.len() < MAX_GROUPS => groups.push(field),
            GROUP_END if groups.pop() == Some(field) => {}
            FIXED_32 => rest = rest.get(4..)?,
            _ => return None,
        }
    }
    groups.is_empty().then_some(status)
}

/// A number of up to 64 bits, seven in each octet, the lowest first. It has at most ten octets.
fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for nth in 0..10 {
        let (octet, more) = rest.split_first()?;
        *rest = more;
        value |= u64::from(octet & 0x7F) << (7 * nth);
        if octet & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_last_status_counts_among_any_other_fields() {
        for (message, status) in [
            (&[][..], 0),
            (&[8, 1], 1),
            (&[8, 0x82, 1], 130),
            // A field twice.
            (&[8, 2, 8, 1], 1),
            (&[8, 1, 8, 2], 2),
            // Unknown fields of each wire type, before and after.
            (&[0x10, 0x96, 1, 8, 1], 1),
            (&[0x11, 1, 2, 3, 4, 5, 6, 7, 8, 8, 1], 1),
            (&[0x12, 2, 8, 2, 8, 1], 1),
            (&[0x13, 8, 2, 0x14, 8, 1], 1),
            (&[0x15, 1, 2, 3, 4, 8, 1], 1),
            (&[8, 1, 0x12, 0], 1),
            (&[0xF8, 0xFF, 0xFF, 0xFF, 0x0F, 0, 8, 1], 1),
            // A field with the number of the status and another wire type is not the status.
            (&[0x0A, 1, 2, 8, 1], 1),
            (&[8, 1, 0x0A, 1, 2], 1),
            // Negative, and wider than an enum.
            (&[8, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1], -1),
            (&[8, 0x81, 0x80, 0x80, 0x80, 0x10], 1),
            // Encoded with more octets than necessary.
            (&[0x88, 0, 0x81, 0], 1),
        ] {
            assert_eq!(serving_status(message), Some(status), "{message:?}");
        }
    }

    #[test]
    fn a_malformed_message_has_no_status() {
        for message in [
            &[8][..],
            &[8, 0x80],
            &[0, 1],
            &[0x0E, 1],
            &[0x0F],
            &[0x12, 3, 1, 2],
            &[0x11, 1, 2],
            &[0x15, 1],
            &[0x13, 8, 1],
            &[0x13, 0x1C],
            &[0x14],
            &[8, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1],
            &[0x12, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1],
            &[0x13; 200],
        ] {
            assert_eq!(serving_status(message), None, "{message:?}");
        }
    }

    /// An encoded field with a random number and a value of a random wire type.
    fn field() -> impl Strategy<Value = Vec<u8>> {
        let key = |number: u32, wire_type: u32| encoded(u64::from(number << 3 | wire_type));
        let bytes = prop::collection::vec(any::<u8>(), 0..20);
        (2u32..1 << 29, 0u32..5, any::<u64>(), bytes).prop_map(move |(number, kind, value, bytes)| match kind {
            0 => [key(number, 0), encoded(value)].concat(),
            1 => [key(number, 1), value.to_le_bytes().to_vec()].concat(),
            2 => [key(number, 2), encoded(bytes.len() as u64), bytes].concat(),
            3 => [key(number, 3), key(1, 0), encoded(value), key(number, 4)].concat(),
            _ => [key(number, 5), (value as u32).to_le_bytes().to_vec()].concat(),
        })
    }

    fn encoded(mut value: u64) -> Vec<u8> {
        let mut octets = Vec::new();
        while value > 0x7F {
            octets.push(value as u8 & 0x7F | 0x80);
            value >>= 7;
        }
        octets.push(value as u8);
        octets
    }

    proptest! {
        #[test]
        fn unknown_fields_change_nothing(
            before in prop::collection::vec(field(), 0..6), after in prop::collection::vec(field(), 0..6), status: i32,
        ) {
            let value = [vec![8], encoded(status as i64 as u64)].concat();
            let message = [before.concat(), value, after.concat()].concat();
            prop_assert_eq!(serving_status(&message), Some(status));
        }

        #[test]
        fn any_octets_are_decoded_without_a_panic(octets in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = serving_status(&octets);
        }
    }
}
