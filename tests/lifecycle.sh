#!/usr/bin/env bash
# Install, upgrade, remove and purge voiced on this machine, which should be a throwaway one, and look at what is there:
#
#   tests/bare.sh trixie tests/lifecycle.sh installer     by systemd/install.sh
#   tests/bare.sh bookworm tests/lifecycle.sh deb         by the package that systemd/make_deb.sh makes, which is made twice
#
# Says what was seen at each step, and ends with the first that is not as it should be.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export DEBIAN_FRONTEND=noninteractive PATH=/usr/local/bin:$PATH

say() { printf 'lifecycle: %s\n' "$*"; }
wrong() {
  say "wrong: $*" >&2
  exit 1
}
nothing_is_left() { # but system packages
  local left
  left=$(
    find /etc /usr /opt /var/lib /var/cache -xdev -iname '*voiced*' -not -path '/var/lib/dpkg/*' -not -path '/var/cache/apt/*'
    getent passwd voiced
    getent group voiced
  ) || true
  [[ -z $left ]] || wrong "a purge leaves: $left"
}
stands() { # the installed one, as far as it can be tried without sound and systemd
  [[ $(voiced --version) == voiced\ * ]] || wrong "voiced --version"
  voiced check -c /etc/voiced/config.toml configuration models || wrong "the installed one does not stand its own check"
  if [[ $(find /opt/voiced -user voiced -print -quit) ]]; then wrong "the daemon could change its own program"; fi
  [[ -e /etc/systemd/system/multi-user.target.wants/voiced.service ]] || wrong "the service is not enabled"
}
settle_in() { # somebody's own settings, state and secrets
  sed -i 's|^name = .*|name = "Larder"|' /etc/voiced/config.toml
  install -d -o voiced -g voiced -m 700 /var/lib/voiced
  touch /var/lib/voiced/settings.json /etc/credstore/voiced.mqtt_password
}
all_is_kept() {
  grep -q Larder /etc/voiced/config.toml || wrong "$1 takes the configuration"
  [[ -e /var/lib/voiced/settings.json ]] || wrong "$1 takes the state"
  [[ -e /etc/credstore/voiced.mqtt_password ]] || wrong "$1 takes the secrets"
}

installer() {
  apt-get -q update >/dev/null
  apt-get -q -y --no-install-recommends install systemd >/dev/null # a machine that has it, though it does not run here
  systemd/install.sh
  stands
  settle_in
  systemd/install.sh
  stands
  all_is_kept "installing again"
  say "installed twice"
  systemd/install.sh --upgrade
  stands
  all_is_kept "an upgrade"
  say "upgraded"
  systemd/install.sh --uninstall
  if [[ -e /opt/voiced || -e /usr/local/bin/voiced ]]; then wrong "uninstalling leaves the program"; fi
  all_is_kept "uninstalling"
  say "uninstalled"
  systemd/install.sh --uninstall --purge
  nothing_is_left
  say "purged; nothing is left"
}

deb() {
  apt-get -q update >/dev/null
  apt-get -q -y --no-install-recommends install python3 python3-venv systemd >/dev/null
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  for copy in 1 2; do
    systemd/make_deb.sh "$work/$copy"
  done
  if ! cmp "$work"/1/*.deb "$work"/2/*.deb; then
    for copy in 1 2; do dpkg-deb -R "$work/$copy"/*.deb "$work/content$copy"; done
    diff -qr "$work/content1" "$work/content2" | head || true
    wrong "the same checkout gives two different packages"
  fi
  say "made twice, the same: $(cd "$work/1" && ls)"

  apt-get -q -y --no-install-recommends install "$work"/1/*.deb
  stands
  if grep -rlI "$work" /opt/voiced/bin /opt/voiced/pyvenv.cfg; then wrong "it knows where it was built"; fi
  [[ $(find /opt/voiced -name 'cli.*.pyc' -path '*/voiced/*' -print -quit) ]] || wrong "nothing is compiled"
  for task in "" --upgrade "--uninstall --purge"; do # what apt keeps
    # shellcheck disable=SC2086 # words
    if systemd/install.sh $task; then wrong "install.sh $task meddles with a package"; fi
  done
  stands
  say "installed"

  settle_in
  dpkg-deb -R "$work"/1/*.deb "$work/newer"
  sed -i 's/^Version: .*/&.1/' "$work/newer/DEBIAN/control"
  printf '# new default\n' >>"$work/newer/etc/voiced/config.toml"
  dpkg-deb --root-owner-group -Zzstd --build "$work/newer" "$work/newer.deb" >/dev/null
  apt-get -q -y -o Dpkg::Options::=--force-confold install "$work/newer.deb"
  [[ $(dpkg-query -W -f '${Version}' voiced) == *.1 ]] || wrong "it is not upgraded"
  stands
  all_is_kept "an upgrade"
  say "upgraded"

  apt-get -q -y remove voiced
  if [[ -e /opt/voiced || -e /usr/bin/voiced ]]; then wrong "removing leaves the program"; fi
  all_is_kept "removing"
  apt-get -q -y --no-install-recommends -o Dpkg::Options::=--force-confold install "$work"/1/*.deb
  stands
  all_is_kept "installing again"
  say "removed, and installed again"

  apt-get -q -y purge voiced
  nothing_is_left
  say "purged; nothing is left"
}

case ${1:-} in
  installer | deb) "$1" ;;
  *)
    sed -n '2,/^set /{s/^# \{0,1\}//;/^set /d;p}' "${BASH_SOURCE[0]}" >&2
    exit 2
    ;;
esac
