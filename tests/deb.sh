#!/usr/bin/env bash
# Build the package, install it, upgrade it, remove it, and purge it, on this machine, which should be a throwaway one:
#
#   tests/bare.sh trixie tests/deb.sh
#   tests/bare.sh bookworm tests/deb.sh
#
# Says what was seen at each step, and ends with the first that is not as it should be.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export DEBIAN_FRONTEND=noninteractive

say() { printf 'deb: %s\n' "$*"; }
wrong() {
  say "wrong: $*" >&2
  exit 1
}
traces() { # what a purge must not leave
  find /etc /usr /opt /var/lib /var/cache -xdev -iname '*voiced*' -not -path '/var/lib/dpkg/*' -not -path '/var/cache/apt/*'
  getent passwd voiced || true
  getent group voiced || true
}

apt-get -q update >/dev/null
apt-get -q -y --no-install-recommends install python3 python3-venv >/dev/null
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
[[ $(voiced --version) == voiced\ * ]] || wrong "voiced --version"
voiced check -c /etc/voiced/config.toml configuration models || wrong "the installed one does not stand its own check"
[[ $(stat -c %U /etc/voiced/config.toml) == root ]] || wrong "the configuration is not root's"
getent passwd voiced >/dev/null || wrong "there is no user voiced"
if find /opt/voiced -user voiced | grep -q .; then wrong "the daemon could change its own program"; fi
if grep -rlI "$work" /opt/voiced/bin /opt/voiced/pyvenv.cfg; then wrong "it knows where it was built"; fi
[[ -e /etc/systemd/system/multi-user.target.wants/voiced.service ]] || wrong "the service is not enabled"
find /opt/voiced -name 'cli.*.pyc' -path '*/voiced/*' | grep -q . || wrong "nothing is compiled"
say "installed"

# Somebody's own settings, state and secrets; and a newer version.
sed -i 's|^name = .*|name = "Larder"|' /etc/voiced/config.toml
install -d -o voiced -g voiced -m 700 /var/lib/voiced
touch /var/lib/voiced/settings.json /etc/credstore/voiced.mqtt_password
dpkg-deb -R "$work"/1/*.deb "$work/newer"
sed -i 's/^Version: .*/&.1/' "$work/newer/DEBIAN/control"
printf '# new default\n' >>"$work/newer/etc/voiced/config.toml"
dpkg-deb --root-owner-group -Zzstd --build "$work/newer" "$work/newer.deb" >/dev/null
apt-get -q -y -o Dpkg::Options::=--force-confold install "$work/newer.deb"
[[ $(dpkg-query -W -f '${Version}' voiced) == *.1 ]] || wrong "it is not upgraded"
grep -q Larder /etc/voiced/config.toml || wrong "the upgrade has lost the configuration"
voiced config -c /etc/voiced/config.toml >/dev/null || wrong "the configuration does not hold after the upgrade"
say "upgraded, with the configuration as it was"

apt-get -q -y remove voiced
if [[ -e /opt/voiced || -e /usr/bin/voiced ]]; then wrong "removing leaves the program"; fi
grep -q Larder /etc/voiced/config.toml || wrong "removing takes the configuration"
[[ -e /var/lib/voiced/settings.json ]] || wrong "removing takes the state"
apt-get -q -y --no-install-recommends install "$work"/1/*.deb -o Dpkg::Options::=--force-confold
voiced config -c /etc/voiced/config.toml | grep -q Larder || wrong "what comes back has lost the configuration"
say "removed, and installed again with the configuration as it was"

apt-get -q -y purge voiced
left=$(traces | grep -v '^/etc/credstore$' || true)
[[ -z $left ]] || wrong "a purge leaves: $left"
say "purged; nothing is left"
