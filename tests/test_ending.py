"""A daemon that cannot close in order any more ends at once, and says why."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

FAILING = """
import _thread, asyncio, gc, os, re, resource, threading
from pathlib import Path
from voiced import console, ending

def need_more():
    return bytearray(64 << 20)

async def in_a_task():
    need_more()

async def in_a_group():
    async with asyncio.TaskGroup():
        need_more()

async def in_a_callback():
    asyncio.get_running_loop().call_soon(need_more)
    await asyncio.Event().wait()

async def in_a_thread():
    threading.Thread(target=need_more).start()
    await asyncio.Event().wait()

async def before_a_thread_began():
    _thread.start_new_thread(need_more, ())
    await asyncio.Event().wait()

async def for_a_new_thread():
    await asyncio.to_thread(print)  # there is no memory for its stack

async def in_a_thread_by_mistake():
    threading.Thread(target=int, args=["x"], name="microphone").start()
    await asyncio.Event().wait()

async def fail():
    int("x")

async def in_a_library():
    threading.Thread(target=os.abort, name="speaker").start()
    await asyncio.Event().wait()

async def in_a_task_that_nobody_looks_at():
    asyncio.create_task(fail())
    asyncio.get_running_loop().call_soon(int, "y")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    gc.collect()
    ending.give_up("that was all")

async def run():
    ending.watch(asyncio.get_running_loop())
    working = asyncio.create_task({work}())
    try:
        if {memory_ends}:
            size = int(re.search("VmData:(.*)kB", Path("/proc/self/status").read_text())[1]) << 10
            resource.setrlimit(resource.RLIMIT_DATA, (size, size))
        await working
    finally:
        await asyncio.Event().wait()  # as where closing waits for a thread that could not begin

console.log("info")
asyncio.run(run())
"""


def run(work: str, *, memory_ends: bool = False) -> "subprocess.CompletedProcess[str]":
    program = FAILING.format(work=work, memory_ends=memory_ends)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", program]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=50)


@pytest.mark.parametrize(
    "work",
    ["in_a_task", "in_a_group", "in_a_callback", "in_a_thread", "before_a_thread_began", "for_a_new_thread"],
)
def test_without_memory_nothing_is_closed_any_more(work: str) -> None:
    done = run(work, memory_ends=True)
    assert done.returncode == 1, done.stderr
    assert "out of memory, or of threads: " in done.stderr
    assert "Traceback" not in done.stderr


def test_a_thread_that_fails_ends_the_daemon_too() -> None:
    """What it did, nobody does any more, and the watchdog would not notice."""
    done = run("in_a_thread_by_mistake")
    assert done.returncode == 1
    assert "microphone failed; the daemon ends, to be started again\nTraceback" in done.stderr


def test_a_crash_in_a_library_is_told_with_what_each_thread_did() -> None:
    done = run("in_a_library")
    assert done.returncode == -signal.SIGABRT
    assert "Fatal Python error: Aborted" in done.stderr
    assert " in run_forever\n" in done.stderr  # the loop's thread


def test_other_mistakes_are_told_as_ever_and_end_nothing() -> None:
    done = run("in_a_task_that_nobody_looks_at")
    assert "Task exception was never retrieved\n" in done.stderr
    assert "Exception in callback int('y')\n" in done.stderr
    assert "that was all; the daemon ends, to be started again\n" in done.stderr
    assert done.returncode == 75
