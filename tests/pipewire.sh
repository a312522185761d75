#!/usr/bin/env bash
# voiced on a desktop's PipeWire: install it, and go through tests/pipewire_stories.py: the real daemon hears and speaks
# through PipeWire's own plug-in for ALSA, and the server's parts are ended under it.
# No part of the normal test run: a machine that plays through something else should not get a second sound server for
# it. So run it on a bare Debian, as root:
#
#   tests/bare.sh trixie tests/pipewire.sh [ARGUMENT..]     arguments go to pytest, -k WORD for example
#   tests/bare.sh bookworm tests/pipewire.sh
set -euo pipefail
checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$checkout"
# shellcheck source=systemd/environment.sh
source systemd/environment.sh

check_machine
install_packages ca-certificates libportaudio2 pipewire pipewire-alsa pipewire-pulse wireplumber pulseaudio-utils dbus
find_python
make_environment "$checkout/build/tests" "$checkout/tests/requirements.txt"
mkdir -p /run/systemd/{seats,sessions,users,machines} # wireplumber 0.4 ends where logind has never run
explained=yes # what follows tells by itself
PATH="$checkout/build/tests/bin:$PATH" PYTHONPATH=$checkout \
  python -m pytest -q -p no:cacheprovider --timeout=180 tests/pipewire_stories.py "$@"
