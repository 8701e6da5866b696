//! The last values of one series. A value that is missing is NaN.

/// A ring of numbers.
#[derive(Debug, Clone)]
pub(super) struct Ring {
    values: Box<[f32]>,
    /// Where the next value goes, which is also the place of the oldest one.
    next: usize,
}

impl Ring {
    /// A ring of so many missing values.
    pub(super) fn new(length: usize) -> Ring {
        Ring { values: vec![f32::NAN; length].into(), next: 0 }
    }

    /// Replaces the oldest value.
    pub(super) fn push(&mut self, value: f32) {
        if let Some(place) = self.values.get_mut(self.next) {
            *place = value;
            self.next = (self.next + 1) % self.values.len();
        }
    }

    /// All values, the oldest first.
    pub(super) fn values(&self) -> impl Iterator<Item = f32> + '_ {
        let (newer, older) = self.values.split_at(self.next);
        older.iter().chain(newer).copied()
    }

    /// Whether all values are missing.
    pub(super) fn is_empty(&self) -> bool {
        self.values.iter().all(|value| value.is_nan())
    }
}
