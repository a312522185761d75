"""Microphones and speakers by names that outlive a reboot, and their channels made one."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from voiced.core.frames import Samples
from voiced.errors import DeviceError

Kind: TypeAlias = Literal["input", "output"]

NODE = "node:"
"""Before the name of a source or sink of a desktop's sound server, which is reached through the default device."""


@dataclass(frozen=True, slots=True)
class Device:
    """A microphone, a speaker, or both."""

    name: str
    """Stable: PortAudio's own name, but with the id of an ALSA card (``/proc/asound/card0/id``) for its number."""
    index: int
    """PortAudio's number, good until the list is read anew."""
    inputs: int
    outputs: int
    rate: int
    """What it likes best."""
    is_default_input: bool
    is_default_output: bool
    port: str = ""
    """Of a USB device: where it is plugged in, such as ``usb-0000:01:00.0-1.3``; two that are alike differ by that."""


def stable_name(shown: str, card_ids: Mapping[int, str]) -> str:
    """Return PortAudio's name of a device without the card number, which changes with the order of plugging in.

    ``USB Audio: - (hw:1,0)`` becomes ``USB Audio: - (hw:Device,0)``; the ``plughw`` that PA_ALSA_PLUGHW=1
    shows is the same device.
    """

    def named(match: re.Match[str]) -> str:
        return f"(hw:{card_ids.get(int(match[1]), match[1])},{match[2]})"

    return re.sub(r"\((?:plug)?hw:(\d+),(\d+)\)", named, shown)


def usb_ports(cards: str) -> dict[int, str]:
    """Return where USB cards are plugged in, by card number; ``cards`` is the text of ``/proc/asound/cards``."""
    found = re.findall(r"^ *(\d+) \[.*\n.* at (usb-[^\s,]+)", cards, re.MULTILINE)
    return {int(number): port for number, port in found}


def choose(devices: list[Device], wanted: str, kind: Kind) -> Device:
    """Return the device of that kind that ``wanted`` means.

    Args:
        devices: What there is.
        wanted: ``default``, :data:`NODE` and a name, a stable name, a part of just one, in any case, or a USB port.
        kind: Which side must have channels.

    Raises:
        DeviceError: If there is none, or more than one; lists what exists.

    """
    what = "microphone" if kind == "input" else "speaker"
    fitting = [device for device in devices if (device.inputs if kind == "input" else device.outputs)]
    if not fitting:
        raise DeviceError(f"there is no {what}; plug one in, or start the sound server")
    names = ", ".join(repr(device.name) for device in fitting)
    if wanted == "default" or wanted.startswith(NODE):
        for device in fitting:
            if device.is_default_input if kind == "input" else device.is_default_output:
                return device
        raise DeviceError(f"there is no default {what}; name one of: {names}")
    for device in fitting:
        if device.name == wanted:
            return device
    matches = [one for one in fitting if wanted == one.port or wanted.casefold() in one.name.casefold()]
    if len(matches) == 1:
        return matches[0]
    if matches:
        names = ", ".join(repr(device.name) for device in matches)
        raise DeviceError(f"{what} {wanted!r} could be any of: {names}")
    raise DeviceError(f"there is no {what} {wanted!r}; there are: {names}")


def card_of(name: str) -> str | None:
    """Return the id of the ALSA card in a stable name, under which ``/proc/asound`` has it; ``None``: there is none."""
    found = re.search(r"\((?:plug)?hw:(\w+),\d+\)$", name)
    if found is None:
        return None
    return f"card{found[1]}" if found[1].isdecimal() else found[1]


def mono(interleaved: Samples, channels: int) -> Samples:
    """Return the average of the channels."""
    if channels == 1:
        return interleaved
    mean: Samples = interleaved.reshape(-1, channels).mean(axis=1).round().astype(np.int16)
    return mean
