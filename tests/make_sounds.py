"""Make the test recordings and the demo's conversation, with espeak-ng: ``python -m tests.make_sounds``.

The recordings are shipped; this is how they came about. All are 16 kHz, 16-bit, mono: quiet room noise with fixed
seeds and speech at -20 dBFS. ``tests/sounds/sounds.json`` says what is said in each and where, in samples, as espeak-ng
reports it: the question begins where the wake word ends, without a pause. espeak-ng's breath goes on
from one take to the next, so their order is part of the recipe.
"""

import ctypes
import ctypes.util
import json
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import soxr
from numpy.typing import NDArray

RATE = 16_000
SPEECH_RMS = 3_277.0
"""-20 dBFS."""
NOISE_RMS = 10.0
"""-70 dBFS: a quiet room."""

TESTS = Path(__file__).parent
DEMO = TESTS.parent / "voiced" / "demo_sounds" / "conversation.wav"


@dataclass(frozen=True)
class Voice:
    """An espeak-ng voice; ``rate`` in words a minute, ``pitch`` 0 to 100."""

    name: str
    rate: int
    pitch: int


@dataclass(frozen=True)
class Take:
    """One recording: silence, speech, silence. ``wake`` is the wake word it begins with, in words of the text."""

    name: str
    text: str
    voice: Voice
    model: str | None = None
    wake_words: int = 0


FEMALE = Voice("en-us+f2", 130, 35)
SCOT = Voice("en-gb-scotland", 150, 35)
DEMO_VOICE = Voice("en-us+f2", 150, 35)
MALE = Voice("en-us+m7", 130, 35)
RECEIVED = Voice("en-gb-x-rp+f2", 170, 35)
BRITISH = Voice("en-gb", 150, 35)
ANDY = Voice("en-gb+Andy", 150, 35)

TAKES = (
    Take("hey_jarvis_1", "hey jarvis what time is it", FEMALE, "hey_jarvis", 2),
    Take("hey_jarvis_2", "hey jarvis switch on the light in the hall", MALE, "hey_jarvis", 2),
    Take("hey_jarvis_3", "hey jarvis how far away is the moon", RECEIVED, "hey_jarvis", 2),
    Take("alexa_1", "alexa what time is it", BRITISH, "alexa", 1),
    Take("alexa_2", "alexa play the news please", ANDY, "alexa", 1),
    Take("negative_1", "the train to the harbour leaves at a quarter past nine", FEMALE),
    Take("negative_2", "could you bring some bread and two bottles of milk", SCOT),
    Take("negative_3", "hey james, come and look at this", RECEIVED),
)


class _Event(ctypes.Structure):
    """``espeak_EVENT`` of speak_lib.h (espeak-ng 1.50 and newer)."""

    _fields_: ClassVar = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_char * 8),
    ]


_WORD = 1
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


class Speaker:
    """espeak-ng as a library, which tells where each word begins."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(ctypes.util.find_library("espeak-ng") or "libespeak-ng.so.1")
        synchronous = 2
        self._rate = self._library.espeak_Initialize(synchronous, 0, None, 0)
        self._callback = _CALLBACK(self._take)
        self._library.espeak_SetSynthCallback(self._callback)
        self._pieces: list[NDArray[np.float32]] = []
        self._words: list[int] = []

    def _take(self, samples: Any, count: int, events: Any) -> int:
        if samples and count:
            self._pieces.append(np.ctypeslib.as_array(samples, (count,)).astype(np.float32))
        index = 0
        while events[index].type:
            if events[index].type == _WORD:
                self._words.append(events[index].sample)
            index += 1
        return 0

    def say(self, text: str, voice: Voice) -> tuple[NDArray[np.float32], list[int]]:
        """Return speech at 16 kHz, and the sample at which each word begins."""
        self._pieces, self._words = [], []
        self._library.espeak_SetVoiceByName(voice.name.encode())
        self._library.espeak_SetParameter(1, voice.rate, 0)
        self._library.espeak_SetParameter(3, voice.pitch, 0)
        data = text.encode()
        utf8 = 1
        self._library.espeak_Synth(data, len(data) + 1, 0, 0, 0, utf8, None, None)
        sound = soxr.resample(np.concatenate(self._pieces), self._rate, RATE)
        loud = sound[np.abs(sound) > 200]
        sound *= SPEECH_RMS / float(np.sqrt(np.mean(loud**2)))
        return sound.astype(np.float32), [word * RATE // self._rate for word in self._words]


def room(samples: int, seed: int) -> NDArray[np.float32]:
    """Return the noise of a quiet room: white, with the treble taken off."""
    white = np.random.default_rng(seed).normal(size=samples + 7)
    dull = np.convolve(white, np.ones(8), "valid")
    return (dull * (NOISE_RMS / float(np.sqrt(np.mean(dull**2))))).astype(np.float32)


def mixed(noise: NDArray[np.float32], *spoken: tuple[int, NDArray[np.float32]]) -> NDArray[np.int16]:
    """Return ``noise`` with each speech laid over it at its position."""
    sound = noise.copy()
    for position, speech in spoken:
        sound[position : position + len(speech)] += speech
    return np.clip(np.rint(sound), -32768, 32767).astype("<i2")


def write(path: Path, sound: NDArray[np.int16]) -> None:
    """Write a WAV file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(sound.tobytes())


def make_takes(speaker: Speaker) -> None:
    """Write ``tests/sounds``."""
    lead, tail = int(2.3 * RATE), int(0.5 * RATE)
    notes = {}
    for number, take in enumerate(TAKES):
        speech, words = speaker.say(take.text, take.voice)
        noise = room(lead + len(speech) + tail, number)
        write(TESTS / "sounds" / f"{take.name}.wav", mixed(noise, (lead, speech)))
        notes[take.name] = {
            "text": take.text,
            "voice": take.voice.name,
            "model": take.model,
            "speech_start": lead,
            "wake_end": lead + words[take.wake_words] if take.wake_words else None,
            "speech_end": lead + len(speech),
        }
    (TESTS / "sounds" / "sounds.json").write_text(json.dumps(notes, indent=2) + "\n")


def make_demo(speaker: Speaker) -> None:
    """Write the demo's conversation: wake word and question at once, and a follow-up eight seconds later."""
    first, words = speaker.say("hey jarvis what time is it", DEMO_VOICE)
    second, _ = speaker.say("and what will the weather be like tomorrow", DEMO_VOICE)
    start = 40_200  # 2.5 s; to the millisecond where the first score above the threshold is a high one, 0.89
    follow_up = start + len(first) + 8 * RATE
    noise = room(follow_up + len(second) + 9 * RATE, 99)
    write(DEMO, mixed(noise, (start, first), (follow_up, second)))
    notes = {
        "wake_start": start,
        "wake_end": start + words[2],
        "question_end": start + len(first),
        "follow_up_start": follow_up,
        "follow_up_end": follow_up + len(second),
    }
    DEMO.with_suffix(".json").write_text(json.dumps(notes, indent=2) + "\n")


if __name__ == "__main__":
    the_speaker = Speaker()
    make_takes(the_speaker)
    make_demo(the_speaker)
