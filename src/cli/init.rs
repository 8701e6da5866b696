//! `portolan init`: writes settings, a first zone and tokens into a directory, from flags, or from answers where
//! standard input is a terminal. It overwrites nothing.

mod asker;
mod next;

use std::fs::{self, DirBuilder, OpenOptions, remove_dir, remove_file};
use std::io::{self, ErrorKind, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::cli::{Failure, files, text};
use crate::clock;
use crate::printable::escaped;
use crate::source;
use crate::wire::Name;
use asker::InitAsker;

/// Rights of the file with tokens.
const SECRET_MODE: u32 = 0o600;
/// Rights of the other files and of directories, less what the umask takes.
const FILE_MODE: u32 = 0o644;
/// See [`FILE_MODE`].
const DIR_MODE: u32 = 0o755;
/// Octets of a token's secret: it can't be guessed.
const SECRET_OCTETS: usize = 24;
/// Most endpoints. Judgment: whoever has more writes the file with a program.
const MOST_ENDPOINTS: usize = 100;
/// Longest name of an endpoint, a region or an operator: a label of DNS.
const LONGEST_WORD: usize = 63;
/// The name of the pool, and of the steered name.
const POOL: &str = "www";

/// Write settings, a first zone and tokens into a directory; it asks for what the options don't say
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  portolan init myzone
  portolan init myzone --zone svc.example --endpoint fra1=192.0.2.10 --endpoint ams1=192.0.2.11 \\
      --monitor http:8080/healthz

On a terminal it asks for what the options don't say. Without a terminal, and after an empty line,
it takes the defaults. No file is overwritten: if one of them is there, nothing is written.")]
pub(super) struct InitArgs {
    /// The directory; it is made if it is not there
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// The name of the zone [default: svc.example]
    #[arg(long, value_name = "NAME")]
    zone: Option<ZoneName>,
    /// The region where this server is [default: here]
    #[arg(long, value_name = "REGION")]
    region: Option<Word>,
    /// An endpoint, with the address that `www` is answered with; several times for several [default:
    /// one=192.0.2.10 and two=192.0.2.11]
    #[arg(long = "endpoint", value_name = "NAME=ADDRESS")]
    endpoints: Vec<EndpointAddress>,
    /// How endpoints are probed: tcp:PORT, http:PORT/PATH, icmp, or none [default: tcp:443]
    #[arg(long, value_name = "MONITOR")]
    monitor: Option<MonitorChoice>,
    /// Where DNS is answered [default: 127.0.0.1:5300]
    #[arg(long, value_name = "ADDR")]
    dns: Option<SocketAddr>,
    /// Where the API and the status page are [default: 127.0.0.1:8053]
    #[arg(long, value_name = "ADDR")]
    http: Option<SocketAddr>,
    /// Who may drain endpoints, as the name of a token [default: operator]
    #[arg(long, value_name = "NAME")]
    operator: Option<Word>,
}

/// A name of lower-case letters, digits and hyphens.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Word(String);

impl FromStr for Word {
    type Err = String;

    fn from_str(text: &str) -> Result<Word, String> {
        let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let fits = (1..=LONGEST_WORD).contains(&text.len()) && text.chars().all(is_part);
        match fits && text.starts_with(|c: char| c.is_ascii_lowercase()) {
            true => Ok(Word(text.to_owned())),
            false => Err(format!(
                "use at most {LONGEST_WORD} lower-case letters, digits and hyphens, beginning with a letter"
            )),
        }
    }
}

/// A zone, without the dot at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ZoneName(String);

impl FromStr for ZoneName {
    type Err = String;

    fn from_str(text: &str) -> Result<ZoneName, String> {
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        // The longest name in the zone must fit too.
        match !name.is_empty() && name.chars().all(is_part) && Name::parse(&format!("hostmaster.{name}.")).is_ok() {
            true => Ok(ZoneName(name)),
            false => Err("use a domain name, such as svc.example".to_owned()),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct EndpointAddress {
    name: Word,
    address: IpAddr,
}

impl FromStr for EndpointAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<EndpointAddress, String> {
        let (name, address) = text.split_once('=').ok_or("use NAME=ADDRESS, such as fra1=192.0.2.10")?;
        let address = address.parse().map_err(|_| "use an IPv4 or IPv6 address after the =")?;
        Ok(EndpointAddress { name: name.parse()?, address })
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum MonitorChoice {
    Tcp(u16),
    Http(u16, String),
    Icmp,
    None,
}

impl FromStr for MonitorChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<MonitorChoice, String> {
        let port = |text: &str| match text.parse() {
            Ok(0) | Err(_) => Err("use a port from 1 to 65535".to_owned()),
            Ok(port) => Ok(port),
        };
        let is_path = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '#' | '?');
        match text.split_once(':') {
            None if text == "icmp" => Ok(MonitorChoice::Icmp),
            None if text == "none" => Ok(MonitorChoice::None),
            Some(("tcp", number)) => Ok(MonitorChoice::Tcp(port(number)?)),
            Some(("http", rest)) => {
                let (number, path) = rest.split_once('/').unwrap_or((rest, ""));
                match path.chars().all(is_path) {
                    true => Ok(MonitorChoice::Http(port(number)?, format!("/{path}"))),
                    false => Err("the path has a character that a URL can't have".to_owned()),
                }
            }
            Some(_) | None => Err("use tcp:PORT, http:PORT/PATH, icmp or none".to_owned()),
        }
    }
}

impl MonitorChoice {
    /// The section of the policy file.
    fn section(&self) -> String {
        match self {
            MonitorChoice::Tcp(port) => format!("[monitor.check]\ntype = \"tcp\"\nport = {port}\n\n"),
            MonitorChoice::Http(port, path) => {
                format!("[monitor.check]\ntype = \"http\"\nport = {port}\npath = \"{path}\"\n\n")
            }
            MonitorChoice::Icmp => "[monitor.check]\ntype = \"icmp\"\n\n".to_owned(),
            MonitorChoice::None => String::new(),
        }
    }
}

/// Everything that the files are made of.
struct Choices {
    zone: ZoneName,
    region: Word,
    endpoints: Vec<EndpointAddress>,
    monitor: MonitorChoice,
    dns: SocketAddr,
    http: SocketAddr,
    operator: Word,
}

pub(super) fn run(args: InitArgs) -> Result<(), Failure> {
    let dir = args.dir.clone();
    let config = dir.join("portolan.toml");
    // Before the questions: nobody wants to answer them for nothing.
    refuse_existing(&[config.clone(), dir.join("tokens")])?;
    let choices = Choices::of(args, &dir)?;
    let files = choices.files(&dir)?;
    refuse_existing(&files.iter().map(|file| file.path.clone()).collect::<Vec<_>>())?;
    let mut written = Written::default();
    let done = written.write(&dir, &files).map_err(Failure::from).and_then(|()| check(&config));
    if let Err(failure) = done {
        written.remove();
        return Err(failure);
    }
    text::complain(&format!("wrote {}", list(&files)));
    text::complain(&next::next(&choices, &dir));
    Ok(())
}

impl Choices {
    /// The options, and answers or defaults for the others. The files will be in `dir`.
    fn of(args: InitArgs, dir: &Path) -> Result<Choices, Failure> {
        let asker = InitAsker::new();
        let is_new = |zone: &ZoneName| refuse_existing(&zone_files(dir, zone)).map_err(|Failure(why)| why);
        let zone = asker.choose_if(args.zone, "Name of the zone", "svc.example", is_new)?;
        let region = asker.choose(args.region, "Region where this server is", "here")?;
        let endpoints = match args.endpoints {
            given if !given.is_empty() => given,
            _ => asker.endpoints(fits)?,
        };
        if endpoints.len() > MOST_ENDPOINTS {
            return Err(Failure(format!("at most {MOST_ENDPOINTS} endpoints")));
        }
        for (at, one) in endpoints.iter().enumerate() {
            fits(&endpoints[..at], one).map_err(Failure)?;
        }
        let monitor = asker.choose(args.monitor, "Probe (tcp:PORT, http:PORT/PATH, icmp, none)", "tcp:443")?;
        let dns = asker.choose(args.dns, "Address for DNS", "127.0.0.1:5300")?;
        let is_free = |http: &SocketAddr| match *http == dns && dns.port() != 0 {
            true => Err(format!("DNS is answered at {dns}, also over TCP: use another port")),
            false => Ok(()),
        };
        let http = asker.choose_if(args.http, "Address for the API", &next::DEFAULT_HTTP.to_string(), is_free)?;
        let operator = asker.choose(args.operator, "Name of the operator", "operator")?;
        Ok(Choices { zone, region, endpoints, monitor, dns, http, operator })
    }

    fn files(&self, dir: &Path) -> Result<Vec<NewFile>, Failure> {
        let Choices { zone, operator, .. } = self;
        let [master, policy] = zone_files(dir, zone);
        let secret = data_encoding::HEXLOWER.encode(&clock::secret::<SECRET_OCTETS>()?);
        let file = |name: &str, text: String, mode: u32| NewFile { path: dir.join(name), text, mode };
        Ok(vec![
            file("portolan.toml", self.settings(), FILE_MODE),
            file("tokens", format!("# NAME ROLE SECRET\n{} operate {secret}\n", operator.0), SECRET_MODE),
            NewFile { path: master, text: MASTER_FILE.to_owned(), mode: FILE_MODE },
            NewFile { path: policy, text: self.policy(), mode: FILE_MODE },
        ])
    }

    fn settings(&self) -> String {
        let Choices { region: Word(region), dns, http, .. } = self;
        format!(
            "# Settings of this server. `portolan schema settings` describes all keys.\n\n\
             region = \"{region}\"\n\n\
             [listen]\n\
             dns  = [\"{dns}\"] # UDP and TCP; [\"0.0.0.0:53\", \"[::]:53\"] for all addresses\n\
             http = \"{http}\" # API, metrics, status page\n\n\
             [zones]\ndir = \"zones\"\n\n\
             [state]\ndir = \"state\"\n\n\
             [api]\ntoken_file = \"tokens\" # who may drain endpoints: PORTOLAN_TOKEN is the last word of a line\n\n\
             # Clients of other regions: add their regions, with `nets`.\n\
             [clients]\ndefault_region = \"{region}\"\n\n\
             [regions.{region}]\nlocation = [0, 0] # latitude, longitude: set your own\n"
        )
    }

    fn policy(&self) -> String {
        let Choices { zone: ZoneName(zone), endpoints, monitor, region: Word(region), .. } = self;
        let mut text = format!(
            "# `www` is answered with one of these endpoints that is up.\n\nzone = \"{zone}.\"\n\n\
             [defaults]\nttl = \"5s\"\n\n{}",
            monitor.section()
        );
        for EndpointAddress { name: Word(name), address } in endpoints {
            text += &format!("[endpoint.{name}]\naddresses = [\"{address}\"]\nregion = \"{region}\"\n");
            text += if *monitor == MonitorChoice::None { "\n" } else { "monitor = \"check\"\n\n" };
        }
        let members = endpoints.iter().map(|one| format!("\"{}\"", one.name.0)).collect::<Vec<_>>().join(", ");
        text + &format!("[pool.www]\nmembers = [{members}]\nsteer = \"weighted\"\n\n[name.www]\npool = \"www\"\n")
    }
}

/// The files of a zone.
fn zone_files(dir: &Path, ZoneName(zone): &ZoneName) -> [PathBuf; 2] {
    [dir.join(format!("zones/{zone}.zone")), dir.join(format!("zones/{zone}.policy.toml"))]
}

/// Whether an endpoint can be added to those before it; otherwise why not.
fn fits(before: &[EndpointAddress], next: &EndpointAddress) -> Result<(), String> {
    let name = &next.name.0;
    match before.iter().any(|other| other.name == next.name) {
        true => Err(format!("two endpoints have the name {name}")),
        false if name == POOL => Err(format!("the pool has the name {name}: use another one for the endpoint")),
        false => Ok(()),
    }
}

/// The records that never change.
const MASTER_FILE: &str = "; What never changes: any name server can load this file.
$TTL 3600
@    IN SOA ns1 hostmaster 1 7200 900 1209600 30
@    IN NS  ns1
@    IN NS  ns2
; The addresses of your servers, as the zone above names them too.
ns1  IN A   192.0.2.53
ns2  IN A   198.51.100.53
";

struct NewFile {
    path: PathBuf,
    text: String,
    mode: u32,
}

/// What was made, in order.
#[derive(Default)]
struct Written {
    dirs: Vec<PathBuf>,
    files: Vec<PathBuf>,
}

impl Written {
    fn write(&mut self, dir: &Path, files: &[NewFile]) -> io::Result<()> {
        let in_place =
            |path: &Path, error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        for dir in [dir.to_path_buf(), dir.join("zones")] {
            match DirBuilder::new().mode(DIR_MODE).create(&dir) {
                Ok(()) => self.dirs.push(dir),
                Err(error) if error.kind() == ErrorKind::AlreadyExists && dir.is_dir() => {}
                Err(error) => return Err(in_place(&dir, error)),
            }
        }
        for NewFile { path, text, mode } in files {
            let file = OpenOptions::new().write(true).create_new(true).mode(*mode).open(path);
            let mut file = file.map_err(|error| in_place(path, error))?;
            self.files.push(path.clone());
            file.write_all(text.as_bytes()).map_err(|error| in_place(path, error))?;
        }
        Ok(())
    }

    /// Removes it all, as far as the system allows.
    fn remove(&self) {
        self.files.iter().for_each(|file| drop(remove_file(file)));
        self.dirs.iter().rev().for_each(|dir| drop(remove_dir(dir)));
    }
}

fn refuse_existing(paths: &[PathBuf]) -> Result<(), Failure> {
    let there: Vec<String> = paths
        .iter()
        .filter(|path| fs::symlink_metadata(path).is_ok())
        .map(|path| escaped(&path.display().to_string()).into_owned())
        .collect();
    match there.is_empty() {
        true => Ok(()),
        false => Err(Failure(format!("{}: nothing is overwritten; choose another directory", there.join(", ")))),
    }
}

/// Loads what was written as `check` does.
fn check(config: &Path) -> Result<(), Failure> {
    let refused = |problems: Vec<source::Problem>| {
        Failure(format!("nothing was written, because the files would be wrong:\n{}", source::to_human(&problems)))
    };
    files::load(config).map(drop).map_err(refused)
}

fn list(files: &[NewFile]) -> String {
    files.iter().map(|file| escaped(&file.path.display().to_string()).into_owned()).collect::<Vec<_>>().join(", ")
}
