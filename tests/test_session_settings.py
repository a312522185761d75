"""The settings of a session: every key of a profile on the wire of every service, and what happens to refused ones."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from websockets.asyncio.server import ServerConnection

from tests.callers import CREATED, SETTINGS, UPDATED, refused, scenario, server, service
from tests.stories import at_home, config_for_tests, told
from tests.wire import check_client_frame
from voiced.config import Config, RealtimeConfig
from voiced.core.profiles import ELSEWHERE, ignored, session_settings
from voiced.core.realtime import events as ev
from voiced.core.realtime.codec import CODECS, Dialect
from voiced.core.realtime.settings import SessionSettings
from voiced.core.states import Rules
from voiced.errors import RefusedError
from voiced.profileconfig import ProfileConfig, VoiceLiveConfig
from voiced.simulator import Connection, Simulator

Provider = str
DIALECTS: dict[Dialect, Provider] = {"ga": "azure", "preview": "azure-preview", "voice-live": "voice-live"}

# --- from the profile to the wire -------------------------------------------------------------------------------------

OTHER: dict[str, Any] = {
    "voice": "ash",
    "speed": 1.25,
    "instructions": "Be brief.",
    "language": "de",
    "vad_threshold": 0.7,
    "vad_prefix_ms": 200,
    "vad_silence_ms": 700,
    "vad_idle_ms": 6000,
    "noise_reduction": "far_field",
    "noise_strength": 0.5,
    "transcription_model": "whisper-1",
    "transcription_prompt": "Names of plants.",
    "transcription_keywords": ("monstera",),
    "transcription_delay": "low",
    "max_output_tokens": 700,
    "truncation": "disabled",
    "truncation_ratio": 0.5,
    "truncation_tokens": 9000,
    "reasoning_effort": "low",
    "temperature": 0.7,
    "modalities": ("text",),
    "turn_detection": "semantic_vad",
    "vad_eagerness": "high",
    "tools": (),
    "session": {"tool_choice": "none"},
}
"""A value for each key of a profile that is not its usual one."""
NOT_SENT = {"deployment", "chime", "history", "voice_live"}
WITH: dict[str, dict[str, Any]] = {
    "vad_eagerness": {"turn_detection": "semantic_vad"},
    "noise_strength": {"noise_reduction": "near_field"},
    "truncation_ratio": {"truncation": "retention_ratio"},
    "truncation_tokens": {"truncation": "retention_ratio"},
    "speed": {"voice": "en-US-AvaNeural"},
}
"""Keys that mean something only beside another."""
OTHER_LIVE: dict[str, Any] = {
    "echo_cancellation": True,
    "input_rate": 16_000,
    "auto_truncate": True,
    "speech_ms": 100,
    "remove_filler_words": True,
    "languages": ("en", "de"),
    "end_of_utterance": "semantic_detection_v1",
    "end_of_utterance_level": "low",
    "end_of_utterance_timeout_ms": 1500,
}


def configured(dialect: Dialect, **profile: Any) -> Config:
    realtime = RealtimeConfig.model_validate(
        {"provider": DIALECTS[dialect], "endpoint": "https://r.example", "transcription_model": "gpt-transcribe"}
    )
    return Config(realtime=realtime, profiles={"default": ProfileConfig.model_validate(profile)})


def written(config: Config, dialect: Dialect) -> dict[str, Any]:
    text = CODECS[dialect].encode(ev.UpdateSession(session_settings(config, "default", dialect)))
    frame: dict[str, Any] = json.loads(text)
    return frame


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("key", sorted(set(ProfileConfig.model_fields) - NOT_SENT))
def test_every_key_of_a_profile_reaches_the_service_or_is_said_to_be_ignored(dialect: Dialect, key: str) -> None:
    beside = {name: value for name, value in WITH.get(key, {}).items() if key != "speed" or dialect == "voice-live"}
    before, after = configured(dialect, **beside), configured(dialect, **beside, **{key: OTHER[key]})
    is_sent = written(after, dialect) != written(before, dialect)
    follows = "truncation" if key.startswith("truncation_") else key
    assert is_sent == (dialect in ELSEWHERE.get(follows, DIALECTS))
    is_told = any(sentence.startswith(f"profiles.default.{follows}: ") for sentence in ignored(after, dialect))
    assert is_sent != is_told
    check_client_frame(dialect, written(after, dialect))


@pytest.mark.parametrize("key", sorted(VoiceLiveConfig.model_fields))
def test_every_key_of_voice_live_reaches_it(key: str) -> None:
    beside = {"end_of_utterance": "semantic_detection_v1_en"} if key.startswith("end_of_utterance_") else {}
    turns = {"turn_detection": "azure_semantic_vad"}
    before = configured("voice-live", **turns, voice_live=beside)
    after = configured("voice-live", **turns, voice_live={**beside, key: OTHER_LIVE[key]})
    assert written(after, "voice-live") != written(before, "voice-live")
    check_client_frame("voice-live", written(after, "voice-live"))
    assert ignored(configured("ga", voice_live={key: OTHER_LIVE[key]}), "ga")


def everything(dialect: Dialect, **profile: Any) -> Config:
    """All keys at once, as far as they go together and the service has them."""
    left_out = {key for key, dialects in ELSEWHERE.items() if dialect not in dialects}
    left_out |= {"modalities", "turn_detection", "voice", "session"}
    chosen = {key: value for key, value in OTHER.items() if key not in left_out}
    if dialect == "ga":
        chosen["truncation"] = "retention_ratio"
    return configured(dialect, **{**chosen, "voice": "ash", **profile})


LIVE = {
    "voice": {"type": "azure-standard", "name": "en-US-AvaNeural", "style": "chat"},
    "turn_detection": "azure_semantic_vad",
    "noise_reduction": "azure_deep_noise_suppression",
    "transcription_model": "azure-speech",
    "voice_live": OTHER_LIVE,
}


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("turns", ["server_vad", "semantic_vad"])
async def test_the_service_takes_all_of_them_at_once(dialect: Dialect, turns: str) -> None:
    own = {**LIVE, "turn_detection": turns} if dialect == "voice-live" and turns == "semantic_vad" else {}
    config = everything(dialect, **{"turn_detection": turns, **own})
    async with Simulator(scenario()) as simulator:
        line = service(simulator.url, DIALECTS[dialect])
        async with line.open(session_settings(config, "default", dialect)) as session:
            assert len(simulator.sessions[0].received("session.update")) == 1
            assert session.input_rate == (16_000 if own else 24_000)
        assert line.refusals is None
    check_client_frame(dialect, written(config, dialect))


async def test_voice_live_takes_all_it_alone_has() -> None:
    config = everything("voice-live", **LIVE)
    async with Simulator(scenario()) as simulator:
        line = service(simulator.url, "voice-live")
        async with line.open(session_settings(config, "default", "voice-live")) as session:
            assert session.input_rate == 16_000
        said = simulator.sessions[0].sent("session.updated")[-1]["session"]
    assert said["turn_detection"]["end_of_utterance_detection"]["timeout_ms"] == 1500
    assert said["input_audio_echo_cancellation"] == {"type": "server_echo_cancellation"}
    assert said["voice"]["style"] == "chat"
    assert line.refusals is None


@pytest.mark.parametrize("voice", ["en-US-AvaNeural", "zh-CN-liaoning-XiaobeiNeural", "en-US-Ava:DragonHDLatestNeural"])
def test_the_name_of_an_azure_voice_becomes_one_with_its_speed(voice: str) -> None:
    session = written(configured("voice-live", voice=voice, speed=1.1), "voice-live")["session"]
    assert session["voice"] == {"type": "azure-standard", "name": voice, "rate": "1.1"}
    assert written(configured("voice-live", voice="marin"), "voice-live")["session"]["voice"] == "alloy"


def test_what_was_asked_for_beside_lies_under_what_a_key_sets() -> None:
    more = {"audio": {"input": {"format": {"type": "audio/pcmu"}, "own": 1}}, "prompt": {"id": "p"}, "type": "x"}
    session = written(configured("ga", session=more), "ga")["session"]
    assert session["audio"]["input"]["format"] == {"type": "audio/pcm", "rate": 24_000}
    assert (session["audio"]["input"]["own"], session["prompt"], session["type"]) == (1, {"id": "p"}, "realtime")


async def test_sound_at_the_microphones_own_rate_goes_out_as_it_is() -> None:
    config = config_for_tests(
        profiles={"default": ProfileConfig(voice_live=VoiceLiveConfig(input_rate=16_000))},
        realtime=RealtimeConfig(provider="voice-live", endpoint="https://r.example"),
    )
    async with at_home(config=config, environment={"AZURE_VOICELIVE_API_KEY": "k"}, as_cloud=True) as home:
        woken, sound = home.speak()
        await home.until_told("finished")
        heard = home.simulator.sessions[0].received_pcm
        begin = woken - Rules().wake_overlap
        assert len(heard) > 16_000
        assert np.array_equal(heard, sound[begin : begin + len(heard)])
        assert home.simulator.sessions[0].commits


# --- refused ones -----------------------------------------------------------------------------------------------------

HEARD = "session.audio.input.noise_reduction"


@pytest.mark.parametrize("null_ids", [False, True])
@pytest.mark.parametrize(
    ("provider", "names", "missing"),
    [
        ("azure", (HEARD,), ["noise_reduction"]),
        ("azure-preview", ("session.input_audio_noise_reduction", "session.speed"), ["noise_reduction", "speed"]),
    ],
)
async def test_a_setting_refused_by_name_is_left_out_from_then_on(
    provider: str, names: tuple[str, ...], missing: list[str], null_ids: bool
) -> None:
    plan = scenario(Connection(refuse_settings=names), null_event_ids=null_ids, repeat_connections=True)
    async with Simulator(plan) as simulator:
        line = service(simulator.url, provider)
        for number, attempts in ((0, 1 + len(names)), (1, 1)):
            async with line.open(SETTINGS):
                updates = simulator.sessions[number].received("session.update")
            assert len(updates) == attempts
            last = json.dumps(updates[-1])
            assert not any(word in last for word in missing)
            assert "server_vad" in last
    told = line.refusals or ""
    assert all(f"{name} (unknown_parameter" in told for name in names)


@pytest.mark.parametrize("provider", ["azure", "azure-preview", "voice-live"])
async def test_of_settings_refused_without_a_name_only_the_guilty_are_left_out(provider: str) -> None:
    guilty = HEARD if provider == "azure" else "session.input_audio_noise_reduction"
    plan = scenario(Connection(refuse_settings=(guilty,), unnamed=True), repeat_connections=True)
    settings = SessionSettings(instructions="x", voice="ash", noise_reduction="far_field", max_output_tokens=500)
    async with Simulator(plan) as simulator:
        line = service(simulator.url, provider)
        async with line.open(settings):
            pass
        holds = simulator.sessions[0].sent("session.updated")[-1]["session"]
        assert "500" in json.dumps(holds)
        assert "ash" in json.dumps(holds)
        assert '"far_field"' not in json.dumps(holds)
        assert (line.refusals or "").count("session.") == 1
        assert guilty in (line.refusals or "")
        async with line.open(settings):
            assert len(simulator.sessions[1].received("session.update")) == 1


Takes = Callable[[dict[str, Any]], bool]


def picky(takes: Takes, error: Mapping[str, Any]) -> Callable[[ServerConnection], Any]:
    """A service that takes only some sessions."""

    async def converse(line: ServerConnection) -> None:
        await line.send(CREATED)
        async for message in line:
            taken = takes(json.loads(message)["session"])
            await line.send(UPDATED if taken else json.dumps({"type": "error", "error": dict(error)}))

    return converse


async def test_a_refusal_that_only_speaks_of_the_setting_is_understood() -> None:
    """gpt-realtime-1.5 refuses ``reasoning`` with neither a name nor an id."""
    seen: list[dict[str, Any]] = []

    def takes(session: dict[str, Any]) -> bool:
        seen.append(session)
        return "reasoning" not in session

    error = {"type": "invalid_request_error", "message": "Reasoning is not supported by this model.", "param": None}
    settings = SessionSettings(reasoning_effort="low", voice="marin")
    async with server(picky(takes, error)) as there:
        line = service(there, "custom")
        async with line.open(settings):
            pass
    assert len(seen) == 2
    assert seen[1]["audio"]["output"]["voice"] == "marin"
    assert "session.reasoning" in (line.refusals or "")


async def test_a_voice_that_cannot_be_set_is_left_out_even_without_its_name() -> None:
    def takes(session: dict[str, Any]) -> bool:
        return "voice" not in session["audio"]["output"]

    error = {"type": "invalid_request_error", "code": "cannot_update_voice", "message": "Too late."}
    async with server(picky(takes, error)) as there, service(there, "custom").open(SETTINGS):
        pass


@pytest.mark.parametrize("param", [None, "session.type", "session.audio.input.turn_detection.type"])
async def test_a_service_that_takes_no_settings_at_all_is_refused(param: str | None) -> None:
    error = {"type": "invalid_request_error", "code": "unknown_parameter", "message": "No.", "param": param}
    async with server(picky(lambda _: False, error)) as there:
        problem = await refused(service(there, "custom"))
    assert isinstance(problem, RefusedError)
    assert 'speaks the "ga" dialect' in str(problem)


async def test_another_protocol_is_recognised_at_the_greeting() -> None:
    async def converse(line: ServerConnection) -> None:
        await line.send('{"hello": "world"}')
        await line.wait_closed()

    async with server(converse) as there:
        error = await refused(service(there, "custom"))
    assert 'speaks the "ga" dialect' in str(error)


async def test_health_says_once_which_settings_are_refused_and_the_conversation_goes_on() -> None:
    plan = scenario(Connection(refuse_settings=(HEARD,)), repeat_connections=True, pace=0)
    profiles = {"default": ProfileConfig(noise_reduction="far_field")}
    async with at_home(plan, config_for_tests(profiles=profiles)) as home:
        for count in (1, 2):
            await home.command("command/ask", "What time is it?")
            await home.until_told("finished", count=count)
            await home.until_idle()
        (problem,) = told(home.diary, "event/error", "error")
    assert problem["code"] == "settings"
    assert HEARD in problem["message"]
    assert problem["message"].endswith("or choose another model.")
