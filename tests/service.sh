#!/usr/bin/env bash
# The service under a real systemd: boot a bare Debian in a container, install voiced there from what is committed
# here, and go through tests/service_stories.py: a virtual microphone and speaker, a broker, and all that systemd does.
# No part of the normal test run: it needs root, systemd-container, debootstrap, the network, and some minutes.
#
#   tests/service.sh trixie [ARGUMENT..]     arguments go to pytest, -k WORD for example
#   tests/service.sh bookworm
#
# The container has its own processes, mounts, cgroups and network, and ends with this script. Only the installer
# reaches the outside, through what tests/bare.sh explains (BARE_CACHE, BARE_MIRROR, BARE_CA, BARE_PASS). pytest runs
# outside the container, in what tests/run.sh has made (build/tests); PYTHON names another Python.
set -euo pipefail
checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

if [[ $# -lt 1 || $1 == -* ]]; then
  sed -n '2,/^set /{s/^# \{0,1\}//;/^set /d;p}' "${BASH_SOURCE[0]}" >&2
  exit 2
fi
release=$1
shift
if [[ $EUID -ne 0 ]] || ! command -v systemd-nspawn >/dev/null || ! command -v debootstrap >/dev/null; then
  printf 'service.sh: needs root, systemd-nspawn (apt install systemd-container) and debootstrap.\n' >&2
  exit 1
fi
cgroups=/sys/fs/cgroup
if [[ -d $cgroups/unified ]]; then cgroups=$cgroups/unified; fi
if [[ ! -e $cgroups/cgroup.procs ]]; then
  printf 'service.sh: needs cgroup2 at /sys/fs/cgroup or /sys/fs/cgroup/unified.\n' >&2
  exit 1
fi
python=${PYTHON:-$checkout/build/tests/bin/python}
if ! "$python" -c 'import numpy, paho.mqtt, pytest'; then
  printf 'service.sh: run tests/run.sh before, or name a Python that has what it installs: PYTHON=...\n' >&2
  exit 1
fi

cache=${BARE_CACHE:-${TMPDIR:-/tmp}/voiced-bare}
if [[ ! -d $cache/$release ]]; then BARE_CACHE=$cache "$checkout/tests/bare.sh" "$release" true; fi
run=$(mktemp -d "$cache/service-XXXXXX")
mkdir "$run"/{upper,work,root,srv}
# Cgroups of our own, so that two of these can run beside each other.
own=()
for hierarchy in "$cgroups" /sys/fs/cgroup/systemd; do
  if [[ -e $hierarchy/cgroup.procs ]]; then own+=("$hierarchy/voiced-${run##*/}"); fi
done
mkdir "${own[@]}"
clean() {
  rm -rf --one-file-system "$run"
  for _ in {1..50}; do # the last processes may still be ending
    if find "${own[@]}" -depth -type d -exec rmdir {} + 2>/dev/null; then break; fi
    sleep 0.1
  done
}
trap clean EXIT

# shellcheck disable=SC2016 # expanded by the shell inside
unshare --mount --pid --fork --kill-child --mount-proc --propagation private bash -euo pipefail -c '
  run=$1 bare=$2 checkout=$3 cgroups=$4
  shift 4
  for own in "$cgroups" /sys/fs/cgroup/systemd; do
    own=$own/voiced-${run##*/}
    if [[ -d $own ]]; then echo 0 >"$own/cgroup.procs"; fi
  done
  root=$run/root
  mount -t overlay overlay -o "lowerdir=$bare,upperdir=$run/upper,workdir=$run/work" "$root"
  # Sockets of the sound servers: the same path inside and outside, and not below /tmp, which the unit has for itself.
  mount --bind "$run/srv" /srv
  mkdir /srv/sound

  cp -L /etc/resolv.conf "$root/etc/resolv.conf"
  printf "127.0.0.1 localhost satellite\n" >"$root/etc/hosts" # debootstrap leaves it out
  if [[ ${BARE_CA:-} ]]; then cp -L "$BARE_CA" "$root/etc/bare-ca.crt"; fi
  git clone --quiet --no-hardlinks "$checkout" "$root/srv/voiced"
  printf "#!/bin/sh\nexit 101\n" >"$root/usr/sbin/policy-rc.d"
  chmod 755 "$root/usr/sbin/policy-rc.d"
  mount -t proc proc "$root/proc"
  if ! chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive bash -c "apt-get -q update &&
      apt-get -q -y --no-install-recommends install systemd systemd-sysv dbus libpam-systemd libasound2-plugins libportaudio2 python3-venv" >"$run/apt" 2>&1; then
    tail -n 15 "$run/apt" >&2
    exit 1
  fi
  umount "$root/proc"
  rm "$root/usr/sbin/policy-rc.d"

  UNIFIED_CGROUP_HIERARCHY=1 systemd-nspawn --quiet --directory="$root" --boot --register=no --keep-unit \
    --private-network --hostname=satellite --resolv-conf=off --link-journal=no --console=pipe \
    --kill-signal=SIGRTMIN+4 --capability=CAP_BPF,CAP_PERFMON --system-call-filter=bpf \
    --bind=/srv/sound </dev/null >"$run/console" 2>&1 &
  container=$!
  leave() { # what does not end in time ends with its process namespace
    kill "$container"
    for _ in {1..100}; do if kill -0 "$container" 2>/dev/null; then sleep 0.1; fi; done
  }
  trap leave EXIT
  end=$((SECONDS + 60))
  until init=$(pgrep -P "$container" -x systemd) && nsenter -t "$init" -m -p -C systemctl is-system-running >/dev/null 2>&1; do
    if [[ $SECONDS -gt $end ]] || ! kill -0 "$container" 2>/dev/null; then
      tail -n 15 "$run/console" >&2
      echo "service.sh: the container does not come up." >&2
      exit 1
    fi
    sleep 0.1
  done
  cd "$checkout"
  status=0
  SERVICE_INIT=$init SERVICE_CGROUPS=$cgroups PYTHONPATH=$checkout "$@" || status=$?
  exit "$status"
' service "$run" "$cache/$release" "$checkout" "$cgroups" \
  "$python" -m pytest -p no:cacheprovider --timeout=300 "$checkout/tests/service_stories.py" "$@"
