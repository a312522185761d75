"""Whose turn it is, by our own ear: rows, and what holds for any sound."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.recordings import SOUNDS, load, noise
from voiced.core.frames import FRAME, Samples
from voiced.core.realtime import events as wire
from voiced.core.realtime.settings import LocalVad
from voiced.core.turntaking import Deed, TurnTaker
from voiced.edge.vad import Vad

VOICE = np.tile(np.array([4_000, -4_000], np.int16), FRAME // 2)
QUIET = np.tile(np.array([2, -2], np.int16), FRAME // 2)


def is_loud(samples: Samples) -> bool:
    return bool(np.abs(samples).max() > 1_000)


def sounds(pattern: str) -> Samples:
    """``x``: a frame with a voice, ``.``: one without."""
    return np.concatenate([VOICE if sign == "x" else QUIET for sign in pattern])


def taker(vad: LocalVad | None = None) -> TurnTaker:
    return TurnTaker(vad or LocalVad(prefix_padding_ms=100, silence_duration_ms=200), is_loud)


def shown(deeds: list[Deed]) -> str:
    """Each frame sent as one sign, each event as its first letter."""
    return "".join(
        ("x" if is_loud(deed) else ".") if isinstance(deed, np.ndarray) else f"<{type(deed).__name__}>"
        for deed in deeds
    )


def test_silence_is_not_sent_and_a_turn_whole() -> None:
    ear = taker()
    deeds = ear.hear(sounds("." * 20 + "x" * 10 + "." * 20), lambda taken: taken)
    end = "<SpeechStopped><CommitAudio><CreateResponse>"
    assert shown(deeds) == "<SpeechStarted>" + "." * 5 + "x" * 10 + "." * 10 + end
    assert deeds[0] == wire.SpeechStarted("turn_1", 300)
    assert [deed for deed in deeds if isinstance(deed, wire.SpeechStopped)] == [wire.SpeechStopped("turn_1", 800)]
    assert ear.kept == (15 + 10) * FRAME


def test_a_click_begins_nothing() -> None:
    assert taker().hear(sounds("..xx......xxxx.......x...."), lambda taken: taken) == []


def test_half_a_sentence_that_was_broken_off_is_forgotten() -> None:
    ear = taker()
    ear.hear(sounds("." * 8 + "x" * 8), lambda taken: taken)
    deeds = ear.hear(sounds("." * 4), lambda taken: taken + 16_000)
    assert deeds == [wire.SpeechStopped("turn_1", 320), wire.ClearAudio()]


def test_sound_that_goes_on_where_it_was_held_back_is_one_sentence() -> None:
    ear = taker()
    ear.hear(sounds("x" * 8), lambda taken: taken)
    assert shown(ear.hear(sounds("x" * 4), lambda taken: taken)) == "xxxx"


def test_a_television_that_is_switched_on_is_the_room_after_a_while() -> None:
    ear = TurnTaker(LocalVad(), lambda _: True)
    hiss = noise(60.0, rms=300)
    deeds = ear.hear(hiss[: len(hiss) // FRAME * FRAME], lambda taken: taken)
    assert sum(isinstance(deed, wire.SpeechStopped) for deed in deeds) == 1
    assert isinstance(deeds[-1], wire.CreateResponse)


def test_a_recorded_sentence_is_one_turn() -> None:
    sound = np.concatenate([noise(1.0), load(SOUNDS / "hey_jarvis_1.wav"), noise(1.5)])
    deeds = TurnTaker(LocalVad(), Vad()).hear(sound[: len(sound) // FRAME * FRAME], lambda taken: taken)
    assert [type(deed) for deed in deeds if not isinstance(deed, np.ndarray)] == [
        *(wire.SpeechStarted, wire.SpeechStopped, wire.CommitAudio, wire.CreateResponse)
    ]


def test_items_have_one_name_in_the_house_and_the_services_outside() -> None:
    ear = taker()
    ear.hear(sounds("x" * 10 + "." * 10), lambda taken: taken)
    ear.hold()
    ear.let_go(committed=True)
    assert ear.told(wire.InputCommitted("item_a")) == wire.InputCommitted("turn_1")
    assert ear.told(wire.InputCommitted("item_b")) == wire.InputCommitted("item_b")  # it was held
    assert ear.told(wire.InputTranscript("item_a", "No.")) == wire.InputTranscript("turn_1", "No.")
    assert ear.told(wire.InputTranscript("item_b", "No.")) == wire.InputTranscript("item_b", "No.")
    assert ear.named(wire.DeleteItem("turn_1")) == wire.DeleteItem("item_a")
    assert ear.named(wire.DeleteItem("i1")) == wire.DeleteItem("i1")


PATTERNS = st.lists(st.tuples(st.text("x.", min_size=2, max_size=60), st.integers(0, 2)), max_size=12)


@given(PATTERNS, st.sampled_from([0, 100, 300]), st.sampled_from([100, 200, 500]))
@settings(max_examples=300)
def test_for_any_sound_the_service_gets_whole_turns_and_nothing_else(
    heard: list[tuple[str, int]], prefix_ms: int, silence_ms: int
) -> None:
    """Beginnings and ends alternate; between them all sound, once and in order; what is committed is long enough."""
    ear = taker(LocalVad(prefix_padding_ms=prefix_ms, silence_duration_ms=silence_ms))
    said = np.concatenate([sounds(pattern) for pattern, _ in heard]) if heard else np.zeros(0, np.int16)
    numbered = said.copy()
    numbered[::FRAME] = np.arange(len(numbered[::FRAME]))  # tells frames apart, and is not heard
    skipped, taken = 0, 0
    buffer: list[int] = []
    speaking: str | None = None
    for pattern, gap in heard:
        skipped += gap * 8_000
        part = numbered[taken : taken + len(pattern) * FRAME]
        deeds = ear.hear(part, lambda sample, by=skipped: sample + by)  # type: ignore[misc]  # a default binds it now
        taken += len(part)
        for deed in deeds:
            match deed:
                case wire.SpeechStarted(item):
                    assert speaking is None
                    assert not buffer
                    speaking = item
                case wire.SpeechStopped(item, end_ms):
                    assert speaking == item
                    speaking = None
                    assert end_ms <= taken // 16
                case wire.CommitAudio():
                    assert speaking is None
                    assert len(buffer) * 20 >= 150
                    buffer.clear()
                case wire.ClearAudio():
                    buffer.clear()
                case wire.CreateResponse():
                    assert not buffer
                case np.ndarray():
                    assert speaking is not None
                    assert not buffer or int(deed[0]) == buffer[-1] + 1
                    buffer.append(int(deed[0]))
        assert (speaking is None) == (not buffer)
    assert 0 <= ear.kept <= taken
