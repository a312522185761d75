import pytest
from hypothesis import given
from hypothesis import strategies as st

from voiced.core.frames import MICROPHONE_RATE, STEP
from voiced.core.wake import COLD_STEPS, Wake, WakeJudge, WakeRules, WordRule, threshold_of

RULES = WakeRules((WordRule("hey_jarvis", 0.5), WordRule("alexa", 0.8)))

scores = st.sampled_from([0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 1.0])
rows = st.lists(st.one_of(st.none(), st.tuples(scores, scores)), max_size=150)
"""Rows of scores; ``None`` where the models forget."""


def hear(judge: WakeJudge, *scores: tuple[float, ...], start: int = 0) -> list[Wake]:
    """Judge rows one after another; return the wakes."""
    ends = range(start + STEP, start + STEP * (len(scores) + 1), STEP)
    return [wake for row, end in zip(scores, ends, strict=True) if (wake := judge.judge(row, end)) is not None]


def warm(rules: WakeRules = RULES) -> WakeJudge:
    judge = WakeJudge(rules)
    assert not judge.warm
    assert not hear(judge, *[tuple(1.0 for _ in rules.words)] * rules.cold_steps, start=-rules.cold_steps * STEP)
    assert not judge.warm
    hear(judge, tuple(0.0 for _ in rules.words), start=-STEP)
    assert judge.warm
    return judge


def test_a_word_is_heard_at_its_threshold_and_not_below() -> None:
    judge = warm()
    assert hear(judge, (0.49, 0.79)) == []
    assert hear(judge, (0.5, 0.79), start=STEP) == [Wake("hey_jarvis", 0.5, 0.5, 2 * STEP)]


def test_one_utterance_wakes_once() -> None:
    two_seconds = 2 * MICROPHONE_RATE // STEP
    assert len(hear(warm(), *[(0.9, 0.0)] * two_seconds)) == 1
    assert len(hear(warm(), *[(0.9, 0.0)] * (two_seconds + 1))) == 2


def test_of_two_words_at_once_the_greater_margin_wins() -> None:
    assert [wake.word for wake in hear(warm(), (0.85, 0.99))] == ["alexa"]
    assert [wake.word for wake in hear(warm(), (0.99, 0.85))] == ["hey_jarvis"]


def test_the_other_word_is_deaf_for_as_long_as_one_utterance_lasts() -> None:
    assert [wake.word for wake in hear(warm(), (0.9, 0.0), *[(0.0, 0.9)] * 9)] == ["hey_jarvis"]
    heard = hear(warm(), (0.9, 0.0), *[(0.0, 0.0)] * 9, (0.0, 0.9))
    assert [wake.word for wake in heard] == ["hey_jarvis", "alexa"]


def test_patience_wants_steps_in_a_row() -> None:
    rules = WakeRules((WordRule("hey_jarvis", 0.5, patience=3),))
    assert hear(warm(rules), (0.9,), (0.9,), (0.1,), (0.9,), (0.9,)) == []
    assert [wake.end for wake in hear(warm(rules), (0.9,), (0.9,), (0.9,))] == [3 * STEP]


def test_refractory_time_runs_on_when_the_models_forget() -> None:
    rules = WakeRules((WordRule("hey_jarvis", 0.5),), cold_steps=1)
    judge = warm(rules)
    assert len(hear(judge, (0.9,))) == 1
    judge.restart()
    assert hear(judge, *[(0.9,)] * 20, start=STEP) == []


def test_another_word_does_not_end_the_refractory_time_of_the_first() -> None:
    quiet = [(0.0, 0.0)] * 9
    heard = hear(warm(), (0.9, 0.0), *quiet, (0.0, 0.9), *quiet, (0.0, 0.0), (0.9, 0.0))  # jarvis again after 1.7 s
    assert [wake.word for wake in heard] == ["hey_jarvis", "alexa"]


def test_patience_begins_anew_when_the_models_forget() -> None:
    judge = warm(WakeRules((WordRule("hey_jarvis", 0.5, patience=3),), cold_steps=2))
    hear(judge, (0.9,), (0.9,))
    judge.restart()
    assert hear(judge, *[(0.9,)] * 4, start=2 * STEP) == []
    assert len(hear(judge, (0.9,), start=6 * STEP)) == 1


@given(rows, st.integers(1, 3))
def test_any_history_keeps_the_promises(history: list[tuple[float, float] | None], patience: int) -> None:
    rules = WakeRules((WordRule("hey_jarvis", 0.5, patience), WordRule("alexa", 0.8)), cold_steps=5)
    judge = WakeJudge(rules)
    wakes: list[Wake] = []
    since = 0
    for number, row in enumerate(history):
        if row is None:
            judge.restart()
            since = 0
            continue
        since += 1
        wake = judge.judge(row, number * STEP)
        if wake is None:
            continue
        assert since > rules.cold_steps
        assert wake.score == row[[rule.word for rule in rules.words].index(wake.word)] >= wake.threshold
        assert wake.end == number * STEP
        for earlier in wakes:
            apart = (wake.end - earlier.end) / MICROPHONE_RATE
            assert apart >= (rules.refractory_s if earlier.word == wake.word else rules.overlap_s)
        wakes.append(wake)


@given(st.floats(0, 1), st.floats(0, 1))
def test_more_sensitivity_never_means_a_higher_threshold(one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert 0 < threshold_of(high) <= threshold_of(low) < 1


def test_half_sensitivity_is_openwakewords_own_threshold() -> None:
    assert threshold_of(0.5) == pytest.approx(0.5)
    with pytest.raises(ValueError, match="not between"):
        threshold_of(1.1)


@pytest.mark.parametrize(("threshold", "patience"), [(1.2, 1), (-0.1, 1), (0.5, 0)])
def test_a_rule_that_makes_no_sense_is_refused(threshold: float, patience: int) -> None:
    with pytest.raises(ValueError, match="hey_jarvis"):
        WordRule("hey_jarvis", threshold, patience)


def test_a_threshold_of_one_leaves_no_margin() -> None:
    assert Wake("alexa", 1.0, 1.0, 0).margin == 0.0
    assert RULES.cold_steps == COLD_STEPS
