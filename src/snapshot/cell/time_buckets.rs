//! Sorts the times of a race. They are exponential, so that nearly all of them are in a few octaves that their rates
//! tell: each goes into a bucket by its first bits, which hardly ever has more than a few, and then to its place.

/// Most times that are sorted.
pub(super) const MOST: usize = 64;
/// Eight buckets for each octave: the exponent of a number and the first three bits of its fraction.
const SHIFT: u32 = 49;
/// The greatest time that has a bucket of its own, in units of the mean one. One of 400 is greater.
const GREATEST: f64 = 6.0;
/// Rates that differ more are sorted otherwise: the times of the heaviest would share the first bucket.
const MOST_UNEVEN: f64 = 16.0;

/// Where times are.
#[derive(Debug, Clone, Copy)]
pub(super) struct TimeBuckets {
    /// The first bits of the times in the first bucket.
    first: u64,
}

impl TimeBuckets {
    /// Of exponential times with these rates; `None` where they are uneven.
    pub(super) fn of(rates: impl ExactSizeIterator<Item = f64> + Clone) -> Option<TimeBuckets> {
        let (least, most) = rates
            .clone()
            .fold((f64::INFINITY, 0.0), |(least, most), rate| (f64::min(least, rate), f64::max(most, rate)));
        let mean = rates.len() as f64 / rates.sum::<f64>();
        let first = ((mean * GREATEST).to_bits() >> SHIFT).checked_sub(MOST as u64 - 1)?;
        (most <= least * MOST_UNEVEN).then_some(TimeBuckets { first })
    }

    /// The first `count` of `times` are the bits of times that are not negative. Puts the `needed` least of them in
    /// order at the start.
    pub(super) fn sort(&self, times: &mut [u64; MOST], count: usize, needed: usize) {
        let count = count.min(MOST);
        let (mut buckets, mut places) = ([0_u8; MOST], [0_u8; MOST]);
        for (bucket, time) in buckets.iter_mut().zip(&times[..count]) {
            *bucket = (time >> SHIFT).saturating_sub(self.first).min(MOST as u64 - 1) as u8;
            places[usize::from(*bucket) % MOST] += 1;
        }
        make_places(&mut places);
        // The first bucket of which no time is needed.
        let end = (needed < count).then(|| places.iter().position(|place| usize::from(*place) >= needed)).flatten();
        let mut sorted = [0; MOST];
        let mut put = |bucket: u8, time: u64| {
            let place = &mut places[usize::from(bucket) % MOST];
            sorted[usize::from(*place) % MOST] = time;
            *place += 1;
        };
        let sorted_len = if let Some(end) = end {
            let pairs = buckets.iter().zip(&times[..count]);
            let needed = pairs.filter(|(bucket, _)| usize::from(**bucket) < end);
            needed.map(|(bucket, time)| put(*bucket, *time)).count()
        } else {
            buckets.iter().zip(&times[..count]).for_each(|(bucket, time)| put(*bucket, *time));
            count
        };
        insert_each(&mut sorted[..sorted_len]);
        *times = sorted;
    }
}

/// Makes of how many a bucket has the place where it begins.
fn make_places(counts: &mut [u8; MOST]) {
    /// Multiplied by this, each octet of a number becomes the sum of itself and those below. No sum is over 64.
    const SUM: u64 = 0x0101_0101_0101_0101;
    let mut before = 0;
    for counts in counts.as_chunks_mut::<8>().0 {
        let sums = u64::from_le_bytes(*counts).wrapping_mul(SUM);
        *counts = (sums << 8).wrapping_add(before * SUM).to_le_bytes();
        before += sums >> 56;
    }
}

/// Insertion sort: little work where each is near its place.
fn insert_each(times: &mut [u64]) {
    for end in 1..times.len() {
        let (time, mut at) = (times[end], end);
        while at > 0 && times[at - 1] > time {
            times[at] = times[at - 1];
            at -= 1;
        }
        times[at] = time;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        /// Whatever the times are, near the rates or not.
        #[test]
        fn times_are_sorted(
            rates in proptest::collection::vec(1.0..16.0_f64, 1..=MOST),
            numbers: [u32; MOST],
            is_odd: bool,
            scale in 0..300_i32,
            needed in 0..=MOST
        ) {
            let scale = 2_f64.powi(scale - 150);
            let rates: Vec<f64> = rates.into_iter().map(|rate| rate * scale).collect();
            let Some(of_rates) = TimeBuckets::of(rates.iter().copied()) else {
                proptest::prop_assert!(false, "{rates:?}");
                return Ok(());
            };
            let time = |(number, rate): (&u32, &f64)| match is_odd {
                true => f64::from_bits(u64::from(*number) << 31),
                false => -f64::ln((f64::from(*number) + 1.0) / 4_294_967_296.0) / rate,
            };
            let mut expected: Vec<u64> = numbers.iter().zip(&rates).map(time).map(f64::to_bits).collect();
            let mut times = [0; MOST];
            times[..rates.len()].copy_from_slice(&expected);
            let mut first = times;
            of_rates.sort(&mut times, rates.len(), rates.len());
            expected.sort_unstable();
            proptest::prop_assert_eq!(&times[..rates.len()], &expected[..]);
            let needed = needed.min(rates.len());
            of_rates.sort(&mut first, rates.len(), needed);
            proptest::prop_assert_eq!(&first[..needed], &expected[..needed]);
        }
    }

    #[test]
    fn uneven_rates_have_none() {
        assert!(TimeBuckets::of([1.0, 17.0].into_iter()).is_none());
        assert!(TimeBuckets::of([1.0, 15.0].into_iter()).is_some());
    }
}
