//! Patterns of endpoint names, as in `fra*`.

/// Whether a name is a pattern: it contains `*` or `?`, which no name of an endpoint does.
pub fn is_pattern(name: &str) -> bool {
    name.contains(['*', '?'])
}

/// Whether `name` matches `pattern`: `*` matches any run of characters, `?` matches one. The time is at most
/// proportional to the product of both lengths.
pub fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut at, mut seen) = (0, 0);
    // Position of the last `*` in the pattern, and how far in the name it reaches.
    let mut star: Option<(usize, usize)> = None;
    while seen < name.len() {
        match (pattern.get(at), star) {
            (Some(b'*'), _) => {
                star = Some((at, seen));
                at += 1;
            }
            (Some(&byte), _) if byte == b'?' || byte == name[seen] => (at, seen) = (at + 1, seen + 1),
            (_, Some((place, from))) => {
                (at, seen) = (place + 1, from + 1);
                star = Some((place, from + 1));
            }
            (_, None) => return false,
        }
    }
    pattern[at.min(pattern.len())..].iter().all(|byte| *byte == b'*')
}
