"""What listening costs, against openWakeWord's own loop, in a quiet home and beside a television.

Every engine has a process of its own and hears the same sound, made here; rounds are interleaved, and ratios are
medians over rounds of two figures of the same round. pyopen-wakeword and pymicro-wakeword are measured where they are
installed (``PYTHONPATH`` may point to a folder they are in), else they are ``null``. The whole daemon is measured idle
in a quiet room: capture through a private PulseAudio, MQTT connected, discovery on. ``echo_cpu_percent*`` is what echo
control costs while something plays and while nothing does (:mod:`tests.bench.echo`).
"""

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from tests import reference
from tests.bench import echo, idle, speech
from tests.recordings import CLIPS, SOUNDS, load, noise, steps
from voiced.core.chart import Line, chart
from voiced.core.frames import STEP
from voiced.edge.models import find_models
from voiced.edge.wakemodel import WakeModels

REFERENCE = "openwakeword.Model 0.5.1 (onnx, one thread, scikit-learn stubbed), one word, the same sound"
WORD = "hey_jarvis"
FOUR = ("hey_jarvis", "alexa", "hey_mycroft", "hey_rhasspy")
ENGINES = ("bare", "ungated", "openwakeword", "pyopen", "pymicro")

Cost = dict[str, Any]


def measure(*, quick: bool) -> dict[str, Any]:
    """Measure cost, equality and the idle daemon; write the plot into the folder for temporary files."""
    lengths = {"quiet": 60.0, "tv": 25.0} if quick else {"quiet": 600.0, "tv": 600.0}
    with tempfile.TemporaryDirectory(prefix="voiced-bench-") as name:
        sounds = _sounds(Path(name), lengths)
        rounds = [_round(sounds) for _ in range(1 if quick else 2)]
    plot = Path(tempfile.gettempdir()) / "voiced-bench-ears.svg"
    plot.write_text(_plot(rounds[-1]))
    ratios = {
        f"ratio_{scene}": _median(
            each[scene]["bare"]["cpu_s"] / each[scene]["openwakeword"]["cpu_s"] for each in rounds
        )
        for scene in lengths
    }
    four = _median(each["tv"]["four"]["cpu_s"] / each["tv"]["bare"]["cpu_s"] for each in rounds)
    rest = asyncio.run(idle.measure(seconds=6.0 if quick else 60.0))
    return {
        **ratios,
        "ratio_four_words": four,
        "max_score_difference": score_difference(quick=quick),
        **rest,
        **echo.costs(quick=quick),
        "reference": REFERENCE,
        "scenes": {scene: _figures([each[scene] for each in rounds]) for scene in lengths},
        "seconds": lengths,
        "rounds": len(rounds),
        "plot": str(plot),
    }


def score_difference(*, quick: bool) -> float:
    """Return the greatest difference from openWakeWord's scores: step by step and in one go, all of its words."""
    installed = find_models()
    words = sorted(installed.words)
    engine = WakeModels(installed, words)
    recordings = [*sorted(SOUNDS.glob("*.wav")), *CLIPS]
    greatest = 0.0
    for path in recordings[:: 4 if quick else 1]:
        sound = steps(np.concatenate((noise(3.6), load(path))))
        theirs = reference.scores([installed.word(word).path for word in words], sound)
        engine.reset()
        at_once = np.array(engine(sound))
        engine.reset()
        one_by_one = np.array([engine(sound[at : at + STEP])[0] for at in range(0, len(sound), STEP)])
        for ours in (at_once, one_by_one):
            greatest = max(greatest, float(np.abs(ours - theirs)[engine.cold_steps :].max()))
    return greatest


def _sounds(folder: Path, lengths: dict[str, float]) -> dict[str, Path]:
    made = {"quiet": speech.quiet_home, "tv": speech.television}
    paths = {}
    for scene, seconds in lengths.items():
        paths[scene] = folder / f"{scene}.npy"
        np.save(paths[scene], made[scene](seconds))
    return paths


def _round(sounds: dict[str, Path]) -> dict[str, dict[str, Cost]]:
    """Run every engine over every sound once."""
    found: dict[str, dict[str, Cost]] = {}
    for scene, path in sounds.items():
        costs = {engine: cost for engine in ENGINES if (cost := _run(engine, path, [WORD])) is not None}
        if scene == "tv" and (four := _run("bare", path, FOUR)) is not None:
            costs["four"] = four
        found[scene] = costs
    return found


def _run(engine: str, path: Path, words: Any) -> Cost | None:
    """Run one engine in a process; ``None`` if it is not installed."""
    run = subprocess.run(
        [sys.executable, "-m", "tests.bench.engines", engine, str(path), *words],
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode == 3:
        return None
    if run.returncode:
        raise RuntimeError(f"{engine} failed: {run.stderr[-2000:]}")
    cost: Cost = json.loads(run.stdout)
    return cost


def _figures(rounds: list[dict[str, Cost]]) -> dict[str, dict[str, float] | None]:
    """Return a row for each engine: medians over rounds."""
    rows: dict[str, dict[str, float] | None] = {}
    for engine in (*ENGINES, "four"):
        there = [each for each in rounds if engine in each]
        if not there:
            rows[engine] = None
            continue
        rows[engine] = {
            "cpu_percent": _median(100 * each[engine]["cpu_s"] / each[engine]["sound_s"] for each in there),
            "ratio": _median(each[engine]["cpu_s"] / each["openwakeword"]["cpu_s"] for each in there),
            "peak_rss_mb": _median(each[engine]["peak_rss_mb"] for each in there),
            "start_cpu_s": _median(each[engine]["start_cpu_s"] for each in there),
        }
    return rows


def _plot(costs: dict[str, dict[str, Cost]]) -> str:
    lines = [
        Line(f"{'voiced' if engine == 'bare' else engine}, {scene}", costs[scene][engine]["curve"])
        for engine in ("openwakeword", "pyopen", "pymicro", "bare")
        for scene in costs
        if engine in costs[scene]
    ]
    return chart("CPU time for listening, one word", "seconds of sound", "CPU seconds", lines)


def _median(values: Any) -> float:
    return float(f"{statistics.median(values):.4g}")
