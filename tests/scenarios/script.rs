//! A scenario file as text: settings, a policy, records of the master file, further files, and cases.

/// A file that was read.
pub(crate) struct Script {
    /// `portolan.toml`.
    pub(crate) settings: String,
    /// `svc.example.policy.toml`.
    pub(crate) policy: String,
    /// What the zone file has besides SOA, NS and glue.
    pub(crate) records: String,
    /// Settings of the project that are used instead of all these.
    pub(crate) used: Option<String>,
    /// The zone of the queries, with its final dot.
    pub(crate) zone: String,
    /// Further files in the zones' directory, by name.
    pub(crate) files: Vec<(String, String)>,
    /// In their order; each begins in a world where everything is up and nothing was ever served.
    pub(crate) cases: Vec<Case>,
}

/// A sentence and what is done for it.
pub(crate) struct Case {
    /// What it shows.
    pub(crate) sentence: String,
    /// Its lines.
    pub(crate) lines: Vec<Line>,
}

/// One line of a case, in words; a text in quotes is one word.
pub(crate) struct Line {
    /// From 1.
    pub(crate) number: usize,
    /// At least one.
    pub(crate) words: Vec<String>,
    /// Where each of them begins, in characters from 1.
    pub(crate) columns: Vec<usize>,
}

/// What is wrong with a line.
pub(crate) struct Wrong {
    /// Which word of the line, from 0; one after the last: its end.
    pub(crate) word: usize,
    pub(crate) why: String,
}

impl Wrong {
    pub(crate) fn at(word: usize, why: String) -> Wrong {
        Wrong { word, why }
    }
}

impl From<String> for Wrong {
    /// Of the whole line.
    fn from(why: String) -> Wrong {
        Wrong { word: 0, why }
    }
}

impl Line {
    /// The column of a word.
    pub(crate) fn column(&self, word: usize) -> usize {
        self.columns.get(word).or(self.columns.last()).copied().unwrap_or(1)
    }
}

/// Where the text of a line goes.
enum Part {
    Nowhere,
    Settings,
    Policy,
    Records,
    File,
    Cases,
}

impl Script {
    /// Reads a file; the error begins with the line's number.
    pub(crate) fn parse(text: &str) -> Result<Script, String> {
        let mut script = Script {
            settings: String::new(),
            policy: String::new(),
            records: String::new(),
            used: None,
            zone: "svc.example.".to_owned(),
            files: Vec::new(),
            cases: Vec::new(),
        };
        let mut part = Part::Nowhere;
        for (at, line) in text.lines().enumerate() {
            let first = line.split_whitespace().next().unwrap_or_default();
            match first {
                "SETTINGS" => part = Part::Settings,
                "POLICY" => part = Part::Policy,
                "ZONE" => part = Part::Records,
                "USE" => match &words(line)[..] {
                    [_, settings, zone] => {
                        (script.used, script.zone) = (Some(settings.clone()), zone.clone());
                        part = Part::Nowhere;
                    }
                    _ => return Err(format!("{}: expected USE SETTINGS ZONE", at + 1)),
                },
                "FILE" => {
                    script.files.push((line["FILE".len()..].trim().to_owned(), String::new()));
                    part = Part::File;
                }
                "CASE" => {
                    let sentence = line["CASE".len()..].trim().to_owned();
                    script.cases.push(Case { sentence, lines: Vec::new() });
                    part = Part::Cases;
                }
                _ => script.take(&part, at + 1, line)?,
            }
        }
        Ok(script)
    }

    fn take(&mut self, part: &Part, number: usize, line: &str) -> Result<(), String> {
        let add = |text: &mut String| {
            text.push_str(line);
            text.push('\n');
        };
        match part {
            Part::Settings => add(&mut self.settings),
            Part::Policy => add(&mut self.policy),
            Part::Records => add(&mut self.records),
            Part::File => self.files.last_mut().map(|(_, text)| text).into_iter().for_each(add),
            Part::Cases => {
                let (columns, words): (Vec<usize>, Vec<String>) = placed_words(line).into_iter().unzip();
                if let (false, Some(case)) = (words.is_empty(), self.cases.last_mut()) {
                    case.lines.push(Line { number, words, columns });
                }
            }
            Part::Nowhere if line.trim().is_empty() || line.starts_with('#') => {}
            Part::Nowhere => return Err(format!("{number}: expected SETTINGS, POLICY, ZONE, FILE, USE or CASE")),
        }
        Ok(())
    }
}

fn words(line: &str) -> Vec<String> {
    placed_words(line).into_iter().map(|(_, word)| word).collect()
}

/// Words divided by blanks, with the columns where they begin; `"one word"`; from `#` on it is a remark.
fn placed_words(line: &str) -> Vec<(usize, String)> {
    let (mut words, mut word, mut is_quoted, mut begin) = (Vec::new(), String::new(), false, None);
    for (character, column) in line.chars().zip(1..) {
        match character {
            '"' => {
                is_quoted = !is_quoted;
                begin.get_or_insert(column);
            }
            '#' if !is_quoted => break,
            blank if blank.is_whitespace() && !is_quoted => {
                words.extend(begin.take().map(|begin| (begin, std::mem::take(&mut word))));
            }
            other => {
                word.push(other);
                begin.get_or_insert(column);
            }
        }
    }
    words.extend(begin.map(|begin| (begin, word)));
    words
}
