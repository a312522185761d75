"""Finished turns that the machine remembers: how many, with which texts, over MQTT, and as a person sees them."""

import json
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

import pytest

from tests.fakes import Remembered
from tests.stories import QUICK, at_home, config_for_tests
from voiced.config import HistoryConfig, MqttConfig
from voiced.core import turnview
from voiced.core.history import LONGEST, History
from voiced.core.mqtt.payloads import Assistant, Cause, Timeline, Turn, User
from voiced.messaging import about


def turn(number: int = 1, *, said: str | None = "Why?", answer: str | None = "Because.", **more: Any) -> Turn:
    base: dict[str, Any] = {
        "id": f"s-{number}",
        "turn": number,
        "session": "s",
        "time": datetime(2026, 11, 26, 12, 0, number % 60, tzinfo=UTC),
        "source": "wake_word",
        "outcome": "finished",
        "user": User(text=said),
        "assistant": Assistant(text=answer),
        "timeline_ms": Timeline(called=0, ready=310, began=400, said=1900, answered=2300, sounded=2360, over=4000),
    }
    return Turn(**{**base, **more})


def test_the_last_ones_are_kept_without_a_word_of_what_was_said() -> None:
    history = History(3, texts=False)
    for number in range(1, 6):
        history.add(turn(number))
    assert [one.turn for one in history.last(10)] == [3, 4, 5]
    assert [one.turn for one in history.last(2)] == [4, 5]
    assert "Because" not in json.dumps(history.saved())
    again = History(2, texts=False, saved=json.loads(json.dumps(history.saved())))
    assert [one.turn for one in again.last(10)] == [4, 5]
    assert again.last(1)[0].timeline_ms.over == 4000


def test_texts_are_kept_where_that_is_wished_and_forgotten_when_it_is_not_any_more() -> None:
    history = History(3, texts=True)
    history.add(turn(answer="x" * 5_000))
    assert history.last(1)[0].user.text == "Why?"
    assert len(history.last(1)[0].assistant.text or "") == LONGEST
    assert "Why?" not in json.dumps(History(3, texts=False, saved=history.saved()).saved())


@pytest.mark.parametrize("saved", [{}, {"turns": 5}, {"turns": [1, None, {"id": 3}]}, {"other": []}])
def test_what_cannot_be_read_is_left_out(saved: dict[str, object]) -> None:
    assert History(3, texts=True, saved=saved).last(9) == []


def test_nothing_is_kept_where_that_is_wished() -> None:
    history = History(0, texts=True)
    assert not history.add(turn())
    assert history.last(5) == []


@pytest.mark.parametrize(
    ("texts", "transcripts", "told"),
    [(False, "retained", None), (True, "live", "It is twenty past nine."), (True, "off", None)],
)
async def test_the_daemon_answers_with_its_last_turns_and_their_time_lines(
    texts: bool, transcripts: Any, told: str | None
) -> None:
    past = Remembered()
    config = config_for_tests(
        history=HistoryConfig(texts=texts), mqtt=MqttConfig(host="127.0.0.1", transcripts=transcripts)
    )
    async with at_home(QUICK, config, past=past) as home:
        assert (await home.command("command/turns"))["result"] == {"turns": []}
        home.speak()
        await home.until_told("finished")
        answer = await home.command("command/turns", '{"last": 1}')
        (found,) = answer["result"]["turns"]
        assert found["assistant"]["text"] == told
        assert ("twenty past nine" in json.dumps(past.values)) is texts
        times = found["timeline_ms"]
        order = [times[key] for key in ("called", "ready", "answered", "sounded", "over")]
        assert None not in order
        assert order == sorted(order)
        assert 0 in times.values()
        assert times["began"] < times["said"]
        assert times["ready"] - times["called"] == pytest.approx(found["latency_ms"]["wake_to_listen"], abs=1)
        assert times["sounded"] - times["said"] == pytest.approx(
            found["latency_ms"]["end_of_speech_to_first_audio"], abs=1
        )
        refused = await home.command("command/turns", '{"last": 0}')
        assert refused["error"]["code"] == "invalid"
    async with at_home(QUICK, config, past=past) as home:  # over a restart
        assert (await home.command("command/turns"))["result"] == {"turns": [found]}
    async with at_home(QUICK, config_for_tests(), past=past):
        assert "twenty past nine" not in json.dumps(past.values)


def test_info_says_whether_turns_can_be_asked_for() -> None:
    assert "turns" in about(config_for_tests()).features
    bare = config_for_tests(history=HistoryConfig(turns=0), mqtt=MqttConfig(host="127.0.0.1", transcripts="off"))
    assert not {"turns", "transcripts", "live_transcript"} & set(about(bare).features)


class Elements(HTMLParser):
    """What a page is made of."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_the_page_shows_each_turn_and_neither_loads_nor_runs_anything() -> None:
    hostile = '<script>alert(1)</script><img src="http://x/y">'
    failed = turn(2, said=hostile, answer=None, outcome="failed", error=Cause(code="<b>", message=hostile))
    html = turnview.page([turn(1), failed], f"Kitchen {hostile}")
    seen = Elements()
    seen.feed(html)
    assert not {"script", "img", "link", "iframe", "a"} & set(seen.tags)
    assert not {"src", "href", "onload"} & {name for name, _ in seen.attributes}
    assert seen.tags.count("svg") == seen.tags.count("article") == 2
    assert hostile in seen.words
    assert "url(" not in html
    assert "default-src 'none'" in html
    assert "service 400 ms" in seen.words


def test_a_page_without_turns_is_a_page() -> None:
    seen = Elements()
    seen.feed(turnview.page([], "Kitchen"))
    assert "None yet." in seen.words


def test_a_turn_is_a_few_lines_and_what_did_not_happen_is_not_in_them() -> None:
    assert turnview.lines(turn()) == [
        "2026-11-26 12:00:01  s-1  finished",
        "    connect 310 ms, speech 1500 ms, service 400 ms, playout 60 ms, answer 1640 ms",
        "    user: Why?",
        "    assistant: Because.",
    ]
    waited = turn(said=None, answer=None, timeline_ms=Timeline(called=0, ready=300, began=100, said=900, over=15_900))
    assert turnview.lines(waited)[1:] == ["    connect 300 ms, speech 800 ms, unanswered 15000 ms"]
    typed = turn(said=None, answer=None, cost=0.25, timeline_ms=Timeline(began=0, answered=500, over=900))
    assert turnview.lines(typed) == [
        "2026-11-26 12:00:01  s-1  finished  0.2500 USD",
        "    service 500 ms, answer 400 ms",
    ]
