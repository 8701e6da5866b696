//! Tables with a key `type`, which says what other keys they have.

use std::ops::Deref;

use crate::config::fields::Head;
use crate::config::keys::KeyGroup;
use crate::source::{Problems, listed};

/// The types of a table.
pub(in crate::config) trait TypeWord: Copy + PartialEq + 'static {
    /// All of them, each with its word, in the order of the manual.
    const ALL: &'static [(&'static str, Self)];

    /// The word for it.
    fn word(self) -> &'static str {
        Self::ALL.iter().find(|(_, of)| *of == self).map_or("", |(word, _)| *word)
    }

    /// The type for a word.
    fn of_word(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == word).map(|(_, of)| *of)
    }

    /// Errors for the keys of a table of this type that only other types have, and for those of `needed` that it lacks,
    /// each with its hint. `whose`: what messages call the table, before its type: `a sink of `.
    fn check<T: KeyGroup + Deref<Target = Head>>(
        self,
        table: &T,
        whose: &str,
        needed: &[(&str, &str)],
        problems: &mut Problems,
    ) {
        for (key, owners) in T::owned().into_iter().filter(|(_, owners)| !owners.contains(&self.word())) {
            let Some(place) = table.place_of(key) else { continue };
            let message = format!("`{key}` is not a key of {whose}type {}", self.word());
            problems.error(place, message).hint(format!("it belongs to {}: leave it out", listed(&owners)));
        }
        for (key, hint) in needed.iter().filter(|(key, _)| table.lacks(key)) {
            problems.error(&table.name.place, format!("{} has no `{key}`", table.what())).hint(*hint);
        }
    }
}
