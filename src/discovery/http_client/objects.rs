//! Cuts a JSON text that arrives in parts into its objects, without parsing them: those of an array, or those of a
//! stream in which they follow one another. So a list of any length takes the memory of one object. Pure.

use std::fmt;

/// What the objects are in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ObjectForm {
    /// `[{...}, {...}]`
    Array,
    /// `{...} {...}`, with white space between them or without.
    Stream,
}

/// Why a text can't be cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ObjectsError {
    /// Something else is in the place of an object.
    NoObject,
    /// An object is longer than the limit, in octets.
    TooLong(usize),
    /// The text ends within an object or an array.
    Truncated,
}

impl fmt::Display for ObjectsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ObjectsError::NoObject => f.write_str("expected JSON objects, found something else"),
            ObjectsError::TooLong(most) => write!(f, "a JSON object is over {most} octets, the most that are read"),
            ObjectsError::Truncated => f.write_str("the JSON text ends in the middle"),
        }
    }
}

/// See the comment of this file.
#[derive(Debug)]
pub(crate) struct JsonObjects {
    form: ObjectForm,
    most: usize,
    /// The beginning of an object whose end has not come.
    begun: Vec<u8>,
    scan: Scan,
}

#[derive(Debug, Default)]
struct Scan {
    /// How many brackets of the object are open; 0: outside.
    depth: usize,
    is_in_string: bool,
    is_escaped: bool,
    array: ArrayState,
    /// Whether an object or `[` may come: not right after an object of an array.
    is_after_object: bool,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum ArrayState {
    #[default]
    Before,
    Within,
    After,
}

impl JsonObjects {
    /// Cuts a text of this form; each object has at most `most` octets.
    pub(crate) fn new(form: ObjectForm, most: usize) -> JsonObjects {
        JsonObjects { form, most, begun: Vec::new(), scan: Scan::default() }
    }

    /// Takes the next part of the text, and passes each object that ends in it to `take`.
    pub(crate) fn feed(&mut self, part: &[u8], mut take: impl FnMut(&[u8])) -> Result<(), ObjectsError> {
        // Where the present object begins in this part.
        let mut start = 0;
        for (at, octet) in part.iter().enumerate() {
            if self.scan.depth == 0 {
                start = at;
                self.scan.outside(*octet, self.form)?;
            } else if self.scan.inside(*octet) {
                let end = &part[start..=at];
                self.check_length(end.len())?;
                match self.begun.is_empty() {
                    true => take(end),
                    false => {
                        self.begun.extend_from_slice(end);
                        take(&self.begun);
                        // A long object must not hold its memory for as long as the stream lasts.
                        self.begun = Vec::new();
                    }
                }
            }
        }
        if self.scan.depth > 0 {
            self.check_length(part.len() - start)?;
            self.begun.extend_from_slice(&part[start..]);
        }
        Ok(())
    }

    fn check_length(&self, more: usize) -> Result<(), ObjectsError> {
        if self.begun.len() + more > self.most { Err(ObjectsError::TooLong(self.most)) } else { Ok(()) }
    }

    /// The text has ended.
    pub(crate) fn finish(&self) -> Result<(), ObjectsError> {
        let is_whole = match self.form {
            ObjectForm::Array => self.scan.array == ArrayState::After,
            ObjectForm::Stream => self.scan.depth == 0,
        };
        if is_whole { Ok(()) } else { Err(ObjectsError::Truncated) }
    }
}

impl Scan {
    /// An octet outside of objects.
    fn outside(&mut self, octet: u8, form: ObjectForm) -> Result<(), ObjectsError> {
        let is_array = form == ObjectForm::Array;
        match octet {
            b' ' | b'\t' | b'\r' | b'\n' => {}
            b'{' if !is_array || (self.array == ArrayState::Within && !self.is_after_object) => self.depth = 1,
            b'[' if is_array && self.array == ArrayState::Before => self.array = ArrayState::Within,
            b']' if is_array && self.array == ArrayState::Within => self.array = ArrayState::After,
            b',' if is_array && self.is_after_object && self.array == ArrayState::Within => {
                self.is_after_object = false
            }
            _ => return Err(ObjectsError::NoObject),
        }
        Ok(())
    }

    /// An octet of an object. Whether it is the last one.
    fn inside(&mut self, octet: u8) -> bool {
        if self.is_in_string {
            match (self.is_escaped, octet) {
                (true, _) => self.is_escaped = false,
                (false, b'\\') => self.is_escaped = true,
                (false, b'"') => self.is_in_string = false,
                (false, _) => {}
            }
            return false;
        }
        match octet {
            b'"' => self.is_in_string = true,
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => self.depth -= 1,
            _ => {}
        }
        self.is_after_object = self.depth == 0;
        self.depth == 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The objects of a text that arrives in parts of `size` octets.
    fn objects(form: ObjectForm, text: &str, size: usize) -> Result<Vec<String>, ObjectsError> {
        let (mut objects, mut found) = (JsonObjects::new(form, 64), Vec::new());
        for part in text.as_bytes().chunks(size) {
            objects.feed(part, |object| found.push(String::from_utf8(object.to_vec()).unwrap()))?;
        }
        objects.finish().map(|()| found)
    }

    #[test]
    fn objects_are_cut_wherever_the_parts_end() {
        let (a, b) = (r#"{"a":"}]\"{","b":[1,{"c":{}}]}"#, "{}");
        for size in 1..80 {
            let array = format!(" [{a} ,\n{b},{a}]\n");
            assert_eq!(objects(ObjectForm::Array, &array, size).unwrap(), [a, b, a], "{size}");
            assert_eq!(objects(ObjectForm::Stream, &format!("{a}{b}\n{a}\n"), size).unwrap(), [a, b, a], "{size}");
        }
        assert_eq!(objects(ObjectForm::Array, "[]", 1).unwrap(), [""; 0]);
    }

    #[test]
    fn what_is_no_list_of_objects_is_refused() {
        use ObjectForm::{Array, Stream};
        for (form, text, expected) in [
            (Array, "<html>", ObjectsError::NoObject),
            (Array, "[1]", ObjectsError::NoObject),
            (Array, "{}", ObjectsError::NoObject),
            (Array, "[{} {}]", ObjectsError::NoObject),
            (Array, "[{}][", ObjectsError::NoObject),
            (Array, "[{}", ObjectsError::Truncated),
            (Array, "", ObjectsError::Truncated),
            (Stream, "[{}]", ObjectsError::NoObject),
            (Stream, "{}null", ObjectsError::NoObject),
            (Stream, "{\"a\":", ObjectsError::Truncated),
        ] {
            assert_eq!(objects(form, text, 3), Err(expected), "{text}");
        }
        let long = format!("[{{\"a\":\"{}\"}}]", "x".repeat(60));
        for size in [1, 10, 100] {
            assert_eq!(objects(Array, &long, size), Err(ObjectsError::TooLong(64)), "{size}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics_and_no_more_than_the_limit_is_stored(
            parts in prop::collection::vec("[\\[\\]{}\",: a\\\\]{0,40}", 0..20)
        ) {
            let mut objects = JsonObjects::new(ObjectForm::Array, 64);
            for part in parts {
                if objects.feed(part.as_bytes(), |object| assert!(object.len() <= 64)).is_err() {
                    break;
                }
                prop_assert!(objects.begun.len() <= 64);
            }
        }
    }
}
