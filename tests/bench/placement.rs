//! Measures how clients are placed by real databases: the time and the memory for loading, and the time of a lookup.
//! Compares the classes with the contents of the MMDB files. `clients.py` fetches the files.
//! `cargo run --release --example placement -- FILE.mmdb ...`; exits with 1 if a class is wrong.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::time::Instant;

use maxminddb::Reader;
use portolan::config::{self, Flags};
use portolan::model::{Clients, Continent, Country, Location, Model};
use portolan::placing::ClientTable;
use portolan::source;

/// Regions of countries, of a continent, and with a location only.
const REGIONS: &str = r#"
[regions.dublin]
location  = [53.34, -6.26]
countries = ["GB", "IE"]
[regions.frankfurt]
location   = [50.11, 8.68]
continents = ["EU"]
[regions.virginia]
location  = [38.95, -77.45]
countries = ["US"]
[regions.tokyo]
location  = [35.68, 139.69]
countries = ["JP", "KR"]
[regions.sydney]
location = [-33.87, 151.21]
[regions.mumbai]
location = [19.08, 72.88]
[regions.sao-paulo]
location = [-23.55, -46.63]
[regions.cape-town]
location = [-33.92, 18.42]
"#;

const POLICY: &str = r#"
zone = "bench.example."
[endpoint.one]
addresses = ["192.0.2.1"]
country   = "DE"
[endpoint.two]
addresses = ["192.0.2.2"]
country   = "US"
[pool.world]
steer   = "geo"
members = [
  { to = "one", when = { countries = ["NO", "SE", "FI"] } },
  { to = "one", when = { continents = ["AF", "AS"] } },
  { to = "two" },
]
[fence.eu]
clients = { continents = ["EU"], unknown = true }
allow   = { countries = ["DE"] }
[name.www]
pool  = "world"
fence = "eu"
"#;

const ZONE: &str =
    "$TTL 300\n@ SOA ns1 hostmaster 1 3600 600 604800 30\n@ NS ns1\n@ NS ns2\nns1 A 192.0.2.3\nns2 A 192.0.2.4\n";

/// The number of addresses that are compared with the files.
const ADDRESSES: usize = 100_000;
/// The number of lookups for the time of one.
const LOOKUPS: usize = 20_000_000;

fn main() {
    let files: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    if files.is_empty() {
        eprintln!("usage: placement FILE.mmdb ...");
        std::process::exit(2);
    }
    let dir = std::env::temp_dir().join(format!("portolan-placement-{}", std::process::id()));
    let settings = write_files(&dir, &files);
    let octets: u64 = files.iter().filter_map(|file| Some(std::fs::metadata(file).ok()?.len())).sum();
    let idle = memory("VmHWM");

    let began = now();
    let loaded = config::load(Some(&settings), &Flags::default()).unwrap_or_else(|problems| {
        eprint!("{}", source::to_human(&problems));
        std::process::exit(1);
    });
    let load_time = began.elapsed();
    let clients = &loaded.model.clients;
    let began = now();
    let table = ClientTable::compile(clients, None, None);
    let compiled = began.elapsed();
    let peak = memory("VmHWM");
    let began = now();
    let cut = ClientTable::compile(clients, None, Some((24, 56)));
    let compiled_cut = began.elapsed();
    let placement = clients.placement.as_deref().expect("clients are placed");
    let (v4, v6) = (placement.ranges[0].v4.count(), placement.ranges[0].v6.count());
    for database in &placement.sources.databases {
        let (v4, v6) = (database.v4.count(), database.v6.count());
        println!("{}: {v4} spans of IPv4, {v6} of IPv6", database.name);
    }
    println!("placement: {v4} spans of IPv4, {v6} of IPv6; {} classes", clients.classes.len());
    println!(
        "loaded in {:.2} s, table in {:.3} s, with a cut-off in {:.3} s",
        load_time.as_secs_f64(),
        compiled.as_secs_f64(),
        compiled_cut.as_secs_f64()
    );
    println!(
        "resident: {} MB at most, {} MB of it files; {} MB now",
        peak - idle,
        octets >> 20,
        memory("VmRSS") - idle
    );
    let began = now();
    let again = config::load_after(Some(&loaded.model), Some(&settings), &Flags::default());
    println!("loaded again, nothing changed: {:.3} s ({})", began.elapsed().as_secs_f64(), again.is_ok());
    drop(again);

    let readers: Vec<Reader<Vec<u8>>> =
        files.iter().map(|file| Reader::open_readfile(file).expect("an MMDB file")).collect();
    let addresses = addresses(&readers);
    time("IPv4", &table, addresses.iter().filter(|ip| ip.is_ipv4()));
    time("IPv6", &table, addresses.iter().filter(|ip| ip.is_ipv6()));
    let wrong = compare(&loaded.model, &table, &cut, &readers, &addresses);
    let _ = std::fs::remove_dir_all(&dir);
    println!("{} addresses compared with the files: {wrong} wrong", addresses.len());
    std::process::exit(i32::from(wrong > 0));
}

#[expect(clippy::disallowed_methods, reason = "a bench measures real time")]
fn now() -> Instant {
    Instant::now()
}

fn write_files(dir: &Path, files: &[PathBuf]) -> PathBuf {
    std::fs::create_dir_all(dir).expect("a directory for the zone");
    let absolute = |file: &PathBuf| format!("{:?}", std::path::absolute(file).expect("a path"));
    let list: Vec<String> = files.iter().map(absolute).collect();
    let settings =
        format!("region = \"dublin\"\n[zones]\ndir = \".\"\n[clients]\nmmdb = [{}]\n{REGIONS}", list.join(", "));
    for (name, text) in
        [("portolan.toml", settings.as_str()), ("bench.example.zone", ZONE), ("bench.example.policy.toml", POLICY)]
    {
        std::fs::write(dir.join(name), text).expect("the zone's files");
    }
    dir.join("portolan.toml")
}

/// A line of `/proc/self/status`, in MB.
fn memory(line: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let found = status
        .lines()
        .find_map(|l| l.strip_prefix(line)?.strip_prefix(':')?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    found.unwrap_or(0) >> 10
}

/// A xorshift generator (Marsaglia 2003): the same addresses in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn wide(&mut self) -> u128 {
        u128::from(self.next()) << 64 | u128::from(self.next())
    }
}

/// Random addresses: a half of IPv4, a quarter in 2000::/3, and a quarter in networks of IPv6 that are in the files.
fn addresses(readers: &[Reader<Vec<u8>>]) -> Vec<IpAddr> {
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let mut known: Vec<(u128, u8)> = Vec::new();
    for network in readers.iter().flat_map(|reader| reader.networks(Default::default()).expect("networks")) {
        let net = network.and_then(|network| network.network()).expect("a network");
        if let IpAddr::V6(start) = net.ip() {
            known.push((start.to_bits(), net.prefix()));
        }
    }
    let mut addresses: Vec<IpAddr> =
        (0..ADDRESSES / 2).map(|_| IpAddr::V4(Ipv4Addr::from_bits(random.next() as u32))).collect();
    for at in 0..ADDRESSES / 2 {
        let anywhere = 0b001 << 125 | random.wide() >> 3;
        let address = match known.get(random.next() as usize % known.len().max(1)) {
            Some((start, len)) if at % 2 == 0 => start | random.wide().checked_shr(u32::from(*len)).unwrap_or(0),
            _ => anywhere,
        };
        addresses.push(IpAddr::V6(Ipv6Addr::from_bits(address)));
    }
    addresses
}

fn time<'a>(what: &str, table: &ClientTable, addresses: impl Iterator<Item = &'a IpAddr>) {
    let addresses: Vec<IpAddr> = addresses.copied().collect();
    let mut random = Random(7);
    // In random order, so that no cache can predict the next address.
    let order: Vec<u32> = (0..1 << 20).map(|_| (random.next() % addresses.len() as u64) as u32).collect();
    let began = now();
    let mut sum = 0u64;
    for at in (0..LOOKUPS).map(|at| order[at & (order.len() - 1)]) {
        let (class, scope) = table.lookup(black_box(addresses[at as usize]));
        sum = sum.wrapping_add(u64::from(class.0) + u64::from(scope));
    }
    black_box(sum);
    println!("{what}: {:.1} ns a lookup", began.elapsed().as_secs_f64() * 1e9 / LOOKUPS as f64);
}

/// The facts of an address in the files, read without the code of Portolan.
fn facts(readers: &[Reader<Vec<u8>>], ip: IpAddr) -> (Option<Country>, Option<Continent>, Option<Location>) {
    let (mut country, mut continent, mut location) = (None, None, None);
    let ip = folded(ip);
    for reader in readers {
        // A file with IPv4 networks only returns an error for an IPv6 address.
        let Ok(found) = reader.lookup(ip) else { continue };
        let Ok(Some(record)) = found.decode::<serde_json::Value>() else { continue };
        let text = |path: &str| record.pointer(path).and_then(|value| value.as_str()).map(str::to_string);
        let number = |path: &str| record.pointer(path).and_then(|value| value.as_f64());
        let of_country =
            text("/country_code").or_else(|| text("/country/iso_code")).and_then(|code| Country::parse(&code));
        let of_continent =
            text("/continent_code").or_else(|| text("/continent/code")).and_then(|code| Continent::parse(&code));
        let latitude = number("/latitude").or_else(|| number("/location/latitude"));
        let longitude = number("/longitude").or_else(|| number("/location/longitude"));
        country = country.or(of_country);
        continent = continent.or(of_continent).or(of_country.map(Country::continent));
        location = location.or(latitude.zip(longitude).map(|(latitude, longitude)| Location { latitude, longitude }));
    }
    (country, continent, location)
}

/// The expected region and selectors, from the settings and the policy above.
fn expected(
    model: &Model,
    (country, continent, location): (Option<Country>, Option<Continent>, Option<Location>),
) -> (Option<String>, Vec<&'static str>) {
    let code = country.map(|country| country.to_string()).unwrap_or_default();
    let by_country: BTreeMap<&str, &str> =
        [("GB", "dublin"), ("IE", "dublin"), ("US", "virginia"), ("JP", "tokyo"), ("KR", "tokyo")].into();
    let nearest = || {
        let from = location?;
        let metres = |region: &portolan::model::Region| region.location.map_or(f64::MAX, |to| from.metres_to(to));
        model.regions.iter().min_by(|a, b| metres(a).total_cmp(&metres(b))).map(|region| region.name.clone())
    };
    let region = match by_country.get(code.as_str()) {
        Some(region) => Some((*region).to_string()),
        None if continent == Some(Continent::Europe) => Some("frankfurt".to_string()),
        None => nearest(),
    };
    let mut selectors = Vec::new();
    if ["NO", "SE", "FI"].contains(&code.as_str()) {
        selectors.push("nordic");
    }
    if matches!(continent, Some(Continent::Africa | Continent::Asia)) {
        selectors.push("far");
    }
    // Without a country and a continent, those of the client's region count. The regions with a location only have
    // none.
    let is_unknown = country.is_none() && continent.is_none();
    let by_region = is_unknown && matches!(region.as_deref(), Some("dublin" | "frankfurt"));
    let far_by_region = is_unknown && region.as_deref() == Some("tokyo");
    if far_by_region {
        selectors.push("far");
    }
    if continent == Some(Continent::Europe) || (is_unknown && region.is_none()) || by_region {
        selectors.push("fenced");
    }
    (region, selectors)
}

fn selector_names(clients: &Clients, of: &[portolan::model::SelectorId]) -> Vec<&'static str> {
    let name = |id: &portolan::model::SelectorId| match &clients.selectors[usize::from(id.0)] {
        selector if selector.unknown => "fenced",
        selector if selector.continents.is_empty() => "nordic",
        _ => "far",
    };
    let mut names: Vec<&str> = of.iter().map(name).collect();
    names.sort_by_key(|name| ["nordic", "far", "fenced"].iter().position(|known| known == name));
    names
}

fn compare(
    model: &Model,
    table: &ClientTable,
    cut: &ClientTable,
    readers: &[Reader<Vec<u8>>],
    addresses: &[IpAddr],
) -> usize {
    let clients = &model.clients;
    let mut wrong = 0;
    for &ip in addresses {
        let (id, scope) = table.lookup(ip);
        let class = &clients.classes[usize::from(id.0)];
        let found =
            (class.region.map(|region| model.region(region).name.clone()), selector_names(clients, &class.selectors));
        let expected = expected(model, facts(readers, ip));
        let net = ipnet::IpNet::new(ip, scope).expect("a scope");
        let edges = [net.network(), net.broadcast()].map(|ip| table.lookup(ip).0);
        let bits = if ip.is_ipv4() { 24 } else { 56 };
        let first = ipnet::IpNet::new(ip, bits).expect("a cut-off").network();
        let (coarse, coarse_scope) = cut.lookup(ip);
        let cut_is_right = coarse == table.lookup(first).0 && coarse_scope <= bits;
        if found != expected || edges != [id, id] || !(cut_is_right || is_embedded(ip)) {
            wrong += 1;
            if wrong < 10 {
                println!(
                    "{ip}/{scope}: found {found:?}, the files say {expected:?}, edges {edges:?}, cut {cut_is_right}"
                );
            }
        }
    }
    wrong
}

/// The IPv4 address in a 6to4 address; other addresses unchanged.
fn folded(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V6(v6) if is_embedded(ip) => IpAddr::V4(Ipv4Addr::from_bits((v6.to_bits() >> 80) as u32)),
        IpAddr::V4(_) | IpAddr::V6(_) => ip,
    }
}

/// Whether this is a 6to4 address. Its prefix is cut as that of the IPv4 address in it.
fn is_embedded(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(v6) if v6.segments()[0] == 0x2002)
}
