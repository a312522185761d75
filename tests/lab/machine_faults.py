"""The machine under the daemon: its disk, its files, its signals, and too much of a good thing."""

import asyncio
import json
import os
import resource
import signal
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import numpy as np
import psutil

from tests.lab.faults import every, fault
from tests.lab.lab import ROOM, SAID, Act, Lab, NotYetError, utterance
from tests.recordings import NOTES, SOUNDS, load, noise
from voiced.core.frames import MICROPHONE_RATE

STATES = ("Idle", "Listening", "Hearing", "Processing", "Responding", "Finishing")


def _stopped(state: str) -> Act:
    async def sigterm(lab: Lab) -> str:
        if state != "Idle":
            await lab.conversing(state)
        lab.expected_end = True
        lab.break_now()
        status = await lab.keeper.stop()
        lab.detected_s = asyncio.get_running_loop().time() - lab.began
        if status != 0:
            raise AssertionError(f"it ended with {status}")
        await lab.until(lambda: lab.neighbour.last(f"{ROOM}/availability") == "offline", "offline")
        lab.keeper.start()
        return "the conversation, reported as over" if state != "Idle" else ""

    return sigterm


every("process", STATES, _stopped)


def _killed(state: str) -> Act:
    async def kill_9(lab: Lab) -> str:
        if state != "Idle":
            await lab.conversing(state)
        lab.expected_end = True
        ends = len(lab.keeper.ends)
        lab.break_now()
        lab.keeper.send(signal.SIGKILL)
        await lab.until(lambda: len(lab.keeper.ends) > ends, "it ended")
        lab.detected_s = asyncio.get_running_loop().time() - lab.began
        await lab.until(lambda: lab.keeper.is_ready, "another one")
        return "the conversation" if state != "Idle" else ""

    return kill_9


every("process", STATES, _killed)


@asynccontextmanager
async def _in_trouble(lab: Lab, trouble: str) -> AsyncIterator[None]:
    """Have the daemon in the middle of mending something."""
    if trouble == "Connecting":
        lab.next_connection(accept_delay_ms=25_000)
        await lab.neighbour.send(f"{ROOM}/command/listen", "")
        await lab.until_state("Connecting")
        yield
        return
    if trouble == "Sounding":
        await lab.neighbour.send(f"{ROOM}/command/announce", json.dumps({"media": str(lab.folder / "answer.wav")}))
        await lab.until_state("Sounding")
        yield
        return
    if trouble == "Reopening":
        dies = {"ends": {"kind": "abort"}, "ends_at": "response.created"}
        lab.next_connections(dies, {"accept_delay_ms": 25_000})
        await lab.conversing("Reopening")
        yield
        return
    if trouble in {"Attending", "Paused"}:
        async with _otherwise_configured(lab, trouble):
            yield
        return
    if trouble == "Microphone_gone":
        await asyncio.to_thread(lab.bed.microphone.unplug)
        await lab.until(lambda: "microphone" in lab.keeper.status, "missed")
    else:
        await lab.broker_line.shut()
        await lab.noticed("MQTT broker .* was lost|no MQTT broker")
    try:
        yield
    finally:
        if trouble == "Microphone_gone":
            await asyncio.to_thread(lab.bed.microphone.plug)
        else:
            await lab.broker_line.open()


@asynccontextmanager
async def _otherwise_configured(lab: Lab, state: str) -> AsyncIterator[None]:
    """Have it in a state that the lab's own configuration does not know."""
    config = lab.folder / "config.toml"
    right = config.read_text()
    await lab.keeper.stop()
    if state == "Attending":
        config.write_text(right.replace("[conversation]", '[conversation]\nconnect = "speech"'))
    else:
        config.write_text(f'{right}\n[audio]\necho_cancellation = "off"\n')
    lab.keeper.start()
    await lab.healthy()
    try:
        if state == "Attending":
            await lab.neighbour.send(f"{ROOM}/command/listen", "")
            await lab.until_state(state)
            yield
            return
        lab.answer(sound=str(SOUNDS / "negative_1.wav"))
        await lab.conversing("Responding")
        syllable = load(SOUNDS / f"{SAID}.wav")[NOTES[SAID]["speech_start"] :][: MICROPHONE_RATE // 4]
        with lab.bed.start_playing(np.concatenate([noise(0.3), syllable, noise(1.0)]), MICROPHONE_RATE):
            await lab.until_state(state)
            yield
    finally:
        config.write_text(right)
        await lab.keeper.stop()
        lab.keeper.start()


TROUBLES = ("Connecting", "Attending", "Paused", "Sounding", "Reopening", "Microphone_gone", "Broker_gone")


def _ended_in_trouble(how: str) -> Callable[[str], Act]:
    def make(trouble: str) -> Act:
        async def ended(lab: Lab) -> str:
            lab.expected_end = True
            async with _in_trouble(lab, trouble):
                ends = len(lab.keeper.ends)
                lab.break_now()
                if how == "kill_9":
                    lab.keeper.send(signal.SIGKILL)
                    await lab.until(lambda: len(lab.keeper.ends) > ends, "it ended")
                    lab.detected_s = asyncio.get_running_loop().time() - lab.began
                    await lab.until(lambda: lab.keeper.is_ready, "another one")
                elif (status := await lab.keeper.stop()) != 0:
                    raise AssertionError(f"it ended with {status}")
                else:
                    lab.detected_s = asyncio.get_running_loop().time() - lab.began
                    lab.keeper.start()
            return ""

        ended.__name__ = how
        return ended

    return make


every("process", TROUBLES, _ended_in_trouble("sigterm"))
every("process", TROUBLES, _ended_in_trouble("kill_9"))


@fault("process")
async def stopped_for_five_seconds(lab: Lab) -> None:
    """SIGSTOP, and on again before the watchdog barks."""
    lab.keeper.send(signal.SIGSTOP)
    await asyncio.sleep(5)  # the fault itself is a time
    lab.keeper.send(signal.SIGCONT)


@fault("process")
async def stopped_for_thirty_seconds(lab: Lab) -> None:
    """SIGSTOP until the watchdog kills it."""
    lab.expected_end = True
    ends = len(lab.keeper.ends)
    lab.keeper.send(signal.SIGSTOP)
    await lab.until(lambda: len(lab.keeper.ends) > ends, "the watchdog", 35)
    lab.detected_s = asyncio.get_running_loop().time() - lab.began


async def _with_state(lab: Lab, *, fill: bool) -> str:
    """Put the state directory on a disk of its own, one megabyte, and let it refuse."""
    state = lab.folder / "state"
    if os.geteuid() != 0:
        return "not tried: mounting needs root"
    await lab.keeper.stop()
    state.mkdir(exist_ok=True)
    _mount("mount", "-t", "tmpfs", "-o", "size=1m", "voiced-lab", str(state))
    try:
        if not fill:  # from the start: a disk with files open for writing cannot be made read-only
            _mount("mount", "-o", "remount,ro", str(state))
        lab.keeper.start()
        await lab.healthy()
        lab.break_now()
        if fill:
            _fill(state / "full")
        if not await lab.answered():
            raise AssertionError("without a disk nobody is answered")
        await lab.neighbour.send(f"{ROOM}/set/volume", "55")
        await lab.noticed("cannot be (written|kept)")
        if fill:
            (state / "full").unlink()
        else:
            _mount("mount", "-o", "remount,rw", str(state))
    finally:
        await lab.keeper.stop()
        _mount("umount", "--lazy", str(state))
        lab.keeper.start()
    return "the ledger's lines and settings of that time, reported"


def _mount(*command: str) -> None:
    subprocess.run(command, check=True)


def _fill(path: Path) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT)
    with suppress(OSError):  # there it is: the end of the disk
        while True:
            os.write(handle, bytes(4096))
    os.close(handle)


@fault("disk")
async def disk_full(lab: Lab) -> str:
    """Not a byte is left."""
    return await _with_state(lab, fill=True)


@fault("disk")
async def disk_read_only(lab: Lab) -> str:
    """As a worn SD card becomes."""
    return await _with_state(lab, fill=False)


@fault("disk", quick=True)
async def ledger_corrupt(lab: Lab) -> str:
    """Its file is rubbish after a power cut."""
    await lab.keeper.stop()
    for ending in ("", "-wal"):
        (lab.folder / "state" / f"ledger.sqlite{ending}").write_bytes(os.urandom(20_000))
    lab.break_now()
    lab.keeper.start()
    await lab.noticed("ledger .* cannot be read")
    return "what was spent before, reported"


@fault("disk")
async def settings_corrupt(lab: Lab) -> str:
    """The same for what was set."""
    await lab.keeper.stop()
    (lab.folder / "state" / "settings.json").write_text('{"volume": ')
    lab.break_now()
    lab.keeper.start()
    await lab.noticed("settings start afresh")
    return "settings, reported"


@fault("disk")
async def settings_of_another_world(lab: Lab) -> str:
    """Readable, and nonsense."""
    await lab.keeper.stop()
    (lab.folder / "state" / "settings.json").write_text(json.dumps({"volume": "loud", "mute": [], "nonsense": 7}))
    lab.keeper.start()
    return "settings"


@fault("disk")
async def outbox_corrupt(lab: Lab) -> str:
    """Turns that wait for the broker are in a file too."""
    await lab.keeper.stop()
    for file in (lab.folder / "state").glob("outbox*"):
        file.write_bytes(os.urandom(20_000))
    lab.break_now()
    lab.keeper.start()
    return "turns that waited"


@fault("disk")
async def model_corrupt(lab: Lab) -> str:
    """A wake model is broken: status 78, said once, and no restart until a person has mended it."""
    await lab.keeper.stop()
    folder = lab.folder / "models"
    folder.mkdir(exist_ok=True)
    (folder / "broken.onnx").write_bytes(os.urandom(3_000))
    config = lab.folder / "config.toml"
    right = config.read_text()
    config.write_text(f'{right}\n[wake]\nmodels_dir = "{folder}"\n[[wake.words]]\nmodel = "broken"\n')
    ends = len(lab.keeper.ends)
    lab.expected_end = True
    lab.break_now()
    lab.keeper.start()
    try:
        await lab.until(lambda: lab.keeper.ends[ends:] == [78], "status 78")
        await lab.noticed("broken.onnx")
    finally:
        config.write_text(right)
    lab.keeper.start()
    return ""


def _memory_ends(state: str) -> Act:
    async def memory_ends(lab: Lab) -> str:
        """Not a page more than now: it goes on, or ends at once and says why, and is started again."""
        if state != "Idle":
            await lab.conversing(state)
        lab.expected_end = True
        process, ends = psutil.Process(lab.keeper.pid), len(lab.keeper.ends)
        sizes = Path(f"/proc/{process.pid}/status").read_text()  # noqa: ASYNC240 - no disk
        data = 1024 * int(sizes.partition("VmData:")[2].split()[0])
        lab.break_now()
        process.rlimit(resource.RLIMIT_DATA, (data, resource.RLIM_INFINITY))
        for _ in range(5):
            with lab.bed.start_playing(utterance(), MICROPHONE_RATE), suppress(NotYetError):
                await lab.until(lambda: lab.keeper.ends[ends:], "it ends", 6.0)
                await lab.noticed("out of memory")
                break
        if lab.keeper.ends[ends:]:
            if lab.keeper.ends[ends:] != [1]:
                raise AssertionError(f"it ended with {lab.keeper.ends[ends:]}")
        elif lab.keeper.pid == process.pid:
            process.rlimit(resource.RLIMIT_DATA, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        return "the conversation" if lab.keeper.ends[ends:] else ""

    return memory_ends


every("load", ("Idle", "Responding"), _memory_ends)


@fault("load")
async def killed_for_its_memory(lab: Lab) -> str:
    """The kernel ends it at the limit of its control group, as ``MemoryMax=`` does."""
    groups = Path("/sys/fs/cgroup/memory")
    if os.geteuid() != 0 or not (groups / "memory.limit_in_bytes").exists():
        return "not tried: needs root and a memory controller"
    group = groups / f"voiced-lab-{os.getpid()}"
    group.mkdir()
    lab.expected_end = True
    ends = len(lab.keeper.ends)
    try:
        (group / "memory.limit_in_bytes").write_text(str(64 << 10))
        (group / "cgroup.procs").write_text(str(lab.keeper.pid))
        lab.break_now()
        await lab.neighbour.send(f"{ROOM}/command/ask", json.dumps({"text": "What time is it?"}))
        await lab.until(lambda: lab.keeper.ends[ends:] == [-signal.SIGKILL], "the kernel kills it")
        lab.detected_s = asyncio.get_running_loop().time() - lab.began
    finally:
        await lab.until(lambda: not (group / "cgroup.procs").read_text(), "an empty group")
        group.rmdir()
    return "the conversation"


@fault("load")
async def fifty_wakes_in_a_minute(lab: Lab) -> None:
    """A child has found out what happens when one says it."""
    notes = NOTES["hey_jarvis_1"]
    word = load(SOUNDS / "hey_jarvis_1.wav")[notes["speech_start"] - 1_600 : notes["wake_end"]]
    pause = noise(max(0.0, 1.2 - len(word) / MICROPHONE_RATE))
    await lab.say(np.concatenate([noise(1.5), *([word, pause] * 50)]))
    await lab.until_state("Idle")


@fault("load", quick=True)
async def woken_and_stopped_by_command_twenty_times(lab: Lab) -> None:
    """Conversations that are begun and ended faster than sessions open."""
    for _ in range(20):
        await lab.neighbour.send(f"{ROOM}/command/listen", "")
        await lab.neighbour.send(f"{ROOM}/command/end", "")
    await lab.until_state("Idle")


@fault("load")
async def muted_in_the_middle(lab: Lab) -> str:
    """The conversation ends, and nothing is heard until it is unmuted."""
    await lab.conversing("Responding")
    await lab.neighbour.send(f"{ROOM}/set/mute", "ON")
    await lab.until_state("Idle")
    sessions = len(lab.simulator.attempts)
    await lab.say(load(SOUNDS / "hey_jarvis_1.wav"))
    if len(lab.simulator.attempts) != sessions:
        raise AssertionError("it hears although it is muted")
    await lab.neighbour.send(f"{ROOM}/set/mute", "OFF")
    await lab.until(lambda: not lab.last("state")["muted"], "unmuted")
    return "the rest of the answer"


@fault("load")
async def processor_busy(lab: Lab) -> None:
    """Four busy loops for the length of a conversation."""
    burners = [
        await asyncio.create_subprocess_exec("timeout", "20", "sh", "-c", "while :; do :; done") for _ in range(4)
    ]
    try:
        if not await lab.answered():
            raise AssertionError("a busy machine answers nobody")
    finally:
        for burner in burners:
            if burner.returncode is None:
                burner.terminate()  # which timeout passes on; killed it would leave the loop to itself
            await burner.wait()
