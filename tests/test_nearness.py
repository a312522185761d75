"""Our own evidence that somebody near speaks: levels of a caller, a room and a television."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.recordings import NOTES, SOUNDS, frames, load, noise
from voiced.core.effects import EndTurn
from voiced.core.events import Near
from voiced.core.frames import FRAME, MICROPHONE_RATE, Frame, Samples
from voiced.core.nearness import CLEAREST_DB, OVER_S, WINDOW_S, Nearness, Role, clearness, role
from voiced.core.realtime.events import SpeechStarted
from voiced.core.states import (
    Connecting,
    Finishing,
    Hearing,
    Idle,
    Listening,
    Paused,
    Processing,
    Responding,
    State,
    Talk,
)
from voiced.edge.vad import Vad

CALL = load(SOUNDS / "hey_jarvis_1.wav")
WAKE_END: int = NOTES["hey_jarvis_1"]["wake_end"] // FRAME * FRAME
SPEECH = load(SOUNDS / "negative_1.wav")
TALK = Talk(session=1, turn=1, profile="default", source="wake_word", ends=600.0)
ANSWER = Responding(TALK, 9.0, "r1")


def at(level_db: float, sound: Samples = SPEECH) -> Samples:
    """``sound``, so many decibels louder or softer."""
    louder: Samples = np.clip(sound * 10 ** (level_db / 20), -32768, 32767).astype(np.int16)
    return louder


def called(before: Samples | None = None) -> Nearness:
    """After a wake word, in a room that sounded like ``before``."""
    past = np.concatenate([noise(4.0) if before is None else before, CALL[:WAKE_END]])
    past = past[len(past) % FRAME :]
    nearness = Nearness(Vad())
    nearness.begin(frames(past), len(past))
    return nearness


def hear(
    nearness: Nearness, sound: Samples, whose: Role = "room", evidence_s: float = 0.6, start: int = 0
) -> list[Near]:
    told = (nearness.hear(frame, whose, evidence_s) for frame in frames(sound, start))
    return [near for near in told if near is not None]


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (Idle(), "caller"),
        (Connecting(TALK, 9), "caller"),
        (Listening(TALK, 9), "caller"),
        (Hearing(TALK, 9), "caller"),
        (Listening(TALK, 9, follow_up=True), "room"),
        (Processing(TALK, 9), "room"),
        (ANSWER, "answer"),
        (Finishing(TALK, 9, EndTurn(1, "finished"), "r1"), "answer"),
        (Paused(TALK, 9, ANSWER, 1, (SpeechStarted("u", 0),)), "answer"),
    ],
)
def test_whose_sound_is_expected(state: State, expected: Role) -> None:
    assert role(state, full_duplex=True) == expected
    assert role(state, full_duplex=False) == ("echo" if expected == "answer" else expected)


def test_a_person_as_loud_as_the_wake_word_is_noticed_from_the_first_sound() -> None:
    told = hear(called(), np.concatenate([SPEECH, noise(OVER_S + 1)]))
    assert [near.speech for near in told] == ["some", "enough", "none"]
    assert all(near.sure for near in told)
    begins = int(np.argmax(np.abs(SPEECH) > 300))
    assert begins - FRAME <= told[0].since <= begins + MICROPHONE_RATE // 5


def test_a_person_who_has_turned_away_is_noticed_in_a_quiet_room() -> None:
    told = hear(called(), at(-8))
    assert any(near.speech == "enough" and near.sure for near in told)


@pytest.mark.parametrize("softer_db", [-12, -15, -20])
def test_a_television_that_was_on_before_is_not_near(softer_db: float) -> None:
    television = at(softer_db)
    assert not hear(called(np.concatenate([television, television])), television)


def test_a_person_is_told_from_a_television() -> None:
    told = hear(called(np.concatenate([at(-15), at(-15)])), SPEECH)
    assert [(near.speech, near.sure) for near in told] == [("some", True), ("enough", True)]


def test_a_television_as_loud_as_the_caller_is_never_sure() -> None:
    told = hear(called(np.concatenate([SPEECH, SPEECH])), SPEECH)
    assert told
    assert not any(near.sure for near in told)


def test_much_softer_speech_is_not_sure_and_belongs_to_the_room_from_then_on() -> None:
    nearness = called()
    hear(nearness, SPEECH, "caller")  # the question
    hear(nearness, noise(3.0))
    soft = at(-16)
    assert not any(near.sure for near in hear(nearness, soft))
    hear(nearness, soft, "caller")  # the service took it for a turn
    assert not any(near.speech == "enough" for near in hear(nearness, np.concatenate([noise(3.0), soft])))


@pytest.mark.parametrize(("softer_db", "sure"), [(5.0, True), (8.0, False)])
def test_a_little_is_sure_only_where_it_is_nearly_as_loud_as_the_caller(softer_db: float, sure: bool) -> None:
    def steady(level_db: float, seconds: float) -> Samples:
        return np.full(round(seconds * MICROPHONE_RATE), 32_768 * 10 ** (level_db / 20), np.int16)

    nearness = Nearness(lambda _samples: True)
    past = np.concatenate([steady(-60.0, 4.0), steady(-20.0, 1.4)])
    nearness.begin(frames(past), len(past))
    told = hear(nearness, steady(-20.0 - softer_db, 0.4), start=len(past))
    assert [(near.speech, near.sure) for near in told] == [("some", sure), ("enough", True)]


def test_who_said_no_wake_word_is_known_by_the_first_turn() -> None:
    nearness = Nearness(Vad())
    nearness.begin(frames(noise(4.0)), None)
    hear(nearness, SPEECH, "caller")
    hear(nearness, noise(3.0), "room")
    assert not hear(nearness, at(-30), "room")
    assert hear(nearness, SPEECH, "room")


def test_over_an_answer_counts_what_the_evidence_says_too() -> None:
    nearness = called()
    assert not hear(nearness, SPEECH, "answer", evidence_s=0.0)
    assert [near.speech for near in hear(nearness, SPEECH, "answer", evidence_s=0.2)] == ["some"]


def test_who_asked_does_not_talk_over_the_answer() -> None:
    nearness = called()
    assert hear(nearness, SPEECH, "caller")[-1].speech == "enough"
    assert [near.speech for near in hear(nearness, noise(0.2), "answer")] == ["none"]


def test_the_speakers_own_voice_is_nobody() -> None:
    nearness = called()
    assert not hear(nearness, SPEECH, "echo")
    assert not nearness.hear(Frame(0, np.zeros(FRAME, np.int16)), "room", 0.0)


@given(st.lists(st.tuples(st.integers(-60, 0), st.sampled_from(["caller", "room", "answer", "echo"])), max_size=30))
def test_nothing_is_told_twice_and_nobody_begins_before_the_window(story: list[tuple[int, Role]]) -> None:
    """Whatever is heard: ``none`` only follows somebody, and what is told changes or becomes sure."""
    nearness = called()
    known, start = Near("none"), 10**6
    for level_db, whose in story:
        piece = at(level_db, SPEECH[24_000 : 24_000 + 15 * FRAME])
        for frame in frames(piece, start):
            near = nearness.hear(frame, whose, 0.6)
            if near is not None:
                assert near.speech != known.speech or (near.sure and not known.sure)
                assert frame.end - round(WINDOW_S * MICROPHONE_RATE) <= near.since <= frame.start
                known = near
        start += len(piece)


# --- how well a wake word was heard -----------------------------------------------------------------------------------


def heard(word_db: float, room_rms: float) -> float:
    word = np.concatenate([np.zeros(5 * MICROPHONE_RATE, np.int16), at(word_db, CALL[WAKE_END - 18_000 : WAKE_END])])
    past = tuple(frames(word + noise(len(word) / MICROPHONE_RATE, rms=room_rms)))
    return clearness(past, past[-1].end)


def test_a_word_is_the_clearer_the_louder_it_is_and_the_quieter_the_room() -> None:
    assert heard(-12.0, 20) < heard(-6.0, 20) < heard(0.0, 20) < 1.0
    assert heard(0.0, 400) < heard(0.0, 100) < heard(0.0, 20)
    assert heard(0.0, 20) - heard(-12.0, 20) == pytest.approx(12.0 / CLEAREST_DB, abs=0.02)


def test_how_sensitive_a_microphone_is_makes_no_difference() -> None:
    assert heard(-6.0, 50) == pytest.approx(heard(0.0, 100), abs=0.02)


def test_without_a_room_before_the_word_it_is_not_known() -> None:
    assert clearness((), 0) == 0.0
    assert clearness(tuple(frames(CALL[:WAKE_END]))[-20:], WAKE_END) == 0.0
    assert clearness(tuple(frames(np.zeros(5 * MICROPHONE_RATE, np.int16))), 4 * MICROPHONE_RATE) == 0.0
