//! A whole address family cut into spans that carry a value each: as nets say, as two cuts say together, or as somebody
//! sees it who knows only the first bits of an address. Sorted arrays and linear sweeps; nothing here knows what the
//! values mean.

use std::fmt;
use std::iter::Peekable;

use crate::model::address::Address;

/// One net and what it carries.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Net<A, V> {
    /// Its first address.
    pub(crate) start: A,
    /// Its length in bits.
    pub(crate) len: u8,
    /// What it carries.
    pub(crate) value: V,
}

/// A family cut into spans, no two neighbours of one value.
#[derive(Clone)]
pub(crate) struct Spans<A, V> {
    /// Where each begins; the first at zero.
    pub(crate) starts: Vec<A>,
    /// What each carries.
    pub(crate) values: Vec<V>,
}

impl<A, V> fmt::Debug for Spans<A, V> {
    /// How many there are: all of them would be megabytes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} spans", self.starts.len())
    }
}

impl<A: Address, V: Copy + PartialEq + Default> Default for Spans<A, V> {
    fn default() -> Spans<A, V> {
        Spans::uniform(V::default())
    }
}

impl<A: Address, V: Copy + PartialEq> Spans<A, V> {
    /// One value everywhere.
    pub(crate) fn uniform(value: V) -> Spans<A, V> {
        Spans { starts: vec![A::ZERO], values: vec![value] }
    }

    /// Cut along `nets`, of which the longest has the word; of two for one net the first counts; what none holds is `rest`.
    pub(crate) fn of_nets(mut nets: Vec<Net<A, V>>, rest: V) -> Spans<A, V> {
        nets.sort_by_key(|net| (net.start, net.len));
        nets.dedup_by_key(|net| (net.start, net.len));
        let mut spans = Spans::uniform(rest);
        // The nets around the point that the sweep has reached, widest first.
        let mut around: Vec<(A, V)> = Vec::new();
        for net in nets {
            spans.close(&mut around, Some(net.start), rest);
            spans.cut(net.start, net.value);
            around.push((net.start.last_of(net.len), net.value));
        }
        spans.close(&mut around, None, rest);
        spans.shrink();
        spans
    }

    /// Ends the nets that lie wholly before `until`, or all of them.
    fn close(&mut self, around: &mut Vec<(A, V)>, until: Option<A>, rest: V) {
        while let Some(&(last, _)) = around.last().filter(|(last, _)| until.is_none_or(|until| *last < until)) {
            around.pop();
            if let Some(after) = last.next() {
                self.cut(after, around.last().map_or(rest, |(_, value)| *value));
            }
        }
    }

    /// From `start` on, the value is `value`. Called with rising starts; the last word on one start counts.
    pub(crate) fn cut(&mut self, start: A, value: V) {
        if self.starts.last() == Some(&start) {
            self.starts.pop();
            self.values.pop();
        }
        if self.values.last() != Some(&value) {
            self.starts.push(start);
            self.values.push(value);
        }
    }

    /// What two cuts say together.
    pub(crate) fn join<X: Copy, Y: Copy>(
        one: impl Iterator<Item = (A, X)>,
        other: impl Iterator<Item = (A, Y)>,
        mut value: impl FnMut(X, Y) -> V,
    ) -> Spans<A, V> {
        let mut spans = Spans { starts: Vec::new(), values: Vec::new() };
        sweep(one, other, |start, x, y| spans.cut(start, value(x, y)));
        spans.shrink();
        spans
    }

    /// Start and value of each, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (A, V)> + '_ {
        self.starts.iter().copied().zip(self.values.iter().copied())
    }

    /// The same as seen by somebody who knows the first `bits` bits of an address, and takes it for the first one that
    /// has them. A start may come twice; the last counts.
    pub(crate) fn coarse(&self, bits: u8) -> impl Iterator<Item = (A, V)> + '_ {
        self.iter().map_while(move |(start, value)| Some((start.first_from(bits)?, value)))
    }

    /// What `address` has.
    pub(crate) fn at(&self, address: A) -> Option<V> {
        let at = self.starts.partition_point(|start| *start <= address).checked_sub(1)?;
        self.values.get(at).copied()
    }

    /// Gives back memory that is not needed.
    pub(crate) fn shrink(&mut self) {
        self.starts.shrink_to_fit();
        self.values.shrink_to_fit();
    }
}

/// Goes over two cuts at once: calls with each start that either has, and what both have from there on.
pub(crate) fn sweep<A: Address, X: Copy, Y: Copy>(
    one: impl Iterator<Item = (A, X)>,
    other: impl Iterator<Item = (A, Y)>,
    mut each: impl FnMut(A, X, Y),
) {
    let (mut one, mut other) = (one.peekable(), other.peekable());
    let (mut x, mut y) = (None, None);
    while let Some(start) = nearer(one.peek(), other.peek()) {
        advance(&mut one, start, &mut x);
        advance(&mut other, start, &mut y);
        if let (Some(x), Some(y)) = (x, y) {
            each(start, x, y);
        }
    }
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
    fn who_knows_few_bits_sees_the_value_of_the_first_address() {
        let fine = spans(&[(0, 'a'), (100, 'b'), (256, 'c'), (700, 'd'), (767, 'e'), (1024, 'a')]);
        let seen = Spans::join(fine.coarse(24), Spans::uniform(()).iter(), |value, ()| value);
        assert_eq!((seen.starts, seen.values), (vec![0, 256, 768, 1024], vec!['a', 'c', 'e', 'a']));
    }

    #[test]
    fn two_cuts_are_one_with_every_start_of_either_that_changes_something() {
        let (one, other) = (spans(&[(0, 'a'), (10, 'b')]), spans(&[(0, 'x'), (5, 'y'), (10, 'z'), (20, 'y')]));
        let both = Spans::join(one.iter(), other.iter(), |x, y| if y == 'y' { 'y' } else { x });
        assert_eq!((both.starts, both.values), (vec![0, 5, 10, 20], vec!['a', 'y', 'b', 'y']));
    }
}
