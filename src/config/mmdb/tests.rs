//! Databases from file to class: several files, a reload, and files that cannot be used.

use std::path::PathBuf;

use super::*;
use crate::config::{Flags, Loaded, load, load_after};
use crate::placing::ClientTable;
use crate::placing::mmdb::test_writer::{Value, file, flat, map, nested, net, text};
use crate::source;

struct Files(tempfile::TempDir);

impl Files {
    fn new(files: &[(&str, &[u8])]) -> Files {
        let dir = Files(tempfile::tempdir().unwrap());
        for (name, octets) in files {
            dir.write(name, octets);
        }
        dir
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// As an update does: a new file, renamed over the old one.
    fn write(&self, name: &str, octets: &[u8]) {
        std::fs::write(self.path("new"), octets).unwrap();
        std::fs::rename(self.path("new"), self.path(name)).unwrap();
    }

    fn read(&self, name: &str, known: &[Arc<Database>]) -> Result<Arc<Database>, UnusableDatabase> {
        database(Path::new(name), &self.path(name), known)
    }

    /// Everything under these settings, with no zones.
    fn load(&self, settings: &str, before: Option<&Loaded>) -> Loaded {
        let written = format!("region = \"eu\"\n[zones]\ndir = \"zones\"\n{settings}");
        std::fs::write(self.path("portolan.toml"), written).unwrap();
        std::fs::create_dir_all(self.path("zones")).unwrap();
        let file = self.path("portolan.toml");
        let loaded = match before {
            Some(before) => load_after(Some(&before.model), Some(&file), &Flags::default()),
            None => load(Some(&file), &Flags::default()),
        };
        loaded.unwrap_or_else(|problems| panic!("{}", source::to_human(&problems)))
    }
}

fn region(loaded: &Loaded, ip: &str) -> String {
    let clients = &loaded.model.clients;
    let (class, _) = ClientTable::compile(clients, None, None).lookup(ip.parse().unwrap());
    let region = clients.classes[usize::from(class.0)].region;
    region.map_or_else(|| "-".into(), |id| loaded.model.region(id).name.clone())
}

#[test]
fn a_file_that_cannot_be_used_is_reported_with_its_reason() {
    let no_facts = file(4, &[(net("10.0.0.0/8"), map(&[("city", text("Ghent"))]))]);
    let mut cut = file(4, &[(net("10.0.0.0/8"), flat("DE", 1.0, 2.0))]);
    cut.truncate(40);
    let files =
        Files::new(&[("fields", &no_facts), ("text", b"GeoLite2 is in another file"), ("cut", &cut), ("empty", b"")]);
    std::fs::create_dir(files.path("dir")).unwrap();
    for (name, why) in [
        ("missing", "no such file"),
        ("dir", "it is a directory, not a file"),
        ("text", "it is not an MMDB file, or a broken one"),
        ("cut", "it is not an MMDB file, or a broken one"),
        ("empty", "it is not an MMDB file, or a broken one"),
        ("fields", "none of its 1 networks has any of the fields that are looked for: country.iso_code, "),
    ] {
        let unusable = files.read(name, &[]).unwrap_err();
        assert!(unusable.why.to_lowercase().starts_with(&why.to_lowercase()), "{name}: {}", unusable.why);
    }
}

#[test]
fn files_add_up_and_the_first_one_decides() {
    let city = [(net("10.0.0.0/8"), flat("DE", 50.0, 8.0)), (net("11.0.0.0/8"), flat("ZZ", -35.0, 150.0))];
    let other = [
        (net("10.0.0.0/8"), nested("US", "NA")),
        (net("11.0.0.0/8"), nested("US", "NA")),
        (net("12.0.0.0/8"), map(&[("autonomous_system_number", Value::Number(64500))])),
    ];
    let files = Files::new(&[("city.mmdb", &file(4, &city)), ("other.mmdb", &file(6, &other))]);
    let regions = "[regions.eu]\ncountries = [\"DE\"]\n[regions.us]\ncontinents = [\"NA\"]\n\
        [regions.own]\nasns = [64500]\n[regions.south]\nlocation = [-33.9, 151.2]\n";
    let region_of =
        |mmdb: &str, ip: &str| region(&files.load(&format!("[clients]\nmmdb = [{mmdb}]\n{regions}"), None), ip);
    let (one, two) = ("\"city.mmdb\", \"other.mmdb\"", "\"other.mmdb\", \"city.mmdb\"");
    assert_eq!((region_of(one, "10.1.1.1"), region_of(two, "10.1.1.1")), ("eu".into(), "us".into()));
    assert_eq!((region_of(one, "11.1.1.1"), region_of(one, "12.1.1.1")), ("us".into(), "own".into()));
    assert_eq!((region_of("\"city.mmdb\"", "11.1.1.1"), region_of(one, "13.1.1.1")), ("south".into(), "-".into()));
}

#[test]
fn a_reload_decodes_what_changed_and_nothing_else() {
    let of = |code: &str| file(4, &[(net("10.0.0.0/8"), flat(code, 1.0, 2.0))]);
    let files = Files::new(&[("a.mmdb", &of("DE")), ("b.mmdb", &of("US"))]);
    let settings = "[regions.eu]\ncountries = [\"DE\"]\n[regions.us]\ncountries = [\"US\"]\n\
        [clients]\nmmdb = [\"a.mmdb\", \"b.mmdb\"]\n";
    let first = files.load(settings, None);
    assert_eq!(first.files, [files.path("a.mmdb"), files.path("b.mmdb")]);
    let again = files.load(settings, Some(&first));
    let placement = |loaded: &Loaded| loaded.model.clients.placement.clone().unwrap();
    assert!(Arc::ptr_eq(&placement(&first), &placement(&again)), "nothing changed, so nothing is compiled");
    files.write("a.mmdb", &of("US"));
    let changed = files.load(settings, Some(&again));
    assert_eq!((region(&again, "10.1.1.1"), region(&changed, "10.1.1.1")), ("eu".into(), "us".into()));
    let database = |loaded: &Loaded, at: usize| placement(loaded).sources.databases[at].clone();
    assert!(!Arc::ptr_eq(&database(&again, 0), &database(&changed, 0)));
    assert!(Arc::ptr_eq(&database(&again, 1), &database(&changed, 1)), "the other file is as it was");
}
