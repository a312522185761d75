from typing import get_args

import numpy as np
import pytest

from voiced.core.chimes import Chime, chime
from voiced.core.frames import SERVICE_RATE

KINDS: tuple[Chime, ...] = get_args(Chime)


@pytest.mark.parametrize("kind", KINDS)
def test_a_chime_is_short_leaves_headroom_and_begins_and_ends_without_a_click(kind: Chime) -> None:
    sound = chime(kind)
    assert sound.dtype == np.int16
    assert 0.1 < len(sound) / SERVICE_RATE < 0.4
    assert 6_000 < np.abs(sound).max() < 12_000
    assert np.abs(sound[:5]).max() < 500
    assert np.abs(sound[-5:]).max() < 50


def test_the_wake_chime_is_over_before_anybody_goes_on_speaking() -> None:
    assert len(chime("wake")) <= 0.16 * SERVICE_RATE


def test_chimes_differ_and_are_shared_safely() -> None:
    assert len({chime(kind).tobytes() for kind in KINDS}) == len(KINDS)
    with pytest.raises(ValueError, match="read-only"):
        chime("wake")[0] = 1


def test_the_wake_chime_rises_and_the_end_chime_falls() -> None:
    def pitch(kind: Chime, part: slice) -> float:
        sound = chime(kind)[part].astype(float)
        spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound)), 1 << 15))
        return float(np.argmax(spectrum)) * SERVICE_RATE / (1 << 15)

    early, late = slice(0, 1000), slice(-1200, None)
    assert pitch("wake", early) < pitch("wake", late)
    assert pitch("end", early) > pitch("end", late)
