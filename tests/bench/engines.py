"""One engine in a process of its own: ``python -m tests.bench.engines ENGINE SOUND.npy WORD...`` prints what it cost.

Prints JSON: CPU seconds of the start and of the sound (user and system, all threads), how they grew, peak memory, and
how often each word's score crossed 0.5. Exit status 3 says that the engine is not installed.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from voiced.core.frames import FRAME, MICROPHONE_RATE, STEP, Frame, Samples

PLACES = 40
"""Points of the curve."""

Feed = Callable[[Any], object]
"""Takes the next step of sound: its four frames for our own ears, its samples for others."""


def ours(words: Sequence[str]) -> Feed:
    """Return the daemon's ears as it makes them; the reference ear is there, and idle."""
    from voiced.config import Config, WakeConfig, WakeWordConfig  # noqa: PLC0415 - each engine loads its own only
    from voiced.house import make_ears  # noqa: PLC0415

    ears, _ = make_ears(Config(wake=WakeConfig(words=tuple(WakeWordConfig(model=word) for word in words))))
    return _attentive(ears)


def bare(words: Sequence[str]) -> Feed:
    """Return the ears with nothing else of the daemon in the process."""
    return _ears(words, gate=True)


def ungated(words: Sequence[str]) -> Feed:
    """Return the same without a gate."""
    return _ears(words, gate=False)


def _ears(words: Sequence[str], *, gate: bool) -> Feed:
    from voiced.core.ears import Ears  # noqa: PLC0415
    from voiced.core.wake import WakeRules, usual_rule  # noqa: PLC0415
    from voiced.edge.models import find_models  # noqa: PLC0415
    from voiced.edge.vad import Vad  # noqa: PLC0415
    from voiced.edge.wakemodel import WakeModels  # noqa: PLC0415

    models = WakeModels(find_models(), words)
    rules = WakeRules(tuple(usual_rule(word) for word in words))
    return _attentive(Ears(speech=Vad(), score=models, forget=models.reset, rules=rules, gate=gate))


def _attentive(ears: Any) -> Feed:
    """Return what feeds the ears as the daemon does, which gets a step at a time from its microphone.

    The whole step while the gate is shut, else each frame.
    """

    def feed(step: Sequence[Frame]) -> None:
        if ears.open:
            for frame in step:
                ears.feed(frame)
        else:
            ears.feed(*step)

    return feed


def openwakeword(words: Sequence[str]) -> Feed:
    """Return openWakeWord's own loop: onnxruntime, one thread, scikit-learn kept out."""
    from tests import reference  # noqa: PLC0415
    from voiced.edge.models import find_models  # noqa: PLC0415

    found = find_models()
    paths = [str(found.word(word).path) for word in words]
    model = reference.Model(wakeword_models=paths, inference_framework="onnx", ncpu=1)

    def feed(samples: Samples) -> None:
        model.predict(samples)

    return feed


def pyopen(words: Sequence[str]) -> Feed:
    """Return pyopen-wakeword, as shipped."""
    from pyopen_wakeword import Model, OpenWakeWord, OpenWakeWordFeatures  # noqa: PLC0415

    features = OpenWakeWordFeatures.from_builtin()
    engines = [OpenWakeWord.from_builtin(Model(word)) for word in words]

    def feed(samples: Samples) -> None:
        for found in features.process_streaming(samples.tobytes()):
            for engine in engines:
                for _ in engine.process_streaming(found):
                    pass

    return feed


def pymicro(words: Sequence[str]) -> Feed:
    """Return pymicro-wakeword: other, smaller models."""
    from pymicro_wakeword import MicroWakeWord, MicroWakeWordFeatures, Model  # noqa: PLC0415

    features = MicroWakeWordFeatures()
    engines = [MicroWakeWord.from_builtin(Model(word)) for word in words]

    def feed(samples: Samples) -> None:
        for found in features.process_streaming(samples.tobytes()):
            for engine in engines:
                engine.process_streaming(found)

    return feed


ENGINES = {engine.__name__: engine for engine in (ours, bare, ungated, openwakeword, pyopen, pymicro)}


def cost(name: str, sound: Samples, words: Sequence[str]) -> dict[str, object]:
    """Run an engine over a sound, which comes in the pieces that the engine takes."""
    is_ours = name in {"ours", "bare", "ungated"}
    size = STEP
    pieces: list[Any] = [sound[at : at + size] for at in range(0, len(sound) - size + 1, size)]
    if is_ours:  # the microphone makes frames, not the ears
        pieces = [_frames(number * size, samples) for number, samples in enumerate(pieces)]
    before = time.process_time()
    feed = ENGINES[name](words)
    started = time.process_time()
    curve = [(0.0, 0.0)]
    every = max(1, len(pieces) // PLACES)
    for number, piece in enumerate(pieces, 1):
        feed(piece)
        if number % every == 0:
            curve.append((number * size / MICROPHONE_RATE, time.process_time() - started))
    return {
        "start_cpu_s": started - before,
        "cpu_s": time.process_time() - started,
        "sound_s": len(sound) / MICROPHONE_RATE,
        "peak_rss_mb": _peak_mb() - (sound.nbytes + len(pieces) * (1200 if is_ours else 300)) / 1e6,
        "curve": curve,
    }


def _frames(start: int, step: Samples) -> tuple[Frame, ...]:
    return tuple(Frame(start + at, step[at : at + FRAME]) for at in range(0, STEP, FRAME))


def _peak_mb() -> float:
    """Return the most memory this program had; the kernel's other figure counts the parent before it."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) * 1024 / 1e6


if __name__ == "__main__":
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        assert os.environ.get(variable) == "1", variable  # else threads of numpy spoil the comparison
    try:
        print(json.dumps(cost(sys.argv[1], np.load(Path(sys.argv[2])), sys.argv[3:])))
    except ImportError as exc:
        print(exc, file=sys.stderr)
        sys.exit(3)
