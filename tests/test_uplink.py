"""What is said goes out whole, once and in order, however late the session."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from voiced.core.frames import FRAME, MICROPHONE_RATE, Frame, Samples
from voiced.core.uplink import BACKLOG_S, RING_S, Uplink


def heard(start: int, count: int) -> list[Frame]:
    """Frames whose every sample is its own position, modulo the range of 16 bits."""
    return [Frame(at, np.arange(at, at + FRAME).astype(np.int16)) for at in range(start, start + count * FRAME, FRAME)]


def positions(since: int, until: int) -> Samples:
    return np.arange(since, until).astype(np.int16)


def listen(uplink: Uplink, frames: list[Frame]) -> None:
    for frame in frames:
        uplink.add(frame)


def test_speech_goes_back_to_the_wake_word() -> None:
    uplink = Uplink()
    listen(uplink, heard(0, 100))
    uplink.hear(12_345)
    listen(uplink, heard(100 * FRAME, 50))
    assert np.array_equal(uplink.take(10**6), positions(12_345, 150 * FRAME))
    assert uplink.lost == 0


@given(st.lists(st.sampled_from(["add", "take", "hold", "resume"]) | st.integers(1, 2000), max_size=80))
def test_everything_is_taken_once_and_in_order(story: list[str | int]) -> None:
    """Holding back and resuming loses nothing as long as the ring reaches."""
    uplink = Uplink()
    uplink.hear()
    at, taken = 0, []
    for act in story:
        match act:
            case "add":
                listen(uplink, heard(at, 1))
                at += FRAME
            case "hold":
                uplink.hold()
            case "resume":
                uplink.resume()
            case int():
                taken.append(uplink.take(act))
    uplink.resume()
    taken.append(uplink.take(10**6))
    assert np.array_equal(np.concatenate(taken), positions(0, at))
    assert uplink.lost == 0
    assert uplink.waiting == 0


def test_a_position_tells_where_a_sample_came_from() -> None:
    uplink = Uplink()
    listen(uplink, heard(0, 10))
    assert uplink.position(0) is None
    uplink.hear(1000)
    uplink.take(10**6)
    uplink.hold()
    listen(uplink, heard(10 * FRAME, 10))
    uplink.hear()
    listen(uplink, heard(20 * FRAME, 10))
    uplink.take(10**6)
    assert uplink.position(0) == 1000
    assert uplink.position(10 * FRAME - 1000) == 20 * FRAME
    assert uplink.position(10 * FRAME - 999) == 20 * FRAME + 1


def test_what_the_ring_no_longer_has_is_counted() -> None:
    uplink = Uplink()
    listen(uplink, heard(0, 900))
    uplink.hear(0)
    assert uplink.lost == 900 * FRAME - int(RING_S * MICROPHONE_RATE)


def test_what_is_skipped_is_never_sent_and_not_lost() -> None:
    uplink = Uplink()
    listen(uplink, heard(0, 10))
    uplink.skip(12 * FRAME)
    listen(uplink, heard(10 * FRAME, 10))
    uplink.hear(5 * FRAME)
    assert np.array_equal(uplink.take(10**6), positions(12 * FRAME, 20 * FRAME))
    assert uplink.lost == 0
    assert [frame.start for frame in uplink.recent] == [at * FRAME for at in range(20)]


def test_a_hole_in_the_sound_is_counted() -> None:
    uplink = Uplink()
    uplink.hear()
    listen(uplink, heard(0, 2))
    listen(uplink, heard(10 * FRAME, 2))
    assert uplink.lost == 8 * FRAME


def test_a_session_that_never_comes_does_not_fill_the_memory() -> None:
    uplink = Uplink()
    uplink.hear()
    most = int(BACKLOG_S * MICROPHONE_RATE)
    listen(uplink, heard(0, most // FRAME + 10))
    assert uplink.waiting <= most
    assert uplink.lost == 10 * FRAME


def test_a_new_session_begins_empty() -> None:
    uplink = Uplink()
    uplink.hear()
    listen(uplink, heard(0, 5))
    uplink.take(100)
    uplink.restart()
    assert not uplink.is_open
    assert len(uplink.take(10**6)) == 0
    assert uplink.position(0) is None
    listen(uplink, heard(5 * FRAME, 5))
    uplink.hear(5 * FRAME)
    assert uplink.take(1)[0] == 5 * FRAME


def test_a_wake_word_right_after_an_answer_began_sends_nothing_twice() -> None:
    uplink = Uplink()
    uplink.hear()
    listen(uplink, heard(0, 10))
    uplink.hold()
    listen(uplink, heard(10 * FRAME, 10))
    uplink.hear(5 * FRAME)
    assert np.array_equal(uplink.take(10**6), positions(0, 20 * FRAME))


def test_the_tail_of_a_cut_answer_is_left_out() -> None:
    uplink = Uplink()
    listen(uplink, heard(0, 10))
    uplink.hear(10 * FRAME + 500)
    listen(uplink, heard(10 * FRAME, 10))
    assert np.array_equal(uplink.take(10**6), positions(10 * FRAME + 500, 20 * FRAME))
    assert uplink.lost == 0


def test_a_hole_is_counted_also_when_all_before_it_is_sent() -> None:
    uplink = Uplink()
    uplink.hear()
    listen(uplink, heard(0, 2))
    uplink.take(10**6)
    listen(uplink, heard(10 * FRAME, 2))
    assert uplink.lost == 8 * FRAME


def test_nothing_from_before_a_session_is_sent_that_nobody_was_listened_to_in() -> None:
    uplink = Uplink()
    listen(uplink, heard(0, 10))
    uplink.restart()
    listen(uplink, heard(10 * FRAME, 10))
    uplink.resume()
    assert uplink.waiting == 0
    listen(uplink, heard(20 * FRAME, 1))
    assert np.array_equal(uplink.take(10**6), positions(20 * FRAME, 21 * FRAME))


# --- another session --------------------------------------------------------------------------------------------------


def test_another_session_hears_all_that_was_said_and_what_is_said_on() -> None:
    uplink = Uplink()
    listen(uplink, heard(0, 100))
    uplink.hear(12_345)
    uplink.take(7_000)
    listen(uplink, heard(100 * FRAME, 50))
    uplink.take_over(resend=True)
    listen(uplink, heard(150 * FRAME, 50))
    assert uplink.position(0) is None
    assert np.array_equal(uplink.take(10**6), positions(12_345, 200 * FRAME))
    assert uplink.position(1000) == 13_345
    assert uplink.lost == 0


def test_a_session_of_which_nothing_is_asked_again_begins_with_what_is_said_then() -> None:
    uplink = Uplink()
    uplink.hear()
    listen(uplink, heard(0, 10))
    uplink.take(FRAME)
    uplink.hold()
    uplink.skip(12 * FRAME)
    uplink.take_over(resend=False)
    assert (uplink.waiting, uplink.taken) == (0, 0)
    listen(uplink, heard(10 * FRAME, 10))
    uplink.hear(5 * FRAME)
    assert np.array_equal(uplink.take(10**6), positions(12 * FRAME, 20 * FRAME))


def sent_ten() -> Uplink:
    """Return one that has sent ten frames."""
    uplink = Uplink()
    uplink.hear()
    listen(uplink, heard(0, 10))
    uplink.take(10**6)
    return uplink


def test_what_is_answered_is_not_sent_again() -> None:
    uplink = sent_ten()
    uplink.answered()
    listen(uplink, heard(10 * FRAME, 10))
    uplink.take(10**6)
    uplink.said_since()
    uplink.take_over(resend=True)
    assert np.array_equal(uplink.take(10**6), positions(10 * FRAME, 20 * FRAME))


def test_something_new_is_sent_again_without_what_was_said_before() -> None:
    uplink = sent_ten()
    uplink.hold()
    listen(uplink, heard(10 * FRAME, 10))
    uplink.hear(15 * FRAME)
    uplink.take_over(resend=True)
    assert np.array_equal(uplink.take(10**6), positions(15 * FRAME, 20 * FRAME))


def test_what_is_too_long_to_be_kept_is_counted_when_it_is_wanted() -> None:
    uplink = Uplink()
    uplink.hear()
    count = int(BACKLOG_S * MICROPHONE_RATE / FRAME) + 50
    for frame in heard(0, count):
        uplink.add(frame)
        uplink.take(10**6)
    assert uplink.lost == 0
    uplink.take_over(resend=True)
    assert uplink.lost == 50 * FRAME
    assert uplink.waiting == (count - 50) * FRAME


@given(st.lists(st.sampled_from(["add", "die", "resume", "hold"]) | st.integers(1, 2000), max_size=80))
def test_whenever_sessions_die_the_last_hears_everything_once_and_in_order(story: list[str | int]) -> None:
    uplink = Uplink()
    uplink.hear()
    at, taken = 0, list[Samples]()
    for act in story:
        match act:
            case "add":
                listen(uplink, heard(at, 1))
                at += FRAME
            case "die":
                uplink.take_over(resend=True)
                taken.clear()
            case "hold":
                uplink.hold()
            case "resume":
                uplink.resume()
            case int():
                taken.append(uplink.take(act))
    uplink.resume()
    taken.append(uplink.take(10**6))
    assert np.array_equal(np.concatenate(taken), positions(0, at))
    assert (uplink.lost, uplink.waiting) == (0, 0)
