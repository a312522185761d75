#!/usr/bin/env bash
# Run a command in a fresh clone of what is committed here, on a bare Debian that holds git and nothing else.
# No part of the normal test run: it needs root, debootstrap, the network, and some minutes.
#
#   tests/bare.sh bookworm systemd/install.sh --demo --json
#   tests/bare.sh trixie tests/run.sh
#
# Exits as the command does. The bare system is made once for each release and kept; the command works on a copy, in
# mount and process namespaces of its own, so that mounts and processes end with it.
#
# What this machine needs to reach the outside is told from outside:
#   BARE_CACHE   directory for the bare systems            (default: voiced-bare below $TMPDIR or /tmp)
#   BARE_MIRROR  Debian mirror                             (default: debootstrap's own)
#   BARE_CA      file of certificates that pip must trust  (default: none)
#   BARE_PASS    names of further variables to hand in     (default: none; for example "https_proxy PIP_INDEX_URL")
set -euo pipefail
checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

if [[ $# -lt 2 || $1 == -* ]]; then
  sed -n '2,/^set /{s/^# \{0,1\}//;/^set /d;p}' "${BASH_SOURCE[0]}" >&2
  exit 2
fi
release=$1
shift
if [[ $EUID -ne 0 ]] || ! command -v debootstrap >/dev/null; then
  printf 'bare.sh: needs root and debootstrap.\n' >&2
  exit 1
fi

cache=${BARE_CACHE:-${TMPDIR:-/tmp}/voiced-bare}
mkdir -p "$cache"
if [[ ! -d $cache/$release ]]; then
  printf 'Making a bare %s\n' "$release" >&2
  rm -rf "$cache/$release.new"
  if ! debootstrap --variant=minbase --include=git "$release" "$cache/$release.new" ${BARE_MIRROR:+"$BARE_MIRROR"} \
    >"$cache/$release.log" 2>&1; then
    tail -n 15 "$cache/$release.log" >&2
    exit 1
  fi
  mv "$cache/$release.new" "$cache/$release"
fi

root=$(mktemp -d "$cache/run-XXXXXX")
trap 'rm -rf --one-file-system "$root"' EXIT
cp -a "$cache/$release/." "$root"
cp -L /etc/resolv.conf "$root/etc/resolv.conf"
git clone --quiet --no-hardlinks "$checkout" "$root/srv/voiced"
variables=(HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin TERM=dumb)
if [[ ${BARE_CA:-} ]]; then
  cp -L "$BARE_CA" "$root/etc/bare-ca.crt"
  variables+=(PIP_CERT=/etc/bare-ca.crt)
fi
for name in ${BARE_PASS:-}; do
  variables+=("$name=${!name}")
done

begun=$SECONDS
status=0
# shellcheck disable=SC2016 # expanded by the shell inside
unshare --mount --pid --fork --kill-child --propagation private bash -c '
  root=$1
  shift
  mount -t proc proc "$root/proc"
  exec chroot "$root" env -i "$@"
' bare "$root" "${variables[@]}" bash -c 'cd /srv/voiced && "$@"; exit $?' bare "$@" </dev/null || status=$?
printf 'bare %s: %s: exit %s after %s s\n' "$release" "$*" "$status" "$((SECONDS - begun))" >&2
exit "$status"
