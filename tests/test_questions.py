"""A question to whoever is there: what counts as an answer, and how it comes about, from command to response."""

import asyncio
import json
import re
import time
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes import InstantSpeaker, ScriptedEcho
from tests.recordings import noise
from tests.stories import QUICK, Home, at_home, config_for_tests, told
from voiced.config import RealtimeConfig
from voiced.core.mqtt.commands import AskQuestion, Message, RefusedCommandError, Reply
from voiced.core.mqtt.parsing import parse
from voiced.core.mqtt.topics import Topics
from voiced.core.questions import REPORT, Question, reported
from voiced.core.sentences import Answer, check, match
from voiced.profileconfig import ProfileConfig
from voiced.simulator import Connection, Refusal, Scenario, Turn
from voiced.simulator.scenario import ToolCall

EXPECTED = (
    Answer("yes", ("yes", "[yes] (sure|of course) [please]", "ja")),
    Answer("no", ("no [thanks]", "nein")),
    Answer("play", ("play {what} [by {artist}] [in the {room}]",)),
    Answer("wait", ("ask me (again|later)", "don't")),
)

# --- sentences --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "answer", "slots"),
    [
        ("Yes.", "yes", {}),
        ("YES, of course; please!", "yes", {}),
        ("sure", "yes", {}),
        ("Um, yes please.", "yes", {}),
        ("Ja, bitte.", "yes", {}),
        ("No, thanks.", "no", {}),
        ("Well... no?", "no", {}),
        ("Ask me again", "wait", {}),
        ("Don\N{RIGHT SINGLE QUOTATION MARK}t!", "wait", {}),
        ("Play Ring of Fire.", "play", {"what": "Ring of Fire"}),
        (
            "play Ring of Fire by Johnny Cash, in the kitchen",
            "play",
            {"what": "Ring of Fire", "artist": "Johnny Cash", "room": "kitchen"},
        ),
        ("Please play the Beatles", "play", {"what": "Beatles"}),
    ],
)
def test_what_was_said_is_found_among_the_answers(said: str, answer: str, slots: dict[str, str]) -> None:
    found = match(said, EXPECTED)
    assert found is not None
    assert (found.id, found.slots) == (answer, slots)


@pytest.mark.parametrize("said", ["", "...", "the", "maybe", "yes or no", "not sure", "play", "I said no", "yesno"])
def test_nothing_else_is(said: str) -> None:
    assert match(said, EXPECTED) is None


@pytest.mark.parametrize(
    ("sentence", "says"),
    [
        ("", "no word"),
        ("[] (|) ...", "no word"),
        ("[a", '"[" at 1 is not closed'),
        ("a]", '"]" at 2 closes nothing'),
        ("[a)", "not closed"),
        ("((a)", '"(" at 1 is not closed'),
        ("a [b [c]", '"[" at 3 is not closed'),
        ("a {b", "belongs to no {name}"),
        ("a {b c}", "belongs to no {name}"),
        ("(" * 7 + "a" + ")" * 7, "more than 6"),
        ("a" * 201, "at most 200"),
    ],
)
def test_a_sentence_that_is_none_is_told(sentence: str, says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        check(sentence)


@given(st.text(st.sampled_from("ab[]()|{} ,'"), max_size=60), st.text(st.sampled_from("ab ,'"), max_size=60))
def test_any_sentence_is_understood_or_refused(sentence: str, said: str) -> None:
    try:
        check(sentence)
    except ValueError:
        return
    match(said, (Answer("it", (sentence,)),))


@given(st.lists(st.sampled_from(["ring", "of", "Fire", "don't", "größe", "7"]), min_size=1, max_size=8), st.data())
def test_words_are_their_own_sentence(words: list[str], data: st.DataObject) -> None:
    said = " ".join(word.upper() if data.draw(st.booleans()) else f"{word}," for word in words)
    assert match(said, (Answer("it", (" ".join(words),)),))
    assert match(said, (Answer("it", ("[" + "] [".join(words) + "]",)),))
    found = match(said, (Answer("it", ("{all}",)),))
    assert found is not None
    assert len(found.slots["all"].split()) == len(words)


def test_no_sentence_takes_long() -> None:
    """Nested choices and many names are looked through once, not in all combinations."""
    began = time.process_time()
    assert match("a " * 60, (Answer("it", ("[a|b] " * 33,)), Answer("that", ("{a} " * 20 + "z",)))) is None
    most = tuple(Answer(str(number), ("{a}" * 50 + "z",)) for number in range(400))  # as many as a command holds
    assert match("a " * 60, most) is None
    assert time.process_time() - began < 20  # combinations would take years


@pytest.mark.parametrize(
    ("arguments", "answer", "text"),
    [
        ('{"text": "Sure.", "answer": "no"}', "yes", "Sure."),  # the words themselves say more than the model
        ('{"text": "Go ahead.", "answer": "yes"}', "yes", "Go ahead."),
        ('{"text": "Bananas.", "answer": "(none)"}', None, "Bananas."),
        ('{"text": "Bananas.", "answer": ["yes"]}', None, "Bananas."),
        ('{"text": "Bananas."}', None, "Bananas."),
    ],
)
def test_what_the_model_reports(arguments: str, answer: str | None, text: str) -> None:
    assert reported(Question(1, "?", EXPECTED), arguments) == {"answer": answer, "text": text, "slots": {}}


@pytest.mark.parametrize("arguments", ["", "[]", "{}", '{"text": 5}', '{"answer": "yes"}', "{" * 9, "[" * 9_999])
def test_a_report_that_is_none(arguments: str) -> None:
    assert reported(Question(1, "?", EXPECTED), arguments) is None


# --- the command ------------------------------------------------------------------------------------------------------

KITCHEN = Topics("voiced", "kitchen")


def read(**fields: Any) -> AskQuestion:
    command = parse(Message("voiced/kitchen/command/ask_question", json.dumps(fields).encode()), KITCHEN)
    assert isinstance(command, AskQuestion)
    return command


def test_answers_are_sentences_or_have_an_id() -> None:
    command = read(
        text="Light?",
        answers=["yes", {"id": "no", "sentences": "no [thanks]"}, {"id": "dim", "sentences": ["a", "b"]}],
        timeout_s=9,
        chime=False,
    )
    assert command == AskQuestion(
        Reply("voiced/kitchen/response"),
        "Light?",
        (Answer("yes", ("yes",)), Answer("no", ("no [thanks]",)), Answer("dim", ("a", "b"))),
        9.0,
        chime=False,
    )
    plain = parse(Message("voiced/kitchen/command/ask_question", b"Who is there?"), KITCHEN)
    assert plain == AskQuestion(Reply("voiced/kitchen/response"), "Who is there?")


@pytest.mark.parametrize(
    ("answers", "says"),
    [
        ("yes", '"answers" must be a list'),
        (["x"] * 31, "at most 30"),
        ([5], r"answers\[0\] must be a sentence"),
        ([{"id": "x"}], r"answers\[0\] must be a sentence, or"),
        ([{"id": "x", "sentences": ["a"], "more": 1}], r"answers\[0\] must be"),
        ([{"id": 5, "sentences": ["a"]}], '"id" must be a text'),
        ([{"id": "x", "sentences": []}], "1 to 30 sentences"),
        (["a", {"id": "x", "sentences": ["a", "[b"]}], r"answers\[1\]\.sentences\[1\] is no sentence: .* not closed"),
        (["a", {"id": "a", "sentences": ["b"]}], 'two answers have the id "a"'),
    ],
)
def test_answers_that_cannot_be_read_are_refused(answers: Any, says: str) -> None:
    with pytest.raises(RefusedCommandError, match=says):
        read(text="Light?", answers=answers)


# --- the conversation -------------------------------------------------------------------------------------------------

YES = ["yes [please]", {"id": "no", "sentences": ["no"]}, {"id": "colour", "sentences": ["make it {colour}"]}]


def heard(text: str, **more: Any) -> Scenario:
    return Scenario(turns=(Turn(user=text, assistant="I must not be heard.", **more),), pace=0)


def writing(**more: Any) -> Any:
    """A configuration in which the service writes down what the person says."""
    return config_for_tests(realtime=RealtimeConfig(transcription_model="whisper-1"), **more)


def send(home: Home, name: str, **fields: Any) -> None:
    home.daemon.post(Message(f"voiced/test/command/{name}", json.dumps(fields).encode(), "answers/here", b"42"))


async def asked(home: Home, *, timeout_s: float = 20) -> None:
    """Ask, and wait until the question was heard."""
    send(home, "ask_question", text="Shall I switch on the light?", answers=YES, timeout_s=timeout_s)
    await home.diary.until(lambda _: home.states()[-1:] == ["listening"])


async def answer(home: Home, count: int = 1) -> dict[str, Any]:
    await home.diary.until(lambda diary: len(diary.answers) >= count)
    topic, payload, correlation = home.diary.answers[count - 1]
    assert (topic, correlation) == ("answers/here", b"42")
    told: dict[str, Any] = json.loads(payload)
    return told


def answered_by_itself(home: Home) -> bool:
    (update, *_) = home.simulator.sessions[0].received("session.update")
    session = update["session"]
    turns = session.get("turn_detection") or session["audio"]["input"]["turn_detection"]
    created: bool = turns["create_response"]
    return created


async def test_what_is_answered_comes_back_and_the_model_says_nothing() -> None:
    async with at_home(heard("Yes, please.", transcription_delay_ms=50), writing()) as home:
        await asked(home)
        played = len(home.speaker.played)
        home.speak(wake=False)
        told_back = await answer(home)
        assert (told_back["ok"], told_back["action"]) == (True, "ask_question")
        assert told_back["result"] == {"answer": "yes [please]", "text": "Yes, please.", "slots": {}}
        assert home.states() == ["idle", "processing", "responding", "listening", "processing", "idle"]
        assert (len(home.speaker.played), home.speaker.chimes) == (played, 1)
        assert len(home.simulator.sessions[0].received("response.create")) == 1  # the question itself
        assert not answered_by_itself(home)
        question, reply = [turn async for turn in finished(home, 2)]
        assert question["assistant"]["text"] == "Shall I switch on the light?"
        assert (reply["user"]["text"], reply["assistant"]["text"]) == ("Yes, please.", None)


async def finished(home: Home, count: int) -> Any:
    for number in range(count):
        yield await home.until_told("finished", count=number + 1)


@pytest.mark.parametrize(("provider", "dialect"), [("azure", "ga"), ("azure-preview", "preview")])
async def test_without_a_transcript_the_model_reports_it(
    provider: Literal["azure", "azure-preview"], dialect: Literal["ga", "preview"]
) -> None:
    config = config_for_tests(realtime=RealtimeConfig(transcription_model="off", dialect=dialect))
    async with at_home(heard("No."), config, provider=provider) as home:
        await asked(home)
        played = len(home.speaker.played)
        home.speak(wake=False)
        assert (await answer(home))["result"] == {"answer": "no", "text": "No.", "slots": {}}
        assert len(home.speaker.played) == played
        wanted = home.simulator.sessions[0].received("response.create")[-1]["response"]
        assert (wanted["tool_choice"], [tool["name"] for tool in wanted["tools"]]) == ("required", [REPORT])
        assert not answered_by_itself(home)


async def test_the_model_understands_what_no_sentence_has() -> None:
    call = ToolCall(name=REPORT, arguments={"text": "Why not.", "answer": "yes [please]"})
    config = config_for_tests(realtime=RealtimeConfig(transcription_model="off"))
    async with at_home(heard("Why not.", tools=(call,)), config) as home:
        await asked(home)
        home.speak(wake=False)
        assert (await answer(home))["result"] == {"answer": "yes [please]", "text": "Why not.", "slots": {}}


async def test_a_transcript_that_fails_is_made_good_by_the_model() -> None:
    async with at_home(heard("Make it blue!", transcription="failed", transcription_delay_ms=0), writing()) as home:
        await asked(home)
        home.speak(wake=False)
        result = {"answer": "colour", "text": "Make it blue!", "slots": {"colour": "blue"}}
        assert (await answer(home))["result"] == result


async def test_who_goes_on_is_heard_to_the_end() -> None:
    """What they said first has no transcript, so the model is asked; then they say more, and that is written down."""
    turns = (
        Turn(user="Well...", assistant="", transcription="failed", transcription_delay_ms=0, think_ms=20_000),
        Turn(user="No.", assistant="", transcription_delay_ms=0),
    )
    async with at_home(Scenario(turns=turns, pace=0), writing()) as home:
        await asked(home)
        home.speak(wake=False)
        await home.simulator.sessions[0].wait_for("response.created", count=2)
        home.speak(wake=False)
        assert (await answer(home))["result"]["answer"] == "no"


async def test_what_was_not_expected_comes_back_as_it_was_said() -> None:
    async with at_home(heard("Bananas.", transcription_delay_ms=0), writing()) as home:
        await asked(home)
        home.speak(wake=False)
        assert (await answer(home))["result"] == {"answer": None, "text": "Bananas.", "slots": {}}


async def test_turns_that_end_here_are_not_answered_either() -> None:
    config = writing(profiles={"default": ProfileConfig(turn_detection="local")})
    async with at_home(heard("No.", transcription_delay_ms=0), config) as home:
        await asked(home)
        home.speak(wake=False)
        assert (await answer(home))["result"]["answer"] == "no"
        assert len(home.simulator.sessions[0].received("response.create")) == 1


async def test_somebody_may_answer_before_the_question_is_over() -> None:
    speaker, echo = InstantSpeaker(holds=True), ScriptedEcho(full_duplex=True)
    async with at_home(heard("No.", transcription_delay_ms=0), writing(), speaker=speaker, echo=echo) as home:
        send(home, "ask_question", text="Shall I switch on the light?", answers=YES)
        await home.until_sounding()
        echo.near_speech_s = 0.5
        home.microphone.hear(noise(0.1))
        home.speak(wake=False)
        assert (await answer(home))["result"]["answer"] == "no"
        assert home.speaker.cuts == 1


async def test_who_says_nothing_gives_no_answer() -> None:
    async with at_home(heard("No."), writing()) as home:
        await asked(home, timeout_s=1)
        told_back = await answer(home)
        assert (told_back["ok"], told_back["error"]["code"]) == (False, "no_answer")
        await home.until_idle()
        assert (await home.until_told("ended", "event/session"))["reason"] == "silence"


async def test_stop_and_a_wake_word_end_the_question() -> None:
    async with at_home(heard("No.", transcription_delay_ms=0), writing()) as home:
        await asked(home)
        send(home, "stop")
        codes = [(await answer(home, count)).get("error") or {"code": None} for count in (1, 2)]
        assert {code["code"] for code in codes} == {None, "interrupted"}
        await home.until_idle()
        await asked(home)
        home.say("hey_jarvis")
        assert (await answer(home, 3))["error"]["code"] == "interrupted"
        await home.until_told("started", "event/session", 3)  # one that answers


async def test_other_texts_wait_for_its_answer() -> None:
    async with at_home(heard("No.", transcription_delay_ms=0), writing()) as home:
        await asked(home)
        assert (await home.command("command/say", "Hello."))["error"]["code"] == "busy"
        send(home, "announce", text="Dinner.")
        home.speak(wake=False)
        assert (await answer(home, 2))["result"]["answer"] == "no"
        assert (await answer(home, 3))["result"]["text"] == "Dinner."


async def test_where_nobody_can_be_heard_it_is_refused() -> None:
    async with at_home() as home:
        await home.command("set/mute", "ON")
        assert (await home.command("command/ask_question", "Who?"))["error"]["code"] == "unavailable"
        await home.command("set/mute", "OFF")
        asking = asyncio.create_task(asked(home))
        await home.diary.until(lambda _: home.states()[-1:] != ["idle"])
        busy = await home.command("command/ask_question", "And who?")
        assert busy["error"]["code"] == "busy"
        await asking


async def test_a_service_that_is_away_is_told() -> None:
    refused = Connection(refuse=Refusal(status=401, message="No."))
    async with at_home(Scenario(turns=QUICK.turns, connections=(refused,))) as home:
        told_back = await home.command("command/ask_question", "Who?")
        assert (told_back["ok"], told_back["error"]["code"]) == (False, "failed")
        assert told(home.diary, "event/turn", "failed")
