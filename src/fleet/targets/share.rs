//! How zones share what is bounded for all of them together.

/// The most that each of these may have, so that together they have `total` at most: who needs less than an equal part
/// leaves the rest to the others. So a zone that asks for very much takes nothing from the small ones. `usize::MAX` if
/// all have what they need.
pub(super) fn share(needs: impl IntoIterator<Item = usize>, total: usize) -> usize {
    let mut needs: Vec<usize> = needs.into_iter().collect();
    needs.sort_unstable();
    let (mut left, mut sharers) = (total, needs.len());
    for need in needs {
        let part = left / sharers;
        if need > part {
            return part;
        }
        left -= need;
        sharers -= 1;
    }
    usize::MAX
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_bound_holds_and_nobody_gets_less_than_an_equal_part(
            needs in proptest::collection::vec(0usize..50, 0..9),
            total in 0usize..200,
        ) {
            let most = share(needs.iter().copied(), total);
            let got: Vec<usize> = needs.iter().map(|need| (*need).min(most)).collect();
            let sum: usize = got.iter().sum();
            prop_assert!(sum <= total);
            if sum < needs.iter().sum() {
                // What is left is less than one for each that wants more.
                let wanting = needs.iter().zip(&got).filter(|(need, got)| need > got).count();
                prop_assert!(total - sum < wanting.max(1), "{needs:?} of {total}: {got:?}");
                prop_assert!(got.iter().zip(&needs).all(|(got, need)| got == need || *got >= total / needs.len()));
            }
        }
    }
}
