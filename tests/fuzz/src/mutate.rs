//! Inputs from other inputs: changed, cut, glued, and given what readers stumble over. By a seed and a number, so that
//! each can be made again by itself.

use portolan::placing::SplitMix;

/// A small generator of chance: good enough to choose by.
#[derive(Debug, Clone)]
pub struct Chance(SplitMix);

/// Octets that are lengths, pointers, types and counts to a reader of messages.
const EDGES: [u8; 16] = [0, 1, 2, 4, 8, 10, 12, 15, 41, 63, 64, 127, 128, 191, 192, 255];
/// What a reader of files stumbles over.
const WORDS: [&str; 40] = [
    "\n",
    "\n\n",
    " ",
    "\t",
    "(",
    ")",
    "\"",
    "\"\"",
    ";",
    "@",
    "$",
    "\\",
    "\\000",
    "\\255",
    "\\256",
    "\\.",
    "*",
    ".",
    "..",
    "$TTL ",
    "$ORIGIN ",
    "$GENERATE 1-9 ",
    "IN ",
    "CH ",
    "SOA ",
    "NS ",
    "CNAME ",
    "DNAME ",
    "TXT ",
    "A ",
    "\\# 1 00",
    "4294967296",
    "-1",
    "0",
    "[",
    "]",
    "=",
    "{",
    "}",
    "'''",
];
/// Most changes to one input.
const MOST_CHANGES: usize = 6;
/// Longest input: a packet over UDP and more, a file of some hundred lines.
const LONGEST: usize = 4096;

impl Chance {
    /// The chance of one run.
    pub fn of(seed: u64, run: u64) -> Chance {
        let mut chance = Chance(SplitMix(seed ^ run.wrapping_mul(0xA076_1D64_78BD_642F)));
        chance.next();
        chance
    }

    fn next(&mut self) -> u64 {
        self.0.number()
    }

    /// Below `bound`, which is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }
}

/// An input of `corpus`, which isn't empty, changed a little.
pub fn mutated(corpus: &[Vec<u8>], chance: &mut Chance, is_text: bool) -> Vec<u8> {
    let mut data = corpus[chance.below(corpus.len())].clone();
    if chance.below(50) == 0 {
        return (0..chance.below(600)).map(|_| chance.next() as u8).collect();
    }
    for _ in 0..=chance.below(MOST_CHANGES) {
        change(&mut data, &corpus[chance.below(corpus.len())], chance, is_text);
    }
    data.truncate(LONGEST);
    data
}

fn change(data: &mut Vec<u8>, other: &[u8], chance: &mut Chance, is_text: bool) {
    let at = chance.below(data.len() + 1);
    let end = (at + chance.below(9)).min(data.len());
    match chance.below(9) {
        0 if at < data.len() => data[at] ^= 1 << chance.below(8),
        1 if at < data.len() => data[at] = EDGES[chance.below(EDGES.len())],
        2 if at < data.len() => data[at] = data[at].wrapping_add([1, 255][chance.below(2)]),
        3 => drop(data.drain(at..end)),
        4 if is_text => drop(data.splice(at..at, chance.pick(&WORDS).bytes())),
        4 => drop(data.splice(at..at, [EDGES[chance.below(EDGES.len())], chance.next() as u8])),
        5 => {
            let part = data[at..end].to_vec();
            drop(data.splice(at..at, part));
        }
        6 if !other.is_empty() => {
            let from = chance.below(other.len());
            let to = (from + 1 + chance.below(40)).min(other.len());
            drop(data.splice(at..end, other[from..to].iter().copied()));
        }
        7 if chance.below(4) == 0 => data.truncate(at),
        8 if is_text => move_line(data, chance),
        8 if data.len() > 13 => data[5 + 2 * chance.below(4)] = EDGES[chance.below(EDGES.len())],
        _ => data.push(chance.next() as u8),
    }
}

/// Puts one line of a file before another.
fn move_line(data: &mut Vec<u8>, chance: &mut Chance) {
    let mut lines: Vec<Vec<u8>> = data.split_inclusive(|octet| *octet == b'\n').map(<[u8]>::to_vec).collect();
    if lines.is_empty() {
        return;
    }
    let line = lines[chance.below(lines.len())].clone();
    let to = chance.below(lines.len());
    if chance.below(2) == 0 {
        lines.insert(to, line)
    } else {
        lines[to] = line
    }
    *data = lines.concat();
}
