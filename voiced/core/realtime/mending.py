"""What can be mended about a session without asking anybody, between the service and the mind.

An answer that fails before anything of it was heard is asked for once more; where the service says when, then. An
answer that is never begun, or never ends though it was cancelled, ends the session.

Source: OpenAI's Realtime guide, and public issues of clients of OpenAI's Realtime API, November 2026.
"""

import re
from dataclasses import astuple, dataclass, field, replace
from typing import Any, TypeAlias

from voiced.core.realtime import events as ev
from voiced.core.realtime.refusal import harmless
from voiced.core.realtime.settings import SessionSettings
from voiced.errors import RefusedError, ServiceError

_TOO_LONG = re.compile(r"context (length|window)|too many tokens|input_tokens", re.IGNORECASE)
_IN_SECONDS = re.compile(r"in (\d+(?:\.\d+)?) ?(ms|s)\b")

_OfAnswer: TypeAlias = (
    ev.ResponseStarted | ev.ItemAdded | ev.AudioDelta | ev.TextDelta | ev.FunctionCall | ev.ResponseDone
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long the service may take, seconds."""

    connect_s: float = 6.0
    """For so long from the wake on it is tried again to connect; then the person is told."""
    begun_s: float = 10.0
    """From the end of what the person said, or from asking for an answer, to its beginning."""
    answer_s: float = 15.0
    """From one piece of an answer to the next."""
    cancelled_s: float = 5.0
    """From cancelling an answer to its end."""
    quota_s: float = 8.0
    """Until a rate limit is over; nobody waits longer for an answer."""


@dataclass(slots=True)
class Mender:
    """Sees all that is said in one session, both ways; times are seconds of one clock."""

    answers_itself: bool
    """Whether the service answers what the person said without being asked."""
    limits: Limits = field(default_factory=Limits)
    _request: ev.CreateResponse = field(default_factory=ev.CreateResponse)
    _begins_by: float | None = None
    _ends_by: float | None = None
    _active: str | None = None
    _is_heard: bool = False
    _tries: int = 0
    _retry_at: float | None = None
    _withheld: ev.ResponseDone | None = None
    _alias: tuple[str, str] | None = None
    """Name of an answer asked for once more, and the name under which the mind knows it."""
    _spent: ev.Usage = field(default_factory=ev.Usage)
    """What an answer cost that the mind never hears of; told with the one asked for in its place."""
    _resets_in_s: float | None = None
    _items: list[str] = field(default_factory=list)
    _first: list[ev.ClientEvent] = field(default_factory=list)

    def due(self) -> float | None:
        """Return when :meth:`act` is to be called at the latest."""
        return min((at for at in (self._begins_by, self._ends_by, self._retry_at) if at is not None), default=None)

    def act(self, now: float) -> list[ev.ClientEvent]:
        """Return what is to be sent now.

        Raises:
            ServiceError: If the service is overdue.

        """
        if self._retry_at is not None and now >= self._retry_at:
            self._retry_at = None
            first, self._first = self._first, []
            return [*first, self._request]
        if self._begins_by is not None and now >= self._begins_by:
            raise ServiceError(f"The service began no answer within {self.limits.begun_s:g} s.", code="timeout")
        if self._ends_by is not None and now >= self._ends_by:
            late_s = self.limits.cancelled_s
            raise ServiceError(f"The service did not end a cancelled answer within {late_s:g} s.", code="timeout")
        return []

    # --- what we say --------------------------------------------------------------------------------------------------

    def sent(self, event: ev.ClientEvent, now: float) -> None:
        """Note what was sent."""
        match event:
            case ev.CreateResponse():
                if event is not self._request:
                    self._request, self._tries = event, 0
                self._begins_by = now + self.limits.begun_s
            case ev.CancelResponse() if self._active is not None:
                self._ends_by = now + self.limits.cancelled_s
            case ev.UpdateSession(settings):
                self.answers_itself = answers_itself(settings)
            case ev.UpdateTurns(turns):
                self.answers_itself = turns is not None and turns.create_response

    def named(self, event: ev.ClientEvent) -> ev.ClientEvent:
        """Return an event of the mind under the names of the service."""
        if isinstance(event, ev.CancelResponse) and self._alias is not None and event.response_id == self._alias[1]:
            return replace(event, response_id=self._alias[0])
        return event

    # --- what the service says ----------------------------------------------------------------------------------------

    def heard(self, event: ev.ServerEvent, now: float) -> list[ev.ServerEvent]:
        """Take what the service says; return what the mind is to know.

        Raises:
            ServiceError: If going on with this session is useless.

        """
        match event:
            case ev.SpeechStarted():
                self._begins_by = None
                return [event, *self._gave_up()]
            case ev.InputCommitted():
                self._items.append(event.item_id)
                if self.answers_itself and self._active is None:
                    self._request, self._tries = ev.CreateResponse(), 0
                    self._begins_by = now + self.limits.begun_s
            case ev.RateLimits():
                self._resets_in_s = event.reset_s.get("tokens")
            case ev.ServiceProblem():
                return self._problem(event, now)
            case ev.ResponseStarted():
                return self._begun(event)
            case ev.ItemAdded():
                self._items.append(event.item_id)
            case ev.AudioDelta() | ev.TextDelta() | ev.FunctionCall():
                self._is_heard = True
            case ev.ResponseDone():
                return self._done(event, now)
        return [self._known(event)]

    def _begun(self, event: ev.ResponseStarted) -> list[ev.ServerEvent]:
        self._begins_by = None
        self._active, self._is_heard = event.response_id, False
        withheld, self._withheld = self._withheld, None
        if withheld is None:
            self._alias = None
            return [event]
        self._alias = (event.response_id, self._known_name(withheld.response_id))
        return []  # for the mind it is the one that failed

    def _done(self, event: ev.ResponseDone, now: float) -> list[ev.ServerEvent]:
        if event.response_id == self._active or self._active is None:
            self._active = self._ends_by = self._begins_by = None
        if event.status != "failed" or self._is_heard:
            return [self._known(event)]
        told = ev.ServiceProblem(
            event.reason or "failed", event.reason, event.message or "the service could not answer"
        )
        if self._asks_again(told, now):
            self._withheld, self._spent = event, event.usage
            return []
        return [told, self._known(event)]

    def _problem(self, problem: ev.ServiceProblem, now: float) -> list[ev.ServerEvent]:
        if harmless(problem) or problem.code == ev.ANOTHER_ANSWER:
            self._ends_by = self._begins_by = None
        elif self._begins_by is not None and self._asks_again(problem, now):
            self._begins_by = None
            return []
        elif problem.code == "insufficient_quota":
            raise RefusedError(f"The account's quota is used up ({problem.message}); check plan and billing.")
        return [problem]

    def _asks_again(self, problem: ev.ServiceProblem, now: float) -> bool:
        """Have the answer asked for once more, where that can help; tell whether it will be."""
        again = self._tries == 0
        if problem.code == "insufficient_quota":
            raise RefusedError(f"The account's quota is used up ({problem.message}); check plan and billing.")
        if problem.code == "rate_limit_exceeded":
            wait_s = _seconds_in(problem.message) or self._resets_in_s or 1.0
            again = again and wait_s <= self.limits.quota_s
        elif _TOO_LONG.search(f"{problem.code} {problem.message}"):
            oldest = self._items[: len(self._items) // 2]
            again, wait_s = again and bool(oldest), 0.0
            self._first = [ev.DeleteItem(item_id) for item_id in oldest]
            del self._items[: len(oldest)]
        elif "server_error" in (problem.type, problem.code):
            if not again:
                raise ServiceError(f"The service failed twice to answer ({problem.message}).", code="closed")
            wait_s = 0.0
        else:
            return False
        if again:
            self._tries += 1
            self._retry_at = now + wait_s
        return again

    def _gave_up(self) -> list[ev.ServerEvent]:
        """The person goes on: what was to be asked for once more is not wanted any longer."""
        self._retry_at = None
        withheld, self._withheld = self._withheld, None
        return [] if withheld is None else [self._known(withheld)]

    def _known(self, event: Any) -> Any:
        """Return an event of an answer under the name that the mind knows."""
        if self._alias is None or not isinstance(event, _OfAnswer) or event.response_id != self._alias[0]:
            return event
        if isinstance(event, ev.ResponseDone):
            event, self._spent = replace(event, usage=_both(event.usage, self._spent)), ev.Usage()
        return replace(event, response_id=self._alias[1])

    def _known_name(self, response_id: str) -> str:
        return self._alias[1] if self._alias is not None and self._alias[0] == response_id else response_id


def answers_itself(settings: SessionSettings) -> bool:
    """Return whether the service answers what the person said without being asked."""
    return settings.turn_detection is not None and settings.turn_detection.create_response


def _both(one: ev.Usage, other: ev.Usage) -> ev.Usage:
    return ev.Usage(*(a + b for a, b in zip(astuple(one), astuple(other), strict=True)))


def _seconds_in(message: str) -> float | None:
    """Return how long to wait, where a message says so: ``Please try again in 1.5s.``."""
    found = _IN_SECONDS.search(message)
    if found is None:
        return None
    return float(found[1]) / (1000 if found[2] == "ms" else 1)
