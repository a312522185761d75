"""What systemd hears, on a real datagram socket."""

import logging
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voiced.edge.supervisor import Supervisor


class Listener:
    """systemd's end of the socket."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.socket.bind(address)

    def heard(self) -> list[str]:
        """Every datagram since last time; a local datagram is there as soon as it was sent."""
        messages = []
        while True:
            try:
                messages.append(self.socket.recv(65_536).decode())
            except BlockingIOError:
                return messages


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "notify")


@pytest.fixture
def listener(path: str) -> Iterator[Listener]:
    listener = Listener(path)
    yield listener
    listener.socket.close()


def test_a_life_as_systemd_hears_it(listener: Listener, path: str) -> None:
    supervisor = Supervisor.from_environment({"NOTIFY_SOCKET": path}, pid=os.getpid())
    supervisor.status("opening the microphone")
    supervisor.ready("idle")
    supervisor.alive()
    before_us = time.monotonic_ns() // 1000
    supervisor.reloading()
    supervisor.stopping("told to stop")
    heard = listener.heard()
    reloading, moment = heard.pop(3).split("\nMONOTONIC_USEC=")
    assert reloading == "RELOADING=1"
    assert before_us <= int(moment) <= time.monotonic_ns() // 1000
    assert heard == [
        "STATUS=opening the microphone",
        "READY=1\nSTATUS=idle",
        "WATCHDOG=1",
        "STOPPING=1\nSTATUS=told to stop",
    ]


def test_an_abstract_socket_is_reached() -> None:
    name = f"voiced-test-{os.getpid()}"
    listener = Listener(f"\0{name}")
    try:
        Supervisor.from_environment({"NOTIFY_SOCKET": f"@{name}"}, pid=1).alive()
        assert listener.heard() == ["WATCHDOG=1"]
    finally:
        listener.socket.close()


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": ""}])
def test_without_systemd_nothing_happens(environ: dict[str, str], caplog: pytest.LogCaptureFixture) -> None:
    supervisor = Supervisor.from_environment(environ, pid=1)
    supervisor.ready("idle")
    supervisor.alive()
    assert supervisor == Supervisor()
    assert not caplog.records


def test_a_socket_of_another_kind_is_named_and_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    supervisor = Supervisor.from_environment({"NOTIFY_SOCKET": "vsock:2:1234"}, pid=1)
    assert supervisor.address is None
    assert "vsock:2:1234" in caplog.text


def test_a_supervisor_that_is_away_is_survived(path: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        Supervisor(path).alive()
    assert "WATCHDOG=1" in caplog.text


def test_a_supervisor_that_does_not_read_never_makes_us_wait(
    listener: Listener, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    supervisor = Supervisor(path)
    sent = 0
    while not caplog.records:
        supervisor.alive()
        sent += 1
    assert len(listener.heard()) == sent - 1


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "10000000"}, 10.0),
        ({"WATCHDOG_USEC": "10000000", "WATCHDOG_PID": "7"}, 10.0),
        ({"WATCHDOG_USEC": "10000000", "WATCHDOG_PID": "8"}, None),  # meant for the process that started us
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": "7"}, 0.5),
    ],
)
def test_the_watchdog_counts_only_for_the_process_it_names(environ: dict[str, str], expected: float | None) -> None:
    assert Supervisor.from_environment(environ, pid=7).watchdog_s == expected


@pytest.mark.parametrize("limit", ["0", "-1", "soon", "1.5", "²"])
def test_a_senseless_watchdog_limit_is_named(limit: str, caplog: pytest.LogCaptureFixture) -> None:
    assert Supervisor.from_environment({"WATCHDOG_USEC": limit}, pid=7).watchdog_s is None
    assert f"WATCHDOG_USEC={limit}" in caplog.text


@given(text=st.text(st.sampled_from("\n\rREADY=1 ") | st.characters(codec="utf-8")))
def test_no_status_smuggles_in_a_second_notice(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    address = str(tmp_path_factory.mktemp("notify") / "socket")
    listener = Listener(address)
    try:
        Supervisor(address).status(text)
        (heard,) = listener.heard()
    finally:
        listener.socket.close()
    assert "\n" not in heard
    assert heard.startswith("STATUS=")
