#!/usr/bin/env bash
# The fleet of compose.fleet.yaml on one machine without Docker: three regions, each a network namespace with a NATS
# server, a Portolan server, a vantage and two endpoints, and with delays between the regions. Ctrl-C ends all of it.
#
#   sudo docker/namespaces.sh [--portolan PATH] [--nats-server PATH]
#
# It prints the commands to try. What is typed changes the network: `cut us-east`, `cut us-east ap-south`, `heal us-east`,
# `delay eu-central us-east 150`, `kill us1`, `start us1`, `pause ns1`, `continue ns1`. docker/README.md describes it.
#
# Needs root (network namespaces, /dev/net/tun), Python 3.9 or later without packages, iproute2, nats-server 2.11 or later
# and a build of Portolan. The packets between the regions are carried by tests/e2e/world.py: no traffic control of the
# kernel is needed. Nothing outside its namespaces and a directory in /tmp is changed.
set -euo pipefail

die() { echo "$0: $*" >&2 && exit 1; }

case "${1:-}" in
-h | --help) sed -n '2,13s/^# \{0,1\}//p' "$0" && exit 0 ;;
esac
[ "$(id -u)" -eq 0 ] || die "needs root: sudo $0 $*"
[ -c /dev/net/tun ] || die "there is no /dev/net/tun: modprobe tun"
for program in python3 ip; do
    PATH="$PATH:/usr/sbin:/sbin" command -v "$program" >/dev/null || die "$program is missing"
done
PATH="$PATH:/usr/sbin:/sbin" exec python3 -B "$(dirname "${BASH_SOURCE[0]}")/../tests/fleet_world/bring_up.py" "$@"
