"""WebRTC's echo canceller: it silences the speaker, is loaded late, and its absence is a sentence."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from tests.recordings import ROOT, noise
from tests.waiting import eventually
from voiced.core.frames import FRAME
from voiced.edge.aec3 import Aec3, LateAec3

LOADS = """
import sys
import voiced.house
assert "pywebrtc_audio" not in sys.modules
from voiced.edge.aec3 import Aec3
from voiced.errors import MissingPartError
try:
    Aec3()
except MissingPartError as exc:
    print(exc)
"""


def test_what_is_played_is_silenced() -> None:
    aec3, played = Aec3(), noise(8.0, rms=2000.0)
    heard = np.roll(played, 800) // 2
    left = [aec3(heard[at : at + FRAME], played[at : at + FRAME]) for at in range(0, len(played) - FRAME, FRAME)]
    assert all(each.dtype == np.int16 and each.shape == (FRAME,) for each in left)
    late = slice(6 * 16_000, 7 * 16_000)
    assert np.std(np.concatenate(left)[late]) < np.std(heard[late]) / 20


async def test_nobody_waits_until_it_is_loaded() -> None:
    go = threading.Event()

    def load() -> Aec3:
        go.wait(10)
        return Aec3()

    late = LateAec3(load)
    for _ in range(3):
        assert late() is None
    go.set()
    await eventually(lambda: late() is not None, "loaded")
    assert late() is late()


@pytest.mark.parametrize("broken", ["raise ImportError('no such thing')", "raise OSError('wrong ELF class')", None])
def test_it_is_loaded_late_and_missed_with_a_remedy(tmp_path: Path, broken: str | None) -> None:
    if broken is not None:
        (tmp_path / "pywebrtc_audio.py").write_text(broken)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(tmp_path), str(ROOT)))}
    ran = subprocess.run([sys.executable, "-c", LOADS], env=environment, capture_output=True, text=True, check=True)
    if broken is None:
        assert ran.stdout == ""
    else:
        assert ran.stdout.startswith("WebRTC's echo canceller cannot be loaded")
        assert broken.split("'")[1] in ran.stdout
        assert "pip install --force-reinstall pywebrtc-audio" in ran.stdout
