"""Conversations in the virtual room, in sound time: the mind, its evidence and the uplink, with a service that listens.

The service is the simulator's own ear (:class:`voiced.simulator.turns.TurnDetector`) on exactly what it would be sent;
its answers come all at once and are played in real time. Nothing waits, so an hour takes a minute.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

import numpy as np

from tests.bench.speech import any_voice, at_level, ordinary, to_samples
from tests.make_sounds import Speaker, Voice
from tests.room import Acoustics, Room
from voiced.core import conversation as mind
from voiced.core.echo.control import EchoControl
from voiced.core.echo.uncancelled import Open
from voiced.core.effects import BeginTurn, Cut, Deafen, Effect, Hear, Pause, Play, Resume, Send, Skip
from voiced.core.events import Drained, Event, Near, SessionReady, Tick, Woken
from voiced.core.frames import FRAME, MICROPHONE_RATE, SERVICE_RATE, Frame, Samples
from voiced.core.nearness import Nearness, role
from voiced.core.realtime import events as wire
from voiced.core.states import Idle, Listening, Processing, Rules, State, deadline
from voiced.core.turning import rules_changed
from voiced.core.uplink import Uplink
from voiced.core.wake import Wake
from voiced.edge.aec3 import Aec3
from voiced.edge.vad import Vad
from voiced.simulator.turns import Settings, Started, TurnDetector

BLOCK = SERVICE_RATE * FRAME // MICROPHONE_RATE
ROUND_TRIP_S = 0.08
"""From a frame to the service's word on it."""
THINK_S = 0.4
CHUNK = FRAME
TAIL_S = 15.0
"""How long the television goes on when all is said."""


SHORT = ("yes", "no", "why", "thank you", "not today", "tell me more")
"""What follows an answer as often as a sentence does."""

Way: TypeAlias = Literal["half-duplex", "auto", "device"]
"""The microphone is held back; the echo is taken out here, as far as that works; the device does it."""
WAYS: tuple[Way, ...] = ("half-duplex", "auto", "device")


Span: TypeAlias = tuple[int, int]
"""From one microphone position to another."""


@dataclass(frozen=True, slots=True)
class Begun:
    """A turn that began; ``at`` as a microphone position."""

    at: int
    number: int


@dataclass
class Life:
    """A daemon without threads, sockets or a clock of its own."""

    room: Room
    answers: Iterator[Samples]
    echo: EchoControl | Open
    state: State = field(default_factory=Idle)
    turns: list[Begun] = field(default_factory=list)
    sent: list[Span] = field(default_factory=list)
    """What the service was sent of the microphone."""
    remembered: dict[str, Span] = field(default_factory=dict)
    """What of it the service took for speech, committed, and was not made to forget, by item."""
    answers_began: list[int] = field(default_factory=list)
    """Where the microphone was when sound of an answer came to the speaker."""
    cuts: int = 0
    """Answers that were cut."""
    paused: bool = False
    judges: bool = True
    """Whether our own evidence is asked; ``False``: whoever the service hears in a window is listened to."""

    def __post_init__(self) -> None:
        self.rules = Rules(full_duplex=self.echo.full_duplex, written=frozenset({"default"}))
        self.uplink = Uplink()
        self.nearness = Nearness(Vad())
        self._playing: deque[Samples] = deque()
        self._sounded = False
        self._due: list[tuple[float, int, wire.ServerEvent]] = []
        self._waiting: deque[Frame] = deque()
        self._names = 0
        self._active: str | None = None
        self._listen()

    @property
    def sounds(self) -> bool:
        """Whether an answer is being heard."""
        return bool(self._playing) and not self.paused

    @property
    def now(self) -> float:
        return self.uplink.end / MICROPHONE_RATE

    def run(self, until: int) -> None:
        """Live until a microphone position."""
        while self.uplink.end < until:
            self._frame()

    def wake(self) -> None:
        """Somebody has just said the wake word."""
        self._do_step(Woken(Wake("hey_jarvis", 0.9, 0.5, self.uplink.end), "default"))
        self._listen()
        self._do_step(SessionReady())

    # --- one frame ----------------------------------------------------------------------------------------------------

    def _frame(self) -> None:
        block = self._block()
        self.echo.played(block)
        heard = self.room.feed(block)
        frame = self.echo.clean(Frame(self.uplink.end, heard))
        assert len(heard) == FRAME
        if self.echo.full_duplex != self.rules.full_duplex:
            before, self.rules = self.rules, replace(self.rules, full_duplex=self.echo.full_duplex)
            for effect in rules_changed(self.state, before, self.rules):
                self._do(effect)
        self.uplink.add(frame)
        if not isinstance(self.state, Idle):
            whose = role(self.state, full_duplex=self.echo.full_duplex)
            near = self.nearness.hear(frame, whose, self.echo.near_speech_s) if self.judges else self._anybody()
            if near is not None:
                self._do_step(near)
        if self._sounded and not self._playing and not self.paused:
            self._sounded = False
            self._do_step(Drained())
        self._serve()
        for event in self._arrived():
            if isinstance(event, wire.ResponseStarted):
                self._active = event.response_id
            if not isinstance(self.state, Idle):
                self._do_step(event)
        until = deadline(self.state)
        if until is not None and self.now >= until:
            self._do_step(Tick())

    def _anybody(self) -> Near | None:
        in_window = isinstance(self.state, Listening) and self.state.talk.near is None
        return Near("enough", self.uplink.end) if in_window else None

    def _block(self) -> Samples:
        if self.paused or not self._playing:
            return np.zeros(BLOCK, np.int16)
        return self._playing.popleft()

    def _arrived(self) -> list[wire.ServerEvent]:
        self._due.sort(key=lambda due: due[:2])
        arrived = [event for at, _, event in self._due if at <= self.now]
        self._due = [due for due in self._due if due[0] > self.now]
        return arrived

    # --- the service --------------------------------------------------------------------------------------------------

    def _listen(self) -> None:
        self._detector = TurnDetector(Settings(), MICROPHONE_RATE)
        self._item, self._began = "", 0

    def _serve(self) -> None:
        while self.uplink.waiting >= CHUNK:
            sound = self.uplink.take(CHUNK)
            end = self._position(self.uplink.taken)
            self.sent.append((end - len(sound), end))
            for found in self._detector.feed(sound):
                at_ms = found.sample * 1000 // MICROPHONE_RATE
                if isinstance(found, Started):
                    self._item, self._began = self._name("u"), found.sample
                    self._say(wire.SpeechStarted(self._item, at_ms))
                else:
                    self.remembered[self._item] = (self._position(self._began), self._position(found.sample))
                    self._say(wire.SpeechStopped(self._item, at_ms))
                    self._say(wire.InputCommitted(self._item))
                    self._answer()

    def _position(self, taken: int) -> int:
        position = self.uplink.position(taken)
        assert position is not None
        return position

    def _answer(self) -> None:
        if self._active is not None:
            self._say(wire.ServiceProblem("invalid_request_error", wire.ANOTHER_ANSWER, "Wait."))
            return
        response, item = self._name("r"), self._name("i")
        self._active = response
        self._say(wire.ResponseStarted(response))
        self._say(wire.InputTranscript(self._item, "Some words."), 0.3)
        self._say(wire.ItemAdded(response, item, "message"), THINK_S)
        sound = next(self.answers)
        for at in range(0, len(sound) - BLOCK + 1, BLOCK):
            self._say(wire.AudioDelta(response, item, 0, sound[at : at + BLOCK].tobytes()), THINK_S)
        self._say(wire.ResponseDone(response, "completed"), THINK_S)

    def _name(self, kind: str) -> str:
        self._names += 1
        return f"{kind}{self._names}"

    def _say(self, event: wire.ServerEvent, after_s: float = 0.0) -> None:
        self._due.append((self.now + ROUND_TRIP_S + after_s, len(self._due) + 1000 * self._names, event))

    def _told(self, event: wire.ClientEvent) -> None:
        match event:
            case wire.CancelResponse(response_id):
                kept = [due for due in self._due if getattr(due[2], "response_id", None) != response_id]
                if self._active == response_id and len(kept) < len(self._due):
                    kept.append((self.now + ROUND_TRIP_S, 0, wire.ResponseDone(response_id or "", "cancelled")))
                self._due = kept
            case wire.DeleteItem(item_id):
                self.remembered.pop(item_id, None)
            case wire.CreateResponse():
                self._active = None
                self._answer()

    # --- the mind -----------------------------------------------------------------------------------------------------

    def _do_step(self, event: Event) -> None:
        if isinstance(event, wire.ResponseDone) and event.response_id == self._active:
            self._active = None
        before = 0 if isinstance(self.state, Idle) else self.state.talk.session
        self.state, effects = mind.step(self.state, event, self.now, self.rules)
        if not isinstance(self.state, Idle) and self.state.talk.session != before and isinstance(event, Woken):
            self.uplink.restart()
            self.nearness.begin(self.uplink.recent, event.wake.end)
        for effect in effects:
            self._do(effect)

    def _do(self, effect: Effect) -> None:
        match effect:
            case Play(sound):
                self._playing.append(np.frombuffer(sound.pcm, "<i2").astype(np.int16))
                self._sounded = True
                self.answers_began.append(self.uplink.end)
            case Cut():
                self.cuts += 1
                self._playing.clear()
                self._sounded = self.paused = False
            case Pause():
                self.paused = True
            case Resume():
                self.paused = False
            case Send(event):
                self._told(event)
            case Deafen():
                self.uplink.hold()
            case Skip(after_s):
                self.uplink.skip(self.uplink.end + int(after_s * MICROPHONE_RATE))
            case Hear(resume=True):
                self.uplink.resume()
            case Hear(since, after_s=after_s):
                ahead = self.uplink.end + int(after_s * MICROPHONE_RATE)
                self.uplink.hear(ahead if since is None else since)
            case BeginTurn(number):
                self.turns.append(Begun(self.uplink.end, number))


@dataclass(frozen=True, slots=True)
class Told:
    """What became of a dialogue."""

    said: int
    """Turns that the person spoke."""
    heard: int
    """Those that came to the service whole, are in its memory, and were answered; whoever began the turn."""
    television: int
    """Turns that the television began, while the daemon listened."""
    afterwards: int
    """Those after the window."""
    television_db: float
    """Below the person."""
    tail_s: float
    """From the person's last word to the end of the conversation."""


def tell(seed: int, way: Way, *, judges: bool = True) -> Told:
    """Let somebody talk with the daemon while a television is on.

    Args:
        seed: Who says what, how loud, and when.
        way: How the speaker's sound is kept out; where it is taken out the person talks over an answer, too.
        judges: ``False``: windows are open to everybody, as a reference.

    """
    random = np.random.default_rng(seed)
    speaker = Speaker()
    person, person_db = any_voice(random), random.uniform(-30.0, -22.0)
    below_db = random.uniform(10.0, 25.0)
    room = Room(Acoustics(echo_db=-90.0 if way == "device" else -26.0), noise_seed=seed)
    _turn_on(room, speaker, random, person_db - below_db)
    answers = _answers(speaker, random)
    life = Life(room, answers, _echo(way), judges=judges)
    life.run(_seconds(random.uniform(3, 12)))
    said: list[tuple[int, int]] = []

    def say(text: str) -> int:
        sound = to_samples(at_level(speaker.say(text, person)[0], person_db))
        begin = room.position
        room.say(sound, begin)
        said.append((begin, begin + len(sound)))
        return begin + len(sound)

    life.run(say("hey jarvis") + _seconds(0.25))
    said.clear()
    life.wake()
    life.run(say(ordinary(random)))
    for _ in range(int(random.integers(1, 4))):
        if life.echo.full_duplex and random.random() < 0.4:
            if not _until(life, lambda life: life.sounds):
                break
            life.run(room.position + _seconds(random.uniform(0.5, 1.5)))
        else:
            if not _until(life, lambda life: isinstance(life.state, Listening)):
                break
            life.run(room.position + _seconds(random.uniform(0.3, 4.5)))
        if isinstance(life.state, Idle):
            break
        life.run(say(str(random.choice(SHORT)) if random.random() < 0.25 else ordinary(random)))
    _until(life, lambda life: isinstance(life.state, Idle), 120.0)
    ended = room.position
    life.run(ended + _seconds(TAIL_S))
    return _judged(life, said, ended, below_db)


def ask(way: Way, seed: int, more: Literal["nothing", "television", "person"]) -> Life:
    """Let somebody ask one thing, and somebody say more while the answer is awaited; return when the answer is over.

    Args:
        way: How the speaker's sound is kept out.
        seed: Who.
        more: Who says more: a television that begins just then, 16 dB softer, or the very person, as loud as before.

    """
    random = np.random.default_rng(seed)
    speaker = Speaker()
    person, person_db = any_voice(random), -26.0
    room = Room(Acoustics(echo_db=-90.0 if way == "device" else -26.0), noise_seed=seed)
    life = Life(room, _answers(speaker, random), _echo(way))
    life.run(_seconds(3.0))

    def say(text: str, voice: Voice, level_db: float) -> int:
        sound = to_samples(at_level(speaker.say(text, voice)[0], level_db))
        room.say(sound, room.position)
        return room.position + len(sound)

    life.run(say("hey jarvis", person, person_db) + _seconds(0.25))
    life.wake()
    life.run(say(ordinary(random), person, person_db))
    assert _until(life, lambda life: isinstance(life.state, Processing))
    if more == "person":
        say(ordinary(random), person, person_db)
    elif more == "television":
        say(f"{ordinary(random)}, {ordinary(random)}", any_voice(random), person_db - 16.0)
    assert _until(life, lambda life: life.sounds)
    assert _until(life, lambda life: isinstance(life.state, Listening | Idle))
    return life


def _echo(way: Way) -> EchoControl | Open:
    return Open(Vad()) if way == "device" else EchoControl(way, Aec3 if way == "auto" else lambda: None, Vad())


def _judged(life: Life, said: list[tuple[int, int]], ended: int, below_db: float) -> Told:
    margin = _seconds(1.0)
    others = sum(not any(b - margin <= turn.at <= e + margin for b, e in said) for turn in life.turns)
    befores = [*(begin for begin, _ in said[1:]), life.uplink.end]
    heard = [_is_heard(life, span, before) for span, before in zip(said, befores, strict=True)]
    last = max((end for _, end in said), default=ended)
    return Told(
        len(said), sum(heard), others, sum(turn.at > ended for turn in life.turns), below_db, (ended - last) / 16_000
    )


def _is_heard(life: Life, said: Span, before: int) -> bool:
    """Return whether what somebody said came to the service whole, stayed there, and was answered ``before``."""
    begin, end = said
    kept = [span for span in life.remembered.values() if span[0] < end and span[1] > begin]
    is_whole = _missing(said, life.sent) < _seconds(0.1) and _missing(said, kept) < _seconds(0.5)
    return is_whole and any(end < at < before for at in life.answers_began)


def _missing(said: Span, spans: Iterable[Span]) -> int:
    """Return samples that are in none of ``spans``, which do not overlap."""
    begin, end = said
    return end - begin - sum(max(0, min(end, last) - max(begin, first)) for first, last in spans)


def _until(life: Life, holds: Callable[[Life], bool], most_s: float = 30.0) -> bool:
    end = life.uplink.end + _seconds(most_s)
    while not holds(life) and life.uplink.end < end:
        life.run(life.uplink.end + FRAME)
    return holds(life)


def _turn_on(room: Room, speaker: Speaker, random: np.random.Generator, level_db: float) -> None:
    """Have a television talk for four minutes, with pauses between its sentences."""
    at = _seconds(random.uniform(0, 2))
    while at < _seconds(240):
        sound = speaker.say(ordinary(random), any_voice(random))[0]
        room.say(to_samples(at_level(sound, level_db + random.uniform(-3, 3))), at)
        at += len(sound) + _seconds(random.uniform(0.6, 2.0))


def _answers(speaker: Speaker, random: np.random.Generator) -> Iterator[Samples]:
    while True:
        sound = to_samples(at_level(speaker.say(ordinary(random), any_voice(random))[0], -20.0))
        yield np.repeat(sound, 3)[::2]  # 24 kHz, well enough for a speaker


def _seconds(seconds: float) -> int:
    return int(seconds * MICROPHONE_RATE) // FRAME * FRAME
