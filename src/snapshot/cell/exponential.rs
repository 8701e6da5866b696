//! Exponential times from random bits, the same on every node.

/// How many values [`uniform`] has.
const TWO_TO_53: f64 = (1_u64 << 53) as f64;

/// An exponential time of rate 1 from 64 random bits, of which it uses 53.
#[inline]
pub(super) fn exponential(number: u64) -> f64 {
    0.0 - ln(uniform(number))
}

/// The natural logarithm of a number over 0 and at most 1 that is not subnormal, to some units in the last place. It is
/// not that of the C library, whose last bit may differ between libraries and processors: the nodes of a fleet must
/// agree. Only sums, products and quotients are in it, which IEEE 754 defines to the last bit.
#[inline]
fn ln(x: f64) -> f64 {
    /// The bits of the square root of a half.
    const LEAST: u64 = std::f64::consts::FRAC_1_SQRT_2.to_bits();
    const FRACTION_BITS: u32 = 52;
    // x is m times 2 to the power of k, with m from the square root of a half to that of two.
    let k = (x.to_bits() as i64 - LEAST as i64) >> FRACTION_BITS;
    let m = f64::from_bits(x.to_bits().wrapping_sub((k << FRACTION_BITS) as u64));
    // ln m = 2 artanh s, by its series: its first term that is left out is below 2^-56 of the sum.
    let s = (m - 1.0) / (m + 1.0);
    let z = s * s;
    let z2 = z * z;
    let z4 = z2 * z2;
    let low = (1.0 / 3.0 + z * (1.0 / 5.0)) + z2 * (1.0 / 7.0 + z * (1.0 / 9.0));
    let high = (1.0 / 11.0 + z * (1.0 / 13.0)) + z2 * (1.0 / 15.0 + z * (1.0 / 17.0));
    let series = low + z4 * (high + z4 * (1.0 / 19.0 + z * (1.0 / 21.0)));
    k as f64 * std::f64::consts::LN_2 + 2.0 * (s + s * z * series)
}

/// A number that [`exponential`] is not below, for less work: -ln(x) is at least 1 - x, and the complement of the
/// number has 1 - x. A little less than that, because both are rounded.
#[inline]
pub(super) fn least_exponential(number: u64) -> f64 {
    const ROUNDING: f64 = 1e-9;
    (!number >> 11) as f64 * ((1.0 - ROUNDING) / TWO_TO_53)
}

/// A number over 0 and at most 1.
fn uniform(number: u64) -> f64 {
    ((number >> 11) + 1) as f64 / TWO_TO_53
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig { cases: 2000, ..Default::default() })]

        #[test]
        fn the_logarithm_is_that_of_libm(number: u64, shift in 0..64_u32) {
            for number in [number, number >> shift, !(number >> shift)] {
                let (x, own) = (uniform(number), ln(uniform(number)));
                let expected = libm::log(x);
                let error = (own - expected).abs();
                proptest::prop_assert!(error <= 8.0 * f64::EPSILON * expected.abs(), "{x:e}: {own:e}, {expected:e}");
            }
        }
    }
}
