"""``voiced wake test``: level, gate and scores of the configured microphone, live in a terminal."""

from collections.abc import Callable

from voiced.config import Config
from voiced.core.ears import Ears
from voiced.core.monitorview import heard
from voiced.core.wake import NearMiss, Wake
from voiced.edge.sound import SoundSettings, open_sound
from voiced.ending import give_up
from voiced.house import make_ears

EVERY = 4
"""Frames between two pictures: a step."""


async def show(config: Config, *, write: Callable[[str], None], width: int = 80) -> None:
    """Show until cancelled, or until a file that stands for the microphone is over.

    Args:
        config: Says which microphone and which words. Nothing is played and nothing sent.
        write: Takes text with ANSI control sequences; a wake or near miss is a line that stays.
        width: Columns.

    Raises:
        VoicedError: If a model is missing or a file cannot be read. A microphone that is not there is waited for;
            the log says so.

    """
    ears, _ = make_ears(config)
    words = [word.model for word in config.wake.words]
    ends = SoundSettings(input=config.audio.input, output="null", input_end=config.audio.input_end)
    async with open_sound(ends, notify=lambda _: None, give_up=give_up) as (microphone, _):
        frames = 0
        peaks = [0.0] * len(words)
        async for frame in microphone.frames():
            wake = ears.feed(frame)
            peaks = [max(peak, score) for peak, score in zip(peaks, ears.scores, strict=True)]
            news: list[Wake | NearMiss] = [*([wake] if wake else []), *ears.near_misses()]
            for happened in news:
                write(f"\r\x1b[2K{line(happened, ears.heard_s)}\n")
            frames += 1
            if frames % EVERY == 0:
                write(f"\r\x1b[2K{picture(ears, words, peaks, width)}")
                peaks = [
                    0.97 * peak if peak > 0.01 else 0.0 for peak in peaks
                ]  # they sink slowly, so that one can read


def line(happened: Wake | NearMiss, heard_s: float) -> str:
    """Return what stays on the screen of a wake or near miss."""
    what = "heard" if isinstance(happened, Wake) else "nearly"
    why = ", another voice" if isinstance(happened, NearMiss) and happened.why == "voice" else ""
    return f"{heard_s:8.1f} s  {what:<7}{happened.word}  {happened.score:.2f} of {happened.threshold:.2f}{why}"


def picture(ears: Ears, words: list[str], peaks: list[float], width: int) -> str:
    """Return the line that moves: level, gate, and a bar for each word's highest score of late."""
    return heard(ears.level_db, dict(zip(words, peaks, strict=True)), width, gate=ears.open)
