"""Scenarios: how they are read, and every fault they can order."""

import asyncio
import json
import os
import shutil
import signal
import sys
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidMessage, InvalidStatus

from tests.simulated import check_frames, client, samples, silence, spoken
from voiced.errors import ConfigError, SoundFileError
from voiced.simulator import DEFAULT, Scenario, Simulator, Turn, load_scenario
from voiced.simulator.make_sounds import make
from voiced.simulator.speech import FALLBACK, read_wav, resample

Json = dict[str, Any]


def scenario(fault: Json | None = None, **more: Any) -> Scenario:
    """Return one turn that goes wrong, or what else is given."""
    turn: Json = {"user": "Hello.", "assistant": "Good day to you.", "sound": "welcome.wav", "think_ms": 0}
    turn.update(more.pop("turn", {}))
    return Scenario.model_validate({"turns": [{**turn, "fault": fault}], "pace": 0, **more})


# --- reading ----------------------------------------------------------------------------------------------------------


def test_the_scenario_in_the_readme_is_one(tmp_path: Path) -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    text = next(block for block in readme.split("```toml\n")[1:] if "[[turns]]" in block).split("```")[0]
    (tmp_path / "trouble.toml").write_text(text)
    read = load_scenario(tmp_path / "trouble.toml")
    assert [turn.fault.kind for turn in read.turns if turn.fault] == ["failed", "abort"]
    assert len(read.connections) == 3


def test_the_shipped_conversation_has_short_spoken_answers() -> None:
    shipped = load_scenario()
    assert len(shipped.turns) >= 2
    assert [turn.user for turn in shipped.turns[:2]] == [
        "What time is it?",
        "And what will the weather be like tomorrow?",
    ]
    for turn in shipped.turns:
        assert 2.0 < len(read_wav(Path(turn.sound))) / 24_000 < 3.2


@pytest.mark.parametrize("suffix", [".toml", ".json"])
def test_a_scenario_is_toml_or_json_with_sounds_beside_it(tmp_path: Path, suffix: str) -> None:
    shutil.copy(DEFAULT.parent / "time.wav", tmp_path / "mine.wav")
    file = tmp_path / f"talk{suffix}"
    turns = [{"assistant": "A", "sound": "mine.wav"}, {"assistant": "B", "sound": "weather.wav"}]
    if suffix == ".json":
        file.write_text(json.dumps({"when_over": "last", "turns": turns}))
    else:
        lines = [f'[[turns]]\nassistant = "{each["assistant"]}"\nsound = "{each["sound"]}"\n' for each in turns]
        file.write_text('when_over = "last"\n' + "".join(lines))
    read = load_scenario(file)
    assert read.when_over == "last"
    assert [turn.sound for turn in read.turns] == [str(tmp_path / "mine.wav"), str(DEFAULT.parent / "weather.wav")]


BROKEN = [
    ("", "turns: Field required"),
    ("turns = []", "turns: "),
    ("turns = 3\n[[", "is not valid TOML"),
    ('[[turns]]\nuser = "x"', r"turns\[0\]\.assistant: Field required"),
    ('[[turns]]\nassistant = "x"\nthink = 3', r"turns\[0\]\.think: Extra inputs"),
    ('[[turns]]\nassistant = "x"\nthink_ms = -3', r"turns\[0\]\.think_ms: "),
    ('[[turns]]\nassistant = "x"\nfault = {kind = "flood"}', r"turns\[0\]\.fault: .*'flood'"),
    ('[[turns]]\nassistant = "x"\nfault = {kind = "close", code = 5}', r"turns\[0\]\.fault\.close\.code: "),
    ('[[turns]]\nassistant = "x"\nsound = "none.wav"', "none.wav is neither in"),
    ('connections = [{refuse = {}}]\n[[turns]]\nassistant = "x"', r"connections\[0\]\.refuse: .*status or close_code"),
]


@pytest.mark.parametrize(("text", "said"), BROKEN)
def test_a_broken_scenario_is_refused_with_file_and_key(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "broken.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=f"broken.toml: .*{said}|broken.toml: {said}"):
        load_scenario(file)


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "two.toml").write_text('pace = -1\n[[turns]]\nanswer = "x"')
    with pytest.raises(ConfigError) as refused:
        load_scenario(tmp_path / "two.toml")
    assert len(refused.value.problems) == 3
    with pytest.raises(ConfigError, match=r"absent\.toml: cannot be read"):
        load_scenario(tmp_path / "absent.toml")


async def test_a_broken_sound_is_refused_before_anything_listens(tmp_path: Path) -> None:
    (tmp_path / "noise.wav").write_bytes(b"RIFF....")
    with pytest.raises(SoundFileError, match=r"noise\.wav"):
        async with Simulator(scenario(turn={"sound": str(tmp_path / "noise.wav")})):
            pass


async def test_resampling_keeps_the_sound() -> None:
    sound = samples(await spoken())
    there = resample(sound, 24_000, 48_000)
    assert len(there) == 2 * len(sound)
    assert abs(resample(there, 48_000).astype(int) - sound).max() <= 2


async def test_a_text_without_recording_is_spoken_even_without_espeak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    async with Simulator(scenario(turn={"sound": ""})) as simulator, client(simulator) as talker:
        await talker.send("response.create")
        done = (await talker.event("response.done"))["response"]
        assert done["output"][0]["content"][0]["transcript"] == "Good day to you."
        assert np.array_equal(simulator.sessions[0].sent_pcm, read_wav(FALLBACK))


async def test_a_failure_of_the_simulator_itself_is_not_hushed_up(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "espeak-ng"
    broken.write_text(f"#!{sys.executable}\nprint('this is no sound ' * 9)\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    async def talk() -> None:
        async with Simulator(scenario(turn={"sound": ""})) as simulator, client(simulator) as talker:
            await talker.send("response.create")
            assert (await talker.closed())[0] == 1011

    with pytest.raises(ExceptionGroup) as failed:
        await talk()
    assert failed.value.subgroup(SoundFileError) is not None


def test_the_sounds_of_a_scenario_are_made_from_its_text(tmp_path: Path) -> None:
    file = tmp_path / "talk.toml"
    file.write_text('[[turns]]\nassistant = "Good day."\nsound = "day.wav"\n[[turns]]\nassistant = "Made later."\n')
    assert make(file) == [tmp_path / "day.wav"]
    assert 12_000 < len(read_wav(tmp_path / "day.wav")) < 48_000


@pytest.mark.parametrize(("channels", "width"), [(2, 2), (1, 1)])
async def test_a_sound_of_another_form_is_refused_by_name(tmp_path: Path, channels: int, width: int) -> None:
    with wave.open(str(tmp_path / "odd.wav"), "wb") as file:
        file.setparams((channels, width, 24_000, 0, "NONE", ""))
        file.writeframes(bytes(64))
    with pytest.raises(SoundFileError, match=r"odd\.wav: must be mono with 16 bits"):
        read_wav(tmp_path / "odd.wav")


# --- turns ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, ["A", "B", "A", "A"]),
        ({"when_over": "last"}, ["A", "B", "B", "A"]),
        ({"every_session": False}, ["A", "B", "A", "B"]),
    ],
)
async def test_turns_follow_each_other(settings: Json, expected: list[str]) -> None:
    turns = tuple(Turn(assistant=each, sound="welcome.wav", think_ms=0) for each in "AB")
    said = []
    async with Simulator(Scenario(turns=turns, pace=0, **settings)) as simulator:
        for answers in (3, 1):
            async with client(simulator) as talker:
                for count in range(1, answers + 1):
                    await talker.send("response.create", response={"output_modalities": ["text"]})
                    done = (await talker.event("response.done", count))["response"]
                    said.append(done["output"][0]["content"][0]["text"])
    assert said == expected


async def test_history_that_is_told_again_uses_up_no_turn() -> None:
    async with Simulator(scenario()) as simulator, client(simulator) as talker:
        for role, kind in (("user", "input_text"), ("assistant", "output_text")) * 3:
            item = {"type": "message", "role": role, "content": [{"type": kind, "text": "Before."}]}
            await talker.send("conversation.item.create", item=item)
        await talker.say(silence(100) + await spoken() + silence(400))
        await talker.event("response.done")
        check_frames("ga", simulator.sessions[0])


async def test_a_transcript_may_come_late_or_never() -> None:
    late = scenario(turn={"transcription_delay_ms": 100})
    async with Simulator(late) as simulator, client(simulator) as talker:
        await talker.send(
            "session.update",
            session={"type": "realtime", "audio": {"input": {"transcription": {"model": "whisper-1"}}}},
        )
        await talker.say(silence(100) + await spoken() + silence(400))
        await talker.event("conversation.item.input_audio_transcription.completed")
        assert talker.kinds.index("response.done") < len(talker.kinds) - 1
    failing = scenario(turn={"transcription": "failed", "transcription_delay_ms": 0})
    async with Simulator(failing) as simulator, client(simulator) as talker:
        await talker.send(
            "session.update",
            session={"type": "realtime", "audio": {"input": {"transcription": {"model": "whisper-1"}}}},
        )
        await talker.say(silence(100) + await spoken() + silence(400))
        failed = await talker.event("conversation.item.input_audio_transcription.failed")
        assert failed["error"]["code"] == "audio_unintelligible"
        await talker.event("response.done")
        check_frames("ga", simulator.sessions[0])


# --- faults of answers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("created", [True, False])
async def test_a_failed_answer_can_be_asked_for_again(created: bool) -> None:
    fault = {"kind": "failed", "code": "rate_limit_exceeded", "message": "Try again in 1s.", "created": created}
    async with Simulator(scenario(fault, turn={"fault_times": 1})) as simulator, client(simulator) as talker:
        await talker.send("response.create")
        done = (await talker.event("response.done"))["response"]
        assert ("response.created" in talker.kinds) == created
        assert (done["status"], done["output"], done["usage"]["total_tokens"]) == ("failed", [], 0)
        assert done["status_details"]["error"]["code"] == "rate_limit_exceeded"
        await talker.send("response.create")
        assert (await talker.event("response.done", 2))["response"]["status"] == "completed"
        check_frames("ga", simulator.sessions[0])


async def test_an_answer_ends_early() -> None:
    fault = {"kind": "incomplete", "reason": "content_filter", "after_ms": 1000}
    async with Simulator(scenario(fault)) as simulator, client(simulator) as talker:
        await talker.send("response.create")
        done = (await talker.event("response.done"))["response"]
        assert done["status_details"] == {"type": "incomplete", "reason": "content_filter"}
        assert (
            len(simulator.sessions[0].sent_pcm) == 24 * 1400
        )  # the bursts that reach a second: 100, 150, 250, 400, 500
        check_frames("ga", simulator.sessions[0])


async def test_an_error_comes_in_place_of_an_answer() -> None:
    fault = {"kind": "error", "message": "Sorry."}
    async with Simulator(scenario(fault, turn={"fault_times": 1})) as simulator, client(simulator) as talker:
        await talker.send("response.create")
        error = await talker.error()
        assert (error["type"], error["message"]) == ("server_error", "Sorry.")
        await talker.send("response.create")
        await talker.event("response.done")
        assert talker.kinds.count("response.created") == 1
        check_frames("ga", simulator.sessions[0])


async def test_a_stalled_answer_can_be_cancelled() -> None:
    async with Simulator(scenario({"kind": "stall", "after_ms": 100})) as simulator, client(simulator) as talker:
        await talker.send("response.create")
        await talker.event("response.output_audio.delta")
        await talker.send("response.cancel")
        assert (await talker.event("response.done"))["response"]["status"] == "cancelled"


ENDS = [
    ({"kind": "abort", "after_ms": 100}, 1006, ""),
    (
        {"kind": "close", "after_ms": 100, "code": 1011, "reason": "keepalive ping timeout"},
        1011,
        "keepalive ping timeout",
    ),
    ({"kind": "expire", "after_ms": 100}, 1001, "Your session hit the maximum duration of 60 minutes."),
]


@pytest.mark.parametrize(("fault", "code", "reason"), ENDS)
@pytest.mark.parametrize("where", ["answer", "connection"])
async def test_a_connection_ends(fault: Json, code: int, reason: str, where: str) -> None:
    wanted = scenario(fault) if where == "answer" else scenario(connections=[{"ends": fault}])
    async with Simulator(wanted) as simulator, client(simulator) as talker:
        await talker.event("session.created")
        if where == "answer":
            await talker.send("response.create")
            await talker.event("response.output_audio.delta")
        assert await talker.closed() == (code, reason)
        if fault["kind"] == "expire":
            assert (await talker.error())["code"] == "session_expired"
        assert (await simulator.sessions[0].wait_closed())[0] == code


async def test_a_session_lasts_no_longer_than_it_says() -> None:
    async with Simulator(scenario(session_minutes=0.002)) as simulator, client(simulator) as talker:
        assert (await talker.closed())[0] == 1001


async def test_unknown_events_and_nameless_errors() -> None:
    wanted = scenario(unknown_events=True, null_event_ids=True)
    async with Simulator(wanted) as simulator, client(simulator) as talker:
        await talker.send("nonsense", event_id="mine")
        assert (await talker.error())["event_id"] is None
        await talker.send("response.create")
        await talker.event("response.done")
        assert "response.hologram.delta" in talker.kinds


# --- faults of connections --------------------------------------------------------------------------------------------


async def test_connections_go_wrong_in_their_order() -> None:
    wanted = scenario(
        connections=[
            {"refuse": {"status": 429, "code": "429", "message": "Too many requests.", "retry_after_s": 3}},
            {"refuse": {"status": 500, "code": "InternalServerError", "message": "Sorry."}},
            {"refuse": {"close_code": 3000, "code": "insufficient_quota", "message": "Pay first."}},
            {"abort": True},
        ]
    )
    async with Simulator(wanted) as simulator:
        address = simulator.url_for("azure")
        with pytest.raises(InvalidStatus) as limited:
            await connect(address)
        assert limited.value.response.status_code == 429
        assert limited.value.response.headers["Retry-After"] == "3"
        with pytest.raises(InvalidStatus):
            await connect(address)
        async with connect(address) as socket:
            assert json.loads(await socket.recv())["error"]["code"] == "insufficient_quota"
            await socket.wait_closed()
        assert (socket.close_code, socket.close_reason) == (3000, "invalid_request_error.insufficient_quota")
        with pytest.raises((ConnectionResetError, EOFError, InvalidMessage)):
            await connect(address)
        async with client(simulator) as talker:
            await talker.event("session.created")
        assert [each.outcome for each in simulator.attempts] == [
            "http 429",
            "http 500",
            "close 3000",
            "aborted",
            "accepted",
        ]


async def test_delays_keep_their_order() -> None:
    slow = {"accept_delay_ms": 80, "created_delay_ms": 80, "updated_delay_ms": 80}
    async with Simulator(scenario(connections=[slow], repeat_connections=True)) as simulator:
        for _ in range(2):
            begin = asyncio.get_running_loop().time()
            async with client(simulator) as talker:
                await talker.send("session.update", session={"type": "realtime"})
                await talker.event("session.updated")
            assert asyncio.get_running_loop().time() - begin >= 0.2


async def test_a_connection_may_not_know_a_setting() -> None:
    wanted = scenario(connections=[{"refuse_settings": ["session.audio.input.noise_reduction"]}])
    async with Simulator(wanted) as simulator, client(simulator) as talker:
        session: Json = {"type": "realtime", "audio": {"input": {"noise_reduction": {"type": "far_field"}}}}
        await talker.send("session.update", session=session)
        error = await talker.error()
        assert (error["code"], error["param"]) == ("unknown_parameter", "session.audio.input.noise_reduction")
        del session["audio"]
        await talker.send("session.update", session=session)
        await talker.event("session.updated")


# --- by itself --------------------------------------------------------------------------------------------------------


async def test_it_runs_alone_until_it_is_told_to_stop() -> None:
    program = (
        "import asyncio, functools; from voiced.simulator import serve_forever; "
        "asyncio.run(serve_forever(functools.partial(print, flush=True), port=0))"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "error", "-c", program, stdout=asyncio.subprocess.PIPE, env=os.environ
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(20):
            lines = [(await process.stdout.readline()).decode() for _ in range(5)]
            address = lines[1].split()[-1]
            async with connect(address) as socket:
                await socket.recv()
            while "closed 1000" not in lines[-1]:
                lines.append((await process.stdout.readline()).decode())
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert lines[0].startswith("scenario greeting")
    assert "session 0 < session.created\n" in lines


async def test_it_knows_nothing_of_the_daemon() -> None:
    program = "import sys, voiced.simulator; print([each for each in sys.modules if each.startswith('voiced')])"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    for other in ("core", "edge", "app", "config"):
        assert f"'voiced.{other}" not in output.decode()


@pytest.mark.parametrize("where", ["turn", "connection"])
async def test_a_network_that_swallows_everything_answers_no_ping_and_hangs_up_on_nobody(where: str) -> None:
    vanish = {"kind": "vanish", "after_ms": 100}
    wanted = scenario(vanish) if where == "turn" else scenario(connections=[{"ends": vanish}])
    async with Simulator(wanted) as simulator, client(simulator) as talker:
        await talker.event("session.created")
        if where == "turn":
            await talker.send("response.create")
        async with asyncio.timeout(10):
            while await answers_a_ping(talker.socket):
                pass
        told = len(talker.events)
        await talker.send("conversation.item.delete", item_id="item_none")
        assert not await answers_a_ping(talker.socket)
        assert (len(talker.events), talker.socket.close_code) == (told, None)
        talker.socket.transport.abort()
        assert (await simulator.sessions[0].wait_closed())[0] == 1006


async def answers_a_ping(socket: ClientConnection) -> bool:
    try:
        async with asyncio.timeout(0.5):  # for what never comes
            await (await socket.ping())
    except TimeoutError:
        return False
    return True
