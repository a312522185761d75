"""What goes to the broker next, as properties: nothing confirmed comes twice, nothing unconfirmed is forgotten."""

from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from voiced.core.outgoing import EVENT_AGE_S, EVENTS_KEPT, SANE_TIME, TURN_BYTES, Bounds, Outgoing, Parcel, Sending

TODAY = SANE_TIME + 1e7


def parcel(number: int, *, time: float = TODAY, size: int = 2) -> Parcel:
    return Parcel(f"t{number}", "turns", "x" * size, time)


class Life(RuleBasedStateMachine):
    """A broker that comes and goes, refuses and confirms, and a daemon that is started again with what was kept."""

    def __init__(self) -> None:
        super().__init__()
        self.disk: dict[str, Parcel] = {}
        self.arrived: Counter[str] = Counter()
        self.delivered: list[str] = []
        self.dropped = 0
        self.flying: dict[int, str | None] = {}
        self.refused: set[str | None] = set()
        """Since the last connection began."""
        self.mids = 0
        self.now = 0.0
        self.is_connected = False
        self.make()

    def make(self) -> None:
        bounds = Bounds(turns=6, age_s=1000.0)
        kept, today = list(self.disk.values()), TODAY + self.now
        self.outgoing = Outgoing(bounds, forget=self.disk.__delitem__, kept=kept, now=self.now, today=today)

    @rule()
    def deliver(self) -> None:
        made = parcel(len(self.delivered), time=TODAY + self.now)
        self.delivered.append(made.id)
        self.disk[made.id] = made
        self.outgoing.deliver(made, self.now)
        self.pump()

    @rule()
    def tell(self) -> None:
        self.outgoing.add(Sending("events", "e"), self.now)
        self.pump()

    @rule(seconds=st.sampled_from([1.0, 100.0, 1001.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def connect(self) -> None:
        self.is_connected = True
        self.refused.clear()
        self.outgoing.connected()
        self.pump()

    def pump(self) -> None:
        """Send as much as goes, as the broker's side does after everything that happens."""
        while self.is_connected and (sending := self.outgoing.next(self.now, window=3)) is not None:
            assert sending.parcel is None or sending.parcel not in self.flying.values()
            self.mids += 1
            self.flying[self.mids] = sending.parcel
            self.outgoing.sent(self.mids, sending)
        if self.is_connected and len(self.flying) < 3:
            assert set(self.disk) <= {*self.flying.values(), *self.refused}

    @precondition(lambda self: self.flying)
    @rule(refused=st.booleans(), data=st.data())
    def answer(self, refused: bool, data: st.DataObject) -> None:
        mid = data.draw(st.sampled_from(sorted(self.flying)))
        name = self.flying.pop(mid)
        if refused:
            self.refused.add(name)
        elif name is not None:
            self.arrived[name] += 1
        self.outgoing.confirmed(mid, refused=refused)
        self.pump()

    @rule()
    def lose(self) -> None:
        self.is_connected = False

    @rule()
    def start_anew(self) -> None:
        """The process is killed: the broker may have what was on its way."""
        for name in self.flying.values():
            if name is not None:
                self.arrived[name] += 1
        self.dropped += self.outgoing.dropped_turns
        self.flying.clear()
        self.is_connected = False
        self.make()

    @invariant()
    def what_waits_is_on_disk(self) -> None:
        assert self.outgoing.turns == len(self.disk) <= 6

    @invariant()
    def nothing_is_lost_without_a_word(self) -> None:
        gone = [name for name in self.delivered if name not in self.disk and not self.arrived[name]]
        assert len(gone) <= self.dropped + self.outgoing.dropped_turns

    def teardown(self) -> None:
        """In the end all that waits arrives, oldest first."""
        for mid in list(self.flying):
            self.outgoing.confirmed(mid)
            self.flying.pop(mid)
        self.outgoing.connected()
        self.outgoing.tidy(self.now)
        waiting, order = list(self.disk), []
        while (sending := self.outgoing.next(self.now)) is not None:
            if sending.parcel is not None:
                order.append(sending.parcel)
            self.outgoing.sent(0, sending)
            self.outgoing.confirmed(0)
        assert order == waiting
        assert not self.disk


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=150, stateful_step_count=40)


def test_events_and_turns_keep_their_order() -> None:
    outgoing = Outgoing()
    outgoing.add(Sending("events", "started"), 0)
    outgoing.deliver(parcel(1), 0)
    outgoing.add(Sending("events", "idle"), 0)
    outgoing.set("state", "idle")
    order = []
    while (sending := outgoing.next(1.0)) is not None:
        order.append((sending.topic, sending.retain))
        outgoing.sent(len(order), sending)
    assert order == [("state", True), ("events", False), ("turns", False), ("events", False)]


def test_what_is_too_old_too_much_or_too_large_is_dropped_and_counted() -> None:
    gone: list[str] = []
    outgoing = Outgoing(Bounds(turns=3, age_s=100), forget=gone.append)
    for number in range(5):
        outgoing.deliver(parcel(number), number)
    assert (gone, outgoing.turns, outgoing.dropped_turns) == (["t0", "t1"], 3, 2)
    outgoing.tidy(103.5)
    assert gone == ["t0", "t1", "t2", "t3"]
    outgoing.deliver(parcel(9, size=TURN_BYTES), 104)
    assert gone[-1] == "t4"
    assert outgoing.turns == 1


def test_turns_of_a_machine_that_did_not_know_the_time_are_not_too_old() -> None:
    outgoing = Outgoing(Bounds(age_s=100), kept=[parcel(1, time=12.0)], today=TODAY)
    sending = outgoing.next(0)
    assert sending is not None
    assert sending.parcel == "t1"


@pytest.mark.parametrize("time", [TODAY - 1e6, TODAY + 1e6])
def test_a_turn_is_not_older_than_its_run_whatever_the_clock_said_of_it(time: float) -> None:
    """The clock is set by days while the turn waits: its date is wrong, and it is told all the same."""
    outgoing = Outgoing(Bounds(age_s=100), now=50, today=TODAY)
    outgoing.deliver(parcel(1, time=time), 60)
    outgoing.tidy(159)
    assert outgoing.turns == 1
    outgoing.tidy(161)
    assert (outgoing.turns, outgoing.dropped_turns) == (0, 1)


@pytest.mark.parametrize(("age_s", "waiting"), [(-1e6, 1), (70, 1), (130, 0)])
def test_what_an_earlier_run_left_is_as_old_as_its_date_says(age_s: float, waiting: int) -> None:
    outgoing = Outgoing(Bounds(age_s=100), kept=[parcel(1, time=TODAY - age_s)], now=20, today=TODAY)
    outgoing.tidy(30)
    assert outgoing.turns == waiting


def test_a_turn_that_can_never_be_sent_does_not_come_back() -> None:
    gone: list[str] = []
    outgoing = Outgoing(forget=gone.append)
    outgoing.deliver(parcel(1), 0)
    sending = outgoing.next(0)
    assert sending is not None
    outgoing.unsendable(sending)
    outgoing.connected()
    assert (gone, outgoing.dropped_turns, outgoing.next(0)) == (["t1"], 1, None)


def test_a_turn_is_taken_once() -> None:
    outgoing = Outgoing(kept=[parcel(1)])
    outgoing.deliver(parcel(1), 0)
    assert outgoing.turns == 1
    outgoing.lost()
    outgoing.connected()
    assert outgoing.next(0) is not None
    assert outgoing.next(0) is None


def test_a_link_that_forgets_what_was_on_its_way_is_given_it_again() -> None:
    outgoing = Outgoing()
    for number in (1, 2):
        outgoing.deliver(parcel(number), 0)
    first = outgoing.next(0)
    assert first is not None
    outgoing.sent(7, first)
    outgoing.connected()  # the same link: it repeats by itself
    assert [outgoing.next(0), outgoing.next(0)] == [Sending("turns", "xx", parcel="t2"), None]
    outgoing.lost()
    outgoing.connected()
    assert outgoing.next(0) == first


@pytest.mark.parametrize(("age_s", "sent"), [(EVENT_AGE_S, 1), (EVENT_AGE_S + 0.1, 0)])
def test_events_grow_old(age_s: float, sent: int) -> None:
    outgoing = Outgoing()
    outgoing.add(Sending("events", "e"), 0)
    assert (outgoing.next(age_s) is not None) == bool(sent)
    assert outgoing.dropped_events == 1 - sent


def test_the_oldest_of_too_many_events_are_dropped() -> None:
    outgoing = Outgoing()
    for number in range(EVENTS_KEPT + 5):
        outgoing.add(Sending("events", str(number)), 0)
        outgoing.tidy(0)
    first = outgoing.next(0)
    assert first is not None
    assert (first.payload, outgoing.dropped_events) == ("5", 5)
