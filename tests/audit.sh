#!/usr/bin/env bash
# Are there known vulnerabilities in what is locked? Asks the advisory database of the Python package
# index, and osv.dev where that does not answer, by pip-audit.
# No part of the normal test run: it needs the network, and its answer changes from day to day.
#
#   tests/audit.sh [LOCK..]     default: requirements.txt
#
# Exit status: 0 none known, 1 some (each with the version that mends it), 3 nobody could be asked.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
locks=("$@")
if [[ $# -eq 0 ]]; then locks=(requirements.txt); fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
if ! "$work/venv/bin/pip" install --quiet --disable-pip-version-check pip-audit >"$work/log" 2>&1; then
  tail -n 3 "$work/log" >&2
  printf 'audit.sh: pip-audit cannot be installed; is there a network?\n' >&2
  exit 3
fi
# audit SERVICE LOCK: 0 and 1 as above, 3 if that service does not answer for all of it.
audit() {
  local status=0
  # --disable-pip: the lock names every version and hash, so nothing need be resolved or installed. --strict: a package
  # that the database was not asked about is no good news.
  "$work/venv/bin/pip-audit" --vulnerability-service "$1" --requirement "$2" --require-hashes --disable-pip --strict \
    --timeout 20 --progress-spinner off >"$work/out" 2>&1 || status=$?
  if [[ $status -ne 0 ]] && grep -qE '(Connection|Service|HTTP)Error|Max retries|could not be audited|not found' "$work/out"; then
    return 3
  fi
  cat "$work/out"
  return "$status"
}

status=0
for lock in "${locks[@]}"; do
  answer=3
  for service in pypi osv; do
    if [[ $answer -eq 3 ]]; then
      answer=0
      audit "$service" "$lock" || answer=$?
    fi
  done
  if [[ $answer -eq 3 ]]; then
    tail -n 1 "$work/out" >&2
    printf 'audit.sh: neither the package index nor osv.dev answers for all of %s, so nothing is said of it.\n' "$lock" >&2
    exit 3
  fi
  if [[ $answer -ne 0 ]]; then status=1; fi
done
exit "$status"
