"""Turns as the protocol reference tells them: event order, interruption, tools, text, limits, tokens."""

import base64
from typing import Any

import pytest

from tests.simulated import RATE, Client, check_frames, client, folded, samples, silence, spoken
from tests.wire import Dialect
from voiced.simulator import Scenario, Simulator, ToolCall, Turn

Json = dict[str, Any]
ANSWER = "Good day to you."
TURN = Turn(user="What time is it?", assistant=ANSWER, sound="welcome.wav", think_ms=0, transcription_delay_ms=0)
AT_ONCE = Scenario(turns=(TURN,), pace=0)
SLOWLY = Scenario(turns=(TURN,), pace=1)
"""Generated as slowly as it is spoken, so that it can be interrupted."""

GA_OPENING = ["session.created", "session.updated"]
HEARD = [
    "input_audio_buffer.speech_started",
    "input_audio_buffer.speech_stopped",
    "input_audio_buffer.committed",
    "conversation.item.added",
    "conversation.item.done",
]
BEGUN = [
    "response.created",
    "response.output_item.added",
    "conversation.item.added",
    "response.content_part.added",
    "response.output_audio_transcript.delta",
    "response.output_audio.delta",
]
ENDED = [
    "response.output_audio.done",
    "response.output_audio_transcript.done",
    "response.content_part.done",
    "conversation.item.done",
    "response.output_item.done",
    "response.done",
]


async def set_up(talker: Client, *, turns: Json | None = None, **change: Any) -> None:
    """Configure a GA session; turn detection as given, or left to the client."""
    heard: Json = {"turn_detection": turns, "transcription": change.pop("transcription", None)}
    session = {"type": "realtime", **change, "audio": {"input": heard}}
    await talker.send("session.update", session=session)
    await talker.event("session.updated")


def vad(**change: Any) -> Json:
    return {"type": "server_vad", "silence_duration_ms": 400, **change}


# --- order ------------------------------------------------------------------------------------------------------------


async def test_a_spoken_turn_in_ga() -> None:
    async with Simulator(AT_ONCE) as simulator, client(simulator) as talker:
        await set_up(talker, turns=vad())
        await talker.say(silence(200) + await spoken() + silence(600))
        await talker.event("rate_limits.updated")
        assert folded(talker.kinds) == [*GA_OPENING, *HEARD, *BEGUN, *ENDED, "rate_limits.updated"]
        check_frames("ga", simulator.sessions[0])


async def test_a_spoken_turn_in_preview() -> None:
    async with Simulator(AT_ONCE) as simulator, client(simulator, simulator.url_for("azure-preview")) as talker:
        await talker.send("session.update", session={"turn_detection": vad()})
        await talker.event("session.updated")
        await talker.say(silence(200) + await spoken() + silence(600))
        await talker.event("response.done")
        assert folded(talker.kinds) == [
            "session.created",
            "conversation.created",
            "session.updated",
            "input_audio_buffer.speech_started",
            "input_audio_buffer.speech_stopped",
            "input_audio_buffer.committed",
            "conversation.item.created",
            "response.created",
            "rate_limits.updated",
            "response.output_item.added",
            "conversation.item.created",
            "response.content_part.added",
            "response.audio_transcript.delta",
            "response.audio.delta",
            "response.audio.done",
            "response.audio_transcript.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.done",
        ]
        check_frames("preview", simulator.sessions[0])


async def test_a_turn_by_semantic_detection() -> None:
    async with Simulator(AT_ONCE) as simulator, client(simulator) as talker:
        await set_up(talker, turns={"type": "semantic_vad", "eagerness": "high"})
        await talker.say(silence(200) + await spoken() + silence(700))
        await talker.event("rate_limits.updated")
        assert folded(talker.kinds) == [*GA_OPENING, *HEARD, *BEGUN, *ENDED, "rate_limits.updated"]


async def test_push_to_talk() -> None:
    async with Simulator(AT_ONCE) as simulator, client(simulator) as talker:
        await set_up(talker)
        await talker.send("input_audio_buffer.clear")
        await talker.say(await spoken())
        await talker.send("input_audio_buffer.commit")
        await talker.send("response.create")
        await talker.event("rate_limits.updated")
        expected = ["input_audio_buffer.cleared", *HEARD[2:], *BEGUN, *ENDED, "rate_limits.updated"]
        assert folded(talker.kinds) == [*GA_OPENING, *expected]
        assert simulator.sessions[0].commits == [(0, len(await spoken()) // 2)]
        await talker.send("input_audio_buffer.append", audio=base64.b64encode(silence(99)).decode())
        await talker.send("input_audio_buffer.commit")
        assert (await talker.error())["code"] == "input_audio_buffer_commit_empty"


async def test_turn_detection_may_leave_the_answer_to_the_client() -> None:
    async with Simulator(AT_ONCE) as simulator, client(simulator) as talker:
        await set_up(talker, turns=vad(create_response=False))
        await talker.say(silence(200) + await spoken() + silence(600))
        await talker.event("conversation.item.done")
        assert "response.created" not in talker.kinds
        await talker.send("response.create")
        await talker.event("response.done")


async def test_a_silence_can_be_answered() -> None:
    async with Simulator(AT_ONCE) as simulator, client(simulator) as talker:
        await set_up(talker, turns=vad(idle_timeout_ms=5000))
        await talker.say(silence(200) + await spoken() + silence(600))
        await talker.event("response.done")
        before = len(simulator.sessions[0].received_pcm)
        await talker.say(silence(9000))
        timeout = await talker.event("input_audio_buffer.timeout_triggered")
        heard_ms = len(simulator.sessions[0].sent_pcm) * 1000 // RATE
        # until the answer was heard, and the timeout after it; the answer was over before the last 200 ms came
        assert -200 <= timeout["audio_end_ms"] - (before * 1000 // RATE + heard_ms + 5000) <= 100
        await talker.event("response.done", 2)
        kinds = talker.kinds[talker.kinds.index("input_audio_buffer.timeout_triggered") + 1 :]
        assert kinds[:4] == [*HEARD[2:], "response.created"]
        check_frames("ga", simulator.sessions[0])


async def test_speech_ends_the_wait_for_it() -> None:
    async with Simulator(AT_ONCE) as simulator, client(simulator) as talker:
        await set_up(talker, turns=vad(idle_timeout_ms=5000, create_response=False))
        await talker.send("response.create")
        await talker.event("response.done")
        await talker.say(silence(3000) + await spoken() + silence(9000))
        await talker.send("nonsense")
        await talker.error()
        assert "input_audio_buffer.committed" in talker.kinds
        assert "input_audio_buffer.timeout_triggered" not in talker.kinds


@pytest.mark.parametrize("dialect", ["ga", "preview", "voice-live"])
async def test_a_tool_call_comes_before_the_answer(dialect: Dialect) -> None:
    calls = (ToolCall(name="timer", arguments={"minutes": 5}), ToolCall(name="unknown"))
    turn = Turn(user="Set a timer.", assistant="Done.", sound="welcome.wav", preamble="One moment.", tools=calls)
    provider = {"ga": "azure", "preview": "azure-preview", "voice-live": "voice-live"}[dialect]
    tool = {"type": "function", "name": "timer", "description": "A timer.", "parameters": {}}
    scenario = Scenario(turns=(turn,), pace=0)
    async with Simulator(scenario) as simulator, client(simulator, simulator.url_for(provider)) as talker:  # type: ignore[arg-type] # a str here
        kind = {"type": "realtime"} if dialect == "ga" else {}
        await talker.send("session.update", session={**kind, "tools": [tool]})
        text = {"type": "input_text", "text": "Set a timer"}
        await talker.send("conversation.item.create", item={"type": "message", "role": "user", "content": [text]})
        await talker.send("response.create")
        output = (await talker.event("response.done"))["response"]["output"]
        assert [each["type"] for each in output] == ["message", "function_call"]
        assert (output[1]["name"], output[1]["arguments"]) == ("timer", '{"minutes": 5}')
        arguments = await talker.event("response.function_call_arguments.done")
        assert arguments.get("name") == (None if dialect == "preview" else "timer")
        pieces = [each["delta"] for each in talker.events if each["type"] == "response.function_call_arguments.delta"]
        assert "".join(pieces) == arguments["arguments"]
        result = {"type": "function_call_output", "call_id": output[1]["call_id"], "output": "{}"}
        await talker.send("conversation.item.create", item=result)
        await talker.send("response.create")
        output = (await talker.event("response.done", 2))["response"]["output"]
        assert output[0]["content"][0]["transcript"] == "Done."
        check_frames(dialect, simulator.sessions[0])


# --- interruption -----------------------------------------------------------------------------------------------------


async def test_speech_interrupts_an_answer() -> None:
    async with Simulator(SLOWLY) as simulator, client(simulator) as talker:
        await set_up(talker, turns=vad())
        await talker.say(silence(200) + await spoken() + silence(600))
        await talker.event("response.output_audio.delta", 2)
        await talker.say(await spoken())
        done = (await talker.event("response.done"))["response"]
        assert done["status"] == "cancelled"
        assert done["status_details"] == {"type": "cancelled", "reason": "turn_detected"}
        assert done["output"][0]["status"] == "incomplete"
        begin = [index for index, kind in enumerate(talker.kinds) if kind == HEARD[0]][1]
        assert talker.kinds[begin + 1 : begin + 7] == ENDED
        sent = samples(
            b"".join(base64.b64decode(each["delta"]) for each in talker.events if "audio.delta" in each["type"])
        )
        assert done["usage"]["output_token_details"]["audio_tokens"] == -(-len(sent) * 20 // RATE)
        await talker.say(silence(600))
        await talker.event("response.created", 2)
        check_frames("ga", simulator.sessions[0])


async def test_an_answer_that_is_all_sent_is_not_cancelled() -> None:
    async with Simulator(AT_ONCE) as simulator, client(simulator) as talker:
        await set_up(talker, turns=vad())
        await talker.say(silence(200) + await spoken() + silence(600))
        await talker.event("response.done")
        await talker.say(await spoken() + silence(600))
        await talker.event("response.done", 2)
        assert [each["response"]["status"] for each in talker.events if each["type"] == "response.done"] == [
            "completed"
        ] * 2


async def test_speech_may_leave_an_answer_alone() -> None:
    async with Simulator(SLOWLY) as simulator, client(simulator) as talker:
        await set_up(talker, turns=vad(interrupt_response=False))
        await talker.say(silence(200) + await spoken() + silence(600))
        await talker.event("response.output_audio.delta")
        await talker.say(await spoken() + silence(600))
        assert (await talker.error())["code"] == "conversation_already_has_active_response"
        await talker.send("response.cancel")
        done = (await talker.event("response.done"))["response"]
        assert done["status_details"] == {"type": "cancelled", "reason": "client_cancelled"}


async def test_one_answer_at_a_time_but_any_number_beside() -> None:
    async with Simulator(SLOWLY) as simulator, client(simulator) as talker:
        await set_up(talker)
        await talker.send("response.create")
        main = (await talker.event("response.created"))["response"]
        await talker.send("response.create", event_id="second")
        error = await talker.error()
        assert (error["code"], error["event_id"]) == ("conversation_already_has_active_response", "second")
        assert main["id"] in error["message"]
        beside = {"conversation": "none", "output_modalities": ["text"], "metadata": {"which": "beside"}, "input": []}
        await talker.send("response.create", response=beside)
        other = (await talker.event("response.created", 2))["response"]
        assert (other["conversation_id"], other["metadata"]) == (None, {"which": "beside"})
        await talker.send("response.cancel", response_id=other["id"])
        assert (await talker.event("response.done"))["response"]["id"] == other["id"]
        await talker.send("response.cancel", response_id=other["id"])
        assert (await talker.error(2))["code"] == "response_cancel_not_active"
        await talker.send("response.cancel")
        assert (await talker.event("response.done", 2))["response"]["id"] == main["id"]
        check_frames("ga", simulator.sessions[0])


async def test_an_item_may_be_deleted_while_it_is_spoken() -> None:
    async with Simulator(SLOWLY) as simulator, client(simulator) as talker:
        await talker.send("response.create")
        item_id = (await talker.event("response.output_audio.delta"))["item_id"]
        await talker.send("conversation.item.delete", item_id=item_id)
        await talker.event("conversation.item.deleted")
        await talker.send("response.cancel")
        await talker.event("response.done")
        check_frames("ga", simulator.sessions[0])


@pytest.mark.parametrize("change", [{"output_modalities": ["text"]}, {"tool_choice": "auto"}])
async def test_any_kind_of_answer_can_be_cancelled(change: Json) -> None:
    long = ToolCall(name="timer", arguments={"text": "word " * 20_000})
    turn = Turn(assistant="word " * 2_000, sound="welcome.wav", think_ms=0, tools=(long,))
    tools = [] if "output_modalities" in change else [{"type": "function", "name": "timer"}]
    async with Simulator(Scenario(turns=(turn,), pace=1)) as simulator, client(simulator) as talker:
        await set_up(talker, tools=tools, **change)
        await talker.send("response.create")
        await talker.event("response.output_text.delta" if not tools else "response.function_call_arguments.delta")
        await talker.send("response.cancel")
        done = (await talker.event("response.done"))["response"]
        assert (done["status"], done["output"][0]["status"]) == ("cancelled", "incomplete")
        check_frames("ga", simulator.sessions[0])


async def test_an_answer_of_several_messages_is_remembered_as_far_as_it_was_heard() -> None:
    more = ({"assistant": "Rain tomorrow.", "sound": "time.wav"}, {"assistant": "Bye.", "sound": "time.wav"})
    turn = Turn.model_validate({"assistant": "Sunny today.", "sound": "time.wav", "more": more, "think_ms": 0})
    async with Simulator(Scenario(turns=(turn,), pace=0)) as simulator, client(simulator) as talker:
        await talker.send("response.create")
        output = (await talker.event("response.done"))["response"]["output"]
        said = [item["content"][0]["transcript"] for item in output]
        assert said == ["Sunny today.", "Rain tomorrow.", "Bye."]
        first, second, third = (item["id"] for item in output)
        await talker.send("conversation.item.truncate", item_id=second, content_index=0, audio_end_ms=400)
        await talker.send("conversation.item.delete", item_id=third)
        await talker.event("conversation.item.deleted")
        memory = {item.id: item for item in simulator.sessions[0].memory}
        assert third not in memory
        assert (memory[first].text, memory[second].text) == ("Sunny today.", "")
        assert memory[second].parts[0].milliseconds == 400
        check_frames("ga", simulator.sessions[0])


# --- words and sound --------------------------------------------------------------------------------------------------


async def test_sound_comes_in_the_recorded_sizes_with_the_words_ahead() -> None:
    async with Simulator(AT_ONCE) as simulator, client(simulator) as talker:
        await talker.send("response.create")
        await talker.event("response.done")
        sizes = [len(base64.b64decode(each["delta"])) for each in talker.events if "audio.delta" in each["type"]]
        assert sizes[:5] == [4800, 7200, 12_000, 19_200, 24_000]
        assert set(sizes[4:-1]) == {24_000}
        words = [each["delta"] for each in talker.events if "transcript.delta" in each["type"]]
        assert "".join(words) == ANSWER
        last_word = max(index for index, kind in enumerate(talker.kinds) if "transcript.delta" in kind)
        last_sound = max(index for index, kind in enumerate(talker.kinds) if "audio.delta" in kind)
        assert last_word < last_sound


@pytest.mark.parametrize(("provider", "key"), [("azure", "output_modalities"), ("azure-preview", "modalities")])
async def test_a_text_turn_is_answered_in_text(provider: Any, key: str) -> None:
    second = Turn(user="How are you?", assistant="Very well.", sound="welcome.wav", think_ms=0)
    scenario = Scenario(turns=(TURN, second), pace=0)
    async with Simulator(scenario) as simulator, client(simulator, simulator.url_for(provider)) as talker:
        kind = {"type": "realtime"} if provider == "azure" else {}
        await talker.send("session.update", session={**kind, key: ["text"]})
        text = {"type": "input_text", "text": "how are you"}
        await talker.send("conversation.item.create", item={"type": "message", "role": "user", "content": [text]})
        await talker.send("response.create")
        done = (await talker.event("response.done"))["response"]
        content = done["output"][0]["content"]
        name = "output_text" if provider == "azure" else "text"
        assert content == [{"type": name, "text": "Very well."}]
        assert done["usage"]["output_token_details"] == {"text_tokens": 3, "audio_tokens": 0}
        assert (await talker.event(f"response.{name}.done"))["text"] == "Very well."
        check_frames("ga" if provider == "azure" else "preview", simulator.sessions[0])


@pytest.mark.parametrize(
    "wanted",
    [
        {"instructions": "Read the following text aloud, word for word.\n\nThe tea: it is ready."},
        {"instructions": 'Say exactly: "The tea: it is ready."'},
        {"instructions": "Read aloud: The tea: it is ready."},
        {
            "instructions": "Read this aloud, verbatim.",
            "input": [
                {
                    "type": "message",
                    "role": "user",
                    "content": [{"type": "input_text", "text": "The tea: it is ready."}],
                }
            ],
        },
    ],
)
async def test_a_text_is_read_aloud_beside_the_conversation(wanted: Json) -> None:
    async with Simulator(AT_ONCE) as simulator, client(simulator) as talker:
        await talker.send("response.create", response={"conversation": "none", "input": [], **wanted})
        done = (await talker.event("response.done"))["response"]
        assert done["output"][0]["content"][0]["transcript"] == "The tea: it is ready."
        assert len(simulator.sessions[0].sent_pcm) > RATE // 2
        assert "conversation.item.added" not in talker.kinds
        check_frames("ga", simulator.sessions[0])


async def test_an_answer_stops_at_its_token_limit() -> None:
    async with Simulator(AT_ONCE) as simulator, client(simulator) as talker:
        await talker.send("response.create", response={"max_output_tokens": 20})
        done = (await talker.event("response.done"))["response"]
        assert done["status_details"] == {"type": "incomplete", "reason": "max_output_tokens"}
        assert done["output"][0]["status"] == "incomplete"
        check_frames("ga", simulator.sessions[0])


async def test_tokens_are_counted_from_sound_and_text() -> None:
    async with Simulator(AT_ONCE) as simulator, client(simulator) as talker:
        instructions = "x" * 400
        await set_up(talker, instructions=instructions)
        question = silence(1_234)
        used = []
        for turn in (1, 2):
            await talker.say(question)
            await talker.send("input_audio_buffer.commit")
            await talker.send("response.create")
            used.append((await talker.event("response.done", turn))["response"]["usage"])
        answer_ms = len(simulator.sessions[0].sent_pcm) // 2 * 1000 // RATE
        answer, text = -(-answer_ms // 50), -(-len(ANSWER) // 4)
        assert used[0]["input_token_details"] == {
            "text_tokens": 100,
            "audio_tokens": 13,
            "image_tokens": 0,
            "cached_tokens": 0,
            "cached_tokens_details": {"text_tokens": 0, "audio_tokens": 0, "image_tokens": 0},
        }
        assert used[0]["output_token_details"] == {"text_tokens": text, "audio_tokens": answer}
        assert used[0]["total_tokens"] == 113 + text + answer
        second = used[1]["input_token_details"]
        assert (second["text_tokens"], second["audio_tokens"]) == (100 + text, 26 + answer)
        assert second["cached_tokens_details"] == {"text_tokens": 64, "audio_tokens": 0, "image_tokens": 0}


async def test_a_transcript_comes_when_asked_for_and_says_what_it_cost() -> None:
    for model, usage in (("whisper-1", "duration"), ("gpt-transcribe", "tokens"), (None, None)):
        async with Simulator(AT_ONCE) as simulator, client(simulator) as talker:
            wanted = None if model is None else {"model": model}
            await set_up(talker, turns=vad(), transcription=wanted)
            await talker.say(silence(200) + await spoken() + silence(600))
            await talker.event("rate_limits.updated")
            kinds = [each for each in talker.kinds if "transcription" in each]
            if model is None:
                assert kinds == []
                continue
            completed = await talker.event("conversation.item.input_audio_transcription.completed")
            assert (completed["transcript"], completed["usage"]["type"]) == ("What time is it?", usage)
            check_frames("ga", simulator.sessions[0])
