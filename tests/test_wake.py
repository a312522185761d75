import pytest
from hypothesis import given
from hypothesis import strategies as st

from voiced.core.frames import MICROPHONE_RATE, STEP
from voiced.core.verifier import Refused
from voiced.core.wake import (
    COLD_STEPS,
    OVER_SPEAKER,
    NearMiss,
    Wake,
    WakeJudge,
    WakeRules,
    WordRule,
    threshold_of,
    usual_rule,
)

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


@pytest.mark.parametrize(("threshold", "patience", "window"), [(1.2, 1, 1), (-0.1, 1, 1), (0.5, 0, 1), (0.5, 3, 2)])
def test_a_rule_that_makes_no_sense_is_refused(threshold: float, patience: int, window: int) -> None:
    with pytest.raises(ValueError, match="hey_jarvis"):
        WordRule("hey_jarvis", threshold, patience, window)


def test_a_threshold_of_one_leaves_no_margin() -> None:
    assert Wake("alexa", 1.0, 1.0, 0).margin == 0.0
    assert RULES.cold_steps == COLD_STEPS


# --- patience among steps ---------------------------------------------------------------------------------------------


def test_patience_may_count_among_more_steps() -> None:
    rules = WakeRules((WordRule("hey_jarvis", 0.5, patience=2, window=3),))
    assert [wake.end for wake in hear(warm(rules), (0.9,), (0.1,), (0.9,))] == [3 * STEP]
    assert hear(warm(rules), (0.9,), (0.1,), (0.1,), (0.9,)) == []


@given(st.lists(scores, max_size=60), st.integers(1, 4), st.integers(0, 3))
def test_a_wake_has_its_steps_and_comes_with_the_first_chance(row: list[float], patience: int, more: int) -> None:
    rule = WordRule("hey_jarvis", 0.5, patience, patience + more)
    found = hear(warm(WakeRules((rule,))), *[(score,) for score in row])
    reached = [score >= 0.5 for score in [0.0, *row]]  # warm() ended with a zero
    chances = [
        end
        for end in range(1, len(reached))
        if reached[end] and sum(reached[max(0, end - rule.steps + 1) : end + 1]) >= patience
    ]
    expected: list[int] = []
    for end in chances:
        if not expected or (end - expected[-1]) * STEP >= 2 * MICROPHONE_RATE:
            expected.append(end)
    assert [wake.end // STEP for wake in found] == expected


def test_the_rules_of_the_shipped_words_move_with_the_sensitivity() -> None:
    usual = usual_rule("hey_jarvis")
    assert usual.threshold == pytest.approx(0.9)
    assert (usual.patience, usual.steps) == (2, 3)
    assert usual_rule("hey_jarvis", sensitivity=0.9).threshold < 0.6 < usual_rule("hey_jarvis").threshold
    assert usual_rule("hey_jarvis", threshold=0.3).threshold == 0.3
    own = usual_rule("computer")
    assert own.threshold == pytest.approx(0.5)
    assert (own.patience, own.steps) == (1, 1)


# --- near misses ------------------------------------------------------------------------------------------------------


def test_what_nearly_was_a_wake_is_told_once_when_it_is_over() -> None:
    judge = warm()
    assert hear(judge, (0.26, 0.0), (0.4, 0.0), (0.3, 0.0)) == []
    assert judge.near_misses(4 * STEP) == []  # it may go on
    hear(judge, *[(0.1, 0.1)] * 12, start=3 * STEP)
    assert judge.near_misses(15 * STEP) == [NearMiss("hey_jarvis", 0.4, 0.5, 2 * STEP)]
    assert judge.near_misses(16 * STEP) == []


def test_what_became_a_wake_is_no_near_miss_for_any_word() -> None:
    judge = warm()
    assert len(hear(judge, (0.4, 0.7), (0.9, 0.7), (0.4, 0.6), *[(0.0, 0.0)] * 20)) == 1
    assert judge.near_misses(40 * STEP) == []


def test_too_short_for_patience_is_a_near_miss() -> None:
    judge = warm(WakeRules((WordRule("hey_jarvis", 0.5, patience=2),)))
    assert hear(judge, (0.95,), *[(0.0,)] * 12) == []
    assert judge.near_misses(13 * STEP) == [NearMiss("hey_jarvis", 0.95, 0.5, STEP)]


def test_an_utterance_that_breaks_off_counts_when_the_models_forget() -> None:
    judge = warm()
    hear(judge, (0.4, 0.0))
    judge.restart()
    assert judge.near_misses(STEP) == [NearMiss("hey_jarvis", 0.4, 0.5, STEP)]


@given(rows, st.integers(1, 3))
def test_near_misses_keep_their_promises(history: list[tuple[float, float] | None], patience: int) -> None:
    rules = WakeRules((WordRule("hey_jarvis", 0.6, patience), WordRule("alexa", 0.8)), cold_steps=2)
    judge = WakeJudge(rules)
    misses: list[NearMiss] = []
    wakes: list[Wake] = []
    for number, row in enumerate(history):
        if row is None:
            judge.restart()
            continue
        wake = judge.judge(row, number * STEP)
        wakes += [wake] if wake else []
        misses += judge.near_misses(number * STEP)
    misses += judge.near_misses(1000 * STEP)
    for miss in misses:
        row = history[miss.end // STEP]
        rule = next(rule for rule in rules.words if rule.word == miss.word)
        assert row is not None
        assert miss.score == row[rules.words.index(rule)] >= 0.5 * rule.threshold
        assert miss.score < rule.threshold or rule.patience > 1
        deaf = [(wake.end, 2.0 if wake.word == miss.word else 0.8) for wake in wakes]
        assert not any(0 <= miss.end - end < seconds * MICROPHONE_RATE for end, seconds in deaf)
    for word in ("hey_jarvis", "alexa"):
        ends = [miss.end for miss in misses if miss.word == word]
        assert ends == sorted(set(ends))


def test_near_misses_that_nobody_asks_for_are_bounded() -> None:
    judge = warm()
    for number in range(100):
        hear(judge, (0.4, 0.0), start=number * 20 * STEP)
    assert len(judge.near_misses(10_000 * STEP)) < 40


# --- another voice ----------------------------------------------------------------------------------------------------


def test_a_word_that_another_voice_says_is_told_with_the_score_it_would_have_had() -> None:
    judge = warm()
    assert hear(judge, (0.3, 0.0), (Refused(0.95), 0.0), (Refused(0.8), 0.0)) == []
    assert judge.near_misses(100 * STEP) == [NearMiss("hey_jarvis", 0.95, 0.5, 2 * STEP, "voice")]


def test_a_low_score_of_another_voice_is_a_near_miss_like_any() -> None:
    judge = warm()
    hear(judge, (Refused(0.4), 0.0))
    assert judge.near_misses(100 * STEP) == [NearMiss("hey_jarvis", 0.4, 0.5, STEP)]


def test_a_voice_that_is_known_a_step_later_wakes_and_was_no_other() -> None:
    judge = warm()
    (wake,) = hear(judge, (Refused(0.9), 0.0), (0.9, 0.0))
    assert wake.word == "hey_jarvis"
    assert judge.near_misses(100 * STEP) == []


# --- veto -------------------------------------------------------------------------------------------------------------


def test_a_barred_word_is_counted_once_and_deafens_nobody() -> None:
    judge = warm()
    for number in range(5):
        assert judge.judge((0.9, 0.0), number * STEP, barred=(True, False)) is None
    assert judge.vetoed == 1
    wake = judge.judge((0.0, 0.9), 5 * STEP, barred=(True, False))
    assert wake is not None
    assert wake.word == "alexa"
    assert judge.is_curious
    assert judge.near_misses(100 * STEP) == [NearMiss("hey_jarvis", 0.9, 0.5, 0, "speaker")]
    assert not judge.is_curious


def test_the_same_word_counts_as_soon_as_it_is_barred_no_more() -> None:
    judge = warm()
    assert judge.judge((0.9, 0.0), STEP, barred=(True, False)) is None
    assert judge.judge((0.9, 0.0), 2 * STEP, barred=(False, False)) is not None


# --- other rules while it runs ----------------------------------------------------------------------------------------


def test_other_rules_hold_from_the_next_step_on() -> None:
    judge = warm()
    judge.adjust((WordRule("hey_jarvis", 0.8, patience=2), WordRule("alexa", 0.3)))
    assert [(wake.word, wake.threshold) for wake in hear(judge, (0.7, 0.4))] == [("alexa", 0.3)]
    assert [wake.end for wake in hear(judge, (0.9, 0.0), (0.9, 0.0), start=40 * STEP)] == [42 * STEP]
    with pytest.raises(ValueError, match="in their order"):
        judge.adjust((WordRule("alexa", 0.3), WordRule("hey_jarvis", 0.8)))


def test_refractory_times_outlast_other_rules() -> None:
    judge = warm()
    assert len(hear(judge, (0.9, 0.0))) == 1
    judge.adjust((WordRule("hey_jarvis", 0.2), WordRule("alexa", 0.8)))
    assert hear(judge, *[(0.9, 0.0)] * 20, start=STEP) == []


@given(st.floats(0.05, 1), st.floats(0, 1))
def test_over_the_speaker_a_little_less_is_asked_but_not_less_than_openwakeword_asks(
    limit: float, score: float
) -> None:
    rules = WakeRules(words=(WordRule("x", limit),), cold_steps=0)
    over = WakeJudge(rules).judge((score,), STEP, over_speaker=True)
    usually = WakeJudge(rules).judge((score,), STEP)
    assert usually is None or over is not None
    if over is not None and usually is None:
        assert score >= 0.5
        assert score >= OVER_SPEAKER * limit
    if score >= limit * OVER_SPEAKER and score >= 0.5:
        assert over is not None
