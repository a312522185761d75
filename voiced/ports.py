"""What the daemon asks of the world, in its own words.

Nobody inherits from these; ``tests/test_ports.py`` lets mypy prove that the real parts and the fakes fit.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from voiced.core.clips import Clip
from voiced.core.frames import Frame, Samples
from voiced.core.ledger import Book, Entry
from voiced.core.memory import Said
from voiced.core.mqtt.commands import Message
from voiced.core.mqtt.payloads import BrokerHealth, EchoHealth
from voiced.core.realtime.events import ClientEvent, ServerEvent
from voiced.core.realtime.mending import Limits
from voiced.core.realtime.settings import SessionSettings
from voiced.core.wake import NearMiss, Wake, WordRule


class Microphone(Protocol):
    """Where frames come from. Opened on entering the context, closed on leaving it."""

    @property
    def overruns(self) -> int:
        """How often sound was lost since the start, by the device or because nobody took it."""

    @property
    def problem(self) -> str | None:
        """What is wrong now (device gone, stalled), as a sentence; ``None`` while frames arrive."""

    @property
    def silent_s(self) -> float:
        """For how long frames have held nothing but zeros, which a room never does."""

    def frames(self) -> AsyncIterator[Frame]:
        """Yield 20 ms frames in order for ever; a lost device is reopened inside.

        A file that is over ends the iteration.
        """

    def pace(self, *, prompt: bool) -> None:
        """Give each frame as soon as it is there, or (as at first) wait for whole steps of four, which costs far less.

        Steps begin with the sound and behind each gap, as the ears' do; so a word is not heard later for it.
        """

    def calm(self, *, calm: bool) -> None:
        """Wait for some steps instead of one, as nobody speaks; or (as at first) no longer. A slow pace is slower then.

        A wake word lasts twice as long as that from its first sound to its decision, so it is not heard later either.
        """

    def mute(self, *, muted: bool) -> None:
        """Close the device for real until it is unmuted; no frames come meanwhile, and nothing is a problem."""


class Ears(Protocol):
    """Frames in, wakes out: gate and wake models."""

    @property
    def open(self) -> bool:
        """Whether the gate lets sound through to the models now."""

    @property
    def waiting(self) -> bool:
        """Whether there is sound that is not scored yet."""

    @property
    def scores(self) -> tuple[float, ...]:
        """The newest row of scores, in the order of the words."""

    @property
    def vetoed(self) -> int:
        """Wakes since the start that did not count because the speaker said the word."""

    def feed(self, *frames: Frame) -> Wake | None:
        """Take the next frame, or some that follow on each other; return a wake word heard in them.

        May take milliseconds. A whole step at once costs least while the gate is shut. No frame: score what waits.
        """

    def may_skim(self, frames: Sequence[Frame]) -> bool:
        """Whether ``frames`` are the next step, and all is so quiet that :meth:`skim` may take it."""

    def skim(self, frames: Sequence[Frame]) -> bool:
        """Take such a step within microseconds; return whether something waits for :meth:`feed`."""

    def rows(self) -> list[tuple[int, tuple[float, ...]]]:
        """Return the rows of scores since the last call, each with the microphone position behind its step."""

    def near_misses(self) -> list[NearMiss]:
        """Return what came near a wake since the last call, oldest first."""

    def adjust(self, words: tuple[WordRule, ...]) -> None:
        """Let the words count by other thresholds from the next frame on.

        Raises:
            ValueError: If they are not the words there were, in their order.

        """

    def reset(self) -> None:
        """Forget everything heard: after un-muting, or a gap in the sound."""


class Echo(Protocol):
    """Keeps the speaker's own sound out of the microphone's, and tells when a person speaks over it.

    Whoever plays tells it all that is played, in its own way.
    """

    @property
    def full_duplex(self) -> bool:
        """Whether the service may hear the microphone while an answer plays; may change at any frame."""

    @property
    def near_speech_s(self) -> float:
        """Seconds of a person's speech, and not the speaker's, within the last 0.6 s of sound.

        Counted while the speaker sounds and 3 s longer; 0 otherwise, and where nothing can tell.
        """

    @property
    def health(self) -> EchoHealth:
        """How it is done, why, and how well."""

    def clean(self, frame: Frame) -> Frame:
        """Return ``frame`` without the speaker's sound: the same position and length, the very frame while none plays.

        Called with each frame in order, in the event loop; takes well under 10 ms.
        """


class Clips(Protocol):
    """Where recordings of wakes and near misses are kept."""

    def keep(self, clip: Clip) -> None:
        """Keep ``clip``, from any thread; never waits, and a disk that refuses is logged."""


class Speaker(Protocol):
    """Where sound goes: 24 kHz, 16-bit, mono. No call waits."""

    @property
    def problem(self) -> str | None:
        """What is wrong now, as a sentence; ``None`` while it can play."""

    @property
    def underruns(self) -> int:
        """How often it had nothing to play in the midst of it, since the start."""

    def play(
        self, item_id: str, content_index: int, pcm: bytes, *, announced: bool = False, percent: int | None = None
    ) -> None:
        """Queue sound of an answer; ``announced``: as loud as announcements are, or ``percent`` of the volume."""

    def chime(self, sound: Samples) -> None:
        """Mix a short sound in, at once, over whatever plays or pauses."""

    @property
    def busy(self) -> bool:
        """Whether anything queued is still to be heard; also while it is paused."""

    def cut(self) -> dict[tuple[str, int], int]:
        """Fall silent within 40 ms and forget what is queued; a pause is over with it.

        Returns:
            Milliseconds that will have been heard of each (item, content part) since the queue was last empty, once
            the fade is over and the device is empty. Nothing, if it was cut already.

        """

    def pause(self) -> None:
        """Fall silent within 40 ms and keep what is queued; what is played meanwhile waits behind it."""

    def resume(self) -> None:
        """Go on where :meth:`pause` stopped: nothing is lost and nothing heard twice."""

    def volume(self, percent: int) -> None:
        """Set the loudness of everything, 0 to 100; in quiet hours it may stay softer."""


class Session(Protocol):
    """An open session that is ready for sound."""

    @property
    def model(self) -> str | None:
        """The model that answers, where the service says so."""

    @property
    def expires_at(self) -> float | None:
        """When the service ends it, in seconds of the Unix clock, where it says so."""

    @property
    def input_rate(self) -> int:
        """Samples per second of the sound it takes."""

    @property
    def late(self) -> list[ServerEvent]:
        """What still came while the session was being left; whole once it is."""

    async def send(self, event: ClientEvent) -> None:
        """Send one event.

        Raises:
            ServiceError: If the session is over.

        """

    def events(self) -> AsyncIterator[ServerEvent]:
        """Yield what the service says until we close the session.

        Raises:
            ServiceError: If the service or the network ends it; ``code`` says how.

        """


class Service(Protocol):
    """The Realtime service."""

    @property
    def limits(self) -> Limits:
        """How long it may take."""

    def open(self, settings: SessionSettings, *, model: str = "") -> AbstractAsyncContextManager[Session]:
        """Connect and set up; on entry the session takes sound. Closes with code 1000 on leaving.

        Args:
            settings: What the session is opened with.
            model: Deployment or model instead of the configured one, if not empty.

        Raises:
            RefusedError: On entry, if it said no.
            ServiceError: On entry, if it cannot be reached in time.

        """

    @property
    def refusals(self) -> str | None:
        """Which settings it refuses, as a sentence; sessions go on without them."""

    async def prepare(self, *, model: str = "") -> None:
        """Connect as far as nothing is sent and nobody signs in; a session that opens soon takes that over.

        Raises nothing for the network.
        """

    async def warm(self) -> None:
        """Do beforehand what needs no session: fetch a token, where sign-in is keyless.

        Raises nothing for the network.
        """


class Broker(Protocol):
    """The MQTT broker. No call waits or fails while it is away."""

    @property
    def connected(self) -> bool:
        """Whether the broker has us."""

    @property
    def problem(self) -> str | None:
        """Why it does not have us, as a sentence."""

    @property
    def disk_problem(self) -> str | None:
        """Why what must arrive would not survive a restart, as a sentence."""

    @property
    def health(self) -> BrokerHealth:
        """How the way to it has been since the start."""

    def keep(self, topic: str, payload: str, *, expiry_s: int | None = None) -> None:
        """Publish a latest value, retained; while away only the newest is kept. Topic below ``<base>/<id>/``."""

    def tell(self, topic: str, payload: str) -> None:
        """Publish an event, never retained. Kept for a minute while away. Topic below ``<base>/<id>/``."""

    def deliver(self, topic: str, payload: str, *, parcel: str) -> None:
        """Publish an event that must arrive: it survives a restart until the broker has confirmed it.

        Topic below ``<base>/<id>/``; ``parcel`` is a unique name.
        """

    def republish(self, names: tuple[str, ...] = ()) -> None:
        """Publish latest values again: those named, or all."""

    async def obey(self, post: Callable[[Message], None]) -> None:
        """Hand what others ask of us to ``post``, for ever."""

    def shout(self, topic: str, payload: str) -> bool:
        """Publish at once or not at all, on a full topic; return whether it is on its way."""

    def answer(self, topic: str, payload: str, correlation: bytes | None) -> None:
        """Publish the response to a command, on the full topic it asked for."""


class Media(Protocol):
    """Sound files that may be played on command."""

    async def load(self, place: str) -> Samples:
        """Return what is at a path or URL, 24 kHz mono. Takes at most half a minute.

        Raises:
            CommandError: If it may not be read, is not there, is no sound, or is too long; with its ``code``.

        """


class Resample(Protocol):
    """Converts a stream of sound from one rate to another."""

    def feed(self, samples: Samples) -> Samples:
        """Take the next samples; return what is converted so far."""


class Settled(Protocol):
    """What is remembered over restarts."""

    def load(self) -> dict[str, object]:
        """Return what was saved last; empty if there is nothing that can be read."""

    def save(self, values: dict[str, object]) -> None:
        """Keep ``values``, without waiting for the disk; one that refuses is logged, not raised."""


class Memories(Protocol):
    """What was said, over restarts."""

    def load(self) -> tuple[Said, ...]:
        """Return the turns saved last, each with its time in seconds since 1970; none if they cannot be read."""

    def save(self, turns: Sequence[Said]) -> None:
        """Keep these turns and no others, without waiting for the disk; one that refuses is logged, not raised."""


class Ledger(Protocol):
    """Where what is spent is written down."""

    @property
    def book(self) -> Book:
        """What was written so far; who adds an entry below adds it here too."""

    @property
    def problem(self) -> str | None:
        """Why entries cannot be kept, as a sentence."""

    def add(self, entry: Entry) -> None:
        """Keep an entry; does not wait."""

    def redate(self, quarters: int) -> None:
        """Date what was added so far so many quarters of an hour later, as the book does; does not wait."""


class Speech(Protocol):
    """Decides whether a frame may hold speech."""

    def __call__(self, samples: Samples) -> bool:
        """Take 320 samples at 16 kHz."""


class WakeScores(Protocol):
    """The wake models: sound in steps, scores out."""

    @property
    def words(self) -> tuple[str, ...]:
        """Names of the models, in the order of the scores."""

    def __call__(self, samples: Samples) -> list[tuple[float, ...]]:
        """Take a whole number of 1,280-sample steps that follow on those before; return one row of scores a step."""

    def reset(self) -> None:
        """Forget the sound so far. The next 25 rows of scores mean nothing."""


@dataclass(frozen=True, slots=True)
class Load:
    """What the daemon asks of the machine."""

    rss_mb: float
    cpu_percent: float
    """Of one core, since the question before."""
    temperature: float | None
    """Degrees Celsius."""


Machine = Callable[[], Load]
"""Tells the load of this process."""

Clock = Callable[[], float]
"""Monotonic seconds."""
