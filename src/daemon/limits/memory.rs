//! How much memory this process may use: the smallest of the machine's memory, the limits of the process, and those of
//! its cgroup and the cgroups above it (v1 and v2).

use std::fs;
use std::path::{Path, PathBuf};

use rlimit::Resource;

/// Where cgroups are mounted.
const CGROUPS: &str = "/sys/fs/cgroup";

/// Octets that this process may use; `None` if the system doesn't say.
pub(crate) fn available() -> Option<u64> {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let machine = fs::read_to_string("/proc/meminfo").ok().as_deref().and_then(total);
    let of_process = [Resource::AS, Resource::DATA].into_iter().filter_map(|resource| {
        let (soft, _) = resource.get().ok()?;
        (soft != rlimit::INFINITY).then_some(soft)
    });
    let of_cgroup = cgroup_limit(&own, Path::new(CGROUPS));
    of_process.chain(of_cgroup).chain(machine).min()
}

/// The smallest limit of the cgroups of `/proc/self/cgroup` and of those above them. In a container the paths may be
/// those of the host, which are not mounted: then the root of the mount is the container's own cgroup.
fn cgroup_limit(own: &str, mount: &Path) -> Option<u64> {
    let limits = own.lines().flat_map(|line| {
        // `0::/path` in v2; `4:memory:/path` in v1.
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
        let (root, files): (PathBuf, &[&str]) = match controllers {
            "" => (mount.into(), &["memory.max", "memory.high"]),
            some if some.split(',').any(|name| name == "memory") => (mount.join("memory"), &["memory.limit_in_bytes"]),
            _ => (mount.into(), &[]),
        };
        let relative = Path::new(path).strip_prefix("/").unwrap_or(Path::new(""));
        let dirs = relative.ancestors().map(|dir| root.join(dir)).collect::<Vec<_>>();
        dirs.into_iter().flat_map(|dir| files.iter().map(move |file| dir.join(file)))
    });
    limits.filter_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok()).min()
}

/// `MemTotal` of `/proc/meminfo`, in octets.
fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_limit_on_the_way_up_counts() {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let file = dir.path().join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        };
        let limit = |own: &str| cgroup_limit(own, dir.path());
        assert_eq!(limit("0::/a/b\n"), None, "nothing is mounted");
        write("a/b/memory.max", "max\n");
        assert_eq!(limit("0::/a/b\n"), None);
        write("a/memory.max", "300\n");
        write("a/b/memory.high", "400\n");
        assert_eq!(limit("0::/a/b\n"), Some(300));
        write("a/b/memory.max", "200\n");
        assert_eq!(limit("0::/a/b\n"), Some(200));
        assert_eq!(limit("0::/a\n"), Some(300));
        assert_eq!(limit("0::/\n"), None);
        // A container that sees the path of the host, and its own cgroup as the root of the mount.
        write("memory.max", "100\n");
        assert_eq!(limit("0::/docker/0123\n"), Some(100));
        // v1.
        write("memory/x/memory.limit_in_bytes", "50\n");
        assert_eq!(limit("7:cpu,cpuacct:/x\n4:memory:/x/y\n"), Some(50));
        assert_eq!(limit("4:cpu:/x\n"), None);
        assert_eq!(limit("nonsense\n\n:\n"), Some(100), "a line without fields is taken for v2's root");
    }

    #[test]
    fn this_machine_has_memory() {
        assert_eq!(total("MemTotal:       16384 kB\nMemFree: 1 kB\n"), Some(16 << 20));
        assert_eq!(total("MemFree: 1 kB\n"), None);
        assert!(available().is_some_and(|octets| octets > 1 << 20));
    }
}
