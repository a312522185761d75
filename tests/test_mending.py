"""What is mended about a session without asking anybody: stories, and what holds in any history."""

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voiced.core.realtime import events as ev
from voiced.core.realtime.mending import Limits, Mender, answers_itself
from voiced.core.realtime.settings import LocalVad, SemanticVad, ServerVad, SessionSettings
from voiced.errors import RefusedError, ServiceError

LIMITS = Limits()
SPEECH = ev.InputCommitted("u1")
PCM = ev.AudioDelta("r1", "i1", 0, bytes(4))


def failed(code: str, message: str = "No.", response: str = "r1") -> ev.ResponseDone:
    return ev.ResponseDone(response, "failed", code, message)


def problem(code: str | None, message: str = "No.", kind: str = "invalid_request_error") -> ev.ServiceProblem:
    return ev.ServiceProblem(kind, code, message)


def asked(mender: Mender, now: float = 0.0) -> None:
    """The person said something, and the answer begins."""
    assert mender.heard(SPEECH, now) == [SPEECH]
    assert mender.heard(ev.ResponseStarted("r1"), now) == [ev.ResponseStarted("r1")]


def test_an_answer_that_fails_is_asked_for_once_more_under_its_first_name() -> None:
    mender = Mender(answers_itself=True)
    asked(mender)
    assert mender.heard(replace(failed("server_error"), usage=ev.Usage(7, 5, 2)), 1.0) == []
    assert mender.due() == 1.0
    assert mender.act(1.0) == [ev.CreateResponse()]
    mender.sent(mender._request, 1.0)
    assert mender.heard(ev.ResponseStarted("r2"), 1.1) == []
    assert mender.named(ev.CancelResponse("r1")) == ev.CancelResponse("r2")
    assert mender.heard(replace(PCM, response_id="r2"), 1.2) == [PCM]
    done = ev.ResponseDone("r2", "completed", usage=ev.Usage(10, 6, 4))
    assert mender.heard(done, 2.0) == [ev.ResponseDone("r1", "completed", usage=ev.Usage(17, 11, 6))]
    assert mender.due() is None


def test_one_that_fails_twice_ends_the_session() -> None:
    mender = Mender(answers_itself=True)
    asked(mender)
    assert mender.heard(failed("server_error"), 1.0) == []
    (again,) = mender.act(1.0)
    mender.sent(again, 1.0)
    assert mender.heard(ev.ResponseStarted("r2"), 1.1) == []
    with pytest.raises(ServiceError, match=r"failed twice to answer \(No\.\)") as caught:
        mender.heard(failed("server_error", response="r2"), 1.2)
    assert caught.value.code == "closed"


@pytest.mark.parametrize("said", [problem("x", kind="server_error"), problem("server_error")])
def test_an_error_in_place_of_an_answer_has_it_asked_for_once_more(said: ev.ServiceProblem) -> None:
    mender = Mender(answers_itself=False)
    literal = ev.CreateResponse(literal="Tea.")
    mender.sent(literal, 0.0)
    assert mender.heard(said, 0.5) == []
    assert mender.act(0.5) == [literal]
    mender.sent(literal, 0.5)
    with pytest.raises(ServiceError):
        mender.heard(said, 0.6)


def test_the_same_error_where_no_answer_is_awaited_is_told() -> None:
    mender = Mender(answers_itself=True)
    said = problem("server_error")
    assert mender.heard(said, 0.0) == [said]
    assert mender.due() is None


@pytest.mark.parametrize(
    ("message", "reset_s", "wait_s"),
    [
        ("Rate limit reached. Please try again in 1.5s.", None, 1.5),
        ("Please try again in 300ms. Visit the site in 5 s.", None, 0.3),
        ("Too fast.", 2.5, 2.5),
        ("Too fast.", None, 1.0),
    ],
)
def test_a_rate_limit_is_waited_for_as_long_as_the_service_says(
    message: str, reset_s: float | None, wait_s: float
) -> None:
    mender = Mender(answers_itself=True)
    if reset_s is not None:
        mender.heard(ev.RateLimits({"tokens": reset_s}), 0.0)
    asked(mender)
    assert mender.heard(failed("rate_limit_exceeded", message), 1.0) == []
    assert mender.due() == pytest.approx(1.0 + wait_s)
    assert mender.act(1.0 + wait_s / 2) == []
    assert mender.act(1.0 + wait_s) == [ev.CreateResponse()]


def test_a_limit_that_lasts_too_long_or_comes_twice_is_told() -> None:
    mender = Mender(answers_itself=True)
    asked(mender)
    done = failed("rate_limit_exceeded", "Please try again in 20s.")
    told = mender.heard(done, 1.0)
    assert [type(each) for each in told] == [ev.ServiceProblem, ev.ResponseDone]
    assert mender.due() is None


def test_a_used_up_quota_ends_the_session() -> None:
    mender = Mender(answers_itself=True)
    asked(mender)
    with pytest.raises(RefusedError, match="check plan and billing"):
        mender.heard(failed("insufficient_quota"), 1.0)
    with pytest.raises(RefusedError, match="check plan and billing"):
        Mender(answers_itself=True).heard(problem("insufficient_quota"), 1.0)


def test_a_conversation_too_long_for_the_model_loses_its_older_half() -> None:
    mender = Mender(answers_itself=True)
    for number in range(4):
        mender.heard(ev.InputCommitted(f"u{number}"), 0.0)
        mender.heard(ev.ResponseStarted(f"r{number}"), 0.0)
        mender.heard(ev.ItemAdded(f"r{number}", f"a{number}", "message"), 0.0)
        mender.heard(ev.ResponseDone(f"r{number}", "completed"), 0.0)
    asked(mender)
    long = failed("context_length_exceeded", "The conversation exceeds the context window.")
    assert mender.heard(long, 1.0) == []
    *deleted, again = mender.act(1.0)
    assert deleted == [ev.DeleteItem(item) for item in ("u0", "a0", "u1", "a1")]
    assert again == ev.CreateResponse()


def test_an_answer_of_which_something_was_heard_is_not_begun_again() -> None:
    mender = Mender(answers_itself=True)
    asked(mender)
    mender.heard(PCM, 0.5)
    assert mender.heard(failed("server_error"), 1.0) == [failed("server_error")]


def test_the_person_who_goes_on_is_not_answered_with_what_was_wanted_before() -> None:
    mender = Mender(answers_itself=True)
    asked(mender)
    mender.heard(failed("rate_limit_exceeded", "Please try again in 5s."), 1.0)
    started = ev.SpeechStarted("u2", 100)
    assert mender.heard(started, 2.0) == [started, failed("rate_limit_exceeded", "Please try again in 5s.")]
    assert mender.due() is None


# --- watchdogs --------------------------------------------------------------------------------------------------------


def test_an_answer_must_begin_in_time() -> None:
    mender = Mender(answers_itself=True)
    mender.heard(SPEECH, 5.0)
    assert mender.due() == 5.0 + LIMITS.begun_s
    assert mender.act(14.9) == []
    with pytest.raises(ServiceError, match="began no answer within 10 s") as caught:
        mender.act(15.0)
    assert caught.value.code == "timeout"


@pytest.mark.parametrize("said", [ev.SpeechStarted("u2", 0), problem(ev.ANOTHER_ANSWER), ev.ResponseStarted("r1")])
def test_whatever_explains_it_ends_the_waiting(said: ev.ServerEvent) -> None:
    mender = Mender(answers_itself=True)
    mender.heard(SPEECH, 0.0)
    mender.heard(said, 1.0)
    assert mender.due() is None


def test_nothing_is_awaited_where_the_client_asks_until_it_does() -> None:
    mender = Mender(answers_itself=False)
    mender.heard(SPEECH, 0.0)
    assert mender.due() is None
    mender.sent(ev.CreateResponse(), 1.0)
    assert mender.due() == 11.0


@pytest.mark.parametrize("end", [ev.ResponseDone("r1", "cancelled"), problem("response_cancel_not_active")])
def test_a_cancelled_answer_must_end_in_time(end: ev.ServerEvent) -> None:
    mender = Mender(answers_itself=True)
    asked(mender)
    mender.sent(ev.CancelResponse("r1"), 2.0)
    assert mender.due() == 2.0 + LIMITS.cancelled_s
    mender.heard(end, 3.0)
    assert mender.act(9.0) == []
    mender.sent(ev.CancelResponse("r9"), 9.0)  # nothing is under way
    asked(mender, 10.0)
    mender.sent(ev.CancelResponse("r1"), 10.0)
    with pytest.raises(ServiceError, match="did not end a cancelled answer"):
        mender.act(15.0)


def test_who_answers_by_itself_follows_the_settings() -> None:
    assert answers_itself(SessionSettings())
    assert answers_itself(SessionSettings(turn_detection=SemanticVad()))
    assert not answers_itself(SessionSettings(turn_detection=None))
    assert not answers_itself(SessionSettings(turn_detection=ServerVad(create_response=False)))
    mender = Mender(answers_itself=True)
    assert not answers_itself(SessionSettings(turn_detection=LocalVad()))
    mender.sent(ev.UpdateSession(SessionSettings(turn_detection=None)), 0.0)
    assert not mender.answers_itself


# --- any history ------------------------------------------------------------------------------------------------------

IDS = st.sampled_from(["r1", "r2", "r3"])
CODES = st.sampled_from(["server_error", "rate_limit_exceeded", "context_length_exceeded", "odd", None])
SAID: st.SearchStrategy[Any] = st.one_of(
    st.just(SPEECH),
    st.builds(ev.SpeechStarted, st.just("u"), st.just(0)),
    st.builds(ev.ResponseStarted, IDS),
    st.builds(ev.ItemAdded, IDS, st.just("i"), st.just("message")),
    st.builds(ev.AudioDelta, IDS, st.just("i"), st.just(0), st.just(bytes(2))),
    st.builds(ev.ResponseDone, IDS, st.sampled_from(["completed", "cancelled", "failed"]), CODES, st.just("No.")),
    st.builds(ev.ServiceProblem, st.just("x"), CODES, st.just("No.")),
    st.builds(ev.CreateResponse),
    st.builds(ev.CancelResponse, IDS),
)


@given(st.lists(st.tuples(SAID, st.floats(0, 20))))
def test_in_any_history_each_request_is_repeated_once_at_most(history: list[tuple[Any, float]]) -> None:
    mender, now = Mender(answers_itself=True), 0.0
    requests = repeats = 0
    for event, passed in history:
        now += passed
        try:
            for again in mender.act(now):
                repeats += isinstance(again, ev.CreateResponse)
                mender.sent(mender.named(again), now)
            if isinstance(event, ev.CreateResponse | ev.CancelResponse):
                requests += isinstance(event, ev.CreateResponse)
                mender.sent(event, now)
            else:
                requests += isinstance(event, ev.InputCommitted)
                for told in mender.heard(event, now):
                    assert type(told) is type(event) or isinstance(told, ev.ServiceProblem | ev.ResponseDone)
        except ServiceError:
            return
        assert mender.due() is None or mender.due() >= now or math.isclose(mender.due(), now)  # type: ignore[operator, arg-type]  # not None
        assert repeats <= requests + 1  # one answer may have begun before we came
