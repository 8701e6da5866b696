//! A zone and a query for it, made from a few octets. Every sequence of octets makes one: a search changes octets, and
//! a file has them in hexadecimal.

use std::fmt::Write as _;

/// Longest name in text form, without the dot at its end: 255 octets in wire form.
const MOST_TEXT: usize = 253;
/// Most octets of a query over UDP.
const MOST_QUERY: usize = 1472;
/// A record at the root of a type that nobody knows, without content.
const UNKNOWN: &[u8] = &[0, 0xFF, 0xF0, 0, 1, 0, 0, 0, 0, 0, 0];
/// The flags of an update, the upper half.
const UPDATE: u8 = 0x28;
/// More steps than a reply follows.
const MOST_STEPS: usize = 20;

/// A zone, and a query for it.
pub(crate) struct Scene {
    /// The master file.
    pub(crate) master: String,
    /// The policy file.
    pub(crate) policy: String,
    /// The query in wire format.
    pub(crate) packet: Vec<u8>,
    /// Whether it comes over TCP, or else over UDP.
    pub(crate) is_over_tcp: bool,
    /// What it is, for people.
    pub(crate) summary: String,
}

/// Reads octets, and zeros after them.
struct Genes<'a>(std::slice::Iter<'a, u8>);

impl Genes<'_> {
    fn next(&mut self) -> usize {
        self.0.next().copied().unwrap_or(0).into()
    }

    /// A number below `end`.
    fn below(&mut self, end: usize) -> usize {
        self.next() % end
    }

    /// One of these; the first ones are more probable in short sequences.
    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.next() % choices.len()]
    }
}

/// Labels of one length.
#[derive(Clone, Copy)]
struct Labels {
    count: usize,
    len: usize,
    salt: usize,
}

impl Labels {
    fn read(genes: &mut Genes<'_>) -> Labels {
        let count = genes.of(&[0, 1, 2, 3, 5, 10, 20, 40, 60, 80, 100, 120]);
        let len = genes.of(&[1, 1, 1, 2, 3, 8, 20, 63]);
        Labels { count, len, salt: genes.below(26) }
    }

    /// The labels before `tail`, without those on the left that make the name too long.
    fn before(self, tail: &str) -> String {
        let mut name = tail.to_owned();
        for at in 0..self.count {
            if name.len() + self.len + 1 > MOST_TEXT {
                break;
            }
            let first = char::from(b'a' + ((self.salt + at) % 26) as u8);
            name = format!("{first}{}.{name}", "x".repeat(self.len - 1));
        }
        name
    }
}

/// One label before `tail`, if there is room.
fn under(label: &str, tail: &str) -> String {
    if label.len() + 1 + tail.len() <= MOST_TEXT { format!("{label}.{tail}") } else { tail.to_owned() }
}

/// How one name of the chain leads to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Cname,
    Dname,
    Wildcard,
    Steered,
    /// A DNAME whose target is below its owner.
    Growing,
}

/// What the chain ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Addresses,
    Missing,
    Nodata,
    Texts,
    Mail,
    Service,
    Pointers,
    Https,
    Referral,
    Steered,
    SteeredService,
    SteeredHttps,
    Loop,
    Many,
    Apex,
    /// MX whose targets are steered names.
    SteeredMail,
}

/// How many ends there are.
pub(crate) const ENDS: usize = 16;

struct Maker<'g> {
    genes: Genes<'g>,
    apex: String,
    /// What all names of the chain end with.
    deep: String,
    master: String,
    policy: String,
}

/// The scene of these octets.
pub(crate) fn scene(octets: &[u8]) -> Scene {
    let mut genes = Genes(octets.iter());
    let end = genes.of(&[
        End::Addresses,
        End::Missing,
        End::Nodata,
        End::Texts,
        End::Mail,
        End::Service,
        End::Pointers,
        End::Https,
        End::Referral,
        End::Steered,
        End::SteeredService,
        End::SteeredHttps,
        End::Loop,
        End::Many,
        End::Apex,
        End::SteeredMail,
    ]);
    let steps = genes.of(&[0, 0, 0, 1, 2, 3, 5, 8, 12, 16, MOST_STEPS]);
    let apex = Labels::read(&mut genes).before("z");
    let deep = Labels::read(&mut genes).before(&apex);
    let mut maker = Maker { genes, apex, deep, master: String::new(), policy: String::new() };
    maker.write_head();
    let (asked, owner, kinds) = maker.write_chain(steps, end);
    let qtype = maker.write_end(end, &owner);
    maker.finish(&asked, qtype, format!("{kinds:?} then {end:?}"))
}

impl Maker<'_> {
    fn record(&mut self, owner: &str, rest: &str) {
        let _ = writeln!(self.master, "{owner}. 60 IN {rest}");
    }

    fn write_head(&mut self) {
        let (first, second) = (Labels::read(&mut self.genes), Labels::read(&mut self.genes));
        let (mname, rname) = (first.before(&self.deep), second.before(&self.deep));
        let apex = self.apex.clone();
        self.record(&apex, &format!("SOA {mname}. {rname}. 1 3600 600 604800 60"));
        self.record(&apex, &format!("NS {}.", under("ns", &apex)));
        self.record(&under("ns", &apex), "A 127.0.0.1");
        let _ = writeln!(self.policy, "zone = \"{apex}.\"\nfile = \"z.zone\"");
    }

    /// Writes the chain; returns the name at its beginning, the one at its end, and its kinds.
    fn write_chain(&mut self, steps: usize, end: End) -> (String, String, Vec<Step>) {
        let own = Labels::read(&mut self.genes);
        let is_uniform = self.genes.below(2) == 0;
        let place = |deep: &str, own: Labels, at: usize| under(&format!("s{at}"), &own.before(deep));
        let mut kinds = Vec::new();
        let mut prefix = Labels::read(&mut self.genes);
        let mut at_place = place(&self.deep, own, 0);
        let mut name = prefix.before(&at_place);
        let first = name.clone();
        let mut kind = self.read_step();
        for at in 0..steps {
            if !is_uniform {
                kind = self.read_step();
            }
            kinds.push(kind);
            let (next_own, next_prefix) = match is_uniform {
                true => (own, prefix),
                false => (Labels::read(&mut self.genes), Labels::read(&mut self.genes)),
            };
            let is_back = end == End::Loop && at + 1 == steps;
            let next_place = if is_back { place(&self.deep, own, 0) } else { place(&self.deep, next_own, at + 1) };
            let keeps_prefix = matches!(kind, Step::Dname | Step::Growing);
            let next_prefix = if keeps_prefix { prefix } else { next_prefix };
            let next_name = if is_back && !keeps_prefix { first.clone() } else { next_prefix.before(&next_place) };
            match kind {
                Step::Cname => self.record(&name, &format!("CNAME {next_name}.")),
                Step::Dname => self.record(&at_place, &format!("DNAME {next_place}.")),
                Step::Growing => {
                    let grown = Labels::read(&mut self.genes).before(&at_place);
                    self.record(&at_place, &format!("DNAME {grown}."));
                }
                Step::Wildcard => self.record(&under("*", &at_place), &format!("CNAME {next_name}.")),
                Step::Steered => {
                    self.steer(&name, &format!("c{at}"), &[format!("cname = \"{next_name}.\"")], "weighted", "")
                }
            }
            (name, at_place, prefix) = (next_name, next_place, next_prefix);
        }
        (first, name, kinds)
    }

    fn read_step(&mut self) -> Step {
        self.genes.of(&[Step::Cname, Step::Dname, Step::Wildcard, Step::Steered, Step::Growing])
    }

    /// A steered name, its pool and its endpoints.
    fn steer(&mut self, name: &str, pool: &str, endpoints: &[String], kind: &str, keys: &str) {
        let apex = format!(".{}", self.apex);
        let Some(relative) = name.strip_suffix(&apex) else { return };
        let mut members = Vec::new();
        for (at, keys) in endpoints.iter().enumerate() {
            let _ = writeln!(self.policy, "[endpoint.{pool}e{at}]\n{keys}\nweight = {}", 1 + at % 7);
            members.push(format!("\"{pool}e{at}\""));
        }
        let members = members.join(", ");
        let _ = writeln!(self.policy, "[pool.{pool}]\nsteer = \"{kind}\"\nmembers = [{members}]");
        let _ = writeln!(self.policy, "[name.\"{relative}\"]\npool = \"{pool}\"\n{keys}");
    }

    /// Writes the records at the end of the chain and returns the type that the query asks for.
    fn write_end(&mut self, end: End, owner: &str) -> &'static str {
        let count = 1 + self.genes.below(90);
        let labels = Labels::read(&mut self.genes);
        let has_addresses = self.genes.below(2) == 0;
        let is_below = self.genes.below(2) == 0;
        let tail = if is_below { owner.to_owned() } else { self.deep.clone() };
        let targets: Vec<String> = (0..count).map(|at| under(&format!("t{at}"), &labels.before(&tail))).collect();
        let write = |maker: &mut Self, head: &str, rest: &str| {
            for target in &targets {
                maker.record(owner, &format!("{head} {target}. {rest}"));
                if has_addresses {
                    maker.record(target, "A 192.0.2.1");
                    maker.record(target, "AAAA 2001:db8::1");
                }
            }
        };
        match end {
            End::Addresses | End::Loop => {
                (0..count).for_each(|at| self.record(owner, &format!("A 192.0.2.{at}")));
                "A"
            }
            End::Missing => "A",
            End::Nodata => {
                self.record(&under("below", owner), "A 192.0.2.1");
                "A"
            }
            End::Texts => {
                let text = "t".repeat(1 + self.genes.below(60));
                (0..count).for_each(|at| self.record(owner, &format!("TXT \"{at}{text}\"")));
                "TXT"
            }
            End::Mail => {
                write(self, "MX 10", "");
                "MX"
            }
            End::Service => {
                write(self, "SRV 1 1 80", "");
                "SRV"
            }
            End::Pointers => {
                write(self, "PTR", "");
                "PTR"
            }
            End::Https => {
                write(self, "HTTPS 1", "");
                "HTTPS"
            }
            End::Referral => {
                write(self, "NS", "");
                "A"
            }
            End::Many => {
                self.record(owner, "TXT \"t\"");
                self.record(owner, "A 192.0.2.1");
                write(self, "MX 10", "");
                "ANY"
            }
            End::Steered | End::SteeredService | End::SteeredHttps => self.write_steered(end, owner, &targets),
            End::SteeredMail => {
                for (at, target) in targets.iter().enumerate() {
                    self.record(owner, &format!("MX 10 {target}."));
                    let addresses = format!("addresses = [\"192.0.2.{at}\", \"2001:db8::{at:x}\"]");
                    self.steer(target, &format!("m{at}"), &[addresses], "affinity", "");
                }
                "MX"
            }
            End::Apex => "NS",
        }
    }

    fn write_steered(&mut self, end: End, owner: &str, targets: &[String]) -> &'static str {
        let kind = self.genes.of(&["weighted", "affinity", "all"]);
        let members = self.genes.of(&[1, 2, 4, 8, 16, 32, 64]);
        let answers = self.genes.of(&[1, 2, 8, 32, 64]);
        let are_names = self.genes.below(2) == 0 && end != End::Steered;
        let endpoints: Vec<String> = (0..members)
            .map(|at| match are_names {
                true => format!("cname = \"{}.\"", targets[at % targets.len()]),
                false => format!("addresses = [\"192.0.{}.{}\", \"2001:db8::{at:x}\"]", at / 250, at % 250),
            })
            .collect();
        let (types, qtype) = match end {
            End::SteeredService => ("types = [\"SRV\"]\nport = 80", "SRV"),
            End::SteeredHttps => ("types = [\"HTTPS\"]", "HTTPS"),
            _ => ("", "A"),
        };
        let owner = if end == End::SteeredService { under("_s", &under("_tcp", owner)) } else { owner.to_owned() };
        self.steer(&owner, "end", &endpoints, kind, &format!("answers = {answers}\n{types}"));
        qtype
    }

    fn finish(mut self, asked: &str, qtype: &str, summary: String) -> Scene {
        let codes = [
            ("A", 1),
            ("AAAA", 28),
            ("NS", 2),
            ("SOA", 6),
            ("MX", 15),
            ("TXT", 16),
            ("SRV", 33),
            ("CNAME", 5),
            ("DNAME", 39),
            ("PTR", 12),
            ("HTTPS", 65),
            ("ANY", 255),
            ("DS", 43),
            ("RRSIG", 46),
        ];
        let other = codes[self.genes.below(codes.len())].1;
        let own = codes.iter().find(|(name, _)| *name == qtype).map_or(1, |(_, code)| *code);
        let code = if self.genes.below(4) == 3 { other } else { own };
        let extra = Labels::read(&mut self.genes);
        let mut name = if self.genes.below(4) == 3 { extra.before(asked) } else { asked.to_owned() };
        if qtype == "SRV" && self.policy.contains("SRV") {
            name = under("_s", &under("_tcp", asked));
        }
        if qtype == "NS" {
            name = extra.before(&self.apex);
        }
        if self.genes.below(2) == 1 {
            name = name.to_ascii_uppercase();
        }
        let packet = self.packet(&name, code);
        let is_over_tcp = self.genes.below(3) == 2;
        let summary = format!("{summary}, type {code}, {} octets in, {name}", packet.len());
        Scene { master: self.master, policy: self.policy, packet, is_over_tcp, summary }
    }

    fn packet(&mut self, name: &str, code: u16) -> Vec<u8> {
        let options = self.genes.below(32);
        let shape = self.genes.below(32);
        if shape == 31 {
            // Far more questions than one.
            let questions = [&[0x12, 0x34, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0][..], &[0, 0, 1, 0, 1].repeat(256)];
            return questions.concat();
        }
        let is_plain = options == 31;
        let mut packet = vec![0x12, 0x34, 0, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(!is_plain)];
        for label in name.split('.') {
            packet.push(label.len() as u8);
            packet.extend_from_slice(label.as_bytes());
        }
        packet.push(0);
        packet.extend_from_slice(&code.to_be_bytes());
        packet.extend_from_slice(&[0, 1]);
        // As many records as are read, and more: each at the name of the question, of an unknown type, or an update.
        let of_question: &[u8] = &[0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0];
        let many = [(26, 16, of_question), (27, 64, of_question), (28, 16, UNKNOWN), (30, 90, of_question)];
        if let Some((shape, count, record)) = many.into_iter().find(|(of, ..)| *of == shape) {
            let count = count.min((MOST_QUERY - packet.len()) / record.len());
            packet.extend(record.repeat(count));
            (packet[2], packet[11]) = (if shape == 27 { UPDATE } else { 0 }, count as u8);
            return packet;
        }
        if shape == 29 {
            // A record of empty texts.
            let count = MOST_QUERY - packet.len() - UNKNOWN.len();
            packet.extend([0, 0, 16, 0, 1, 0, 0, 0, 0, (count >> 8) as u8, count as u8]);
            packet.resize(MOST_QUERY, 0);
            packet[11] = 1;
            return packet;
        }
        if is_plain {
            return packet;
        }
        let mut data: Vec<u8> = Vec::new();
        if options & 1 != 0 {
            data.extend_from_slice(&[0, 8, 0, 7, 0, 1, 24, 0, 5, 9, 7]);
        }
        if options & 2 != 0 {
            data.extend_from_slice(&[0, 10, 0, 24, 7, 7, 7, 7, 7, 7, 7, 7, 1, 0, 0, 0, 0x6B, 0x49, 0xD2, 0]);
            data.extend_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8]);
        }
        if options & 4 != 0 {
            data.extend_from_slice(&[0, 3, 0, 0]);
        }
        if options & 8 != 0 {
            data.extend_from_slice(&[0, 12, 0, 0]);
        }
        if options & 16 != 0 {
            // As many as are read, unknown ones or more client subnets.
            let more: &[u8] = if options & 1 == 0 { &[0xFF, 0xF0, 0, 0] } else { &[0, 8, 0, 7, 0, 1, 24, 0, 5, 9, 7] };
            (0..60).for_each(|_| data.extend_from_slice(more));
        }
        packet.extend_from_slice(&[0, 0, 41, 0x04, 0xD0, 0, 0, 0, 0]);
        packet.extend_from_slice(&(data.len() as u16).to_be_bytes());
        packet.extend_from_slice(&data);
        packet
    }
}
