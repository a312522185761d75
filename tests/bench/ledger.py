"""Lives of a ledger: visits, answers, clocks that step, processes that are killed; against plain sums.

What an answer uses is counted by the simulator's own arithmetic; what that costs, and what it comes to by hour, day and
month, is computed here a second time, with fractions and the calendar alone. In a share of the histories the process
that writes is killed with SIGKILL at a random moment, and another one goes on with its file.
"""

import json
import logging
import os
import shutil
import signal
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from tests.fakes import Diary
from voiced.config import BudgetConfig, Config, DeviceConfig, RealtimeConfig
from voiced.core.prices import NANO
from voiced.core.realtime import events as wire
from voiced.core.states import Idle
from voiced.core.uplink import Uplink
from voiced.edge.ledgerfile import LedgerFile, load_prices
from voiced.ports import Load
from voiced.reports import Reports
from voiced.simulator import usage as simulated
from voiced.simulator.usage import Tokens
from voiced.spending import Means, Spending

ZONE = ZoneInfo("Europe/Berlin")
BEGIN = datetime(2026, 3, 27, 8, 0, tzinfo=ZONE)
"""Two days before the clocks change, five before the month does."""
MODEL = "gpt-realtime-2.1"
PRICES = load_prices("")
MINUTES_TO_NANO = Fraction("0.0045") / 60 * NANO
"""A second of sound for the transcript."""

Line = tuple[str, float, str, int]
"""What the service booked: answer or transcript, time, session, nano-dollars."""


@dataclass(slots=True)
class Service:
    """Answers, and counts what that costs."""

    dice: np.random.Generator
    read: Tokens
    before: Tokens = field(default_factory=Tokens)

    def answer(self) -> tuple[wire.ResponseDone, int]:
        """Hear a sentence and answer it; return what is said of the usage, and its price."""
        heard = Tokens(text=0, audio=simulated.heard_tokens(int(self.dice.integers(300, 12_000))))
        milliseconds = int(self.dice.integers(0, 30_000))
        written = Tokens(int(self.dice.integers(0, 120)), simulated.spoken_tokens(milliseconds))
        self.read += heard
        before = self.before.cached()
        cached = Tokens(min(before.text, self.read.text), min(before.audio, self.read.audio))
        fresh = Tokens(self.read.text - cached.text, self.read.audio - cached.audio)
        nano = 1000 * (
            fresh.text * 4 + fresh.audio * 32 + cached.total * Fraction("0.4") + written.text * 24 + written.audio * 64
        )
        done = wire.ResponseDone(
            "r",
            "cancelled" if self.dice.random() < 0.2 else "completed",
            usage=wire.Usage(
                total=self.read.total + written.total,
                input=self.read.total,
                output=written.total,
                input_text=self.read.text,
                input_audio=self.read.audio,
                cached=cached.total,
                cached_text=cached.text,
                cached_audio=cached.audio,
                output_text=written.text,
                output_audio=written.audio,
            ),
        )
        self.before = self.read
        self.read += written
        return done, round(nano)

    def transcript(self) -> tuple[wire.InputTranscript, int]:
        """Write down what was heard."""
        seconds = int(self.dice.integers(1, 120)) / 10
        said = wire.InputTranscript("i", "words", {"type": "duration", "seconds": seconds})
        return said, round(Fraction(seconds) * MINUTES_TO_NANO)


@dataclass(slots=True)
class Life:
    """A daemon's account from one start to its end, on a clock of its own."""

    seed: tuple[int, int]
    ledger: LedgerFile
    caps: dict[str, float]
    now: datetime
    booked: Callable[[Line], None]
    ticks: float = 0.0
    spending: Spending = field(init=False)
    dice: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        self.dice = np.random.default_rng(self.seed)
        config = Config(
            device=DeviceConfig(id="bench"),
            realtime=RealtimeConfig(provider="openai", deployment=MODEL),
            budget=BudgetConfig(**self.caps),  # type: ignore[arg-type]  # all of them are caps
        )
        reports = Reports(broker=Diary(), config=config, machine=lambda: Load(1.0, 1.0, None), today=lambda: self.now)
        self.spending = Spending(
            config=config,
            means=Means(ledger=self.ledger, prices=PRICES, zone=ZONE, since_boot=self._asleep),
            reports=reports,
            clock=lambda: self.ticks,
            uplink=Uplink(),
        )

    def _asleep(self) -> float:
        """Steps of the clock look like sleep: the worse case, in which nothing is dated anew."""
        return self.now.timestamp()

    def lead(self, visits: int) -> None:
        """Come by so often, with pauses, and with steps of the clock."""
        for number in range(1, visits + 1):
            self._pass(float(self.dice.exponential(2.5 * 3600)))
            if self.dice.random() < 0.1:
                self.now += timedelta(hours=float(self.dice.normal(0, 8)))
            if self.spending.refusal() is None:
                self._talk(number)

    def _talk(self, number: int) -> None:
        service = Service(self.dice, Tokens(text=int(self.dice.integers(20, 600))))
        name = f"{self.seed[0]}-{self.seed[1]}-{number}"
        self.spending.open(number, name, "default")
        self.spending.ready(MODEL)
        for _ in range(int(self.dice.integers(1, 9))):
            self._pass(float(self.dice.uniform(2, 40)))
            for event, nano in (service.transcript(), answer := service.answer()):
                what = "answer" if isinstance(event, wire.ResponseDone) else "transcript"
                self.booked((what, self.now.timestamp(), name, nano))
                self.spending.noted(number, event)
            self.spending.turn_over()
            if self.spending.is_spent(answer[0], Idle()):
                break
        self.spending.close()

    def _pass(self, seconds: float) -> None:
        self.ticks += seconds
        self.now = datetime.fromtimestamp(self.now.timestamp() + seconds, ZONE)


def caps_of(dice: np.random.Generator) -> dict[str, float]:
    """Draw some caps, so low that they are often reached."""
    most = {"usd_per_session": 0.2, "usd_per_hour": 0.3, "usd_per_day": 0.8, "usd_per_month": 3.0}
    return {key: round(float(dice.uniform(0.05, 1)) * top, 4) for key, top in most.items() if dice.random() < 0.6}


def exceeded(lines: list[Line], caps: dict[str, float]) -> bool:
    """Return whether any period holds more than its cap and one answer with its transcript."""
    sums: dict[tuple[str, str], int] = defaultdict(int)
    for _, time, session, nano in lines:
        local = datetime.fromtimestamp(time, ZONE)
        for key, period in (
            ("usd_per_session", session),
            ("usd_per_hour", f"{local:%Y-%m-%d %H %z}"),
            ("usd_per_day", f"{local:%Y-%m-%d}"),
            ("usd_per_month", f"{local:%Y-%m}"),
        ):
            sums[key, period] += nano
    # pairs cannot be told for sure after a kill between a transcript and its answer
    most = sum(max((nano for kind, *_, nano in lines if kind == what), default=0) for what in ("answer", "transcript"))
    return any(key in caps and spent >= caps[key] * NANO + most for (key, _), spent in sums.items())


def agrees(path: Path, lines: list[Line]) -> bool:
    """Return whether the file holds these lines and nothing else, as sums of the whole and of each day."""
    with LedgerFile(path) as again:
        book = again.book
    days: dict[int, int] = defaultdict(int)
    for _, time, _, nano in lines:
        days[int(time // 900)] += nano
    recent = {when: nano for when, nano in book.nano.items() if nano}
    return book.totals.nano == sum(days.values()) and recent == {
        when: nano for when, nano in days.items() if nano and when in book.nano
    }


# --- two ways to live -------------------------------------------------------------------------------------------------


def in_peace(path: Path, seed: int, caps: dict[str, float], visits: int) -> tuple[list[Line], int]:
    """Live in this process, with a restart in the middle."""
    lines: list[Line] = []
    now = BEGIN
    for start in range(2):
        with LedgerFile(path) as ledger:
            life = Life((seed, start), ledger, caps, now, lines.append)
            life.lead(visits // 2)
            now = life.now
    return lines, 0


def with_kills(path: Path, seed: int, caps: dict[str, float], visits: int) -> tuple[list[Line], int]:
    """Live in processes that are killed; return what was booked and not in flight then, and how much was."""
    lines: list[Line] = []
    dice = np.random.default_rng((seed, 99))
    now, flying = BEGIN, 0
    for start in range(3):
        ends = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(ends[0])
            life = partial(Life, seed=(seed, start), caps=caps, now=now)
            _write(path, ends[1], life, visits)
        os.close(ends[1])
        stop = int(dice.integers(1, 2 * visits))
        said = list(_until_killed(child, ends[0], stop))
        announced = [line for kind, line in said if kind == "spent"]
        confirmed = sum(kind == "kept" for kind, _ in said)
        with LedgerFile(path) as ledger:
            total = ledger.book.totals.nano
        kept = next(
            (
                count
                for count in range(confirmed, len(announced) + 1)
                if sum(nano for *_, nano in lines + announced[:count]) == total
            ),
            confirmed,  # a mismatch, which the comparison finds
        )
        flying += len(announced) - kept
        lines += announced[:kept]
        if announced:
            now = datetime.fromtimestamp(announced[-1][1], ZONE) + timedelta(minutes=1)
    return lines, flying


def _write(path: Path, end: int, life: Callable[..., Life], visits: int) -> None:
    """Lead a life, and say of each line that it comes, and that it is on the disk."""
    with suppress(BrokenPipeError), LedgerFile(path) as ledger:
        last: list[Line] = []

        def confirm() -> None:
            if last:
                ledger.written(10)
                os.write(end, (json.dumps(["kept", *last.pop()]) + "\n").encode())

        def booked(line: Line) -> None:
            confirm()
            last.append(line)
            os.write(end, (json.dumps(["spent", *line]) + "\n").encode())

        life(ledger=ledger, booked=booked).lead(visits)
        confirm()
    os._exit(0)


def _until_killed(child: int, end: int, stop: int) -> Iterator[tuple[str, Line]]:
    """Read what the child says; kill it when it has said so much, and read the rest."""
    with os.fdopen(end, encoding="utf-8") as said:
        for number, line in enumerate(said):
            if number == stop:
                os.kill(child, signal.SIGKILL)
            if line.endswith("\n"):
                kind, what, time, session, nano = json.loads(line)
                yield kind, (what, time, session, nano)
    os.waitpid(child, 0)


def measure(*, quick: bool) -> dict[str, Any]:
    logging.disable(logging.WARNING)  # thousands of budgets are used up
    histories, visits = (400, 24) if quick else (10_000, 24)
    memory = Path("/dev/shm")  # noqa: S108 - a folder of its own is made in it; a disk would only be slower
    folder = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None))
    over = mismatches = answers = killed = flying = 0
    try:
        for seed in range(histories):
            path = folder / f"{seed}.sqlite"
            caps = caps_of(np.random.default_rng((seed, 98)))
            is_killed = seed % 20 == 0
            lines, lost = (with_kills if is_killed else in_peace)(path, seed, caps, visits)
            killed += 3 * is_killed
            flying += lost
            answers += sum(kind == "answer" for kind, *_ in lines)
            over += exceeded(lines, caps)
            mismatches += not agrees(path, lines)
            for part in folder.glob(f"{seed}.sqlite*"):
                part.unlink()
    finally:
        shutil.rmtree(folder)
    return {
        "histories": histories,
        "over_cap_by_more_than_one": over,
        "book_mismatches": mismatches,
        "answers": answers,
        "kills": killed,
        "lines_in_flight_at_a_kill": flying,
    }
