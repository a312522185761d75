#!/usr/bin/env bash
# Write the two lock files again, from pyproject.toml:
#   requirements.txt        what voiced runs on, openwakeword (its wake models) and the build backend
#   tests/requirements.txt  all of that, and what the checks need
# Usage: tests/lock.sh [--upgrade]
#   Without --upgrade, versions that still fit stay as they are.
# Needs python3 with venv, and the Python package index. Local indexes and settings of this machine are left out, so
# that the files hold what the public index holds, whoever runs this.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

pythons=(3.11 3.12 3.13 3.14)
platforms=(x86_64-manylinux_2_28 aarch64-manylinux_2_28)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
say() { printf '%s\n' "$*" >&2; }

say "Fetching the resolver"
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check uv
for name in $(compgen -e); do
  case $name in PIP_* | UV_*) unset "$name" ;; esac
done
export UV_CONFIG_FILE=$work/uv.toml UV_NO_PROGRESS=1

# openwakeword's own requirements stay out: its Python is never imported, and tflite-runtime exists for Python 3.11 only.
cat >"$UV_CONFIG_FILE" <<'TOML'
dependency-metadata = [{ name = "openwakeword", version = "0.5.1", requires-dist = [] }]
TOML
printf 'openwakeword==0.5.1\n' >"$work/models.in"

# compile OUTPUT ARGUMENT...
compile() {
  local output=$1
  shift
  {
    printf '# Made by tests/lock.sh; do not edit. Install with:\n'
    printf '#   pip install --no-deps --require-hashes -r %s\n' "$output"
    printf -- '--only-binary :all:\n'
  } >"$work/head"
  cp "$output" "$work/lock" 2>/dev/null || true
  "$work/venv/bin/uv" pip compile --quiet --universal --python-version "${pythons[0]}" --generate-hashes \
    --only-binary :all: --no-header --no-annotate --output-file "$work/lock" "$@" pyproject.toml "$work/models.in"
  grep -v '^--' "$work/lock" | cat "$work/head" - >"$output"
}

say "Resolving"
compile requirements.txt --group build "$@"
compile tests/requirements.txt --group build --group test --constraint requirements.txt "$@"

for lock in requirements.txt tests/requirements.txt; do
  for python in "${pythons[@]}"; do
    for platform in "${platforms[@]}"; do
      say "Trying $lock on Python $python, $platform"
      "$work/venv/bin/uv" pip install --quiet --dry-run --no-deps --require-hashes --target "$work/nowhere" \
        --python-version "$python" --python-platform "$platform" --requirement "$lock"
    done
  done
done
say "Both locks are complete."
