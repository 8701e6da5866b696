#!/bin/sh
# Makes the file system of the image in a directory: the program, the libraries that it uses, the authorities that https
# monitors trust, and one user. There is no shell and no other program in it.
#
#   docker/root.sh target/release/portolan DIR
set -eu
program=$1 root=$2
here=$(dirname "$0")
# The user of the image, who has no other rights.
id=5353

mkdir -p "$root/usr/local/bin" "$root/etc/ssl/certs" "$root/etc/portolan/zones" "$root/var/lib/portolan" "$root/tmp" \
    "$root/proc" "$root/dev"
cp "$program" "$root/usr/local/bin/portolan"
# Each line is `name => path (address)`, or `path (address)` for the loader.
ldd "$program" | sed -n 's/^.* => \(\/[^ ]*\) .*$/\1/p; s/^[[:space:]]*\(\/[^ ]*\) (.*$/\1/p' | while read -r library; do
    mkdir -p "$root$(dirname "$library")"
    cp -L "$library" "$root$library"
done
cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
printf 'root:x:0:0::/:/sbin/nologin\nportolan:x:%s:%s::/var/lib/portolan:/sbin/nologin\n' $id $id >"$root/etc/passwd"
printf 'root:x:0:\nportolan:x:%s:\n' $id >"$root/etc/group"
printf 'passwd: files\ngroup: files\nhosts: files dns\n' >"$root/etc/nsswitch.conf"
cp "$here/portolan.toml" "$root/etc/portolan/portolan.toml"
cp "$here"/../zones/first/svc.example.zone "$here"/../zones/first/svc.example.policy.toml "$root/etc/portolan/zones"
chmod 1777 "$root/tmp"
# Only root can give it away.
if [ "$(id -u)" -eq 0 ]; then chown $id:$id "$root/var/lib/portolan"; fi
