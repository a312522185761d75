"""The simulator's own book, apart from the daemon's: what it tells of usage, times its prices."""

from typing import Any

import pytest
from pydantic import ValidationError

from tests.simulated import client, spoken
from voiced.simulator import Scenario, Simulator, Turn
from voiced.simulator.prices import TokenPrices

GUIDE = {
    "input_token_details": {
        "text_tokens": 119,
        "audio_tokens": 13,
        "cached_tokens": 64,
        "cached_tokens_details": {"text_tokens": 64, "audio_tokens": 0},
    },
    "output_token_details": {"text_tokens": 30, "audio_tokens": 91},
}
"""An answer of gpt-realtime-2.1 that costs 55 x 4 + 64 x 0.4 + 13 x 32 + 30 x 24 + 91 x 64 = 7,205.6 millionths."""


def answer(usage: Any) -> dict[str, Any]:
    return {"type": "response.done", "response": {"usage": usage}}


def transcript(**usage: Any) -> dict[str, Any]:
    return {"type": "conversation.item.input_audio_transcription.completed", "usage": usage}


def test_an_answer_costs_what_its_tokens_cost_and_cached_ones_less() -> None:
    assert TokenPrices().nano(answer(GUIDE)) == 7_205_600
    undetailed = {**GUIDE, "input_token_details": {"text_tokens": 119, "audio_tokens": 13, "cached_tokens": 64}}
    assert TokenPrices().nano(answer(undetailed)) == 7_205_600
    assert TokenPrices(audio_out=0.0).nano(answer(GUIDE)) == 7_205_600 - 91 * 64_000


def test_a_transcript_costs_tokens_or_seconds_and_other_events_nothing() -> None:
    assert TokenPrices().nano(transcript(type="duration", seconds=2.5)) == 250_000
    assert TokenPrices().nano(transcript(type="tokens", input_tokens=20, output_tokens=5)) == 100_000
    for event in (answer(None), {"type": "response.created"}, {"type": transcript()["type"]}):
        assert TokenPrices().nano(event) == 0


def test_a_price_below_nothing_is_refused() -> None:
    with pytest.raises(ValidationError, match="text_in"):
        TokenPrices(text_in=-1)


async def test_whoever_watches_is_told_what_an_answer_costs() -> None:
    lines: list[str] = []
    turn = Turn(user="What time is it?", assistant="Noon.", sound="time.wav")
    plan = Scenario(turns=(turn,), pace=0, prices=TokenPrices(audio_out=1_000_000.0))
    async with Simulator(plan, watch=lambda _, line: lines.append(line)) as simulator, client(simulator) as talker:
        await talker.say(await spoken() + bytes(48_000))
        await talker.event("rate_limits.updated")
        nano = simulator.sessions[0].nano
    assert nano > 60 * 1_000_000_000
    assert f"< response.done  ${nano / 1e9:.4f}, ${nano / 1e9:.4f} so far" in lines
