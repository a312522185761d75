"""What the simulator says and what goes wrong: frozen values, from TOML or JSON.

Everything has a default but the turns. Unknown keys are errors.
"""

import json
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from voiced.errors import ConfigError
from voiced.simulator.prices import TokenPrices

SOUNDS = Path(__file__).parent / "sounds"
"""Where the shipped answers are."""

Milliseconds = Annotated[int, Field(ge=0)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)


class ToolCall(_Part):
    """A tool that the model calls before it answers; left out if the session does not offer it."""

    name: str
    arguments: dict[str, Any] = {}


class Failed(_Part):
    """The answer fails: ``response.done`` with status ``failed``, no output, no ``error`` event."""

    kind: Literal["failed"]
    type: str = "server_error"
    code: str = "server_error"
    message: str = "The server had an error while processing your request."
    created: bool = True
    """Whether ``response.created`` comes before it."""


class Incomplete(_Part):
    """The answer ends early."""

    kind: Literal["incomplete"]
    reason: Literal["max_output_tokens", "content_filter"] = "content_filter"
    after_ms: Milliseconds = 500


class Stall(_Part):
    """The answer stops coming, without a word; cancelling it works, unless it is ``deaf``."""

    kind: Literal["stall"]
    after_ms: Milliseconds = 0
    deaf: bool = False


class Silence(_Part):
    """There is no answer, not even a beginning."""

    kind: Literal["silence"]


class Abort(_Part):
    """The TCP connection is reset."""

    kind: Literal["abort"]
    after_ms: Milliseconds = 0


class Close(_Part):
    """The WebSocket is closed."""

    kind: Literal["close"]
    after_ms: Milliseconds = 0
    code: Annotated[int, Field(ge=1000, le=4999)] = 1011
    reason: str = "The server had an error while processing your request."


class Expire(_Part):
    """The session's time is over: ``error`` with ``session_expired``, then close 1001."""

    kind: Literal["expire"]
    after_ms: Milliseconds = 0


class Vanish(_Part):
    """From now on the network swallows everything, both ways: no answer, no pong, and nobody hangs up."""

    kind: Literal["vanish"]
    after_ms: Milliseconds = 0


class ErrorEvent(_Part):
    """An ``error`` event comes in place of an answer."""

    kind: Literal["error"]
    type: str = "server_error"
    code: str | None = None
    message: str = "The server had an error while processing your request. Sorry about that!"


AnswerFault: TypeAlias = Annotated[
    Failed | Incomplete | Stall | Silence | Abort | Close | Expire | Vanish | ErrorEvent, Field(discriminator="kind")
]
"""What goes wrong with an answer; ``after_ms`` counts milliseconds of its sound."""

End: TypeAlias = Annotated[Abort | Close | Expire | Vanish, Field(discriminator="kind")]
"""How a connection ends by itself; ``after_ms`` counts from ``session.created``, or from ``ends_at``."""


class Message(_Part):
    """A message of an answer."""

    assistant: str
    sound: str = ""
    """WAV file of it: beside the scenario, or shipped. Without one it is made by espeak-ng."""


class Turn(Message):
    """Something said by the person, and its answer."""

    user: str = ""
    """What the transcription says was said. A text message with these words gets this turn's answer."""
    more: tuple[Message, ...] = ()
    """Further messages of the answer, each an item of its own."""
    think_ms: Milliseconds = 250
    """Time between ``response.created`` and the first words."""
    transcription: Literal["completed", "failed"] = "completed"
    transcription_delay_ms: Milliseconds = 400
    """Time from the commit to the person's transcript; a long one comes after ``response.done``."""
    preamble: str = ""
    """Spoken in the same response as the tool calls."""
    tools: tuple[ToolCall, ...] = ()
    fault: AnswerFault | None = None
    beside: tuple[ErrorEvent, ...] = ()
    """Errors told as the answer begins, which mean nothing for it."""
    fault_times: Annotated[int, Field(ge=1)] | None = None
    """How often the fault happens; ``None`` is always."""


class Refusal(_Part):
    """A connection is refused: by HTTP ``status``, or after the upgrade by ``error`` and ``close_code``."""

    status: Annotated[int, Field(ge=400, le=599)] | None = None
    close_code: Annotated[int, Field(ge=3000, le=4999)] | None = None
    code: str = "invalid_request_error"
    message: str = "The request was refused."
    retry_after_s: Annotated[int, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _one_way(self) -> "Refusal":
        if (self.status is None) == (self.close_code is None):
            raise ValueError("give either status or close_code")
        return self


class Connection(_Part):
    """How one connection attempt goes."""

    accept_delay_ms: Milliseconds = 0
    """Time before the answer to the upgrade request."""
    created_delay_ms: Milliseconds = 0
    updated_delay_ms: Milliseconds = 0
    abort: bool = False
    """Reset the TCP connection instead of answering the upgrade request."""
    refuse: Refusal | None = None
    refuse_settings: tuple[str, ...] = ()
    """Settings this connection does not know, for example ``session.reasoning``."""
    voice_fixed: bool = False
    """Whether the voice cannot be changed, as if the session had spoken already."""
    unnamed: bool = False
    """Whether a refusal of settings says neither which one it is about nor which event."""
    ends: End | None = None
    ends_at: str = ""
    """The event after which it ends, the first time it is sent, by its name on the wire."""


def _some(turns: tuple[Turn, ...]) -> tuple[Turn, ...]:
    # not min_length, which counts good turns only and so complains about bad ones twice
    if not turns:
        raise ValueError("give at least one turn")
    return turns


class Scenario(_Part):
    """A conversation, and the connections it happens on."""

    name: str = "scenario"
    turns: Annotated[tuple[Turn, ...], AfterValidator(_some)]
    when_over: Literal["repeat", "last"] = "repeat"
    """Begin again after the last turn, or stay with it."""
    every_session: bool = True
    """Whether each session begins with the first turn, or where the one before stopped."""
    connections: tuple[Connection, ...] = ()
    """The first attempt takes the first, and so on; attempts after the last go well."""
    repeat_connections: bool = False
    """Whether attempts after the last begin again with the first."""
    pace: Annotated[float, Field(ge=0)] = 10.0
    """How many times faster than real time sound is sent; 0 is all at once."""
    delays_ms: dict[str, Milliseconds] = {}
    """Time before each event of a type, by its name on the wire: ``{"response.created" = 800}``."""
    model: str = "gpt-realtime-2.1"
    """What GA sessions say is their model where the address names a deployment."""
    preview_model: str = "gpt-4o-realtime-preview-2024-12-17"
    session_minutes: Annotated[float, Field(gt=0)] = 60.0
    null_event_ids: bool = False
    """Whether ``error`` events say ``null`` where the client gave an event name, as the service often does."""
    prices: TokenPrices = TokenPrices()
    """What the simulator says that all this would cost."""
    unknown_events: bool = False
    """Whether events that nobody knows are sent in between."""
    speech_voice: str = "en-us"
    """espeak-ng voice for answers without a sound file."""
    seed: int = 0
    """Makes all names repeatable."""

    def connection(self, attempt: int) -> Connection:
        """Return how attempt number ``attempt`` goes, from 0."""
        if self.repeat_connections and self.connections:
            attempt %= len(self.connections)
        return self.connections[attempt] if attempt < len(self.connections) else Connection()


DEFAULT = SOUNDS / "greeting.toml"
"""A short conversation in English: the time, and the weather."""


def load_scenario(path: Path = DEFAULT) -> Scenario:
    """Read a scenario from a TOML or JSON file; sound files are looked for beside it, then among the shipped ones.

    Raises:
        ConfigError: If it cannot be read or is wrong, naming the file and each key.

    """
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
        scenario = Scenario.model_validate(content)
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be read: {exc.strerror}. Name an existing scenario file.") from exc
    except ValidationError as exc:
        raise ConfigError(*(f"{path}: {_key(each['loc'])}: {each['msg']}" for each in exc.errors())) from exc
    except ValueError as exc:  # JSON, TOML and UTF-8 errors are all of this kind
        raise ConfigError(f"{path}: is not valid {'JSON' if path.suffix == '.json' else 'TOML'}: {exc}") from exc
    turns = tuple(_with_sounds(turn, path) for turn in scenario.turns)
    return scenario.model_copy(update={"turns": turns})


def _key(place: tuple[int | str, ...]) -> str:
    """Return ``turns[0].fault.after_ms`` for a place in the file."""
    key = "".join(f"[{each}]" if isinstance(each, int) else f".{each}" for each in place)
    return key.lstrip(".") or "the file"


def _with_sounds(turn: Turn, scenario: Path) -> Turn:
    more = tuple(each.model_copy(update={"sound": _found(each.sound, scenario)}) for each in turn.more)
    return turn.model_copy(update={"sound": _found(turn.sound, scenario), "more": more})


def _found(sound: str, scenario: Path) -> str:
    if not sound:
        return ""
    for folder in (scenario.parent, SOUNDS):
        if (folder / sound).is_file():
            return str(folder / sound)
    raise ConfigError(
        f"{scenario}: turns: the sound file {sound} is neither in {scenario.parent} nor among the shipped ones; "
        "add it, or leave out sound to have it made by espeak-ng."
    )
