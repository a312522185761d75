"""Microphone and speaker: gone, back, standing still, silent, at another rate."""

import asyncio
import subprocess

from tests.lab.faults import every, fault
from tests.lab.lab import Act, Lab, utterance
from tests.soundbed import VirtualDevice


async def _plug(device: VirtualDevice) -> None:
    await asyncio.to_thread(device.plug)


async def _microphone_is_missed(lab: Lab) -> None:
    await lab.until(lambda: "microphone" in lab.keeper.status, "the status line says so")
    lab.detected_s = asyncio.get_running_loop().time() - lab.began


def _microphone_unplugged(state: str) -> Act:
    async def microphone_unplugged(lab: Lab) -> str:
        if state != "Idle":
            await lab.conversing(state)
        else:
            lab.break_now()
        await asyncio.to_thread(lab.bed.microphone.unplug)
        await _microphone_is_missed(lab)
        await _plug(lab.bed.microphone)
        return "" if state == "Idle" else "what is said meanwhile"

    return microphone_unplugged


every("sound", ("Idle", "Listening", "Hearing", "Processing", "Responding"), _microphone_unplugged)


def _speaker_unplugged(state: str) -> Act:
    async def speaker_unplugged(lab: Lab) -> str:
        if state != "Idle":
            await lab.conversing(state)
        await asyncio.to_thread(lab.bed.speaker.unplug)
        lab.break_now()
        if state == "Idle":  # noticed when there is something to say
            await lab.conversing("Processing")
        await lab.noticed("no speaker")
        await lab.until_state("Idle")
        await _plug(lab.bed.speaker)
        return "answers that nobody hears"

    return speaker_unplugged


every("sound", ("Idle", "Processing", "Responding"), _speaker_unplugged)


@fault("sound", quick=True)
async def microphone_unplugged_and_plugged_at_once(lab: Lab) -> None:
    """A loose contact."""
    for _ in range(3):
        await asyncio.to_thread(lab.bed.microphone.unplug)
        await _plug(lab.bed.microphone)


@fault("sound")
async def microphone_stalls_for_half_a_second(lab: Lab) -> None:
    """Less than counts as lost; the sound goes on behind a gap."""
    lab.bed.microphone.freeze()
    await asyncio.sleep(0.5)  # the fault itself is a time
    lab.bed.microphone.thaw()


def _hangs(which: str, state: str) -> Act:
    async def hangs(lab: Lab) -> str:
        device: VirtualDevice = getattr(lab.bed, which)
        lab.expected_end = True
        ends = len(lab.keeper.ends)
        if state != "Idle":
            await lab.conversing(state)
        lab.break_now()
        device.freeze()
        try:
            await lab.until(lambda: lab.keeper.ends[ends:] == [75], "it gives itself up")
            lab.detected_s = asyncio.get_running_loop().time() - lab.began
        finally:
            device.thaw()
        return "the conversation" if state != "Idle" else ""

    hangs.__name__ = f"{which}_hangs"
    return hangs


every("sound", ("Idle", "Listening"), lambda state: _hangs("microphone", state))
every("sound", ("Responding",), lambda state: _hangs("speaker", state))


@fault("sound")
async def sound_servers_killed(lab: Lab) -> None:
    """Both at once, as when a desktop's PipeWire crashes."""
    await asyncio.to_thread(lab.bed.microphone.unplug)
    await asyncio.to_thread(lab.bed.speaker.unplug)
    await _microphone_is_missed(lab)
    await _plug(lab.bed.speaker)
    await _plug(lab.bed.microphone)


@fault("sound")
async def microphone_silent(lab: Lab) -> None:
    """Muted at the sound server: frames come, and hold nothing."""
    await asyncio.to_thread(lab.bed.microphone.ask, "pactl", "set-source-mute", "mic", "1")
    lab.break_now()
    await lab.say(utterance())  # something is said that nobody hears
    await lab.until(
        lambda: "microphone_silent" in [problem["code"] for problem in lab.last("health")["problems"]],
        "told of silence",
    )
    lab.detected_s = asyncio.get_running_loop().time() - lab.began
    await asyncio.to_thread(lab.bed.microphone.ask, "pactl", "set-source-mute", "mic", "0")


async def _other_rate(lab: Lab, device: VirtualDevice, usual: int, other: int) -> None:
    script = device._script
    text = script.read_text()
    await asyncio.to_thread(device.unplug)
    script.write_text(text.replace(f"rate={usual}", f"rate={other}"))
    await _plug(device)
    await lab.healthy()
    if not await lab.answered():
        raise AssertionError(f"at {other} Hz nothing is heard")
    await asyncio.to_thread(device.unplug)
    script.write_text(text)
    await _plug(device)


@fault("sound")
async def microphone_back_at_another_rate(lab: Lab) -> None:
    """Another port of the hub, another format."""
    await _other_rate(lab, lab.bed.microphone, lab.bed.microphone_rate, 44_100)


@fault("sound")
async def speaker_back_at_another_rate(lab: Lab) -> None:
    """The same for the speaker."""
    await _other_rate(lab, lab.bed.speaker, lab.bed.speaker_rate, 48_000)


@fault("sound")
async def microphone_stream_suspended(lab: Lab) -> None:
    """The sound server suspends the source for a second, as it may when a device is switched."""
    suspend = lab.bed.microphone.command("pactl", "suspend-source", "mic")
    await asyncio.to_thread(subprocess.run, [*suspend, "1"], check=True)
    await asyncio.sleep(1.0)  # the fault itself is a time
    await asyncio.to_thread(subprocess.run, [*suspend, "0"], check=True)


@fault("sound", quick=True)
async def microphone_replaced_by_a_sounding_monitor(lab: Lab) -> None:
    """The sound server has a speaker too, on which something plays: it gives that when the microphone goes."""
    device = lab.bed.microphone

    async def ask(*question: str) -> str:
        return await asyncio.to_thread(device.ask, "pactl", *question)

    await lab.keeper.stop()
    lab.keeper.environ["PULSE_SERVER"] = f"unix:{device.socket}"
    lab.keeper.start()
    try:
        await lab.healthy()
        desk = await ask("load-module", "module-null-sink", "sink_name=desk")
        tune = await ask("load-module", "module-sine", "sink=desk", "frequency=440")
        await ask("set-default-source", "desk.monitor")
        lab.break_now()
        await ask("unload-module", "module-remap-source")
        await _microphone_is_missed(lab)
        await lab.until(lambda: "desk.monitor" in lab.keeper.status, "it says what it hears instead")
        await ask("load-module", "module-remap-source", "source_name=mic", "master=micfeed.monitor")
        await lab.healthy()
        if not await lab.answered():
            raise AssertionError("the microphone is back, and nobody is heard")
        await ask("unload-module", tune)
        await ask("unload-module", desk)
    finally:
        del lab.keeper.environ["PULSE_SERVER"]
        await lab.keeper.stop()
        lab.keeper.start()
