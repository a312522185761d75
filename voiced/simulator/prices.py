"""What the simulator would charge: plain arithmetic on what it tells of usage, apart from the daemon's own account."""

from collections.abc import Mapping
from fractions import Fraction
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Dollars = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class TokenPrices(BaseModel):
    """US dollars for a million tokens; the defaults are those of gpt-realtime-2.1 and gpt-4o-transcribe."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text_in: Dollars = 4.0
    text_cached: Dollars = 0.4
    text_out: Dollars = 24.0
    audio_in: Dollars = 32.0
    audio_cached: Dollars = 0.4
    audio_out: Dollars = 64.0
    transcribed_in: Dollars = 2.5
    transcribed_out: Dollars = 10.0
    transcribed_minute: Dollars = 0.006
    """For who transcribes and counts seconds."""

    def nano(self, event: Mapping[str, Any]) -> int:
        """Return the nano-dollars that an event tells of; 0 for most."""
        match event:
            case {"type": "response.done", "response": {"usage": Mapping() as usage}}:
                return _rounded(self._answer(usage))
            case {"type": "conversation.item.input_audio_transcription.completed", "usage": Mapping() as usage}:
                return _rounded(self._transcript(usage))
            case _:
                return 0

    def _answer(self, usage: Mapping[str, Any]) -> Fraction:
        came_in, went_out = usage["input_token_details"], usage["output_token_details"]
        cached = came_in.get("cached_tokens_details", {"text_tokens": came_in["cached_tokens"], "audio_tokens": 0})
        return sum(
            (
                (came_in["text_tokens"] - cached["text_tokens"]) * Fraction(str(self.text_in)),
                (came_in["audio_tokens"] - cached["audio_tokens"]) * Fraction(str(self.audio_in)),
                cached["text_tokens"] * Fraction(str(self.text_cached)),
                cached["audio_tokens"] * Fraction(str(self.audio_cached)),
                went_out["text_tokens"] * Fraction(str(self.text_out)),
                went_out["audio_tokens"] * Fraction(str(self.audio_out)),
            ),
            Fraction(0),
        )

    def _transcript(self, usage: Mapping[str, Any]) -> Fraction:
        if usage["type"] == "duration":
            return Fraction(str(usage["seconds"])) * Fraction(str(self.transcribed_minute)) / 60 * 1_000_000
        came_in, went_out = int(usage["input_tokens"]), int(usage["output_tokens"])
        return came_in * Fraction(str(self.transcribed_in)) + went_out * Fraction(str(self.transcribed_out))


def _rounded(millionths: Fraction) -> int:
    return round(millionths * 1000)
