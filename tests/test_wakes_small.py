"""Small versions of ``python -m tests.bench wakes`` and ``ears``: their promises, without their figures."""

import ctypes.util
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tests.bench import ears, engines, speech, wakes
from tests.recordings import frames, steps
from voiced.core import tuning
from voiced.core.frames import STEP
from voiced.edge.models import find_models
from voiced.edge.vad import Vad
from voiced.edge.wakemodel import WakeModels

pytestmark = pytest.mark.skipif(ctypes.util.find_library("espeak-ng") is None, reason="espeak-ng is not installed")


def test_starts_in_noise_wake_nobody() -> None:
    assert wakes._starts(24) == {"starts": 24, "starts_woken": 0}


def test_nothing_is_lost_to_the_gate() -> None:
    found = wakes._gate_grid(quick=True)
    assert found["grid_heard_ungated"] > 0
    assert found["grid_lost_to_the_gate_6db_and_more"] == 0


@pytest.mark.timeout(180)
def test_the_daemons_own_voice_wakes_nobody_and_the_veto_deafens_nobody() -> None:
    # espeak's breath goes on from whatever it said before: in a process of its own each voice is the same every time.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as fresh:
        others = frozenset({"without_veto", "without_both"})
        found = fresh.submit(wakes._own_voice, 60, persons=4, others=others).result()
    assert found["self_wakes"] == 0
    assert found["self_wakes_without_both"] > 0
    for level in ("+0", "+6"):
        assert found[f"persons_heard_at_{level}_db"] >= found[f"persons_heard_at_{level}_db_without_veto"] >= 2


def test_the_defaults_hear_espeaks_words_and_are_not_tempted_more_than_openwakeword() -> None:
    engine = WakeModels(find_models(), wakes.WORDS)
    ours, theirs = wakes._tempted(engine, 120)
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() < 1e-4
    for index, word in enumerate(wakes.WORDS):
        rule, their_rule = wakes.OURS[word], wakes.THEIRS[word]
        assert len(tuning.wakes(ours[:, index], rule)) <= len(tuning.wakes(theirs[:, index], their_rule))
    traces = [wakes._column(engine, sound, "hey_jarvis") for sound in speech.spoken("hey_jarvis", 6)]
    assert wakes._heard(traces, wakes.OURS["hey_jarvis"]) >= 4


def test_a_quiet_home_is_mostly_shut_and_a_television_is_not() -> None:
    def voiced(sound: np.ndarray) -> float:
        vad = Vad()
        return float(np.mean([vad(frame.samples) for frame in frames(sound)]))

    assert voiced(speech.quiet_home(60)) < 0.15
    assert voiced(speech.television(20)) > 0.5
    assert len(steps(speech.noise(1, -50, 1))) == 12 * STEP


def test_engines_are_measured_in_processes_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "sound.npy"
    np.save(path, speech.noise(4, -30, 1))
    for engine in ("bare", "openwakeword", "ours"):
        cost = ears._run(engine, path, ["hey_jarvis"])
        assert cost is not None
        assert cost["sound_s"] == pytest.approx(4, abs=0.01)
        assert cost["cpu_s"] > 0
        assert 20 < cost["peak_rss_mb"] < 300
        assert len(cost["curve"]) > 10
    assert set(engines.ENGINES) >= set(ears.ENGINES)


def test_an_engine_that_is_not_installed_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pymicro_wakeword.py").write_text("raise ImportError('not here')")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:.")
    np.save(tmp_path / "sound.npy", speech.noise(1, -30, 1))
    assert ears._run("pymicro", tmp_path / "sound.npy", ["hey_jarvis"]) is None
