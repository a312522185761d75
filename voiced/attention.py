"""Where the ears live: a thread of their own, between the microphone and the task that decides."""

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Self, TypeAlias

from voiced.core.clips import ClipRecorder
from voiced.core.frames import FRAME, MICROPHONE_RATE, STEP, Frame
from voiced.core.wake import NearMiss, Rising, Wake, WordRule
from voiced.ports import Clips, Ears

logger = logging.getLogger(__name__)

MOST_WAITING = 10 * MICROPHONE_RATE // FRAME
"""Frames that wait for the ears at most. A machine that is ten seconds behind would answer a word long forgotten."""

Heard: TypeAlias = Wake | NearMiss | Rising
_Work: TypeAlias = Sequence[Frame] | Callable[[], None] | None


class Attention:
    """Feeds the ears, in order, and passes on what they hear; nothing here makes the event loop wait.

    A step of scores takes 0.7 ms on a PC and ten times that on a small board, the first after silence several times as
    long: too long for the loop. Asking another thread and waiting for its answer costs 60 to 130 µs a time (measured
    with pauses between, as in life): 0.5 % of a core for 50 frames a second, half of what the whole idle daemon may
    take. Hence one thread that is only ever sent to (about 10 µs), and speaks up by itself when it has heard something.
    While all is quiet not even that is worth it: whether a step may hold speech is found out in the loop (20 µs), and
    the thread sleeps on. The ears belong to the thread from when it is sent something until it has done it, and to the
    loop in between; so they need no lock, and nothing overtakes a frame.

    Args:
        ears: Of no concern to anybody else, but for ``vetoed`` and ``open``, which are single values.
        post: Takes what was heard, in the event loop.
        clips: Keeps recordings of it; ``None``: nobody does.
        words: Names of the scores.
        rising_at: Fraction of its threshold from which a score is told as rising; 0: never.
        calm: Told in the event loop when all becomes quiet, so that nothing need be heard at once, and when it does
            not.

    """

    def __init__(  # noqa: PLR0913 - all by name, and each a part or a rule
        self,
        ears: Ears,
        *,
        post: Callable[[Heard], None],
        clips: Clips | None,
        words: Sequence[str],
        rising_at: float = 0.0,
        calm: Callable[[bool], None] = lambda _: None,
    ) -> None:
        self._ears = ears
        self._post = post
        self._clips = clips
        self._recorder = None if clips is None else ClipRecorder(words)
        self._rising_at = rising_at
        self._risen: frozenset[str] = frozenset()
        self._tell_calm, self._is_calm = calm, False
        self._rules: tuple[WordRule, ...] = ()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._work: SimpleQueue[_Work] = SimpleQueue()
        self._frames: list[Frame] = []
        self._next: int | None = None
        self._first = 0
        self._sent = self._done = 0
        """How much work the loop sent, and the thread did."""
        self._behind = self._closing = False
        self._failed: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="ears", daemon=True)

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._thread.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closing = True
        self._work.put(None)
        await asyncio.to_thread(self._thread.join)

    def hear(self, frame: Frame) -> None:
        """Take the next frame.

        Raises:
            BaseException: Whatever ended the thread.

        """
        if self._failed is not None:
            raise self._failed
        if frame.start != self._next:
            self._frames, self._first = [], frame.start  # where the ears begin a new step, too
        self._next = frame.end
        self._frames.append(frame)
        if (frame.end - self._first) % STEP == 0 or self._ears.open:
            frames, self._frames = self._frames, []
            if self._is_behind():
                self._next = None
            else:
                self._pass_on(frames)

    def forget(self) -> None:
        """Forget everything heard: after un-muting, for example."""
        self._frames, self._next = [], None
        self._send(self._forget)

    def adjust(self, words: tuple[WordRule, ...]) -> None:
        """Let words count by other rules from the next frame on."""
        self._send(lambda: self._adjust(words))

    async def settled(self) -> None:
        """Wait until the ears have heard all there was and what they said is posted."""
        done = asyncio.Event()
        self._send(lambda: self._settle(done.set))
        await done.wait()
        if self._failed is not None:
            raise self._failed

    # --- in the loop's thread -----------------------------------------------------------------------------------------

    def _pass_on(self, frames: Sequence[Frame]) -> None:
        is_calm = False
        if not self._may_skim(frames):
            self._send(frames)
        elif self._ears.skim(frames):
            self._send(())
        else:
            is_calm = True
        if is_calm != self._is_calm:
            self._is_calm = is_calm
            self._tell_calm(is_calm)

    def _send(self, work: _Work) -> None:
        self._sent += 1
        self._work.put(work)

    def _may_skim(self, frames: Sequence[Frame]) -> bool:
        return self._done == self._sent and self._recorder is None and self._ears.may_skim(frames)

    def _is_behind(self) -> bool:
        """Tell whether frames must be dropped; the ears notice the gap, and begin anew behind it."""
        behind = self._work.qsize() > (0 if self._behind else MOST_WAITING)
        if behind and not self._behind:
            logger.warning("the wake word models are slower than real time; some seconds of sound go unheard")
        self._behind = behind
        return behind

    # --- in the thread ------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            try:
                if callable(work):
                    work()
                elif self._failed is None and not self._closing:
                    self._feed(work)
                    self._catch_up()
            except BaseException as exc:  # noqa: BLE001 - raised again where the loop can see it
                self._failed = exc
            self._done += 1

    def _feed(self, frames: Sequence[Frame]) -> None:
        wake = self._ears.feed(*frames)
        if wake is not None:
            self._tell(self._post, wake)
        if self._rising_at:
            self._watch_rising()
        misses = self._ears.near_misses()
        for miss in misses:
            self._tell(self._post, miss)
        if self._recorder is not None:
            self._remember(self._recorder, frames, wake, misses)

    def _catch_up(self) -> None:
        """Score what waits since the gate opened, bite by bite, so that the loop gets its turn, until more comes."""
        while self._ears.waiting and self._work.empty():
            self._feed(())

    def _settle(self, told: Callable[[], None]) -> None:
        while self._ears.waiting and self._failed is None and not self._closing:
            self._feed(())
        self._tell(told)

    def _remember(
        self, recorder: ClipRecorder, frames: Sequence[Frame], wake: Wake | None, misses: Sequence[NearMiss]
    ) -> None:
        for frame in frames:
            recorder.hear(frame)
        for end, row in self._ears.rows():
            recorder.score(end, row)
        if wake is not None:
            recorder.note("wake", wake)
        for miss in misses:
            recorder.note("near_miss" if miss.why == "score" else "rejected", miss)
        for clip in recorder.due():
            if self._clips is not None:
                self._clips.keep(clip)

    def _adjust(self, words: tuple[WordRule, ...]) -> None:
        self._rules = words
        self._ears.adjust(words)

    def _watch_rising(self) -> None:
        scores = zip(self._rules, self._ears.scores, strict=True)
        risen = frozenset(rule.word for rule, score in scores if score >= self._rising_at * rule.threshold > 0)
        for word in sorted(risen - self._risen):
            self._tell(self._post, Rising(word))
        self._risen = risen

    def _forget(self) -> None:
        self._ears.reset()
        if self._recorder is not None:
            self._recorder.forget()

    def _tell(self, call: Callable[..., object], *args: object) -> None:
        assert self._loop is not None  # noqa: S101 - the thread began behind it
        try:
            self._loop.call_soon_threadsafe(call, *args)
        except RuntimeError:  # the loop is closed: nobody listens any more
            logger.debug("heard too late: %s", args)
