"""What tokens and minutes cost, by a dated table.

Source of the formula: OpenAI's guide on Realtime costs. Cached tokens are contained in the counts of what comes in, and
cost less. Money is counted in whole nano-dollars, so that sums are exact.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from voiced.core.realtime.decoding import MOST
from voiced.core.realtime.events import Usage
from voiced.errors import ConfigError

NANO = 1_000_000_000
"""Nano-dollars in a dollar."""

NANO_PER_TOKEN = 1000
"""Nano-dollars a token, where a million tokens cost one dollar."""

TOKEN_S = 0.1
"""Seconds of the person's sound in a token."""

Dollars = Annotated[Decimal, Field(ge=0, le=1_000_000, allow_inf_nan=False)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Kind(_Part):
    """Dollars per 1,000,000 tokens of text, sound or image."""

    input: Dollars = Field(default=Decimal(0), alias="in")
    cached: Dollars | None = None
    """``None``: as ``in``."""
    out: Dollars | None = None


class Price(_Part):
    """One line of the table."""

    models: tuple[str, ...] = Field(min_length=1)
    text: Kind | None = None
    audio: Kind | None = None
    image: Kind | None = None
    per_minute: Dollars | None = None
    per_second: Dollars | None = None
    source: str = ""

    @model_validator(mode="after")
    def _has_a_price(self) -> "Price":
        if (self.text, self.audio, self.image, self.per_minute, self.per_second) == (None,) * 5:
            raise ValueError("has no price: give text, audio, per_minute or per_second")
        return self

    @property
    def second(self) -> Decimal | None:
        """Dollars per second, where time is paid for."""
        if self.per_minute is None:
            return self.per_second
        return self.per_minute / 60 + (self.per_second or 0)


class _Table(_Part):
    as_of: date
    prices: tuple[Price, ...]


@dataclass(frozen=True, slots=True)
class Cost:
    """What something costs."""

    nano: int | None
    """Nano-dollars; ``None``: not known."""
    estimated: bool = False
    """Whether the service left out which tokens were what."""


UNKNOWN = Cost(None)


@dataclass(frozen=True, slots=True)
class Prices:
    """Dated prices; those of the user come first."""

    as_of: date
    lines: tuple[Price, ...]

    def price(self, model: str) -> Price | None:
        """Return the line for ``model``; ``None``: there is none."""
        for line in self.lines:
            if any(fnmatchcase(model, pattern) for pattern in line.models):
                return line
        return None

    def cost(self, usage: Usage, model: str) -> Cost:
        """Return what the tokens of an answer, or of a transcript, cost."""
        price = self.price(model)
        if price is None:
            return UNKNOWN
        if (price.text, price.audio, price.image) == (None, None, None):
            return Cost(0)  # paid by time
        spread, estimated = _spread(usage)
        sums = (
            _of_kind(price.text, spread.input_text, spread.cached_text, spread.output_text),
            _of_kind(price.audio, spread.input_audio, spread.cached_audio, spread.output_audio),
            _of_kind(price.image, spread.input_image, spread.cached_image, 0),
        )
        if None in sums:
            return UNKNOWN
        return Cost(round(sum(part for part in sums if part is not None) * NANO_PER_TOKEN), estimated)

    def time_cost(self, seconds: float, model: str) -> Cost:
        """Return what ``seconds`` of sound, or of an open session, cost; nothing where tokens are paid for."""
        price = self.price(model)
        if price is None:
            return UNKNOWN
        return Cost(round((price.second or Decimal(0)) * Decimal(max(0.0, seconds)) * NANO))

    def transcript_cost(self, raw: Mapping[str, Any], model: str) -> Cost:
        """Return what a transcript costs; ``raw`` is its ``usage`` as the service sends it."""
        if raw.get("type") == "duration":
            return self.time_cost(seconds_of(raw), model)
        tokens, price = transcript_tokens(raw), self.price(model)
        if price is not None and price.text is None and price.audio is None:
            cost = self.time_cost((tokens.input_audio or tokens.input) * TOKEN_S, model)
            return Cost(cost.nano, estimated=True)
        return self.cost(tokens, model)


def transcript_tokens(raw: Mapping[str, Any]) -> Usage:
    """Return the tokens of a transcript from its ``usage``; none where time is counted."""
    details = raw.get("input_token_details")
    details = details if isinstance(details, Mapping) else {}
    came_in, went_out = _count(raw, "input_tokens"), _count(raw, "output_tokens")
    return Usage(
        total=_count(raw, "total_tokens") or came_in + went_out,
        input=came_in,
        output=went_out,
        input_text=_count(details, "text_tokens"),
        input_audio=_count(details, "audio_tokens"),
        output_text=went_out,
    )


def read_prices(text: str, name: str) -> Prices:
    """Return the table in ``text``.

    Args:
        text: TOML.
        name: Of the file, for complaints.

    Raises:
        ConfigError: If it is not such a table.

    """
    try:
        table = _Table.model_validate(tomllib.loads(text, parse_float=Decimal))
    except tomllib.TOMLDecodeError as exc:
        raise ConfigError(f"{name}: not TOML: {exc}") from exc
    except ValidationError as exc:
        raise ConfigError(
            *(f"{name}: {'.'.join(map(str, error['loc']))}: {error['msg']}" for error in exc.errors())
        ) from exc
    return Prices(table.as_of, table.prices)


def _of_kind(kind: Kind | None, came_in: int, cached: int, went_out: int) -> Decimal | None:
    """Return millionths of a dollar; ``None`` where there are tokens without a price."""
    if kind is None:
        return None if came_in or went_out else Decimal(0)
    if went_out and kind.out is None:
        return None
    at_once = kind.input if kind.cached is None else kind.cached
    return (came_in - cached) * kind.input + cached * at_once + went_out * (kind.out or 0)


def _spread(usage: Usage) -> tuple[Usage, bool]:
    """Return the counts with every token in one kind, and whether that took a guess.

    Tokens of no kind: text where other kinds are told (the model's thoughts), else sound, which costs most. Cached
    tokens of no kind: text first, then sound, then images.
    """
    text, audio, image = usage.input_text, usage.input_audio, usage.input_image
    missing = max(0, usage.input - text - audio - image)
    if text or audio or image:
        text += missing
    else:
        audio = missing
    out_text, out_audio = usage.output_text, usage.output_audio
    out_missing = max(0, usage.output - out_text - out_audio)
    if out_text or out_audio:
        out_text += out_missing
    else:
        out_audio = out_missing
    cached = [min(usage.cached_text, text), min(usage.cached_audio, audio), min(usage.cached_image, image)]
    rest = max(0, usage.cached - sum(cached))
    guessed = bool(missing or out_missing or rest)
    for index, room in enumerate((text, audio, image)):
        more = min(rest, room - cached[index])
        cached[index] += more
        rest -= more
    spread = Usage(
        input_text=text,
        input_audio=audio,
        input_image=image,
        cached_text=cached[0],
        cached_audio=cached[1],
        cached_image=cached[2],
        output_text=out_text,
        output_audio=out_audio,
    )
    return spread, guessed


def _count(table: Mapping[str, Any], key: str) -> int:
    value = table.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MOST else 0


def seconds_of(raw: Mapping[str, Any]) -> float:
    """Return the seconds in the ``usage`` of a transcript; 0 where tokens are counted."""
    value = raw.get("seconds")
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and 0 <= value <= MOST else 0.0  # type: ignore[arg-type,operator]  # a number
