//! Which files the readers of a zone may read. Somebody who may write a zone must not read other files through it. So
//! what a zone includes is in its directory. Its main files may also be links that lead out of the directory, as in
//! `zones-enabled/svc.example.zone -> /srv/zones/svc.example.zone`, if root or the owner of the directory made the
//! link. Links within the directory, such as those of a ConfigMap of Kubernetes, may belong to anybody.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{metadata, read_link, symlink_metadata};
use std::io::{Error, Result};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use crate::source::{calls, files};

/// Most links on the way to a file: `ELOOP` of Linux.
const MOST_LINKS: usize = 40;

/// Where a file may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wall {
    /// Anywhere: the settings name it.
    Open,
    /// In the directory, or where links of root and of the directory's owner lead.
    OwnLinks,
    /// In the directory.
    Closed,
}

impl Wall {
    /// Whether the file `real` of the directory `root` may be read. `identity` is its path without links.
    pub(super) fn admits(self, root: &Path, real: &Path, identity: &Path) -> Result<bool> {
        if self == Wall::Open {
            return Ok(true);
        }
        let canonical_root = files::canonical(root)?;
        if identity.starts_with(&canonical_root) {
            return Ok(true);
        }
        let (Wall::OwnLinks, Ok(relative)) = (self, real.strip_prefix(root)) else { return Ok(false) };
        // A link may be replaced at any moment: what counts is that the trusted links lead to this file.
        match calls::listed(real, || by_own_links(&canonical_root, relative))? {
            Some(there) => Ok(files::canonical(&there)? == identity),
            None => Ok(false),
        }
    }
}

/// A part of a path, and whether the target of a link has it.
type Part = (OsString, bool);

/// The path out of `root` to which links of root and of the owner of `root` lead from `relative`; `None` if it is left
/// in another way, or not at all.
fn by_own_links(root: &Path, relative: &Path) -> Result<Option<PathBuf>> {
    let owner = metadata(root)?.uid();
    let mut rest: VecDeque<Part> = parts(relative, false).collect();
    let (mut at, mut links) = (root.to_path_buf(), 0);
    while let Some((part, is_of_link)) = rest.pop_front() {
        if part == ".." {
            if at == root {
                return Ok(is_of_link.then(|| outside(at.join(part), &rest)).flatten());
            }
            at.pop();
            continue;
        }
        let next = at.join(&part);
        let found = symlink_metadata(&next)?;
        if !found.is_symlink() {
            at = next;
            continue;
        }
        links += 1;
        if links > MOST_LINKS {
            return Err(Error::other("too many links lead to it"));
        }
        if found.uid() != 0 && found.uid() != owner {
            return Ok(None);
        }
        let target = read_link(&next)?;
        let within = match (target.is_absolute(), target.strip_prefix(root)) {
            (true, Err(_)) => return Ok(outside(target, &rest)),
            (true, Ok(within)) => {
                at = root.to_path_buf();
                within.to_path_buf()
            }
            (false, _) => target,
        };
        parts(&within, true).rev().for_each(|part| rest.push_front(part));
    }
    Ok(None)
}

/// The path of `rest` from a directory outside. The writer of a zone, who wrote what is no part of a link, must not
/// climb from there.
fn outside(from: PathBuf, rest: &VecDeque<Part>) -> Option<PathBuf> {
    let is_climbing = rest.iter().any(|(part, is_of_link)| part == ".." && !is_of_link);
    (!is_climbing).then(|| rest.iter().fold(from, |path, (part, _)| path.join(part)))
}

fn parts(path: &Path, is_of_link: bool) -> impl DoubleEndedIterator<Item = Part> {
    path.components().filter_map(move |part| match part {
        Component::ParentDir => Some((OsString::from(".."), is_of_link)),
        Component::Normal(name) => Some((name.to_owned(), is_of_link)),
        Component::CurDir | Component::RootDir | Component::Prefix(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use std::fs::{create_dir_all, write};
    use std::os::unix::fs::{lchown, symlink};

    use super::*;

    /// A directory `zones`, and next to it a directory `srv` with a zone.
    fn place() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let zones = dir.path().join("zones");
        create_dir_all(zones.join("..2026")).unwrap();
        create_dir_all(dir.path().join("srv")).unwrap();
        write(zones.join("..2026/map.zone"), "").unwrap();
        write(dir.path().join("srv/a.zone"), "").unwrap();
        symlink("..2026", zones.join("..data")).unwrap();
        symlink("..data/map.zone", zones.join("map.zone")).unwrap();
        symlink("../srv/a.zone", zones.join("relative.zone")).unwrap();
        symlink(dir.path().join("srv/a.zone"), zones.join("absolute.zone")).unwrap();
        symlink("relative.zone", zones.join("twice.zone")).unwrap();
        symlink("../srv", zones.join("srv")).unwrap();
        (dir, zones)
    }

    fn admits(wall: Wall, zones: &Path, name: &str) -> bool {
        let real = zones.join(name);
        wall.admits(zones, &real, &real.canonicalize().unwrap()).unwrap()
    }

    #[test]
    fn links_of_the_owner_lead_out_and_other_ways_do_not() {
        let (_dir, zones) = place();
        for (name, expected) in [
            ("map.zone", [true, true, true]),
            ("relative.zone", [true, true, false]),
            ("absolute.zone", [true, true, false]),
            ("twice.zone", [true, true, false]),
            ("srv/a.zone", [true, true, false]),
            // Written in a policy.
            ("../srv/a.zone", [true, false, false]),
            ("srv/../srv/a.zone", [true, false, false]),
        ] {
            let found = [Wall::Open, Wall::OwnLinks, Wall::Closed].map(|wall| admits(wall, &zones, name));
            assert_eq!(found, expected, "{name}");
        }
    }

    #[test]
    fn links_of_others_do_not_lead_out_wherever_they_are_on_the_way() {
        let (_dir, zones) = place();
        if symlink_metadata(&zones).unwrap().uid() != 0 {
            return;
        }
        lchown(zones.join("map.zone"), Some(5353), None).unwrap();
        lchown(zones.join("relative.zone"), Some(5353), None).unwrap();
        lchown(zones.join("srv"), Some(5353), None).unwrap();
        for (name, expected) in [
            ("map.zone", true),
            ("relative.zone", false),
            ("twice.zone", false),
            ("srv/a.zone", false),
            ("absolute.zone", true),
        ] {
            assert_eq!(admits(Wall::OwnLinks, &zones, name), expected, "{name}");
        }
        lchown(&zones, Some(5353), None).unwrap();
        assert!(admits(Wall::OwnLinks, &zones, "relative.zone"), "it is the owner's now");
    }
}
