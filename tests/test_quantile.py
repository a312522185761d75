"""Quantiles are numpy's, without its cost."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.recordings import ROOT
from voiced.core.quantile import quantile

FIRST_WAKE = """
import sys
import numpy as np
from voiced.core.echo.control import EchoControl
from voiced.core.frames import FRAME, Frame
from voiced.core.nearness import Nearness

frames = [Frame(at, np.full(FRAME, 99, np.int16)) for at in range(0, 100 * FRAME, FRAME)]
Nearness(lambda _: True).begin(frames, frames[-1].end)
control = EchoControl("auto", lambda: None, lambda _: False)
for frame in frames:
    control.clean(frame)
control.played(np.full(480, 99, np.int16))
control.clean(Frame(100 * FRAME, frames[0].samples))
assert "numpy.ma" not in sys.modules
"""


@given(st.lists(st.floats(-100, 1e9), min_size=1, max_size=50), st.floats(0, 1))
def test_it_is_numpys(values: list[float], share: float) -> None:
    assert quantile(values, share) == pytest.approx(float(np.quantile(values, share)), rel=1e-9, abs=1e-6)


def test_whoever_wakes_it_first_waits_for_no_library() -> None:
    subprocess.run([sys.executable, "-c", FIRST_WAKE], cwd=ROOT, check=True)
