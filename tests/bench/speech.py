"""Sound for the benches: speech without wake words that tempts them, wake words, a quiet home, a television.

Speech comes from espeak-ng (:mod:`tests.make_sounds`), everything else from numpy, all with fixed seeds. espeak-ng's
breath is its own, so two makings differ in it; what is compared is always scored on the same making.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tests.make_sounds import RATE, SPEECH_RMS, Speaker, Voice, room
from voiced.core.frames import Samples

WAKE_TEXTS = {"hey_jarvis": "hey jarvis", "alexa": "alexa", "hey_mycroft": "hey my croft"}
"""What to have espeak-ng say; it pronounces "mycroft" as no person does."""

VOICES = (
    *("en-us", "en-us+f2", "en-us+f4", "en-us+m3", "en-us+m7", "en-us+Andy", "en-us+Alicia"),
    *("en-gb", "en-gb+f3", "en-gb+m1", "en-gb+Annie", "en-gb-scotland", "en-gb-scotland+f1", "en-gb-x-rp+f2"),
)

TEMPTING = (
    *("hey Jack", "hey James", "hey Jane", "hey Charlie", "hey Joe", "hey Marvin", "hey Harvey", "hey you there"),
    *("hey my friend", "hey Michael", "my craft", "hey Mike, off", "say microphone", "hey miner", "may I crop it"),
    *("a lecture", "Alexander", "a lexicon", "elect her", "I lack sir", "a lot of sex appeal", "relax a bit"),
    *("the jar is full", "jars of honey", "the harvest", "wood carvers", "a jarring noise", "Jarrow", "travesty"),
    *("they jar his nerves", "a large vase", "the char visits", "day jars", "hey garbage", "pay Jar", "okay Travis"),
)
"""Near the wake words, and none of them."""

_SUBJECTS = ("my sister", "the old man", "our neighbour", "the driver", "a doctor", "the whole class", "nobody", "she")
_VERBS = ("wanted", "forgot", "talked about", "was looking for", "could not find", "will bring", "sold", "remembers")
_OBJECTS = ("the charger", "two tickets", "a large parcel", "the answer", "an extra jacket", "the car keys", "lunch")
_ENDS = ("before the train left", "on Thursday", "in the garden", "after the lecture", "by the harbour", "yesterday")


def ordinary(random: np.random.Generator) -> str:
    """Return a sentence as a television might say it."""
    return f"{_pick(random, _SUBJECTS)} {_pick(random, _VERBS)} {_pick(random, _OBJECTS)} {_pick(random, _ENDS)}"


def tempting(random: np.random.Generator) -> str:
    """Return a sentence with something near a wake word in front."""
    return f"{_pick(random, TEMPTING)}, {ordinary(random)}"


def adversarial(seconds: float, seed: int = 0) -> Iterator[Samples]:
    """Yield so much speech without wake words, in pieces of about a minute; half of the sentences are tempting."""
    random = np.random.default_rng(seed)
    speaker = Speaker()
    given = 0.0
    while given < seconds:
        piece: list[NDArray[np.float32]] = []
        length = 0
        while length < 60 * RATE:
            text = tempting(random) if random.random() < 0.5 else ordinary(random)
            speech, _ = speaker.say(text, any_voice(random))
            pause = np.zeros(int(random.uniform(0.1, 0.8) * RATE), np.float32)
            piece += [speech, pause]
            length += len(speech) + len(pause)
        sound = np.concatenate(piece)
        given += len(sound) / RATE
        yield to_samples(sound + room(len(sound), int(random.integers(1 << 30))))


def spoken(word: str, count: int, seed: int = 0) -> Iterator[Samples]:
    """Yield ``count`` recordings of a wake word: 2.6 s of a quiet room, the word, half a second."""
    random = np.random.default_rng(seed)
    speaker = Speaker()
    for _ in range(count):
        speech, _ = speaker.say(WAKE_TEXTS[word], any_voice(random))
        lead, tail = int(2.6 * RATE) + int(random.integers(1280)), RATE // 2
        sound = room(lead + len(speech) + tail, int(random.integers(1 << 30)))
        sound[lead : lead + len(speech)] += speech
        yield to_samples(sound)


def quiet_home(seconds: float, seed: int = 1) -> Samples:
    """Return a home where little is said: 5 % speech in bursts of 2.7 s, noise at -50 dBFS."""
    random = np.random.default_rng(seed)
    sound = room(int(seconds * RATE), seed) * np.float32(10.4)  # -70 to -50 dBFS
    speaker = Speaker()
    bursts = max(1, round(seconds * 0.05 / 2.7))
    length = int(seconds * 0.05 / bursts * RATE)
    for number in range(bursts):
        said: NDArray[np.float32] = np.zeros(0, np.float32)
        while len(said) < length:
            said = np.concatenate((said, speaker.say(ordinary(random), any_voice(random))[0]))
        at = int((number + random.uniform(0.2, 0.8)) / bursts * (len(sound) - length))
        sound[at : at + length] += said[:length] * np.float32(0.3)
    return to_samples(sound)


def television(seconds: float, seed: int = 2) -> Samples:
    """Return sound with 80 % speech over music-like noise."""
    random = np.random.default_rng(seed)
    sound = room(int(seconds * RATE), seed) * np.float32(20)
    speaker = Speaker()
    at = 0
    while at < len(sound):
        speech, _ = speaker.say(ordinary(random), any_voice(random))
        piece = speech[: len(sound) - at] * np.float32(random.uniform(0.2, 0.8))
        sound[at : at + len(piece)] += piece
        at += int(len(speech) * 1.25)
    return to_samples(sound)


def noise(seconds: float, level_db: float, seed: int) -> Samples:
    """Return the noise of a room at a level in dB below full scale."""
    rms = 32768 * 10 ** (level_db / 20)
    return to_samples(room(int(seconds * RATE), seed) * np.float32(rms / 10.0))


def at_level(sound: Samples | NDArray[np.float32], level_db: float) -> NDArray[np.float32]:
    """Return speech made as loud as asked, measured over its loud parts."""
    loud = sound[np.abs(sound) > SPEECH_RMS / 16].astype(np.float64)
    rms = float(np.sqrt(np.mean(loud**2))) if len(loud) else 1.0
    return (sound * (32768 * 10 ** (level_db / 20) / rms)).astype(np.float32)


def to_samples(sound: NDArray[np.float32]) -> Samples:
    """Round and clip to 16 bits."""
    samples: Samples = np.clip(np.rint(sound), -32768, 32767).astype(np.int16)
    return samples


def any_voice(random: np.random.Generator) -> Voice:
    """Return a voice, at some rate and pitch."""
    return Voice(_pick(random, VOICES), int(random.integers(120, 190)), int(random.integers(25, 75)))


def _pick(random: np.random.Generator, choices: tuple[str, ...]) -> str:
    return choices[int(random.integers(len(choices)))]
