# Sourced by systemd/install.sh and tests/run.sh: progress lines, system packages, a private Python environment.
# The caller sets $checkout (top of the source tree) first, and has `set -euo pipefail`.
# shellcheck shell=bash

: "${checkout:?must be set before this file is sourced}"
run_as=as_owner # who owns private environments: as_owner or as_root
export LC_ALL=C.UTF-8
log=$(mktemp "${TMPDIR:-/tmp}/voiced-XXXXXX.log")
step="starting"
explained=
policy=
unfinished=
lists=

say() { printf '%s\n' "$*" >&2; }

# fail SENTENCE...: end here; nothing else needs to be said.
fail() {
  say "voiced: $*"
  explained=yes
  exit 1
}

finish() {
  local status=$?
  if [[ $policy ]]; then as_root rm -f "$policy"; fi
  if [[ $unfinished ]]; then # a half-made environment is worth less than the one before
    rm -rf "$unfinished"
    if [[ -e $unfinished.former ]]; then mv "$unfinished.former" "$unfinished"; fi
  fi
  if [[ $status -eq 0 ]]; then
    rm -f "$log"
    return
  fi
  if [[ ! $explained ]]; then
    tail -n 15 "$log" >&2
    say "voiced: failed while $step."
  fi
  if [[ -s $log ]]; then say "The whole log: $log"; else rm -f "$log"; fi
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# quietly WHAT COMMAND...: say WHAT, run COMMAND with its output in the log only.
quietly() {
  step=$1
  shift
  say "${step^}"
  printf '\n== %s\n' "$*" >>"$log"
  "$@" >>"$log" 2>&1 </dev/null
}

as_root() {
  if [[ $EUID -eq 0 ]]; then "$@"; else sudo -- "$@"; fi
}

# as_owner COMMAND...: as the owner of the checkout, so that sudo leaves no files of root behind there.
as_owner() {
  local owner home
  owner=$(stat -c %U "$checkout")
  if [[ $EUID -ne 0 || $owner == root || $owner == UNKNOWN ]]; then
    "$@"
    return
  fi
  home=$(getent passwd "$owner" | cut -d: -f6)
  runuser -u "$owner" -- env HOME="$home" USER="$owner" LOGNAME="$owner" \
    XDG_RUNTIME_DIR="/run/user/$(id -u "$owner")" "$@"
}

# seen PATTERN: whether the log says so.
seen() { grep -qE "$1" "$log"; }

# A board without a battery begins in the past, and no server can prove then who it is.
clock_is_wrong() { seen 'certificate is not yet valid|certificate has expired|is not valid yet'; }

# with_variables FILE COMMAND...: with the variables of FILE as a unit reads them (EnvironmentFile=); a shell would run
# what stands in a password.
with_variables() (
  line='' name='' value=''
  if [[ -r $1 ]]; then
    while IFS= read -r line || [[ $line ]]; do
      [[ $line =~ ^[[:space:]]*([A-Za-z_][A-Za-z0-9_]*)[[:space:]]*=[[:space:]]*(.*)$ ]] || continue
      name=${BASH_REMATCH[1]} value=${BASH_REMATCH[2]}
      value=${value%"${value##*[![:space:]]}"}
      if [[ $value =~ ^\"(.*)\"$ || $value =~ ^\'(.*)\'$ ]]; then value=${BASH_REMATCH[1]}; fi
      export "$name=$value"
    done <"$1"
  fi
  shift
  exec "$@"
)

# broker_is_wanted PYTHON CONFIGURATION: whether mqtt.host is this machine, and no broker listens there yet: one in a
# container of Home Assistant's, for example.
broker_is_wanted() {
  "$1" - "$2" <<'PY'
import socket, sys, tomllib
try:
    with open(sys.argv[1], "rb") as file:
        mqtt = tomllib.load(file).get("mqtt", {})
    host, port = mqtt.get("host", "localhost"), int(mqtt.get("port", 1883))
    if host not in {"localhost", "127.0.0.1", "::1"}:
        sys.exit(1)
    socket.create_connection((host, port), timeout=5).close()
except OSError as exc:
    sys.exit(f"{sys.argv[1]}: {exc}" if exc.filename else 0)
except (AttributeError, OverflowError, TypeError, ValueError):
    sys.exit(1)  # the service says what is wrong with it
sys.exit(1)
PY
}

check_machine() {
  local architecture
  [[ $(uname -s) == Linux ]] || fail "runs on Linux only."
  if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
    fail "this script knows Debian and its relatives only (no apt-get here)." \
      "Elsewhere: install PortAudio and Python 3.11 to 3.14, then 'pip install --no-deps --require-hashes" \
      "-r requirements.txt' and 'pip install --no-deps .'"
  fi
  architecture=$(dpkg --print-architecture)
  case $architecture in
    amd64 | arm64) ;;
    armhf | armel)
      fail "a 32-bit system ($architecture) is not supported: numpy exists for 64 bits only." \
        "On a Raspberry Pi 3 or newer, install the 64-bit Raspberry Pi OS."
      ;;
    *) fail "$architecture is not supported: a 64-bit PC (amd64) or ARM (arm64) is needed." ;;
  esac
}

is_installed() { [[ $(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null) == installed ]]; }

# install_packages PACKAGE...: those that are missing; never removes one.
install_packages() {
  local package missing=()
  for package in "$@"; do
    is_installed "$package" || missing+=("$package")
  done
  if [[ ${#missing[@]} -eq 0 ]]; then return; fi
  if [[ $EUID -ne 0 ]] && ! command -v sudo >/dev/null; then
    fail "'${missing[*]}' must be installed, which needs root, and there is no sudo here." \
      "As root: apt-get install ${missing[*]}. Then run this again."
  fi
  # A repository of the user's that is down must not matter; what we need is asked for next.
  if [[ ! $lists ]]; then
    quietly "fetching the lists of packages" as_root env DEBIAN_FRONTEND=noninteractive apt-get -q update ||
      say "  (some lists could not be fetched; going on with the others)"
    lists=fetched
  fi
  if quietly "installing system packages: ${missing[*]}" \
    as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get -q -y --no-install-recommends --no-remove -o DPkg::Lock::Timeout=300 install "${missing[@]}"; then
    return
  fi
  if clock_is_wrong; then
    fail "the clock of this machine is wrong ($(date)): see 'timedatectl', then run this again."
  elif seen 'Temporary failure resolving|Could not (resolve|connect)|[Cc]onnection (timed out|refused)|Unable to connect'; then
    fail "the Debian package servers cannot be reached. Check the network (and apt's proxy), then run this again."
  elif seen 'Packages need to be removed'; then
    fail "'${missing[*]}' cannot be installed without removing other packages; that is for you to decide."
  elif seen 'Unable to locate package|has no installation candidate'; then
    fail "apt-get does not know some of '${missing[*]}'. Is this Debian 12 or 13, with its main section?"
  elif seen 'No space left on device|enough free space'; then
    fail "the disk is full."
  elif seen 'a password is required|a terminal is required|not in the sudoers file|is not allowed to execute'; then
    fail "'${missing[*]}' must be installed, which needs root, and sudo refuses." \
      "As root: apt-get install ${missing[*]}. Then run this again."
  fi
  return 1
}

# install_broker_program: mosquitto, but no broker that listens. Debian starts one at once and at every boot.
install_broker_program() {
  if command -v mosquitto >/dev/null || [[ -x /usr/sbin/mosquitto ]]; then return; fi
  if [[ ! -e /usr/sbin/policy-rc.d ]]; then
    policy=/usr/sbin/policy-rc.d
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
    as_root chmod 755 "$policy"
  fi
  install_packages mosquitto
  if [[ $policy ]]; then
    as_root rm -f "$policy"
    policy=
  fi
  if command -v systemctl >/dev/null; then
    quietly "leaving the broker's own service off" as_root systemctl disable mosquitto.service
  else
    quietly "leaving the broker's own service off" as_root update-rc.d mosquitto disable
  fi
}

# is_usable PYTHON: a version we have wheels for, able to make an environment with pip in it.
is_usable() {
  "$1" -c 'import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2>/dev/null
}

# find_python: sets $python; installs Debian's where nothing usable is there.
find_python() {
  local candidate round
  for round in 1 2; do
    for candidate in ${PYTHON:+"$PYTHON"} python3 python3.14 python3.13 python3.12 python3.11; do
      if is_usable "$candidate"; then
        python=$candidate
        return
      fi
    done
    if [[ $round -eq 1 ]]; then install_packages python3 python3-venv; fi
  done
  fail "needs Python 3.11 to 3.14 with venv; this system has $(python3 -V 2>&1 || true)."
}

# make_environment DIRECTORY LOCK: a private environment with exactly what LOCK lists.
make_environment() {
  local directory=$1 lock=$2 stamp
  stamp="$(sha256sum <"$lock" | cut -c1-64) $("$python" -c 'import sys; print(sys.version)' | head -n 1)"
  if [[ -e $directory && ! -e $directory/voiced.lock ]]; then
    fail "$directory is there already and was not made by this script. Move it away, then run this again."
  fi
  if [[ $(cat "$directory/voiced.lock" 2>/dev/null) == "$stamp" ]] && "$directory/bin/python" -c '' 2>/dev/null; then
    return
  fi
  rm -rf "$directory.former"
  if [[ -e $directory ]]; then mv "$directory" "$directory.former"; fi
  unfinished=$directory
  "$run_as" mkdir -p "$directory"
  "$run_as" touch "$directory/voiced.lock" # ours, also if the power goes before it is finished
  quietly "making a private Python environment in $directory" "$run_as" "$python" -m venv "$directory"
  if ! quietly "installing Python packages from ${lock#"$checkout"/}" "$run_as" \
    "$directory/bin/python" -m pip install \
    --disable-pip-version-check --no-input --progress-bar off --no-deps --require-hashes --requirement "$lock"; then
    if seen 'DO NOT MATCH THE HASHES'; then
      fail "a downloaded package is not the one that was locked. Do not use it; try again on another network."
    elif seen 'No space left on device'; then
      fail "the disk is full."
    elif clock_is_wrong; then
      fail "the clock of this machine is wrong ($(date)): see 'timedatectl', then run this again."
    elif seen 'CERTIFICATE_VERIFY_FAILED'; then
      fail "the package index shows a certificate this system does not trust. Behind a company's proxy, set PIP_CERT."
    elif seen 'Temporary failure in name resolution|Name or service not known|NewConnectionError|ConnectTimeout|ReadTimeout'; then
      fail "the Python package index cannot be reached. Check the network (and https_proxy), then run this again."
    fi
    return 1
  fi
  printf '%s\n' "$stamp" | "$run_as" tee "$directory/voiced.lock" >/dev/null
  unfinished=
  rm -rf "$directory.former"
}

# install_voiced DIRECTORY: this checkout into that environment, built with the locked build backend.
install_voiced() {
  quietly "installing voiced" "$run_as" "$1/bin/python" -m pip install --disable-pip-version-check --no-input \
    --no-index --no-deps --no-build-isolation "$checkout"
}
