"""Microphone and speaker on a real PulseAudio through real ALSA and PortAudio; and what happens when they go away."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from tests.probing import Probe
from tests.soundbed import SoundBed, canary, eventually, require_pulseaudio
from voiced.core.devices import Device, card_of, choose, mono, stable_name, usb_ports
from voiced.core.frames import FRAME, SERVICE_RATE, Samples
from voiced.core.likeness import best_match
from voiced.core.resample import resample
from voiced.edge import soundcard, soundserver
from voiced.edge.microphone import FrameCutter, pauses
from voiced.errors import DeviceError

STANDING_STILL = """
from voiced.edge.soundcard import Soundcard

gave_up = []
card = Soundcard(gave_up.append)
with card.limit(1.0, "a call"):
    print("calling", flush=True)
    card._ended.wait(0.1)
    seen = card._awake
    while card._awake < seen + 0.5:
        card._ended.wait(0.05)
print("gave up:", gave_up)
card.close()
"""

AWAY = """
import sys
from pathlib import Path
from voiced.edge import soundcard
from voiced.errors import DeviceError

place = Path(sys.argv[1])
server = place / "native"
soundcard._CARDS, soundcard._SERVERS = place, [server]
soundcard.QUICK_S, soundcard.AGAIN_S = 0.0, 1e9
card = soundcard.Soundcard(print)
portaudio, asked = card._open_listed, []

def noted(*wanted):
    asked.append(wanted)
    return portaudio(*wanted)

def is_asked():
    asked.clear()
    try:
        card.open("input", "nothing of that name", 16_000, 0.1)
    except DeviceError as exc:
        said.append(str(exc))
    return bool(asked)

card._open_listed, said = noted, []
assert is_asked()
assert not is_asked()
(place / "cards").write_text(" 0 [Device         ]: USB-Audio - USB PnP Sound Device\\n")
assert is_asked()
assert not is_asked()
server.touch()
assert is_asked()
assert not is_asked()
soundcard.AGAIN_S = 0.0
assert is_asked()
assert len(said) == 7 and len(set(said)) == 1 and said[0].startswith("there is no microphone")
card.close()
"""

THREADS = """
import numpy as np, sounddevice, threading
from voiced.edge.soundcard import Soundcard

class Watched:
    'PortAudio, which counts how many threads are in it at once.'

    def __init__(self, library):
        self.library, self.lock, self.inside, self.most, self.calls = library, threading.Lock(), 0, 0, 0

    def __getattr__(self, name):
        call = getattr(self.library, name)
        if not name.startswith("Pa_"):
            return call

        def counted(*given):
            with self.lock:
                self.inside += 1
                self.calls += 1
                self.most = max(self.most, self.inside)
            try:
                return call(*given)
            finally:
                with self.lock:
                    self.inside -= 1

        return counted

sounddevice._lib = portaudio = Watched(sounddevice._lib)
card = Soundcard(print)

def use(kind):
    for _ in range(20):
        stream = card.open(kind, "default", 24_000, 0.1)
        if kind == "input":
            stream.read()
        else:
            stream.wait()
            stream.write(np.zeros(240, np.int16))
        stream.close()

threads = [threading.Thread(target=use, args=(kind,)) for kind in ("input", "output")]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
card.close()
assert portaudio.calls > 20 * 2 * 5, portaudio.calls
assert portaudio.most == 1, portaudio.most
"""

GONE = """
import sys, threading
from voiced.edge.soundcard import Soundcard
from voiced.errors import DeviceError

card = Soundcard(print)
stream, is_over = card.open("input", "virtmic", 16_000, 0.1), threading.Event()

def hear():
    while not is_over.is_set():
        stream.wait()

hearer = threading.Thread(target=hear)
hearer.start()
print("hearing", flush=True)
sys.stdin.readline()
for _ in range(100):
    try:
        card.open("output", "virtspk", 24_000, 0.04)
    except DeviceError:
        continue
    raise AssertionError
is_over.set()
hearer.join()
stream.close()
card.close()
"""

NAMES = """
import os, sys
from voiced.edge.soundcard import Soundcard

changes = []

def noted(event, given):
    if event in ("os.putenv", "os.unsetenv"):
        changes.append((event, given[0]))

sys.addaudithook(noted)
card = Soundcard(print, role="phone", ends={"input": "node:mic", "output": "node:speaker"})
names = {os.fsencode(name) for name in os.environ}
assert changes and {name for _, name in changes} <= names
changes.clear()
for _ in range(2):
    for kind in ("output", "input"):
        for wanted in ("default", "node:mic" if kind == "input" else "node:speaker"):
            card.open(kind, wanted, 24_000, 0.1).close()
card.close()
assert {event for event, _ in changes} == {"os.putenv"}
used = {b"PULSE_PROP", b"PIPEWIRE_ALSA", b"PULSE_SOURCE", b"PULSE_SINK", b"PIPEWIRE_NODE"}
assert {name for _, name in changes} == used
assert {os.fsencode(name) for name in os.environ} == names
"""

ENDING = """
import sounddevice, threading
from voiced.edge.soundcard import Soundcard
from voiced.errors import DeviceError

gave_up = []
card = Soundcard(gave_up.append)
sounddevice._terminate()  # as if PortAudio had been refused memory when it last read its list
stream = card.open("input", "default", 16_000, 0.1)
card.close()
assert gave_up == ["a sound device is still in use at the end"], gave_up
stream.close()
reads = []
sounddevice._initialize = lambda: reads.append(1)
try:
    card.open("output", "default", 24_000, 0.1)
except DeviceError as exc:
    assert str(exc) == "the sound devices are closed"
else:
    raise AssertionError
assert not reads

gave_up.clear()
card = Soundcard(gave_up.append)
card.open("input", "default", 16_000, 0.1).close()
card.close()
assert not gave_up
"""

SLOW = """
import sounddevice, threading
from voiced.edge import soundcard

soundcard.OPEN_LIMIT_S = 0.05
gave_up, found = [], []
card = soundcard.Soundcard(gave_up.append)
initialize, is_reading, may_end = sounddevice._initialize, threading.Event(), threading.Event()

def slow():
    is_reading.set()
    may_end.wait()
    initialize()

def look():
    card.look("output", "default")
    found.append(True)

sounddevice._initialize = slow
reader, looker = threading.Thread(target=card._rescan), threading.Thread(target=look)
reader.start()
is_reading.wait()
looker.start()
looker.join(1.0)  # the fault itself is a time
assert looker.is_alive() and not found
may_end.set()
looker.join()
reader.join()
assert found and gave_up == ["reading the device list hangs in the sound system; only a new process helps"]
card.close()
"""

# --- names and choices ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shown", "stable"),
    [
        ("USB PnP Sound Device: Audio (hw:1,0)", "USB PnP Sound Device: Audio (hw:Device,0)"),
        ("USB PnP Sound Device: Audio (plughw:1,0)", "USB PnP Sound Device: Audio (hw:Device,0)"),
        ("bcm2835 Headphones: - (hw:0,0)", "bcm2835 Headphones: - (hw:Headphones,0)"),
        ("HDA: ALC (hw:7,3)", "HDA: ALC (hw:7,3)"),  # a card that has gone since
        ("pulse", "pulse"),
    ],
)
def test_a_name_holds_the_card_id_and_not_its_number(shown: str, stable: str) -> None:
    assert stable_name(shown, {0: "Headphones", 1: "Device"}) == stable


@pytest.mark.parametrize(
    ("name", "card"),
    [
        ("USB PnP Sound Device: Audio (hw:Device,0)", "Device"),
        ("USB PnP Sound Device: Audio (plughw:Device,0)", "Device"),
        ("HDA: ALC (hw:7,3)", "card7"),
        ("pulse", None),
        ("default", None),
    ],
)
def test_the_kernels_name_of_a_card_is_known_from_the_devices(name: str, card: str | None) -> None:
    assert card_of(name) == card


def device(name: str, inputs: int = 1, outputs: int = 1, *, default: bool = False) -> Device:
    return Device(name, 0, inputs, outputs, 48_000, is_default_input=default, is_default_output=default)


DEVICES = [
    device("Desk: A (hw:Desk,0)"),
    device("Desk: B (hw:Desk,1)"),
    device("Bar", 0, default=True),
    device("Mic", 1, 0),
]


def test_a_device_is_chosen_by_name_part_or_default() -> None:
    assert choose(DEVICES, "default", "output").name == "Bar"
    assert choose(DEVICES, "desk: b", "input").name == "Desk: B (hw:Desk,1)"
    assert choose(DEVICES, "Mic", "input").name == "Mic"
    assert choose([device("Desk"), device("Desk 2")], "Desk", "input").name == "Desk"


@pytest.mark.parametrize(
    ("wanted", "kind", "sentence"),
    [
        (
            "Bar",
            "input",
            "there is no microphone 'Bar'; there are: 'Desk: A (hw:Desk,0)', 'Desk: B (hw:Desk,1)', 'Mic'",
        ),
        ("desk", "output", "speaker 'desk' could be any of: 'Desk: A (hw:Desk,0)', 'Desk: B (hw:Desk,1)'"),
        ("default", "input", "there is no default microphone; name one of: 'Desk: A"),
    ],
)
def test_what_cannot_be_chosen_is_told_with_what_there_is(wanted: str, kind: str, sentence: str) -> None:
    with pytest.raises(DeviceError) as refusal:
        choose(DEVICES, wanted, "input" if kind == "input" else "output")
    assert str(refusal.value).startswith(sentence)


def test_two_devices_that_are_alike_are_told_apart_by_their_ports() -> None:
    """Source: the form in which the kernel writes the table, sound/core/init.c."""
    cards = (
        " 0 [Headphones     ]: bcm2835_headpho - bcm2835 Headphones\n"
        "                      bcm2835 Headphones\n"
        " 1 [Device         ]: USB-Audio - USB PnP Sound Device\n"
        "                      C-Media Electronics Inc. USB PnP Sound Device at usb-0000:01:00.0-1.3, full speed\n"
        "10 [Device_1       ]: USB-Audio - USB PnP Sound Device\n"
        "                      C-Media Electronics Inc. USB PnP Sound Device at usb-0000:01:00.0-1.4, full speed\n"
    )
    assert usb_ports(cards) == {1: "usb-0000:01:00.0-1.3", 10: "usb-0000:01:00.0-1.4"}
    assert usb_ports("--- no soundcards ---\n") == {}
    one, other = device("USB: - (hw:Device,0)"), device("USB: - (hw:Device_1,0)")
    found = [replace(one, port="usb-0000:01:00.0-1.3"), replace(other, port="usb-0000:01:00.0-1.4")]
    assert choose(found, "usb-0000:01:00.0-1.4", "input").name == other.name
    with pytest.raises(DeviceError, match="there is no microphone"):
        choose(found, "usb-0000:01:00.0-1", "input")


def test_no_device_at_all_is_told() -> None:
    with pytest.raises(DeviceError, match="there is no speaker; plug one in"):
        choose([DEVICES[3]], "default", "output")


def test_a_user_who_may_not_use_the_sound_cards_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PortAudio lists no device then, as if none were plugged in."""
    monkeypatch.setattr(soundcard, "_NODES", tmp_path)
    with pytest.raises(DeviceError, match="there is no microphone; plug one in"):
        soundcard._choose([], "default", "input")
    (tmp_path / "controlC0").symlink_to(tmp_path / "nothing")  # not to be opened, by root neither
    with pytest.raises(DeviceError, match=r"there is no microphone for this user, .*controlC0; .*group audio"):
        soundcard._choose([], "default", "input")


def test_stereo_is_averaged() -> None:
    assert mono(np.array([1, 3, -5, 5, 32767, 32767], np.int16), 2).tolist() == [2, 0, 32767]


# --- numbering --------------------------------------------------------------------------------------------------------


def test_frames_are_numbered_over_a_loss_and_a_change_of_rate() -> None:
    cutter = FrameCutter()
    first = cutter.feed(np.ones(2 * FRAME + 7, np.int16))
    cutter.skip(0.1)
    second = cutter.feed(np.full(FRAME, 2, np.int16))
    cutter.begin(48_000)
    cutter.skip(0)
    third = cutter.feed(np.full(9 * FRAME, 3, np.int16))
    assert [frame.start // FRAME for frame in (*first, *second)] == [0, 1, 7]
    assert third[0].start == 9 * FRAME  # a loss is never less than a frame
    assert all(len(frame.samples) == FRAME and frame.start % FRAME == 0 for frame in third)
    assert np.all(second[0].samples == 2)


def test_steps_begin_with_the_sound_and_behind_each_loss() -> None:
    cutter = FrameCutter()
    left = []
    for length in (FRAME, FRAME + 9, FRAME - 10, 1, 2 * FRAME):
        left.append(cutter.to_step)
        cutter.feed(np.ones(length, np.int16))
    assert left == [4, 3, 2, 2, 1]
    assert cutter.to_step == 3
    cutter.skip(0.06)
    assert cutter.to_step == 4


def test_attempts_become_rarer_but_stay_within_two_seconds() -> None:
    waits = pauses()
    assert [next(waits) for _ in range(5)] == [0.25, 0.5, 1.0, 1.5, 1.5]
    assert [next(waits) for _ in range(1_000)][-1] == 1.5


def test_what_has_been_away_for_long_is_asked_for_when_cards_or_servers_change(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", AWAY, str(tmp_path)], capture_output=True, text=True, check=False, timeout=50
    )
    assert done.returncode == 0, done.stderr


# --- sound ------------------------------------------------------------------------------------------------------------

Beds = Callable[..., SoundBed]


@pytest.fixture
def beds(tmp_path: Path) -> Iterator[Beds]:
    """Make virtual sound cards; watch whether the machine stands still meanwhile."""
    require_pulseaudio()
    with canary(0.015):  # a machine later than this more than once lets the speaker run dry
        yield lambda **rates: SoundBed(tmp_path, **rates)


def speechlike(rate: int, seconds: float = 1.5, seed: int = 5) -> Samples:
    """Return noise of a voice's band and rhythm, the same at any rate."""
    rng = np.random.default_rng(seed)
    time_axis = np.arange(int(rate * seconds)) / rate
    sound = np.zeros(len(time_axis))
    for _ in range(60):
        sound += np.sin(2 * np.pi * rng.uniform(150, 3_500) * time_axis + rng.uniform(0, 6))
    sound *= 0.6 + 0.4 * np.sin(2 * np.pi * 4 * time_axis)
    samples: Samples = np.rint(sound * 12_000 / np.abs(sound).max()).astype(np.int16)
    return samples


def has_frames(told: dict[str, object]) -> bool:
    return "frames_from" in told


def hears(probe: Probe, said: Samples) -> bool:
    return best_match(probe.heard, said)[0] > 0.99


def repeat_until_heard(bed: SoundBed, probe: Probe, said: Samples) -> None:
    """Say it up to three times: a server that just started may swallow a little of the first."""
    for last in (False, False, True):
        bed.play_into_mic(said, 16_000)
        try:
            eventually(partial(hears, probe, said), 3.0, what="it hears again")
        except pytest.fail.Exception:
            if last:
                raise
        else:
            return


def is_listening(told: dict[str, object]) -> bool:
    return "microphone_problem" in told and told["microphone_problem"] is None


@pytest.mark.parametrize("calm", [False, True])
def test_the_microphone_hears_every_sample(beds: Beds, calm: bool) -> None:
    said = speechlike(16_000)
    with beds(microphone_rate=16_000) as bed, Probe(bed) as probe:
        probe.send("calm", int(calm))
        probe.wait_for(is_listening)
        bed.play_into_mic(said, 16_000)
        eventually(lambda: best_match(probe.heard, said)[0] > 0.99, what="what was said is heard")
        _, place = best_match(probe.heard, said)
        assert np.array_equal(probe.heard[place : place + len(said)], said)
        probe.send("calm", 0)
        assert probe.report()["overruns"] == 0


@pytest.mark.parametrize("asked", ["16000", "900000"])
def test_a_microphone_at_another_rate_is_resampled(beds: Beds, asked: str) -> None:
    """The server runs at 48 kHz; 900 kHz is really refused by ALSA, and the device's own 44.1 kHz taken instead."""
    said = speechlike(48_000)
    with beds() as bed, Probe(bed, "--input-rate", asked) as probe:
        probe.wait_for(is_listening)
        bed.play_into_mic(said, 48_000)
        # Compared at 48 kHz: at 16 kHz a shift of less than a sample looks like an error.
        eventually(lambda: best_match(resample(probe.heard, 16_000, 48_000), said)[0] > 0.99, what="it is heard")
        assert probe.report()["overruns"] == 0


@pytest.mark.parametrize("asked", ["24000", "900000"])
def test_the_speaker_plays_without_a_gap(beds: Beds, asked: str) -> None:
    answer = speechlike(SERVICE_RATE, 2.0)
    wanted = resample(answer, SERVICE_RATE, 48_000)
    with beds() as bed, Probe(bed, "--output-rate", asked) as probe, bed.record_speaker() as recording:
        probe.wait_for(is_listening)
        underruns = 0
        for item in "abc":  # a busy machine may starve it once or twice, and that is counted
            probe.play(item, answer[:20_000])
            probe.play(item, answer[20_000:])
            started = probe.wait_for_key("event")
            drained = probe.wait_for_key("event")
            assert (started["event"], started["item"], drained["event"]) == ("Started", item, "Drained")
            assert drained["at"] - started["at"] > 1.8
            before, underruns = underruns, probe.report()["underruns"]
            if underruns == before:
                break
        assert underruns == before
        eventually(lambda: best_match(recording.samples, wanted)[0] >= 0.99, what="the answer in the recording")


def test_a_cut_answer_falls_silent_and_what_was_heard_is_told(beds: Beds) -> None:
    answer = speechlike(SERVICE_RATE, 5.0)
    with beds() as bed, Probe(bed) as probe, bed.record_speaker() as recording:
        probe.wait_for(is_listening)
        probe.play("a", answer)
        probe.wait_for_key("event")
        eventually(lambda: int(np.count_nonzero(recording.samples)) > 24_000, what="half a second of the answer")
        probe.send("cut")
        ((item, index, heard_ms),) = probe.wait_for_key("cut")["cut"]
        assert (item, index) == ("a", 0)
        recorded = len(recording.samples)
        eventually(lambda: len(recording.samples) > recorded + 48_000, what="a second more of the recording")
        sounds = np.flatnonzero(recording.samples)
        lasted_ms = (sounds[-1] - sounds[0]) / 48
        # What had left for the device when it was cut, and the fade, still sound.
        assert heard_ms - 50 <= lasted_ms <= heard_ms + 300
        probe.send("chime", "end")
        eventually(lambda: bool(np.flatnonzero(recording.samples)[-1] > sounds[-1] + 4_800), what="the chime")


def test_an_idle_speaker_is_given_back(beds: Beds) -> None:
    with beds() as bed, Probe(bed) as probe:
        probe.wait_for(is_listening)
        probe.send("chime", "wake")
        eventually(lambda: inputs(bed) == 1, what="the speaker is open")
        eventually(lambda: inputs(bed) == 0, what="the speaker is given back")
        probe.play("b", speechlike(SERVICE_RATE, 0.3))
        assert probe.wait_for_key("event")["event"] == "Started"


def inputs(bed: SoundBed) -> int:
    """Return how many programs play."""
    return len(bed.speaker.ask("pactl", "list", "short", "sink-inputs").splitlines())


# --- what a library would not survive ---------------------------------------------------------------------------------


def run(bed: SoundBed, program: str) -> None:
    subprocess.run([sys.executable, "-X", "faulthandler", "-c", program], check=True, env=bed.environment(), timeout=60)


def test_one_thread_at_a_time_is_in_portaudio(beds: Beds) -> None:
    with beds() as bed:
        run(bed, THREADS)


def test_a_speaker_that_is_gone_may_be_asked_for_while_the_microphone_hears(beds: Beds) -> None:
    command = [sys.executable, "-X", "faulthandler", "-c", GONE]
    with (
        beds() as bed,
        subprocess.Popen(
            command, env=bed.environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as program,
    ):
        assert program.stdout
        assert program.stdout.readline() == "hearing\n"
        bed.speaker.unplug()
        program.communicate("go on\n", timeout=60)
        assert program.returncode == 0


def test_opening_a_stream_neither_adds_nor_removes_a_name_in_the_environment(beds: Beds) -> None:
    with beds() as bed:
        bed.name_no_devices()
        run(bed, NAMES)


def test_portaudio_is_not_ended_under_a_stream_and_starts_again_after_a_failure(beds: Beds) -> None:
    with beds() as bed:
        run(bed, ENDING)


def test_no_device_is_used_while_the_list_is_read_however_long_that_takes(beds: Beds) -> None:
    with beds() as bed:
        run(bed, SLOW)


# --- devices that go away ---------------------------------------------------------------------------------------------


def test_a_microphone_unplugged_is_told_and_heard_again_when_it_is_back(beds: Beds) -> None:
    with beds(microphone_rate=16_000) as bed, Probe(bed) as probe:
        probe.wait_for_all(is_listening, has_frames)
        for number in range(2):
            bed.microphone.unplug()
            gone = probe.wait_for(lambda told: told.get("microphone_problem"))
            assert "microphone" in gone["microphone_problem"]
            bed.microphone.plug()
            _, back = probe.wait_for_all(is_listening, has_frames)
            assert back["hole"] >= FRAME
            assert back["frames_from"] % FRAME == 0
            repeat_until_heard(bed, probe, speechlike(16_000, seed=number))
        assert probe.report()["overruns"] == 2


def test_an_answer_goes_on_where_the_speaker_was_lost_for_a_moment(beds: Beds) -> None:
    answer = speechlike(SERVICE_RATE, 3.0)
    with beds() as bed, Probe(bed) as probe:
        probe.wait_for(is_listening)
        probe.play("a", answer)
        probe.wait_for_key("event")
        bed.speaker.unplug()
        probe.wait_for(lambda told: told.get("speaker_problem"))
        bed.speaker.plug()
        with bed.record_speaker() as recording:
            end = resample(answer, SERVICE_RATE, 48_000)[-48_000:]
            eventually(lambda: best_match(recording.samples, end)[0] >= 0.99, what="the end of the answer")
        assert probe.wait_for_key("event")["event"] == "Drained"


def test_without_a_speaker_an_answer_is_dropped_and_drained_and_the_next_is_heard(beds: Beds) -> None:
    with beds() as bed, Probe(bed) as probe:
        probe.wait_for(is_listening)
        bed.speaker.unplug()
        probe.play("a", speechlike(SERVICE_RATE, 30.0))
        assert "speaker" in probe.wait_for(lambda told: told.get("speaker_problem"))["speaker_problem"]
        assert probe.wait_for_key("event")["event"] == "Drained"
        bed.speaker.plug()
        probe.wait_for(lambda told: "speaker_problem" in told and told["speaker_problem"] is None)
        with bed.record_speaker() as recording:
            probe.play("b", speechlike(SERVICE_RATE, 0.5))
            probe.wait_for(lambda told: told.get("item") == "b")
            eventually(lambda: bool(np.any(recording.samples)), what="the next answer")


def test_a_device_that_was_not_there_at_the_start_is_found_when_it_comes(beds: Beds) -> None:
    with beds(microphone_rate=16_000) as bed:
        bed.microphone.unplug()
        with Probe(bed, "--input", "virtmic") as probe:
            assert "virtmic" not in probe.wait_for_key("devices")["devices"]
            gone = probe.wait_for(lambda told: "there is no microphone" in (told.get("microphone_problem") or ""))
            assert gone["speaker_problem"] is None
            bed.microphone.plug()
            probe.wait_for_all(is_listening, has_frames)


def test_a_node_of_the_sound_server_is_heard_whatever_its_default_is(beds: Beds) -> None:
    with beds(microphone_rate=16_000, speaker_rate=SERVICE_RATE) as bed:
        bed.name_no_devices()
        bed.microphone.ask("pactl", "load-module", "module-null-sink", "sink_name=desk")
        bed.microphone.ask("pactl", "set-default-source", "desk.monitor")
        said, answer = speechlike(16_000), speechlike(SERVICE_RATE)
        known = soundserver.nodes({**os.environ, "PULSE_SERVER": f"unix:{bed.microphone.socket}"})
        assert [(one.name, one.inputs) for one in known] == [("node:mic", 1), ("node:micfeed", 0), ("node:desk", 0)]
        with Probe(bed, "--input", "node:mic", "--output", "node:speaker") as probe:
            probe.wait_for_all(is_listening, has_frames)
            repeat_until_heard(bed, probe, said)
            with bed.record_speaker() as recording:
                probe.play("one", answer)
                probe.wait_for(lambda told: told.get("event") == "Drained")
                eventually(lambda: best_match(recording.samples, answer)[0] > 0.99, what="heard")


def test_a_node_that_is_missing_is_told_by_its_name_and_found_when_it_comes(beds: Beds) -> None:
    assert soundserver.nodes({"PULSE_SERVER": "unix:/nowhere"}) == soundserver.nodes({}) == []
    with beds(microphone_rate=16_000) as bed:
        bed.name_no_devices()
        with Probe(bed, "--input", "node:late") as probe:
            probe.wait_for(lambda told: "microphone 'late'" in (told.get("microphone_problem") or ""))
            late = ("load-module", "module-remap-source", "source_name=late", "master=micfeed.monitor")
            bed.microphone.ask("pactl", *late)
            probe.wait_for_all(is_listening, has_frames)
            repeat_until_heard(bed, probe, speechlike(16_000))


def test_a_microphone_that_gives_nothing_but_zeros_is_known_by_that(beds: Beds) -> None:
    with beds(microphone_rate=16_000) as bed, Probe(bed) as probe:
        probe.wait_for(lambda told: told.get("is_silent"))
        with bed.start_playing(speechlike(16_000, 20.0), 16_000):
            probe.wait_for(lambda told: told.get("is_silent") is False)


@pytest.mark.parametrize("which", ["microphone", "speaker"])
def test_a_sound_system_that_hangs_ends_the_process(beds: Beds, which: str) -> None:
    with beds() as bed, Probe(bed) as probe:
        probe.wait_for(is_listening)
        probe.play("a", speechlike(SERVICE_RATE, 20.0))
        probe.wait_for_key("event")
        hung = bed.microphone if which == "microphone" else bed.speaker
        hung.freeze()
        try:
            stopped = time.monotonic()
            told = probe.wait_for(lambda told: told.get(f"{which}_problem") or "gave_up" in told)
            noticed = told["at"] - stopped
            gave_up = told if "gave_up" in told else probe.wait_for_key("gave_up")
            assert "hangs in the sound system" in gave_up["gave_up"]
            assert noticed > 0.9  # a pause of less is no reason to give up
            assert probe.end() == 75
        finally:
            hung.thaw()


def test_a_machine_that_stands_still_is_no_sound_system_that_hangs() -> None:
    """Stopped for two seconds in the middle of a call that may take one."""
    with subprocess.Popen([sys.executable, "-c", STANDING_STILL], stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout
        assert program.stdout.readline() == "calling\n"
        program.send_signal(signal.SIGSTOP)
        time.sleep(2.0)  # the fault itself is a time
        program.send_signal(signal.SIGCONT)
        assert program.stdout.readline() == "gave up: []\n"


def test_a_short_pause_of_the_sound_system_is_survived(beds: Beds) -> None:
    with beds() as bed, Probe(bed) as probe:
        probe.wait_for(is_listening)
        heard = len(probe.heard)
        bed.microphone.freeze()
        time.sleep(0.4)  # the fault itself
        bed.microphone.thaw()
        eventually(lambda: len(probe.heard) > heard + 16_000, what="it goes on hearing")
        assert probe.report()["problems"] == [None, None]
