//! Linear sweeps over [`Spans`], which divide all addresses of a family into ranges with one value each: `cut_along`
//! makes spans from nets, `join` combines two, `mapped` replaces the values, and `coarse` gives all addresses of a net
//! the value of its first address. Nothing here knows what the values mean.

use std::iter::Peekable;

use crate::model::spans::Spans;
use crate::placing::address::Address;

/// One net and its value.
#[derive(Debug, Clone, Copy)]
pub(super) struct ValuedNet<A, V> {
    /// Its first address.
    pub(super) start: A,
    /// Its length in bits.
    pub(super) len: u8,
    /// The value of its addresses, unless a longer net contains them.
    pub(super) value: V,
}

/// Spans in which the longest net around an address determines its value. If a net occurs twice, its first value
/// counts. Addresses outside all nets have the value `rest`.
pub(super) fn cut_along<A: Address, V: Copy + PartialEq>(mut nets: Vec<ValuedNet<A, V>>, rest: V) -> Spans<A, V> {
    nets.sort_by_key(|net| (net.start, net.len));
    nets.dedup_by_key(|net| (net.start, net.len));
    let mut spans = Spans::uniform(rest);
    // The nets around the point that the sweep has reached, widest first.
    let mut around: Vec<(A, V)> = Vec::new();
    for net in nets {
        close(&mut spans, &mut around, Some(net.start), rest);
        spans.cut(net.start, net.value);
        around.push((net.start.last_of(net.len), net.value));
    }
    close(&mut spans, &mut around, None, rest);
    spans.shrink();
    spans
}

/// Ends the nets whose last address is before `until`, or all nets.
fn close<A: Address, V: Copy + PartialEq>(
    spans: &mut Spans<A, V>,
    around: &mut Vec<(A, V)>,
    until: Option<A>,
    rest: V,
) {
    while let Some(&(last, _)) = around.last().filter(|(last, _)| until.is_none_or(|until| *last < until)) {
        around.pop();
        if let Some(after) = last.next() {
            spans.cut(after, around.last().map_or(rest, |(_, value)| *value));
        }
    }
}

/// Joins two spans: each address gets the result of `value` for its two values.
pub(super) fn join<A: Address, X: Copy, Y: Copy, V: Copy + PartialEq>(
    one: impl Iterator<Item = (A, X)>,
    other: impl Iterator<Item = (A, Y)>,
    mut value: impl FnMut(X, Y) -> V,
) -> Spans<A, V> {
    let mut spans = Spans::empty();
    let (mut one, mut other) = (one.peekable(), other.peekable());
    let (mut x, mut y) = (None, None);
    while let Some(start) = nearer(one.peek(), other.peek()) {
        advance(&mut one, start, &mut x);
        advance(&mut other, start, &mut y);
        if let (Some(x), Some(y)) = (x, y) {
            spans.cut(start, value(x, y));
        }
    }
    spans.shrink();
    spans
}

/// The same spans with other values.
pub(super) fn mapped<A: Address, X: Copy + PartialEq, V: Copy + PartialEq>(
    spans: &Spans<A, X>,
    value: impl Fn(X) -> V,
) -> Spans<A, V> {
    let mut mapped = Spans::empty();
    spans.iter().for_each(|(start, x)| mapped.cut(start, value(x)));
    mapped.shrink();
    mapped
}

/// Spans in which each address has the value of the first address with the same first `bits` bits. A start may occur
/// twice; then the last one counts.
pub(super) fn coarse<A: Address, V: Copy + PartialEq>(
    spans: &Spans<A, V>,
    bits: u8,
) -> impl Iterator<Item = (A, V)> + '_ {
    spans.iter().map_while(move |(start, value)| Some((start.first_from(bits)?, value)))
}

fn nearer<A: Address, X, Y>(one: Option<&(A, X)>, other: Option<&(A, Y)>) -> Option<A> {
    match (one, other) {
        (Some((a, _)), Some((b, _))) => Some(*a.min(b)),
        (Some((a, _)), None) => Some(*a),
        (None, Some((b, _))) => Some(*b),
        (None, None) => None,
    }
}

fn advance<A: Address, V>(spans: &mut Peekable<impl Iterator<Item = (A, V)>>, to: A, value: &mut Option<V>) {
    while let Some((_, next)) = spans.next_if(|(start, _)| *start == to) {
        *value = Some(next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans(of: &[(u32, char)]) -> Spans<u32, char> {
        Spans { starts: of.iter().map(|s| s.0).collect(), values: of.iter().map(|s| s.1).collect() }
    }

    #[test]
    fn with_few_bits_known_the_value_is_that_of_the_first_address() {
        let fine = spans(&[(0, 'a'), (100, 'b'), (256, 'c'), (700, 'd'), (767, 'e'), (1024, 'a')]);
        let seen = join(coarse(&fine, 24), Spans::uniform(()).iter(), |value, ()| value);
        assert_eq!((seen.starts, seen.values), (vec![0, 256, 768, 1024], vec!['a', 'c', 'e', 'a']));
    }

    #[test]
    fn two_cuts_are_one_with_every_start_of_either_that_changes_something() {
        let (one, other) = (spans(&[(0, 'a'), (10, 'b')]), spans(&[(0, 'x'), (5, 'y'), (10, 'z'), (20, 'y')]));
        let both = join(one.iter(), other.iter(), |x, y| if y == 'y' { 'y' } else { x });
        assert_eq!((both.starts, both.values), (vec![0, 5, 10, 20], vec!['a', 'y', 'b', 'y']));
    }
}
