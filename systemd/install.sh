#!/usr/bin/env bash
# voiced on Debian 12 or 13 (or a relative), 64-bit PC or Raspberry Pi. May be run again at any time.
#
#   systemd/install.sh                 install or update the service, start it, and check everything (root, or by sudo)
#   systemd/install.sh --user          the same for you alone: a desktop whose sound is PipeWire's or PulseAudio's
#   systemd/install.sh --upgrade       update what is installed; if the new one refuses your configuration or does not
#                                      start, the old one comes back (with --user: yours)
#   systemd/install.sh --secret NAME   store a key for the service, typed or from standard input, sealed where systemd
#                                      can: azure_openai_api_key, openai_api_key, mqtt_password (no NAME lists all)
#   systemd/install.sh --uninstall     take it away; configuration and state stay (with --user: yours)
#           --uninstall --purge        and take those away too, secrets as well
#   systemd/install.sh --demo [ARG..]  only show the demo: one whole conversation, no account or microphone needed;
#                                      arguments go to `voiced demo` (--json, --keep DIR)
#
# On a terminal it asks which microphone and speaker, where there is a choice; without one it asks nothing.
# 32-bit systems (armv7l) are not supported: there are no builds of numpy for them.
#
# What it leaves behind. Service: /opt/voiced, /usr/local/bin/voiced, /etc/voiced, /var/lib/voiced, the unit, the user
# voiced, and the MQTT broker mosquitto where mqtt.host is this machine. --user: ~/.local/share/voiced,
# ~/.local/bin/voiced, ~/.config/voiced, ~/.local/state/voiced, the unit. Demo: build/demo in the checkout, and
# system packages; mosquitto among them, but no broker is started, now or at boot.
set -euo pipefail
checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

usage() { sed -n '2,/^set /{s/^# \{0,1\}//;/^set /d;p}' "${BASH_SOURCE[0]}"; }
wrong() {
  printf 'voiced: %s\n' "$1" >&2
  usage >&2
  exit 2
}

task='' user='' purge='' secret=''
given=("$@")
# choose TASK: one at a time.
choose() {
  if [[ $task && $task != "$1" ]]; then wrong "--$task and --$1 do not go together."; fi
  task=$1
}
while [[ $# -gt 0 ]]; do
  case $1 in
    -h | --help)
      usage
      exit 0
      ;;
    --demo)
      choose demo
      shift
      break # the rest is the demo's
      ;;
    --user) user=yes ;;
    --upgrade | --uninstall) choose "${1#--}" ;;
    --purge) purge=yes ;;
    --secret)
      choose secret
      secret=${2:-}
      known=$(sed -n 's/^LoadCredential=\([a-z_]*\):.*/\1/p' "$checkout/systemd/voiced.service" | xargs)
      [[ $secret && " $known " == *" $secret "* ]] || wrong "no secret ${secret:-without a name} here; there are: $known."
      shift
      ;;
    *) wrong "no option $1 here." ;;
  esac
  shift
done
task=${task:-install}
if [[ $purge && $task != uninstall ]]; then wrong "--purge goes with --uninstall."; fi
if [[ $user && $task == secret ]]; then wrong "--secret is for the service; yours go into realtime.key_file, or ~/.config/voiced/environment."; fi

if [[ $user && $EUID -eq 0 ]]; then
  printf 'voiced: --user installs for the person who runs it, and that should not be root. Leave out sudo.\n' >&2
  exit 1
fi
if [[ ! $user && $task != demo && $EUID -ne 0 ]]; then
  if ! command -v sudo >/dev/null; then
    printf 'voiced: installing a service needs root, and there is no sudo here. Run it as root, or with --user.\n' >&2
    exit 1
  fi
  exec sudo -- bash "${BASH_SOURCE[0]}" "${given[@]}"
fi

# shellcheck source=systemd/environment.sh
source "$checkout/systemd/environment.sh"
# shellcheck source=systemd/questions.sh
source "$checkout/systemd/questions.sh"

# Not libasound2-plugins for the service: it draws in a whole video decoder, and a desktop has it already.
packages=(ca-certificates libportaudio2)
if [[ $user ]]; then
  home=$HOME/.local/share/voiced/environment # as the unit says
  unit=${XDG_CONFIG_HOME:-$HOME/.config}/systemd/user/voiced.service
  settings=${XDG_CONFIG_HOME:-$HOME/.config}/voiced
  state=${XDG_STATE_HOME:-$HOME/.local/state}/voiced
  command=$HOME/.local/bin/voiced
  manager=(systemctl --user)
  # By su or sudo -u one comes without it, and not to one's own systemd.
  if [[ ! ${XDG_RUNTIME_DIR:-} && -d /run/user/$EUID ]]; then export XDG_RUNTIME_DIR=/run/user/$EUID; fi
  follow="journalctl --user -fu voiced" again="voiced check --as-service"
  checking=("$home/bin/voiced" check --as-service)
  as_self() { "$@"; }
  run_as=as_self
else
  home=/opt/voiced
  unit=/etc/systemd/system/voiced.service
  settings=/etc/voiced
  state=/var/lib/voiced
  command=/usr/local/bin/voiced
  manager=(systemctl)
  follow="journalctl -fu voiced" again="sudo voiced check --as-service"
  checking=("$home/bin/voiced" check --as-service)
  if [[ $task != demo ]]; then run_as=as_root; fi
fi

has_systemd() {
  if [[ $user ]]; then "${manager[@]}" show-environment >/dev/null 2>&1; else [[ -d /run/systemd/system ]]; fi
}
is_there() { [[ -e $home/voiced.lock && -x $home/bin/voiced ]]; }
version() { "$home/bin/voiced" --version 2>/dev/null || printf 'voiced (broken)'; }

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

put_program() {
  install_packages "${packages[@]}"
  find_python
  if [[ ! $user ]] && ! getent passwd voiced >/dev/null; then
    quietly "adding the user voiced" useradd --system --user-group --home-dir /var/lib/voiced --no-create-home \
      --shell /usr/sbin/nologin --comment "Voice daemon" voiced
  fi
  if [[ $user ]]; then mkdir -p "${home%/*}"; fi
  make_environment "$home" "$checkout/requirements.txt"
  install_voiced "$home"
  install -d "${command%/*}"
  ln -sfn "$home/bin/voiced" "$command"
}

put_configuration() {
  if [[ $user ]]; then
    install -d -m 700 "$settings"
  else
    install -d -m 755 "$settings"
    install -d -m 700 /etc/credstore # where the unit looks for secrets
  fi
  if [[ ! -e $settings/config.toml ]]; then
    install -m 644 "$checkout/config.toml.example" "$settings/config.toml.draft"
    choose_devices "$home/bin/voiced" "$settings/config.toml.draft"
    mv "$settings/config.toml.draft" "$settings/config.toml" # who breaks off is asked again
    say "Configuration: $settings/config.toml (new, with every default)"
  fi
  step="reading $settings/config.toml"
  if broker_is_wanted "$home/bin/python" "$settings/config.toml"; then
    if [[ $user ]]; then
      if ! command -v mosquitto >/dev/null && [[ ! -x /usr/sbin/mosquitto ]]; then
        say "There is no MQTT broker on this machine: 'sudo apt install mosquitto', or set mqtt.host."
      fi
    else
      install_packages mosquitto
      # The demo leaves it off.
      if has_systemd && ! quietly "starting the MQTT broker" systemctl enable --now mosquitto.service; then
        say "  (it does not start: 'journalctl -u mosquitto'; voiced goes on without it)"
      fi
    fi
  fi
}

# put_unit: enable and start; 1 if it does not start.
put_unit() {
  if [[ $user ]]; then
    install -D -m 644 "$checkout/systemd/voiced-user.service" "$unit"
  else
    install -D -m 644 "$checkout/systemd/voiced.service" "$unit"
  fi
  if ! has_systemd; then
    if [[ ! $user ]] && command -v systemctl >/dev/null; then quietly "enabling the service" systemctl enable voiced.service; fi
    return 0
  fi
  quietly "enabling the service" "${manager[@]}" enable voiced.service
  "${manager[@]}" daemon-reload
  quietly "starting the service" "${manager[@]}" restart voiced.service
}

does_not_start() {
  journalctl ${user:+--user} --unit voiced --no-pager --lines 10 --output cat >&2 || true
  fail "$1; above is its own word on it ('${follow/ -fu/ -u}' has more)."
}

# Everything is in place: try it all, and say what comes next.
last_words() {
  local subjects=()
  if ! has_systemd; then
    say "Installed. systemd does not run here, so nothing was started; by hand: $home/bin/voiced run"
    checking=(with_variables "$settings/environment" "$home/bin/voiced" check -c "$settings/config.toml")
    subjects=(configuration models)
  elif ! at_terminal; then # nobody is there to be startled by sounds, or to hear them
    subjects=(configuration models disk temperature time lookup tls sign-in service broker home-assistant microphone)
  fi
  say "Checking:"
  "${checking[@]}" "${subjects[@]}" >&2 </dev/null || say "Something above needs a hand; '${again}' looks again."
  if has_systemd; then say "voiced runs. 'voiced status' asks it, '$follow' follows it."; fi
  if grep -q '^provider = "simulator"' "$settings/config.toml"; then
    say "Next: name a service in $settings/config.toml ([realtime] provider), and give it a key:"
    if [[ $user ]]; then
      say "  put OPENAI_API_KEY=... into $settings/environment (chmod 600), then: systemctl --user restart voiced"
    else
      say "  sudo $checkout/systemd/install.sh --secret openai_api_key    (or azure_openai_api_key), then: sudo systemctl restart voiced"
    fi
  fi
  if [[ $user ]] && command -v loginctl >/dev/null && [[ $(loginctl show-user "$(id -un)" --property=Linger --value 2>/dev/null) == no ]]; then
    say "It ends when you log out; to have it run always: loginctl enable-linger"
  fi
  if [[ $user && :$PATH: != *":${command%/*}:"* ]]; then say "${command%/*} is not on your PATH: log in again, or call $command."; fi
  say "Wake models: openWakeWord's, CC BY-NC-SA 4.0 (not for commercial use)."
}

service() {
  put_program
  put_configuration
  put_unit || does_not_start "installed, but the service does not start"
  last_words
}

upgrade() {
  is_there || fail "there is nothing to upgrade in $home; install first: systemd/install.sh${user:+ --user}"
  local former=$home.before
  local before
  before=$(version)
  rm -rf "$former"
  quietly "setting the old one aside" cp -a --reflink=auto "$home" "$former"
  local old_unit=
  if [[ -e $unit ]]; then old_unit=$(cat "$unit"); fi
  back() { # the old one again; it still runs, unless its unit was replaced
    trap - INT TERM HUP
    rm -rf "$home" "$home.former"
    mv "$former" "$home"
    if [[ $old_unit && $old_unit != "$(cat "$unit")" ]]; then printf '%s\n' "$old_unit" >"$unit"; fi
    if [[ ${replaced:-} ]] && has_systemd; then
      "${manager[@]}" daemon-reload
      quietly "starting the old one again" "${manager[@]}" restart voiced.service || say "  (it does not start either)"
    fi
    fail "$1; $(version) is back."
  }
  trap 'back "broken off"' INT TERM HUP
  local status=0 problems
  set +e # an "if" around it would let failures inside pass
  (
    set -e
    put_program
  )
  status=$?
  set -e
  if [[ $status -ne 0 ]]; then back "the new one could not be installed"; fi
  step="trying the configuration"
  if [[ -e $settings/config.toml ]] && ! problems=$(with_variables "$settings/environment" "$home/bin/voiced" config -c "$settings/config.toml" 2>&1 >/dev/null); then
    say "$problems"
    back "the new one does not take $settings/config.toml (above)"
  fi
  put_configuration
  local replaced=yes
  if ! put_unit; then
    journalctl ${user:+--user} --unit voiced --no-pager --lines 10 --output cat >&2 || true
    back "the new one does not start (above)"
  fi
  trap 'exit 130' INT
  trap 'exit 143' TERM
  trap - HUP
  rm -rf "$former"
  say "Upgraded: $before to $(version)."
  last_words
}

keep_secret() {
  local value where
  value=$(read_secret "$secret")
  [[ $value ]] || fail "nothing was given for $secret; nothing is changed."
  where=$(printf '%s' "$value" | store_secret "$secret")
  say "Stored: $where"
  if has_systemd && systemctl cat voiced.service >/dev/null 2>&1; then # of a package, too
    systemctl daemon-reload
    quietly "starting the service with it" systemctl restart voiced.service || does_not_start "stored, but the service does not start"
    local subjects=(sign-in service)
    if [[ $secret == mqtt_password ]]; then subjects=(broker); fi
    "${checking[@]}" "${subjects[@]}" >&2 </dev/null || say "Something above needs a hand; '${again}' looks again."
  fi
}

uninstall() {
  step="removing the service"
  if [[ -e $unit ]]; then
    if has_systemd; then
      quietly "stopping the service" "${manager[@]}" disable --now voiced.service
    elif [[ ! $user ]] && command -v systemctl >/dev/null; then
      quietly "disabling the service" systemctl disable voiced.service
    fi
    rm -f "$unit"
    if has_systemd; then "${manager[@]}" daemon-reload; fi
  fi
  rm -f "${unit%/*}"/{default,multi-user}.target.wants/voiced.service # enabled where systemd could not be asked
  if [[ $purge ]] && is_there && has_systemd; then forget_at_broker; fi
  if [[ $(readlink "$command" || true) == "$home/bin/voiced" ]]; then rm -f "$command"; fi
  if [[ -e $home/voiced.lock ]]; then rm -rf "$home" "$home.before" "$home.former"; fi
  if [[ ! $purge ]]; then
    say "voiced is uninstalled. Configuration and state are still there; to remove them too: --uninstall --purge"
    return
  fi
  rm -rf "$settings" "$state"
  if [[ $user ]]; then
    rm -rf "${unit}.d" "${XDG_CACHE_HOME:-$HOME/.cache}/voiced"
    rmdir "${home%/*}" 2>/dev/null || true
  else
    rm -rf /var/cache/voiced "${unit}.d"
    rm -f /etc/credstore/voiced.* /etc/credstore.encrypted/voiced.*
    if has_systemd; then
      systemctl daemon-reload
      systemctl reset-failed voiced.service 2>/dev/null || true
    fi
    if getent passwd voiced >/dev/null; then quietly "removing the user voiced" userdel voiced; fi
    if getent group voiced >/dev/null; then quietly "removing the group voiced" groupdel voiced; fi
  fi
  say "voiced is gone, with configuration, state and secrets. Packages stay: others may use them (mosquitto, libportaudio2)."
}

# Home Assistant and the broker need not remember a device that will never come back.
forget_at_broker() {
  if "$home/bin/voiced" mqtt --help >/dev/null 2>&1; then
    quietly "taking the device out of the broker" "$home/bin/voiced" mqtt remove -c "$settings/config.toml" ||
      say "  (the broker did not answer, or wants a password; its retained messages stay)"
  fi
}

if [[ ! $user && $task != demo && $task != secret ]] && is_installed voiced; then
  fail "voiced is a Debian package here, which apt keeps: 'apt install ./voiced_*.deb' brings a newer one, and" \
    "'apt remove voiced' or 'apt purge voiced' takes it away."
fi
case $task in
  demo)
    check_machine
    demo "$@"
    ;;
  uninstall) uninstall ;;
  secret) keep_secret ;;
  upgrade)
    check_machine
    upgrade
    ;;
  install)
    check_machine
    service
    ;;
esac
