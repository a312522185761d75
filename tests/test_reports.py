"""What other systems are told of moments, while the clock on the wall is set."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.fakes import Diary
from tests.stories import config_for_tests
from voiced.core.mqtt.payloads import EchoHealth, Settings
from voiced.core.states import Idle
from voiced.core.wake import Wake
from voiced.messaging import about
from voiced.ports import Load
from voiced.reports import Reports

SETTINGS = Settings(mute=False, volume=50, wake_sensitivity=0.5, wake_word="all", persona="default", voice="marin")
BEGAN = datetime(1970, 1, 1, 0, 1, tzinfo=UTC)
RIGHT = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)


class Board:
    """Has no clock of its own: the wall's stands where it was set, and goes on with the one since the start."""

    def __init__(self) -> None:
        self.diary = Diary()
        self.since_boot_s = 60.0
        self.set_by = timedelta()
        config = config_for_tests()
        load = Load(1.0, 1.0, None)
        self.reports = Reports(broker=self.diary, config=config, machine=lambda: load, today=self.today)
        self.reports.clock(self.since_boot_s)
        self.reports.info(about(config).model_copy(update={"started": self.today()}))

    def today(self) -> datetime:
        return BEGAN + timedelta(seconds=self.since_boot_s - 60.0) + self.set_by

    def passes(self, seconds: float) -> None:
        self.since_boot_s += seconds
        self.reports.clock(self.since_boot_s)

    def told(self, topic: str) -> Any:
        return json.loads(self.diary.kept[topic])


def test_what_was_told_by_a_clock_in_1970_is_told_again_when_it_is_right() -> None:
    board = Board()
    board.passes(10)
    board.reports.state(Idle(), SETTINGS, session=None, reason=None)
    board.passes(10)
    board.reports.wake(Wake("hey_jarvis", 0.9, 0.5, 0))
    board.reports.problem("speaker", "no speaker; plug one in")
    board.passes(10)
    assert board.told("info")["started"] == "1970-01-01T00:01:00.000Z"
    assert board.told("state")["since"] == "1970-01-01T00:01:10.000Z"
    before = board.told("state")
    board.set_by = RIGHT - board.today()
    board.passes(0.5)
    board.reports.health(overruns=0, echo=EchoHealth(mode="half-duplex"))
    assert board.told("info")["started"] == "2026-11-26T11:59:30.000Z"
    assert board.told("state") == {**before, "since": "2026-11-26T11:59:40.000Z"}
    assert board.told("wake")["time"] == "2026-11-26T11:59:50.000Z"
    assert board.told("health")["problems"][0]["since"] == "2026-11-26T11:59:50.000Z"
    assert board.told("health")["last_error"]["time"] == "2026-11-26T11:59:50.000Z"


def test_a_clock_that_only_goes_on_is_no_news() -> None:
    board = Board()
    for _ in range(10):
        board.set_by += timedelta(seconds=0.15)
        board.passes(3_600)
    assert [topic for topic, _ in board.diary.history] == ["info"]
    board.set_by += timedelta(seconds=0.6)  # little by little is as wrong as at once
    board.passes(0.5)
    assert board.told("info")["started"] == "1970-01-01T00:01:02.100Z"
