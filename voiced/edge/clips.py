"""Clips on disk: WAV files of the microphone with a JSON file beside each, few and not for long."""

import json
import logging
import re
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from queue import Empty, Full, Queue
from typing import Self

from voiced.core.clips import Clip
from voiced.core.frames import MICROPHONE_RATE
from voiced.edge.soundfile import WavWriter
from voiced.errors import VoicedError

logger = logging.getLogger(__name__)

TIDY_S = 3600.0
"""Between two looks at the ages of clips."""
PATIENCE_S = 5.0
"""For a disk at the end."""
MOST_WAITING = 8
"""Clips that wait for a slow disk."""

_NAME = re.compile(r"(\d{8}T\d{6}\d{3})Z-(?:wake|near_miss|rejected)-[\w-]+\.(?:wav|json)")


class ClipFolder:
    """Keeps clips in a folder, at most so many and so long; fits :class:`voiced.ports.Clips`.

    A thread writes and deletes. Only files that are named as clips are ever deleted.

    Args:
        folder: Made when the first clip comes.
        most: Clips kept.
        days: Days after which they go.
        now: The time of day, UTC.

    """

    def __init__(
        self, folder: Path, *, most: int, days: float, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._folder = folder
        self._most = most
        self._days = timedelta(days=days)
        self._now = now
        self._waiting: Queue[Clip | None] = Queue(MOST_WAITING)
        self._problem: str | None = None
        self._thread = threading.Thread(target=self._run, name="clips", daemon=True)

    @property
    def problem(self) -> str | None:
        """Why the last clip could not be kept, or an old one not deleted."""
        return self._problem

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(Empty):
            while True:
                self._waiting.get_nowait()
        self._waiting.put(None)
        self._thread.join(timeout=PATIENCE_S)  # a disk that hangs must not keep the daemon from ending

    def keep(self, clip: Clip) -> None:
        """Write ``clip``, soon; from any thread, without waiting. With too many waiting it is dropped."""
        try:
            self._waiting.put_nowait(clip)
        except Full:
            logger.debug("a clip is dropped: the disk is too slow")

    def _run(self) -> None:
        self._try(self._tidy)
        while True:
            try:
                clip = self._waiting.get(timeout=TIDY_S)
            except Empty:
                self._try(self._tidy)
                continue
            if clip is None:
                return
            self._try(self._write, clip)

    def _try(self, work: Callable[..., None], *args: Clip) -> None:
        try:
            work(*args)
        except (OSError, VoicedError) as exc:
            if self._problem is None:  # once, until it works again
                logger.warning("clips cannot be kept in %s: %s", self._folder, exc)
            self._problem = str(exc)
        else:
            self._problem = None

    def _write(self, clip: Clip) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        now = self._now()
        stamp = now.strftime("%Y%m%dT%H%M%S") + f"{now.microsecond // 1000:03d}Z"
        name = f"{stamp}-{clip.kind}-{re.sub('[^A-Za-z0-9_-]', '_', clip.word)}"
        sound, notes = self._folder / f"{name}.wav", self._folder / f"{name}.json"
        try:
            sound.touch(mode=0o600)  # before there is anything to read
            with WavWriter(sound, MICROPHONE_RATE) as wav:
                wav.write(clip.samples)
            notes.touch(mode=0o600)
            notes.write_text(json.dumps(_notes(clip, now), indent=1) + "\n", encoding="utf-8")
        except (OSError, VoicedError):
            for half in (sound, notes):
                half.unlink(missing_ok=True)
            raise
        self._tidy()

    def _tidy(self) -> None:
        """Delete what is too old, and the oldest of what is too much."""
        if not self._folder.is_dir():
            return
        clips: dict[str, list[Path]] = {}
        for path in self._folder.iterdir():
            if _NAME.fullmatch(path.name):
                clips.setdefault(path.stem, []).append(path)
        oldest = (self._now() - self._days).strftime("%Y%m%dT%H%M%S")
        kept = set(sorted(clips, reverse=True)[: self._most])
        for name, paths in clips.items():
            if name not in kept or name < oldest:
                for path in paths:
                    path.unlink(missing_ok=True)


def _notes(clip: Clip, now: datetime) -> dict[str, object]:
    return {
        "time": now.isoformat(timespec="milliseconds"),
        "kind": clip.kind,
        "wake_word": clip.word,
        "score": round(clip.score, 4),
        "threshold": clip.threshold,
        "decided_s": round(clip.decided / MICROPHONE_RATE, 3),
        "words": list(clip.words),
        "trace": [
            {"end_s": round(end / MICROPHONE_RATE, 3), "scores": [round(score, 4) for score in scores]}
            for end, scores in clip.trace
        ],
    }
