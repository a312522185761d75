# Sourced by systemd/install.sh: what is asked of a person who sits at a terminal, and where secrets go.
# shellcheck shell=bash

: "${log:=/dev/null}" # environment.sh sets it

# Whether somebody is there to answer.
at_terminal() { [[ -t 0 && -t 2 && ! ${VOICED_ASK_NOTHING:-} ]]; }

# ask_device PROGRAM KIND: print the stable name a person chooses (inputs or outputs), or nothing for the default.
ask_device() {
  local program=$1 kind=$2 names=() answer name
  while IFS= read -r name; do names+=("$name"); done < <("$program" devices --json 2>/dev/null |
    "${program%/*}/python" -c "
import json, sys
for device in json.load(sys.stdin):
    if device[sys.argv[1]]:
        print(device['name'])
" "$kind" 2>/dev/null)
  if [[ ${#names[@]} -lt 2 ]]; then return; fi # nothing to choose from
  printf '%s:\n' "$([[ $kind == inputs ]] && echo Microphones || echo Speakers)" >&2
  local number=0
  for name in "${names[@]}"; do
    number=$((number + 1))
    printf '  %2d  %s\n' "$number" "$name" >&2
  done
  while true; do
    printf 'Which one? [Enter: the default] ' >&2
    IFS= read -r answer || return 0
    if [[ ! $answer ]]; then return; fi
    if [[ $answer =~ ^[0-9]+$ && $answer -ge 1 && $answer -le ${#names[@]} ]]; then
      printf '%s\n' "${names[answer - 1]}"
      return
    fi
  done
}

# set_key FILE KEY VALUE: put VALUE, a text, in the place of the default of KEY in a new configuration; keep its comment.
set_key() {
  local value=${3//\\/\\\\}
  value=${value//\"/\\\"}
  KEY=$2 VALUE=$value awk '
    index($0, ENVIRON["KEY"] " = ") == 1 && !done {
      comment = match($0, /  +#/) ? substr($0, RSTART) : ""
      print ENVIRON["KEY"] " = \"" ENVIRON["VALUE"] "\"" comment
      done = 1
      next
    }
    { print }' "$1" >"$1.new"
  cat "$1.new" >"$1" # keeps owner and mode
  rm -f "$1.new"
}

# choose_devices PROGRAM FILE: ask for microphone and speaker, and write the names into a new configuration.
choose_devices() {
  local name
  at_terminal || return 0
  name=$(ask_device "$1" inputs)
  if [[ $name ]]; then set_key "$2" input "$name"; fi
  name=$(ask_device "$1" outputs)
  if [[ $name ]]; then set_key "$2" output "$name"; fi
}

# read_secret NAME: print what is typed (unseen) or comes in; one line.
read_secret() {
  local value=
  if [[ -t 0 ]]; then
    IFS= read -r -s -p "$1: " value || true
    printf '\n' >&2
  else
    IFS= read -r value || true
  fi
  printf '%s' "$value"
}

# store_secret NAME: what comes in by standard input, sealed for this machine where systemd can, else readable by root
# alone. Prints where. A sealed one needs a line of its own in the unit, which goes into a drop-in.
store_secret() {
  local name=$1 plain=/etc/credstore/voiced.$1 sealed=/etc/credstore.encrypted/voiced.$1
  local drop_in=/etc/systemd/system/voiced.service.d/secret-$1.conf
  install -d -m 700 /etc/credstore /etc/credstore.encrypted
  rm -f "$sealed.new"
  local value
  value=$(cat)
  if command -v systemd-creds >/dev/null && [[ -d /run/systemd/system ]] &&
    printf '%s' "$value" | systemd-creds encrypt --name="$name" - "$sealed.new" >>"$log" 2>&1; then
    chmod 600 "$sealed.new"
    mv "$sealed.new" "$sealed"
    rm -f "$plain"
    install -d -m 755 "${drop_in%/*}"
    printf '# Made by systemd/install.sh --secret.\n[Service]\nLoadCredentialEncrypted=%s:%s\n' "$name" "$sealed" >"$drop_in"
    printf '%s (sealed: no other machine can read it)\n' "$sealed"
    return
  fi
  rm -f "$sealed.new" "$sealed" "$drop_in"
  (umask 077 && printf '%s' "$value" >"$plain")
  printf '%s (readable by root alone)\n' "$plain"
}
