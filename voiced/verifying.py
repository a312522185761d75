"""``voiced wake verify``: a verifier that knows one person's voice, from recordings of that person and of others.

``DIR/positive/WORD/*.wav`` hold the person saying the wake word, at least three times; ``DIR/negative/*.wav`` whatever
else may be heard: the same person's other speech, and other people, best of all saying the wake word.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from voiced.config import Config
from voiced.core.frames import STEP, Samples
from voiced.core.verifier import CONSULTED, Floats, Verifier, train
from voiced.edge import verifierfile
from voiced.edge.models import find_models
from voiced.edge.soundfile import read_wav
from voiced.edge.wakemodel import WakeModels
from voiced.errors import SoundFileError, VoicedError
from voiced.recordings import positives, with_room

T = TypeVar("T")

LEAST = 3
"""Recordings of the word that a person must give."""

HEARD = 0.5
"""Score of a step in which the word was said, as in openWakeWord."""

MOST = 1500
"""Steps of other speech that a verifier is trained on, two minutes: of more, such as an hour of television, some from
everywhere. Memory and time grow with them: with so many a training takes 2 s and 160 MB on a PC."""

SHIFTS = (0, 256, 512, 768, 1024)
"""Samples cut from the front of a recording: openWakeWord takes each five times, from some place in the first step."""


@dataclass(frozen=True, slots=True)
class Verified:
    """What came out for one word."""

    word: str
    path: Path
    """Where the verifier is."""
    threshold: float
    """The probability proposed."""
    own: Mapping[str, float]
    """The person's recordings, each with the probability given by a verifier trained on the others."""
    others: Mapping[str, float]
    """Other recordings that sound like the word, likewise."""

    @property
    def lost(self) -> int:
        """Recordings of the person that would not count."""
        return sum(each < self.threshold for each in self.own.values())

    @property
    def taken(self) -> int:
        """Other recordings that would."""
        return sum(each >= self.threshold for each in self.others.values())


@dataclass(frozen=True, slots=True)
class Report:
    """What came out for all of them."""

    words: Sequence[Verified]
    bad: dict[str, str] = field(default_factory=dict)
    """Files and words that were left out, and why."""

    def as_json(self) -> dict[str, Any]:
        """Return the document of ``--json``."""
        return {
            "words": [
                {
                    "word": each.word,
                    "verifier": str(each.path),
                    "threshold": each.threshold,
                    "own": dict(each.own),
                    "others": dict(each.others),
                    "own_lost": each.lost,
                    "others_taken": each.taken,
                }
                for each in self.words
            ],
            "bad": self.bad,
        }

    def lines(self) -> Iterator[str]:
        """Yield what to read and what to do."""
        for name, why in self.bad.items():
            yield f"left out: {name}: {why}"
        for each in self.words:
            yield ""
            yield f"{each.word}: threshold {each.threshold:.2f}; each recording by a verifier trained on the others:"
            yield f"  of the person {len(each.own)}, {each.lost} not recognised"
            if each.others:
                yield f"  of others, with something like the word: {len(each.others)}, {each.taken} taken for them"
            else:
                yield "  none of others is like the word: have somebody else say it, into negative/, to know more"
            yield "to use it, put this below the word's [[wake.words]]:"
            yield f'verifier = "{each.path.resolve()}"'


@dataclass(frozen=True, slots=True)
class _Clip:
    name: str
    said: Floats
    """Embeddings of the steps with the word, shape (steps, window, 96)."""


@dataclass(frozen=True, slots=True)
class _Other:
    name: str
    steps: Floats
    like: Sequence[Floats]
    """Those of ``steps`` in which the verifier would be asked."""


def verify(config: Config, directory: Path, *, say: Callable[[str], None] = lambda _: None) -> Report:
    """Train a verifier for each word there are recordings of, and write it to ``DIR/WORD.npz``.

    Args:
        config: Says which words.
        directory: See above.
        say: Gets a line for each file as it is scored.

    Raises:
        VoicedError: If there is nothing to train with. Words with too little are named in the report.

    """
    words = [word.model for word in config.wake.words]
    bad: dict[str, str] = {}
    own = positives(directory / "positive", words, bad)
    others = sorted((directory / "negative").rglob("*.wav"))
    if not any(own.values()) or not others:
        raise VoicedError(
            f"{directory}: put at least {LEAST} WAV files of the person saying the wake word into {directory}/positive/"
            f"{words[0]}, and other speech (of the same person, and others saying the word) into {directory}/negative"
        )
    found = []
    for word, paths in own.items():
        if not paths:
            continue
        models = WakeModels(find_models(config.wake.models_dir), [word])
        clips = [clip for path in paths if (clip := _clip(models, path, bad, say)) is not None]
        rest = [other for path in others if (other := _other(models, path, MOST // len(others), bad, say)) is not None]
        if len(clips) < LEAST:
            bad[word] = f"{len(clips)} usable recordings of the word; a verifier needs at least {LEAST}"
        elif not rest:
            bad[word] = f"no usable recording in {directory}/negative"
        else:
            say(f"{word}: trained, and tried on each recording by another that does not know it; that takes a while")
            found.append(_trained(word, directory / f"{word}.npz", clips, rest))
    return Report(found, bad)


def _trained(word: str, path: Path, clips: Sequence[_Clip], others: Sequence[_Other]) -> Verified:
    own = {clip.name: _highest(_of(_all_but(clips, clip), others), clip.said) for clip in clips}
    like = {
        other.name: _highest(_of(clips, _all_but(others, other) or [other]), other.like)
        for other in others
        if len(other.like)
    }
    threshold = _between(min(own.values()), max(like.values(), default=0.0))
    verifierfile.save(path, word, _of(clips, others), threshold)
    return Verified(word, path, threshold, own, like)


def _of(clips: Sequence[_Clip], others: Sequence[_Other]) -> Verifier:
    return train(np.concatenate([clip.said for clip in clips]), np.concatenate([other.steps for other in others]))


def _all_but(some: Sequence[T], one: T) -> list[T]:
    return [each for each in some if each is not one]


def _between(own: float, others: float) -> float:
    """Return a threshold: halfway, but so far below the person's worst that the person is heard in any case."""
    return round(min((own + others) / 2, 0.95 * own), 3)


def _highest(verifier: Verifier, steps: Iterable[Floats]) -> float:
    return round(max(verifier(step) for step in steps), 4)


def _clip(models: WakeModels, path: Path, bad: dict[str, str], say: Callable[[str], None]) -> _Clip | None:
    sound = _read(path, bad)
    if sound is None:
        return None
    said: list[Floats] = []
    highest = 0.0
    for shift in SHIFTS:
        for score, embeddings in _steps(models, sound[shift:]):
            highest = max(highest, score)
            if score >= HEARD:
                said.append(embeddings)
    say(f"{path}: highest score {highest:.2f}")
    if not said:
        bad[str(path)] = f"{models.words[0]} is not heard in it: its highest score is {highest:.2f}, not {HEARD:g}"
        return None
    return _Clip(str(path), np.stack(said))


def _other(models: WakeModels, path: Path, most: int, bad: dict[str, str], say: Callable[[str], None]) -> _Other | None:
    """Return what a recording has: all that is like the word, and of the rest so many steps, evenly spread."""
    sound = _read(path, bad)
    if sound is None:
        return None
    every = -(-len(sound) // (STEP * max(1, most)))
    kept: list[Floats] = []
    like: list[Floats] = []
    highest = 0.0
    for number, (score, embeddings) in enumerate(_steps(models, sound)):
        highest = max(highest, score)
        if score >= CONSULTED:
            like.append(embeddings)
        if score >= CONSULTED or number % every == 0:
            kept.append(embeddings)
    say(f"{path}: highest score {highest:.2f}")
    return _Other(str(path), np.stack(kept), like)


def _read(path: Path, bad: dict[str, str]) -> Samples | None:
    try:
        return read_wav(path)
    except SoundFileError as exc:
        bad[str(path)] = str(exc).removeprefix(f"{path}: ")
        return None


def _steps(models: WakeModels, sound: Samples) -> Iterator[tuple[float, Floats]]:
    """Yield the score of each step of a recording, and the embeddings it was made of."""
    before = models.cold_steps
    models.reset()
    for number, step in enumerate(with_room(sound, before).reshape(-1, STEP)):
        ((score,),) = models(step)
        if number >= before:
            yield score, models.looked_at(0)
