"""Sound devices through PortAudio (sounddevice): which there are, and one stream at a time to or from each.

PortAudio is for one thread at a time (its issue 254), whatever the streams: a call that fails keeps its error where all
calls do, and if another one begins meanwhile, it goes on with a device that is not there, and aborts or crashes (seen).
"""

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from voiced.core.devices import NODE, Device, Kind, card_of, choose, stable_name, usb_ports
from voiced.edge.stream import BLOCKS, CALL_LIMIT_S, STALL_S, Stream
from voiced.errors import DeviceError

OPEN_LIMIT_S = 5.0
"""How long PortAudio may take to open a stream: slow USB cards need a second."""

RESCAN_S = 30.0
"""How often the device list may be read anew while another stream is open, which that interrupts."""

QUICK_S, AGAIN_S = 60.0, 5.0
"""After so long without a device, and without news of any, PortAudio is asked for it only so often: it writes ten lines
to standard error each time it fails."""

_WATCH_S = 0.25
_CARDS = Path("/proc/asound")
_NODES = Path("/dev/snd")
_SERVERS = [Path(os.environ.get("XDG_RUNTIME_DIR", "/run")) / name for name in ("pulse/native", "pipewire-0")]
_PULSE_PROPERTIES, _PIPEWIRE_PROPERTIES = "PULSE_PROP", "PIPEWIRE_ALSA"
_NODE_VARIABLES: dict[Kind, tuple[str, str]] = {
    "input": ("PULSE_SOURCE", "PIPEWIRE_NODE"),
    "output": ("PULSE_SINK", "PIPEWIRE_NODE"),
}
_OWN_VARIABLES = {"PULSE_SOURCE", "PULSE_SINK"}
"""Read for one kind of stream only, so that they may stay."""


@dataclass(frozen=True, slots=True)
class _Refusal:
    """Of a device that cannot be had."""

    since: float
    at: float
    cards: str
    why: str


class Soundcard:
    """PortAudio, shared by microphone and speaker, because reading its device list anew closes all streams."""

    def __init__(
        self, give_up: Callable[[str], None], *, role: str = "", ends: Mapping[Kind, str] | None = None
    ) -> None:
        """Load PortAudio.

        Args:
            give_up: Called from a thread with a sentence when PortAudio hangs and cannot be helped from within the
                process: it must end the process at once (``os._exit``; an ordinary exit would hang as well).
            role: What PulseAudio (or PipeWire in its place) is told that the sound of speakers is, a ``media.role``;
                it makes others softer by it.
            ends: What will be opened, as configured.

        Raises:
            DeviceError: If PortAudio is missing.

        """
        self._give_up = give_up
        self._role = role
        # Here and not when a stream is opened: see _named.
        for name in (_PULSE_PROPERTIES, _PIPEWIRE_PROPERTIES):
            os.environ.setdefault(name, "")
        for kind, wanted in (ends or {}).items():
            if node := _node(wanted):
                for name in _NODE_VARIABLES[kind]:  # libpulse takes an empty name for one, and refuses it
                    os.environ.setdefault(name, node if name in _OWN_VARIABLES else "")
        self._alone = threading.Lock()
        self._changed = threading.Condition()
        self._open: set[int] = set()
        self._refusals: dict[tuple[Kind, str], _Refusal] = {}
        self._opening = 0
        self._rescanning = False
        self._scanned = (time.monotonic(), _cards())
        self._checked = self._scanned[1]
        self._awake = 0.0  # seconds that calls have been watched for
        # Loading asks the sound server for its devices, and may find it hanging.
        starting = (OPEN_LIMIT_S, "starting PortAudio")
        self._calls: dict[int, tuple[float, str]] = {threading.get_ident(): starting}
        self._ended = threading.Event()
        self._watch = threading.Thread(target=self._watch_calls, name="soundcard-watch", daemon=True)
        self._watch.start()
        try:
            self._portaudio = _load()
        except DeviceError:
            self.close()
            raise
        self._calls.clear()

    @property
    def is_rescanning(self) -> bool:
        """Whether all streams must be closed now."""
        return self._rescanning

    def close(self) -> None:
        """Stop watching. Close the streams before.

        With one still in use there is no orderly end: to end PortAudio, as Python does when it exits, under a thread
        that is in it crashes.
        """
        with self._changed:
            self._ended.set()
            is_used = bool(self._open or self._opening or self._rescanning)
        self._watch.join()
        if is_used:
            self._give_up("a sound device is still in use at the end")

    def devices(self) -> list[Device]:
        """Return what was there when the list was last read."""
        return _listed(self._portaudio)

    def open(self, kind: Kind, wanted: str, rate: int, latency_s: float, channels: int = 1) -> Stream:
        """Open and start a stream.

        A device that refuses ``rate`` is opened at the rate it likes best, one that refuses mono with two channels.
        If it cannot be had, the device list is read anew, unless that would disturb another stream too often. One that
        has been away for :data:`QUICK_S` is asked for every :data:`AGAIN_S`, and at once when cards or servers change.

        Raises:
            DeviceError: If there is no such device or it refuses all of this.

        """
        now, cards, known = time.monotonic(), _cards(), self._refusals.get((kind, wanted))
        since = known.since if known is not None and known.cards == cards else now
        if known is not None and now - since > QUICK_S and now - known.at < AGAIN_S:
            raise DeviceError(known.why)
        try:
            stream = self._open_any(kind, wanted, rate, latency_s, channels)
        except DeviceError as exc:
            self._refusals[kind, wanted] = _Refusal(since, now, cards, str(exc))
            raise
        self._refusals.pop((kind, wanted), None)
        return stream

    def _open_any(self, kind: Kind, wanted: str, rate: int, latency_s: float, channels: int) -> Stream:
        try:
            with self._list_kept():
                return self._open_listed(kind, wanted, rate, latency_s, channels)
        except DeviceError:
            if not self._may_rescan() or not self._rescan():
                raise
        with self._list_kept():
            return self._open_listed(kind, wanted, rate, latency_s, channels)

    def look(self, kind: Kind, wanted: str) -> None:
        """Look a device up without opening it.

        Raises:
            DeviceError: If there is no such device.

        """
        with self._list_kept(), self.limit(CALL_LIMIT_S, "listing sound devices"):
            _choose(self.devices(), wanted, kind)

    def check(self, kind: Kind, wanted: str) -> None:
        """See whether the card of a device that is not open is still there; costs next to nothing.

        Raises:
            DeviceError: If the kernel has lost it. What comes and goes behind a sound server, only opening it tells.

        """
        if (cards := _cards()) == self._checked:
            return
        with self._list_kept(), self.limit(CALL_LIMIT_S, "listing sound devices"):
            device = _choose(self.devices(), wanted, kind)
        if (card := card_of(device.name)) and not (_CARDS / card).exists():
            what = "microphone" if kind == "input" else "speaker"
            raise DeviceError(f"the sound card of the {what} {device.name!r} is gone; plug it in again")
        self._checked = cards

    def release(self, stream: Any, name: str) -> None:
        """Close a stream of :meth:`open`; use :meth:`Stream.close`."""
        for close in (stream.abort, stream.close):
            # A device that is gone may refuse both; then there is nothing left to close.
            with suppress(DeviceError), self.limit(CALL_LIMIT_S, f"closing {name}"):
                close()
        with self._changed:
            self._open.discard(id(stream))
            self._changed.notify_all()

    @contextmanager
    def limit(self, seconds: float, doing: str) -> Iterator[None]:
        """Have PortAudio alone in this block; give up if its calls take longer; turn its errors into ours.

        Every call to it belongs in one. Time in which the whole process stands still does not count: then nothing hangs
        but the machine.

        Raises:
            DeviceError: If PortAudio raises.

        """
        thread = threading.get_ident()
        with self._alone:
            self._calls[thread] = (self._awake + _WATCH_S + seconds, doing)
            try:
                yield
            except self._portaudio.PortAudioError as exc:
                why = f"{doing} failed: {exc.args[0]}; it may be unplugged or its sound server down"
                raise DeviceError(why) from exc
            finally:
                del self._calls[thread]

    def _open_listed(self, kind: Kind, wanted: str, rate: int, latency_s: float, channels: int) -> Stream:
        with self.limit(CALL_LIMIT_S, "listing sound devices"):
            device = _choose(self.devices(), wanted, kind)
        node = _node(wanted)
        name = f"{'microphone' if kind == 'input' else 'speaker'} {node or device.name!r}"
        make = self._portaudio.RawInputStream if kind == "input" else self._portaudio.RawOutputStream
        refusal = DeviceError(f"{name} cannot be opened")
        for its_rate, its_channels in ((rate, channels), (rate, 2), (device.rate, channels), (device.rate, 2)):
            try:
                with self.limit(OPEN_LIMIT_S, f"opening {name} at {its_rate} Hz"), self._named(kind, node):
                    stream = make(
                        device=device.index,
                        samplerate=its_rate,
                        channels=its_channels,
                        dtype="int16",
                        blocksize=its_rate // BLOCKS[kind],
                        latency=latency_s,
                    )
            except DeviceError as exc:
                refusal = exc
                continue
            with self._changed:
                self._open.add(id(stream))
            try:
                return Stream(self, stream, kind, name)
            except DeviceError:
                self.release(stream, name)
                raise
        raise refusal

    def _may_rescan(self) -> bool:
        then, cards = self._scanned
        return not self._open or cards != _cards() or time.monotonic() - then > RESCAN_S

    def _rescan(self) -> bool:
        """Read the device list anew, as PortAudio does only when it starts; return whether that was possible.

        sounddevice has no public call for it; its author recommends these two (python-sounddevice issue 125).
        """
        with self._changed:
            if self._rescanning or self._ended.is_set():
                return False
            self._rescanning = True
            closed = self._changed.wait_for(lambda: not self._open and not self._opening, timeout=2 * STALL_S)
        try:
            if closed:
                with self.limit(OPEN_LIMIT_S, "reading the device list"):
                    with suppress(self._portaudio.PortAudioError):  # it did not start the last time
                        self._portaudio._terminate()  # noqa: SLF001 - see above
                    self._portaudio._initialize()  # noqa: SLF001 - see above
                self._scanned = (time.monotonic(), _cards())
            return closed
        finally:
            with self._changed:
                self._rescanning = False
                self._changed.notify_all()

    @contextmanager
    def _named(self, kind: Kind, node: str) -> Iterator[None]:
        """Let a stream lead to a node of the sound server, and a speaker's carry the role.

        A microphone's would keep others soft for ever. Source: libpulse (pa_init_proplist, pa_client_conf_load) and
        PipeWire's plug-in for ALSA read these variables whenever a client connects, which is for each stream.
        """
        role = f"media.role={self._role}" if self._role and kind == "output" else ""
        # WirePlumber 0.4 takes a stream away from its node with the default, if the node was that when it was linked.
        stay = "node.dont-reconnect=true" if node else ""
        properties = {_PULSE_PROPERTIES: role, _PIPEWIRE_PROPERTIES: f"{role} {stay}".strip()}
        now = dict.fromkeys(_NODE_VARIABLES[kind] if node else (), node)
        now |= {name: text for name, text in properties.items() if text and not os.environ[name]}
        # Names that come or go are a trap for another thread that looks one up, in C as in Python (KeyError, seen);
        # another value is not.
        before = {name: os.environ.get(name, "") for name in now}
        os.environ.update(now)
        try:
            yield
        finally:
            os.environ.update({name: value for name, value in before.items() if name not in _OWN_VARIABLES})

    @contextmanager
    def _list_kept(self) -> Iterator[None]:
        """Keep the device list from being read anew: that under a stream being opened is undefined in PortAudio.

        Raises:
            DeviceError: If this is closed.

        """
        with self._changed:
            # Without a limit, which would run out on a machine that stands still: reading the list has its own.
            self._changed.wait_for(lambda: not self._rescanning)
            if self._ended.is_set():
                raise DeviceError("the sound devices are closed")
            self._opening += 1
        try:
            yield
        finally:
            with self._changed:
                self._opening -= 1
                self._changed.notify_all()

    def _watch_calls(self) -> None:
        looked = time.monotonic()
        while not self._ended.wait(_WATCH_S):
            before, looked = looked, time.monotonic()
            self._awake += min(looked - before, 2 * _WATCH_S)
            for end, doing in list(self._calls.values()):
                if self._awake > end:
                    self._give_up(f"{doing} hangs in the sound system; only a new process helps")
                    return


def _choose(devices: list[Device], wanted: str, kind: Kind) -> Device:
    """Choose, and say of a user who may not use the sound cards that this is why there is none."""
    try:
        return choose(devices, wanted, kind)
    except DeviceError as exc:
        shut = [node for node in sorted(_NODES.glob("controlC*")) if not os.access(node, os.R_OK | os.W_OK)]
        if not shut:
            raise
        why = f"{str(exc).partition('; ')[0]} for this user, who may not use {shut[0]}"
        raise DeviceError(f"{why}; add it to the group audio (sudo usermod -aG audio NAME), and log in again") from exc


def list_devices() -> list[Device]:
    """Return what is there; nothing if there is no sound at all.

    Raises:
        DeviceError: If PortAudio is missing.

    """
    return _listed(_load())


def _node(wanted: str) -> str:
    """Return the node of the sound server that is meant; empty: another device."""
    return wanted.removeprefix(NODE) if wanted.startswith(NODE) else ""


def _listed(portaudio: Any) -> list[Device]:
    first = next((api for api in portaudio.query_hostapis() if api["devices"]), None)
    inputs, outputs = (first["default_input_device"], first["default_output_device"]) if first else (-1, -1)
    ids = {int(path.parent.name[4:]): path.read_text().strip() for path in _CARDS.glob("card[0-9]*/id")}
    ports = {ids.get(number, f"card{number}"): port for number, port in usb_ports(_cards()).items()}
    return [
        Device(
            name=(name := stable_name(shown["name"], ids)),
            index=index,
            inputs=shown["max_input_channels"],
            outputs=shown["max_output_channels"],
            rate=int(shown["default_samplerate"]),
            is_default_input=index == inputs,
            is_default_output=index == outputs,
            port=ports.get(card_of(name) or "", ""),
        )
        for index, shown in enumerate(portaudio.query_devices())
    ]


def _load() -> Any:
    """Return the module sounddevice. Loading it initialises PortAudio, which file and null ends must not pay for."""
    try:
        import sounddevice  # noqa: PLC0415 - see above
    except OSError as exc:
        raise DeviceError("the PortAudio library is missing: apt install libportaudio2") from exc
    return sounddevice


def _cards() -> str:
    """Return a text that changes when the kernel gains or loses a sound card, or a desktop's sound server begins."""
    text = ""
    with suppress(OSError):
        text = (_CARDS / "cards").read_text()
    for server in _SERVERS:
        with suppress(OSError):
            text += f"{server} {server.stat().st_ctime_ns}\n"
    return text
