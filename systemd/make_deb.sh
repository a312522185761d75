#!/usr/bin/env bash
# Build voiced_VERSION_ARCHITECTURE.deb for the Debian (or relative) that this runs on, from this checkout.
#
#   systemd/make_deb.sh [DIRECTORY]    where to put it; default: build in the checkout
#
# The package holds what systemd/install.sh installs: the hash-locked Python packages and voiced in /opt/voiced, the
# unit, the user voiced, and /etc/voiced/config.toml as a file of yours that upgrades leave alone. It is bound to this
# machine's architecture and to the Python of this release. With SOURCE_DATE_EPOCH, by default the time of the last
# commit, the same checkout gives the same package. Needs python3-venv; not root, unless packages are missing.
#
# Install it with: sudo apt install ./voiced_*.deb. It does not go together with what systemd/install.sh installed.
# The wake models in it are openWakeWord's, CC BY-NC-SA 4.0: not for commercial use.
set -euo pipefail
checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
target=${1:-$checkout/build}
# shellcheck source=systemd/environment.sh
source "$checkout/systemd/environment.sh"

check_machine
command -v dpkg-deb >/dev/null || install_packages dpkg
find_python
python=$("$python" -c 'import sys; print(f"/usr/bin/python3.{sys.version_info[1]}")')
[[ -x $python ]] || fail "the package needs Debian's own Python, and there is no $python here."
package=${python##*/}
epoch=$(git -C "$checkout" log -1 --format=%ct 2>/dev/null || stat -c %Y "$checkout/pyproject.toml")
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$epoch}
umask 022

work=$(mktemp -d)
trap 'rm -rf "$work"; finish' EXIT
root=$work/root
home=$root/opt/voiced

mkdir -p "$root/opt"
as_self() { "$@"; }
run_as=as_self
make_environment "$home" "$checkout/requirements.txt"
install_voiced "$home"
version=$("$home/bin/python" -c 'from importlib.metadata import version; print(version("voiced"))')
# shellcheck source=/dev/null
version+=-1+$(. /etc/os-release && printf '%s%s' "$ID" "${VERSION_ID:-}")
architecture=$(dpkg --print-architecture)

step="putting the package together"
"$home/bin/python" -m pip uninstall --quiet --yes --disable-pip-version-check pip setuptools >>"$log" 2>&1
rm "$home/voiced.lock"
# An environment knows its own place, in these files only.
ln -sfn "$python" "$home/bin/python3"
ln -sfn python3 "$home/bin/python"
ln -sfn python3 "$home/bin/${package}"
rm -f "$home"/bin/{activate*,Activate*}
grep -rlI --null "$root" "$home/bin" "$home/pyvenv.cfg" | xargs -0 sed -i "s|$root||g"
find "$home" -path '*.dist-info/direct_url.json' -delete # says where the checkout was
# Which files a package has, and their sums: without those that were changed here, or are not there.
find "$home" -path '*.dist-info/RECORD' -exec sed -i -E '/direct_url\.json,|^\.\.\/|__pycache__/d' {} +
find "$root" -name __pycache__ -prune -exec rm -rf {} +

install -d "$root/usr/bin" "$root/DEBIAN" "$root/usr/share/doc/voiced"
ln -s /opt/voiced/bin/voiced "$root/usr/bin/voiced"
install -D -m 644 "$checkout/systemd/voiced.service" "$root/usr/lib/systemd/system/voiced.service"
install -D -m 644 "$checkout/config.toml.example" "$root/etc/voiced/config.toml"
install -m 644 "$checkout/LICENSE" "$root/usr/share/doc/voiced/copyright"
install -D -m 644 /dev/stdin "$root/usr/lib/sysusers.d/voiced.conf" <<'EOF'
u voiced - "Voice daemon" /var/lib/voiced
EOF
install -D -m 644 /dev/stdin "$root/usr/lib/tmpfiles.d/voiced.conf" <<'EOF'
# Where the unit looks for secrets.
d /etc/credstore 0700 root root
EOF
printf '/etc/voiced/config.toml\n' >"$root/DEBIAN/conffiles"

cat >"$root/DEBIAN/control" <<EOF
Package: voiced
Version: $version
Architecture: $architecture
Maintainer: $(git -C "$checkout" log -1 --format='%an <%ae>' 2>/dev/null || printf 'voiced <root@localhost>')
Depends: $package, libportaudio2, ca-certificates, systemd
Recommends: mosquitto
Section: sound
Priority: optional
Description: voice daemon: local wake word, Realtime conversation, MQTT
 Waits for its name on the local microphone, talks through an Azure OpenAI or OpenAI Realtime session, and tells
 Home Assistant about it over MQTT. Nothing leaves the machine before the wake word.
 .
 Holds openWakeWord's wake models, which are not for commercial use (CC BY-NC-SA 4.0).
EOF

# dpkg tells its scripts what it does in the first argument, and of an upgrade the version in the second.
install -m 755 /dev/stdin "$root/DEBIAN/preinst" <<'EOF'
#!/bin/sh
set -e
if [ -e /opt/voiced/voiced.lock ]; then
  echo "voiced: systemd/install.sh has installed voiced here; take that away first: systemd/install.sh --uninstall" >&2
  echo "        (configuration, state and secrets stay, and this package goes on with them)" >&2
  exit 1
fi
EOF
install -m 755 /dev/stdin "$root/DEBIAN/postinst" <<'EOF'
#!/bin/sh
set -e
if [ "$1" = configure ]; then
  systemd-sysusers voiced.conf
  systemd-tmpfiles --create voiced.conf
  deb-systemd-helper unmask voiced.service >/dev/null
  deb-systemd-helper enable voiced.service >/dev/null
  deb-systemd-helper update-state voiced.service >/dev/null
  if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
    deb-systemd-invoke restart voiced.service || echo "voiced does not start; its own word on it: journalctl -u voiced" >&2
  fi
  if [ -z "$2" ]; then
    echo "voiced is installed. Say in /etc/voiced/config.toml where the answers come from; 'sudo voiced check --as-service' looks at all."
  fi
fi
EOF
install -m 755 /dev/stdin "$root/DEBIAN/prerm" <<'EOF'
#!/bin/sh
set -e
if [ "$1" = remove ] && [ -d /run/systemd/system ]; then deb-systemd-invoke stop voiced.service; fi
EOF
install -m 755 /dev/stdin "$root/DEBIAN/postrm" <<'EOF'
#!/bin/sh
set -e
if [ "$1" = remove ] && [ -x /usr/bin/deb-systemd-helper ]; then deb-systemd-helper mask voiced.service >/dev/null; fi
if [ "$1" = purge ]; then
  if [ -x /usr/bin/deb-systemd-helper ]; then
    deb-systemd-helper purge voiced.service >/dev/null
    deb-systemd-helper unmask voiced.service >/dev/null
  fi
  rm -rf /etc/voiced /etc/systemd/system/voiced.service.d /var/lib/voiced /var/cache/voiced
  rm -f /etc/credstore/voiced.* /etc/credstore.encrypted/voiced.*
  if getent passwd voiced >/dev/null; then userdel voiced; fi
  if getent group voiced >/dev/null; then groupdel voiced; fi
fi
if [ ! -e /opt ]; then mkdir /opt; fi # dpkg takes it away when it is empty, though every system has it
if [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
EOF

# Compiled here, since the service cannot write there; the times of files are part of it.
find "$root" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
PYTHONHASHSEED=0 "$python" -m compileall -q -s "$root" -p / "$home/lib" >>"$log" 2>&1 || true # templates of others that are no Python
find "$root" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
mkdir -p "$target"
file=$target/voiced_${version}_${architecture}.deb
quietly "packing" dpkg-deb --root-owner-group -Zzstd --build "$root" "$file"
say "Made: $file"
