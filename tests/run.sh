#!/usr/bin/env bash
# Install what the tests need, and run every check. As root or with sudo; may be run again.
#
#   tests/run.sh [ARGUMENT..]     arguments go to pytest: a file, -k WORD, -n 2 for two processes
#
# Leaves behind: system packages (mosquitto among them, but no broker is started, now or at boot) and build/tests in
# the checkout. The last line is pytest's own summary.
set -euo pipefail
checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$checkout"
# shellcheck source=systemd/environment.sh
source systemd/environment.sh

packages=(
  ca-certificates libportaudio2 libasound2-plugins # sound, through ALSA to ...
  pulseaudio pulseaudio-utils                      # ... a private server with a virtual microphone and speaker
  espeak-ng openssl
  shellcheck systemd # for systemd-analyze; it works where no systemd runs
)
environment=$checkout/build/tests
bin=$environment/bin

check_machine
install_packages "${packages[@]}"
install_broker_program
find_python
make_environment "$environment" "$checkout/tests/requirements.txt"

failed=()
# check NAME COMMAND...: one line when all is well, the end of what it printed when not.
check() {
  local name=$1 output begun=$SECONDS
  shift
  step="checking: $name"
  output=$(mktemp)
  if as_owner "$@" >"$output" 2>&1 </dev/null; then
    printf 'ok      %s (%s s)\n' "$name" "$((SECONDS - begun))"
  else
    printf 'FAILED  %s (%s s)\n' "$name" "$((SECONDS - begun))"
    tail -n 100 "$output"
    failed+=("$name")
  fi
  cat "$output" >>"$log"
  if [[ $name == pytest ]]; then
    summary=$(grep -E '(passed|failed|skipped|errors?|no tests ran|deselected) in [0-9.]+s' "$output" | tail -n 1) || true
  fi
  rm -f "$output"
}

# Programs are found beside the environment's Python, and the environment does not depend on being entered.
export PATH="$bin:$PATH"
summary=
check "ruff format" ruff format --check .
check "ruff check" ruff check .
check "mypy" mypy
check "lint-imports" lint-imports
check "shellcheck" shellcheck --external-sources .ci/run systemd/*.sh tests/*.sh
say "Running the tests"
# Two at a time: most tests wait for sound, which takes the time it takes.
check "pytest" env PYTHONPATH="$checkout" python -m pytest -n 2 --cov --cov-report= "$@"
if [[ $# -eq 0 ]]; then
  check "coverage of core, branches, 90 %" coverage report --include 'voiced/core/*' --fail-under 90
fi

if [[ ${#failed[@]} -gt 0 ]]; then
  printf 'Failed: %s\n' "$(printf '%s, ' "${failed[@]}" | sed 's/, $//')"
fi
printf '%s\n' "${summary:-pytest said nothing}"
if [[ ${#failed[@]} -gt 0 ]]; then
  explained=yes
  exit 1
fi
