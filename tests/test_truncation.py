"""What the service is told of an answer that was cut, against a service that remembers."""

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from voiced.core.playout import Part
from voiced.core.realtime import events as wire
from voiced.core.truncation import MARGIN_MS, Answer

MS = 24


def sound(item: str, ms: int, part: int = 0) -> wire.AudioDelta:
    return wire.AudioDelta("r", item, part, bytes(2 * ms * MS))


def words(item: str, text: str, *, spoken: bool = True) -> wire.TextDelta:
    return wire.TextDelta("r", item, 0, text, spoken)


DONE = wire.ResponseDone("r", "completed")


def answer(*events: wire.AudioDelta | wire.TextDelta | wire.ResponseDone) -> Answer:
    said = Answer()
    for event in events:
        said.note(event)
    return said


def test_each_item_is_cut_where_it_was_heard_and_what_was_not_heard_goes() -> None:
    said = answer(sound("i1", 2_000), sound("i2", 2_000), sound("i3", 500), DONE)
    heard = {("i1", 0): 2_000, ("i2", 0): 700, ("i3", 0): 0}
    assert said.truncations(heard, ["i1", "i2", "i3", "i4"]) == (
        wire.TruncateItem("i2", 0, 700),
        wire.DeleteItem("i3"),
        wire.DeleteItem("i4"),
    )


def test_what_was_heard_but_for_its_last_syllable_keeps_its_words() -> None:
    said = answer(sound("i1", 2_000), DONE)
    assert said.truncations({("i1", 0): 2_000 - MARGIN_MS - 1}) == (wire.TruncateItem("i1", 0, 2_000 - MARGIN_MS - 1),)
    assert said.truncations({("i1", 0): 2_000 - MARGIN_MS}) == ()
    assert said.truncations({("i1", 0): 2_000}) == ()


def test_while_more_may_have_been_sent_the_cut_stays_below_what_the_service_counts() -> None:
    said = answer(sound("i1", 2_000))
    assert said.truncations({("i1", 0): 1_990}) == (wire.TruncateItem("i1", 0, 2_000 - MARGIN_MS),)
    assert said.truncations({("i1", 0): 300}) == (wire.TruncateItem("i1", 0, 300),)
    assert answer(sound("i1", 60)).truncations({("i1", 0): 60}) == (wire.TruncateItem("i1", 0, 0),)


def test_parts_of_an_item_are_cut_each_for_itself() -> None:
    said = answer(sound("i1", 1_000, part=0), sound("i1", 1_000, part=1))
    assert said.truncations({("i1", 0): 1_000, ("i1", 1): 0}) == (wire.TruncateItem("i1", 1, 0),)
    assert said.truncations({("i1", 0): 200, ("i1", 1): 0}) == (
        wire.TruncateItem("i1", 0, 200),
        wire.TruncateItem("i1", 1, 0),
    )


def test_an_item_heard_before_the_last_silence_stays() -> None:
    said = answer(sound("i1", 1_000), sound("i2", 1_000), DONE)
    assert said.truncations({("i2", 0): 400}, ["i1", "i2"]) == (wire.TruncateItem("i2", 0, 400),)
    assert said.truncations({}, ["i1", "i2"]) == ()


def test_an_item_with_words_but_no_sound_yet_goes_and_one_that_is_written_stays() -> None:
    assert answer(words("i1", "Well")).truncations({}, ["i1"]) == (wire.DeleteItem("i1"),)
    assert answer(words("i1", "Well", spoken=False)).truncations({}, ["i1"]) == ()


def test_words_are_found_in_a_long_answer_of_nothing() -> None:
    """If each space were looked at again and again, this test would time out."""
    said = answer(words("i1", "So" + " " * 500_000), sound("i1", 1_000))
    assert said.heard({("i1", 0): 500}) == "So…"


def test_words_heard_are_told_up_to_the_cut() -> None:
    said = answer(words("i1", "One two "), sound("i1", 800), words("i2", "three four"), sound("i2", 1_000))
    assert said.text == "One two three four"
    assert said.heard({("i1", 0): 800, ("i2", 0): 1_000}) == "One two three four"
    assert said.heard({("i2", 0): 1_000}) == "One two three four"  # the first, before a silence
    assert said.heard({("i1", 0): 800, ("i2", 0): 600}) == "One two three…"
    assert said.heard({("i1", 0): 800, ("i2", 0): 0}) == "One two …"
    assert answer(words("i1", "One."), words("i2", "Two.")).text == "One. Two."
    assert answer(words("i1", "On"), words("i1", "e.")).text == "One."
    assert said.heard({("i1", 0): 300, ("i2", 0): 0}) == "One…"
    assert said.heard({("i1", 0): 10, ("i2", 0): 0}) == ""
    assert said.heard({}) == ""
    assert answer(words("i1", "Read this", spoken=False)).heard({}) == "Read this"


@dataclass
class Service:
    """Remembers what it sent, counts a little less than that, and refuses what it cannot do."""

    shorter_ms: int
    items: dict[str, dict[int, int]] = field(default_factory=dict)
    refused: list[wire.ClientEvent] = field(default_factory=list)

    def obey(self, event: wire.ClientEvent) -> None:
        match event:
            case wire.DeleteItem(item) if item in self.items:
                del self.items[item]
            case wire.TruncateItem(item, part, ms) if item in self.items:
                if ms > max(0, self.items[item][part] - self.shorter_ms):
                    self.refused.append(event)
                self.items[item][part] = ms
            case _:
                self.refused.append(event)


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 1), st.integers(1, 800)).map(
            lambda piece: (f"i{piece[0]}", *piece[1:])
        ),
        min_size=1,
        max_size=12,
    ),
    st.integers(0, 5_000),
    st.integers(0, 5_000),
    st.integers(0, MARGIN_MS),
    st.booleans(),
)
def test_the_service_remembers_what_was_heard(
    pieces: list[tuple[str, int, int]], heard_ms: int, unsent_ms: int, shorter_ms: int, whole: bool
) -> None:
    """To the millisecond, or to the margin at the end of a part; and it has nothing to refuse."""
    pieces.sort()
    said = answer(*(sound(item, ms, part) for item, part, ms in pieces), *([DONE] if whole else []))
    service, heard = Service(shorter_ms), dict[Part, int]()
    for item, part, ms in pieces:
        parts = service.items.setdefault(item, {})
        parts[part] = parts.get(part, 0) + ms
        heard[item, part] = heard.get((item, part), 0) + min(ms, heard_ms)
        heard_ms -= min(ms, heard_ms)
    if not whole:
        parts[part] += unsent_ms  # the service is ahead of what we got
    for event in said.truncations(heard, list(service.items)):
        service.obey(event)
    assert service.refused == []
    for item, part, _ in pieces:
        left = service.items.get(item, {}).get(part)
        if not any(ms for (name, _), ms in heard.items() if name == item):
            assert left is None
        else:
            assert left is not None
            assert abs(left - heard[item, part]) <= MARGIN_MS
            came = said.parts[item, part].ms
            assert left == heard[item, part] or heard[item, part] >= came - MARGIN_MS


def test_an_answer_cut_before_its_first_sound_was_not_heard_and_the_one_before_stays_whole() -> None:
    said = answer(words("i2", "Well, "))
    before = {("i1", 0): 3_000}
    heard = said.own(before)
    assert heard == {}
    assert said.heard(heard) == ""
    assert said.truncations(heard, ["i2"]) == (wire.DeleteItem("i2"),)
