"""The service and the way to it."""

import json
from typing import Any

from tests.lab.faults import fault
from tests.lab.lab import Act, Lab
from voiced.simulator import Refusal
from voiced.simulator.scenario import Abort, Close, ErrorEvent, Expire, Failed, Incomplete, Stall


async def ask(lab: Lab, pattern: str, patience_s: float = 45.0) -> str:
    """Ask, and wait until the log says what went wrong with it."""
    async with lab.asking():
        await lab.noticed(pattern, patience_s)
        await lab.until_state("Idle")
    return "the question"


async def _sockets(lab: Lab) -> list[Any]:
    server = lab.simulator._server
    assert server is not None
    return list(server.connections)


@fault("service", quick=True)
async def service_refuses_connections(lab: Lab) -> str:
    """Nothing listens there."""
    await lab.service_line.shut()
    return await ask(lab, "Nothing listens|hung up")


def _refused(status: int, code: str) -> Act:
    async def service_says(lab: Lab) -> str:
        lab.next_connection(refuse=Refusal(status=status, code=code, message="No."))
        return await ask(lab, rf"HTTP {status}")

    service_says.__name__ = f"service_says_{status}"
    return service_says


for _status, _code in ((401, "401"), (403, "403"), (404, "DeploymentNotFound"), (429, "429"), (500, "x"), (503, "x")):
    fault("service")(_refused(_status, _code))


@fault("service")
async def service_refuses_after_the_upgrade(lab: Lab) -> str:
    """As OpenAI does it: an error event, and a close."""
    lab.next_connection(refuse=Refusal(close_code=3000, code="invalid_api_key", message="Wrong key."))
    return await ask(lab, "refused the key|wants a key")


@fault("service")
async def service_resets_at_the_upgrade(lab: Lab) -> str:
    """A balancer with nobody behind it."""
    lab.next_connection(abort=True)
    return await ask(lab, "hung up|WebSocket|broke")


@fault("service")
async def service_takes_three_seconds_to_answer(lab: Lab) -> str:
    """Slow, and nothing is lost: the question waits."""
    lab.next_connection(accept_delay_ms=3000)
    if not await lab.answered():
        raise AssertionError("a slow service loses the question")
    return ""


@fault("service")
async def service_never_answers_the_upgrade(lab: Lab) -> str:
    """A black hole while connecting."""
    lab.next_connection(accept_delay_ms=25_000)
    return await ask(lab, "did not answer within|No session within")


@fault("service")
async def service_never_opens_the_session(lab: Lab) -> str:
    """Connected, and no greeting."""
    lab.next_connection(created_delay_ms=25_000)
    return await ask(lab, "did not open a session|No session within")


@fault("service")
async def service_never_confirms_settings(lab: Lab) -> str:
    """A greeting, and nothing more."""
    lab.next_connection(updated_delay_ms=25_000)
    return await ask(lab, "did not confirm")


@fault("service")
async def service_refuses_a_setting(lab: Lab) -> str:
    """The session goes on without it."""
    lab.next_connection(refuse_settings=("session.audio.input.transcription",))
    if not await lab.answered():
        raise AssertionError("a refused setting costs the question")
    return ""


def _answer(fault_of_answer: Any, pattern: str, name: str) -> None:
    async def act(lab: Lab) -> str:
        lab.answer(fault=fault_of_answer)
        await ask(lab, pattern)
        return "the answer, or the rest of it"

    act.__name__ = name
    fault("service")(act)


_answer(Failed(kind="failed"), "server_error|failed", "answer_failed")
_answer(Incomplete(kind="incomplete", after_ms=300), "incomplete|content_filter|Idle", "answer_stopped_by_a_filter")
_answer(Abort(kind="abort", after_ms=300), "broke", "answer_cut_by_a_reset")
_answer(Close(kind="close", after_ms=300), "close 1011", "answer_cut_by_a_close")
_answer(Expire(kind="expire", after_ms=300), "maximum duration|expired", "answer_cut_by_the_end_of_the_session")
_answer(Stall(kind="stall", after_ms=300), "timeout|Tick: ", "answer_that_stalls")
_answer(ErrorEvent(kind="error"), "server_error|Sorry", "answer_is_an_error_event")


async def _send(lab: Lab, *messages: str | bytes) -> None:
    for socket in await _sockets(lab):
        for message in messages:
            await socket.send(message)


@fault("service")
async def service_sends_no_json(lab: Lab) -> str:
    """Text, numbers, half objects, in the middle of a session."""
    await lab.conversing("Listening")
    await _send(lab, "hello", "{", "[]", "3", '{"type": 7}', '{"type": "response.done"}', "null", "\x00")
    await lab.until_state("Idle")
    return ""


@fault("service")
async def service_sends_binary_frames(lab: Lab) -> str:
    """Sound as bytes, which the protocol does not have."""
    await lab.conversing("Listening")
    await _send(lab, bytes(range(256)) * 20, b"", b"\xff\xfe")
    await lab.until_state("Idle")
    return ""


@fault("service")
async def service_sends_events_nobody_knows(lab: Lab) -> str:
    """New events and new fields; the conversation goes on."""
    await lab.conversing("Hearing")
    await _send(lab, *(json.dumps({"type": f"new.event.{n}", "event_id": "e", "more": {"n": n}}) for n in range(50)))
    await lab.until(
        lambda: any(one["event_type"] == "finished" for one in lab.told("event/turn")), "answered all the same"
    )
    await lab.until_state("Idle")
    return ""


@fault("service")
async def service_sends_a_frame_of_20_megabytes(lab: Lab) -> str:
    """More than one message may hold: the session is over, memory is not."""
    await lab.conversing("Responding")
    await _send(lab, json.dumps({"type": "response.output_audio.delta", "delta": "A" * 20_000_000}))
    await lab.noticed("1009|no WebSocket message")
    await lab.until_state("Idle")
    return "the rest of the answer"


@fault("service")
async def service_line_full_of_rubbish(lab: Lab) -> str:
    """Bytes that are no WebSocket frame."""
    await lab.conversing("Responding")
    lab.service_line.say(b"\xff" * 500)
    await lab.noticed("no WebSocket message|close 1002|broke|ended the session")
    await lab.until_state("Idle")
    return "the rest of the answer"


@fault("service")
async def service_killed_during_an_answer(lab: Lab) -> str:
    """All its connections are reset."""
    await lab.conversing("Responding")
    lab.simulator.abort()
    await lab.noticed("broke")
    await lab.until_state("Idle")
    return "the rest of the answer"
