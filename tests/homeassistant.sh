#!/usr/bin/env bash
# voiced in a real Home Assistant: install its package into an environment of its own, run it headless with its MQTT
# integration, a real mosquitto and the whole daemon, and go through tests/homeassistant/stories.py.
# No part of the normal test run: Home Assistant wants a newer Python, and some 200 packages.
#
#   tests/homeassistant.sh [ARGUMENT..]     arguments go to pytest, -k WORD for example
#
# HOMEASSISTANT names the version (default 2025.4.4, the oldest that is supported), HOMEASSISTANT_BASE a Python for it
# (default python3.13), or HOMEASSISTANT_PYTHON one that has the package already. pytest runs in what tests/run.sh has
# made (build/tests); PYTHON names another Python.
set -euo pipefail
checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=${PYTHON:-$checkout/build/tests/bin/python}
version=${HOMEASSISTANT:-2025.4.4}

if [[ -z ${HOMEASSISTANT_PYTHON:-} ]]; then
  place=$checkout/build/homeassistant-$version
  if [[ ! -x $place/bin/hass ]]; then
    "${HOMEASSISTANT_BASE:-python3.13}" -m venv --clear "$place"
    # the client that its MQTT integration pins; it would install it by itself at the first start
    "$place/bin/pip" install --quiet "homeassistant==$version" "paho-mqtt==2.1.0"
  fi
  export HOMEASSISTANT_PYTHON=$place/bin/python
fi
cd "$checkout"
PYTHONPATH=$checkout exec "$python" -m pytest -q -p no:cacheprovider tests/homeassistant/stories.py "$@"
