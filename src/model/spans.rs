//! A whole address family cut into spans that carry a value each: two sorted arrays. Nothing here knows what the values
//! mean; `placing` makes spans from nets and joins them.

use std::fmt;

/// A family cut into spans, no two neighbours of one value. `A` is an address as a number.
#[derive(Clone)]
pub struct Spans<A, V> {
    /// Where each begins; the first at zero.
    pub starts: Vec<A>,
    /// What each carries.
    pub values: Vec<V>,
}

impl<A, V> fmt::Debug for Spans<A, V> {
    /// How many there are: all of them would be megabytes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} spans", self.starts.len())
    }
}

impl<A: Copy + Ord + Default, V: Copy + PartialEq> Spans<A, V> {
    /// One value everywhere.
    pub fn uniform(value: V) -> Spans<A, V> {
        Spans { starts: vec![A::default()], values: vec![value] }
    }

    /// No span yet; the first that is added must begin at zero.
    pub fn empty() -> Spans<A, V> {
        Spans { starts: Vec::new(), values: Vec::new() }
    }

    /// From `start` on, the value is `value`. Called with rising starts; of two values for one start the last counts.
    pub fn cut(&mut self, start: A, value: V) {
        if self.starts.last() == Some(&start) {
            self.starts.pop();
            self.values.pop();
        }
        if self.values.last() != Some(&value) {
            self.starts.push(start);
            self.values.push(value);
        }
    }

    /// The value of `address`.
    pub fn at(&self, address: A) -> Option<V> {
        let at = self.starts.partition_point(|start| *start <= address).checked_sub(1)?;
        self.values.get(at).copied()
    }

    /// Start and value of each, in order.
    pub fn iter(&self) -> impl Iterator<Item = (A, V)> + '_ {
        self.starts.iter().copied().zip(self.values.iter().copied())
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.starts.len()
    }

    /// Frees memory that was set aside for more spans.
    pub fn shrink(&mut self) {
        self.starts.shrink_to_fit();
        self.values.shrink_to_fit();
    }
}
