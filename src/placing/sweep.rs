//! Linear sweeps over [`Spans`]: cut a family along nets, join two cuts, or see one as somebody who knows only the
//! first bits of an address. Nothing here knows what the values mean.

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
    /// What its addresses have, unless a longer net says otherwise.
    pub(super) value: V,
}

/// A family cut along `nets`: the longest net around an address gives its value. Of two values for one net the first
/// counts. Addresses outside all nets have `rest`.
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

/// Ends the nets that lie wholly before `until`, or all of them.
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

/// Two cuts joined: each address has what `value` makes of both its values.
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

/// The same cut with other values.
pub(super) fn mapped<A: Address, X: Copy + PartialEq, V: Copy + PartialEq>(
    spans: &Spans<A, X>,
    value: impl Fn(X) -> V,
) -> Spans<A, V> {
    let mut mapped = Spans::empty();
    spans.iter().for_each(|(start, x)| mapped.cut(start, value(x)));
    mapped.shrink();
    mapped
}

/// The same cut as seen by somebody who knows the first `bits` bits of an address, and takes it for the first address
/// that has them. A start may come twice; the last counts.
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
