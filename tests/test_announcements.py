"""Speaking for others: announcements wait for a quiet moment, in their order, and are answered once they were heard."""

import asyncio
import json
from typing import Any

from tests.fakes import InstantSpeaker
from tests.stories import Home, at_home, told
from tests.waiting import eventually
from voiced.core.announcements import MOST, Announcements
from voiced.core.mqtt.commands import Announce, Message, Reply

HERE = Reply("here")


def spoken(home: Home) -> list[str]:
    return [turn["assistant"]["text"] for turn in told(home.diary, "event/turn", "finished")]


def send(home: Home, name: str, **fields: Any) -> None:
    home.daemon.post(Message(f"voiced/test/command/{name}", json.dumps(fields).encode(), "answers/here", b"42"))


def answers(home: Home) -> list[dict[str, Any]]:
    return [json.loads(payload) for _, payload, _ in home.diary.answers]


async def test_an_announcement_is_spoken_with_a_chime_and_answered() -> None:
    async with at_home() as home:
        answer = await home.command("command/announce", "Dinner is ready.")
        assert (answer["ok"], answer["action"], answer["result"]["text"]) == (True, "announce", "Dinner is ready.")
        assert home.speaker.chimes == 1
        await home.until_idle()
        await home.command("command/announce", json.dumps({"text": "Quietly.", "chime": False}))
        assert home.speaker.chimes == 1


async def test_behind_an_announcement_somebody_may_answer_if_asked_for() -> None:
    async with at_home() as home:
        await home.command("command/announce", json.dumps({"text": "Who is hungry?", "listen_after": True}))
        await home.diary.until(lambda _: home.states()[-1:] == ["listening"])
        await home.command("command/end", "")
        await home.until_idle()
        await home.command("command/announce", "Dinner is ready.")
        await home.until_idle()
        assert home.states().count("listening") == 1
        refused = await home.command("command/announce", json.dumps({"media": "/bell.wav", "listen_after": True}))
        assert 'with "text"' in refused["error"]["message"]


async def test_announcements_wait_for_the_turn_that_is_going_on_urgent_ones_first() -> None:
    async with at_home(speaker=InstantSpeaker(holds=True)) as home:
        asking = asyncio.create_task(home.diary.until(lambda diary: len(diary.answers) == 4))
        send(home, "ask", text="What time is it?")
        await home.diary.until(lambda _: home.states()[-1:] == ["responding"])
        send(home, "announce", text="First.")
        send(home, "announce", text="Second.")
        send(home, "announce", text="Fire!", priority="high")
        for _ in range(4):
            await home.until_sounding()
            before = len(home.diary.answers)
            while len(home.diary.answers) == before:
                home.speaker.let_go()
                await asyncio.sleep(0.01)
        await asking
        assert spoken(home)[1:] == ["Fire!", "First.", "Second."]
        assert [answer["ok"] for answer in answers(home)] == [True] * 4


async def test_what_cannot_wait_interrupts() -> None:
    async with at_home(speaker=InstantSpeaker(holds=True)) as home:
        send(home, "ask", text="What time is it?")
        await home.until_sounding()
        send(home, "announce", text="Fire!", interrupt=True)
        await home.until_told("interrupted")
        home.speaker.holds = False
        home.speaker.let_go()
        await home.until_told("finished")
        assert spoken(home) == ["Fire!"]


async def test_a_text_may_have_a_loudness_and_a_voice_of_its_own() -> None:
    def voice(session: int) -> str:
        (update,) = home.simulator.sessions[session].received("session.update")
        chosen: str = update["session"]["audio"]["output"]["voice"]
        return chosen

    async with at_home() as home:
        assert (await home.command("command/say", json.dumps({"text": "Softly.", "volume": 20})))["ok"]
        assert set(home.speaker.percents) == {20}
        await home.until_idle()
        assert (await home.command("command/say", json.dumps({"text": "Somebody else.", "voice": "cedar"})))["ok"]
        assert (home.speaker.percents[-1], voice(0), voice(1)) == (None, "marin", "cedar")
        refused = await home.command("command/announce", json.dumps({"text": "Nobody.", "voice": "donald"}))
        assert (refused["error"]["code"], "there are: " in refused["error"]["message"]) == ("invalid", True)


async def test_in_another_voice_it_ends_the_conversation_whose_voice_cannot_change() -> None:
    async with at_home(speaker=InstantSpeaker(holds=True)) as home:
        send(home, "ask", text="What time is it?", listen_after=True)
        await home.until_sounding()
        send(home, "say", text="Fire!", voice="cedar", interrupt=True)
        await eventually(lambda: home.speaker.cuts == 1, "cut off")
        home.speaker.holds = False
        await home.until_told("finished")
        turns = [json.loads(payload)["event_type"] for topic, payload in home.diary.told if topic == "event/turn"]
        assert [kind for kind in turns if kind != "started"] == ["interrupted", "finished"]
        assert len(home.simulator.sessions) == 2
        assert spoken(home) == ["Fire!"]


async def test_announcements_that_wait_can_be_cancelled_and_are_no_more_than_some() -> None:
    async with at_home(speaker=InstantSpeaker(holds=True)) as home:
        send(home, "ask", text="What time is it?")
        await home.diary.until(lambda _: home.states()[-1:] == ["responding"])
        for number in range(MOST + 1):
            send(home, "announce", text=str(number), id=str(number))
        refused = await home.command("command/ping")
        assert refused["ok"]
        assert [(one["id"], one["error"]["code"]) for one in answers(home) if not one["ok"]] == [(str(MOST), "busy")]
        cancelled = await home.command("command/cancel_announcements", "PRESS")
        assert cancelled["result"] == {"cancelled": MOST}
        assert sum(not one["ok"] for one in answers(home)) == MOST + 1
        home.speaker.holds = False
        home.speaker.let_go()
        await home.until_idle()
        assert len(spoken(home)) == 1


def test_urgent_ones_go_first_and_each_in_its_order() -> None:
    waiting = Announcements()
    for text in ("a", "B", "c", "D"):
        assert waiting.add(Announce(HERE, text, urgent=text.isupper()))
    assert [one.text for one in waiting.all()] == ["B", "D", "a", "c"]
    assert waiting.next() is None
