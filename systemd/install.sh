#!/usr/bin/env bash
# voiced on Debian 12 or 13 (or a relative), 64-bit PC or Raspberry Pi. As root or through sudo; may be run again.
#
#   systemd/install.sh                 install or update the service, and start it
#   systemd/install.sh --demo [ARG..]  only show the demo: one whole conversation, no account or microphone needed;
#                                      arguments go to `voiced demo` (--json, --keep DIR)
#   systemd/install.sh --uninstall     take the service away; configuration and state stay
#
# 32-bit systems (armv7l) are not supported: there are no builds of numpy and soxr for them.
#
# What it leaves behind. Service: /opt/voiced, /usr/local/bin/voiced, /etc/voiced, /var/lib/voiced, the unit, the user
# voiced, and the MQTT broker mosquitto where mqtt.host is this machine. Demo: build/demo in the checkout, and
# system packages; mosquitto among them, but no broker is started, now or at boot.
set -euo pipefail
checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

usage() { sed -n '2,/^set /{s/^# \{0,1\}//;/^set /d;p}' "${BASH_SOURCE[0]}"; }

case ${1:-} in
  -h | --help)
    usage
    exit 0
    ;;
  "" | --demo | --uninstall) ;;
  *)
    printf 'voiced: no option %s here.\n' "$1" >&2
    usage >&2
    exit 2
    ;;
esac

if [[ ${1:-} != --demo && $EUID -ne 0 ]]; then
  if ! command -v sudo >/dev/null; then
    printf 'voiced: installing a service needs root, and there is no sudo here. Run it as root.\n' >&2
    exit 1
  fi
  exec sudo -- bash "${BASH_SOURCE[0]}" "$@"
fi

# shellcheck source=systemd/environment.sh
source "$checkout/systemd/environment.sh"

home=/opt/voiced
unit=/etc/systemd/system/voiced.service
settings=/etc/voiced
command=/usr/local/bin/voiced
# Not libasound2-plugins: it draws in a whole video decoder, and a desktop that speaks PulseAudio has it already.
packages=(ca-certificates libportaudio2)

has_systemd() { [[ -d /run/systemd/system ]]; }

demo() {
  install_packages "${packages[@]}"
  install_broker_program
  find_python
  make_environment "$checkout/build/demo" "$checkout/requirements.txt"
  install_voiced "$checkout/build/demo"
  say "Showing the demo"
  : >"$log" # from here on the demo speaks for itself
  explained=yes
  as_owner "$checkout/build/demo/bin/voiced" demo "$@"
}

# Whether mqtt.host, in the configuration just installed, is this machine.
broker_is_here() {
  "$home/bin/python" - "$settings/config.toml" <<'PY'
import sys, tomllib
try:
    with open(sys.argv[1], "rb") as file:
        host = tomllib.load(file).get("mqtt", {}).get("host", "localhost")
except (OSError, tomllib.TOMLDecodeError) as exc:
    sys.exit(f"{sys.argv[1]}: {exc}")
sys.exit(host not in {"localhost", "127.0.0.1", "::1"})
PY
}

service() {
  run_as=as_root
  install_packages "${packages[@]}"
  find_python
  if ! getent passwd voiced >/dev/null; then
    quietly "adding the user voiced" useradd --system --user-group --home-dir /var/lib/voiced --no-create-home \
      --shell /usr/sbin/nologin --comment "Voice daemon" voiced
  fi
  make_environment "$home" "$checkout/requirements.txt"
  install_voiced "$home"
  ln -sfn "$home/bin/voiced" "$command"
  install -d -m 755 "$settings"
  install -d -m 700 /etc/credstore # where the unit looks for secrets
  if [[ ! -e $settings/config.toml ]]; then
    install -m 644 "$checkout/config.toml.example" "$settings/config.toml"
    say "Configuration: $settings/config.toml (new, with every default)"
  fi
  step="reading $settings/config.toml"
  if broker_is_here; then
    install_packages mosquitto
    # The demo leaves it off.
    if has_systemd; then quietly "starting the MQTT broker" systemctl enable --now mosquitto.service; fi
  fi
  start_service
  say "Wake models: openWakeWord's, CC BY-NC-SA 4.0 (not for commercial use)."
}

start_service() {
  install -D -m 644 "$checkout/systemd/voiced.service" "$unit"
  if ! has_systemd; then
    say "Installed. systemd does not run here, so nothing was started; by hand: $home/bin/voiced run"
    if command -v systemctl >/dev/null; then quietly "enabling the service" systemctl enable voiced.service; fi
    return
  fi
  quietly "enabling the service" systemctl enable voiced.service
  systemctl daemon-reload
  if ! quietly "starting the service" systemctl restart voiced.service; then
    journalctl --unit voiced --no-pager --lines 10 --output cat >&2 || true
    fail "installed, but the service does not start; above is its own word on it ('journalctl -u voiced' has more)."
  fi
  say "voiced runs. 'voiced status' asks it, 'journalctl -fu voiced' follows it."
}

uninstall() {
  step="removing the service"
  if [[ -e $unit ]]; then
    if has_systemd; then
      quietly "stopping the service" systemctl disable --now voiced.service
    elif command -v systemctl >/dev/null; then
      quietly "disabling the service" systemctl disable voiced.service
    fi
    rm -f "$unit"
    if has_systemd; then systemctl daemon-reload; fi
  fi
  if [[ $(readlink "$command" || true) == "$home/bin/voiced" ]]; then rm -f "$command"; fi
  if [[ -e $home/voiced.lock ]]; then rm -rf "$home"; fi
  say "voiced is uninstalled. Configuration and state are still there; to remove them too:"
  say "  rm -rf $settings /var/lib/voiced /var/cache/voiced && userdel voiced"
}

case ${1:-} in
  --demo)
    check_machine
    shift
    demo "$@"
    ;;
  --uninstall) uninstall ;;
  *)
    check_machine
    service
    ;;
esac
