"""What stories about the whole daemon share: a home with a simulator behind a real WebSocket, and who speaks in it."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any, Literal

import numpy as np

from tests.fakes import Diary, InstantSpeaker, KeptLedger, Remembered, ScriptedEars, ScriptedEcho, ScriptedMicrophone
from tests.lab.proxy import Proxy
from tests.recordings import NOTES, SOUNDS, load, noise
from tests.waiting import eventually
from voiced.app import Daemon
from voiced.config import Config, ConversationConfig, DeviceConfig, MqttConfig
from voiced.core.frames import Samples
from voiced.core.mqtt.commands import Message
from voiced.core.prices import Prices
from voiced.core.realtime.endpoint import endpoint
from voiced.core.realtime.mending import Limits
from voiced.core.resample import Resampler
from voiced.edge.credentials import Credentials
from voiced.edge.dialing import Names
from voiced.edge.identity import Identity
from voiced.edge.ledgerfile import load_prices
from voiced.edge.link import Patience
from voiced.edge.mediafile import MediaFiles
from voiced.edge.service import RealtimeService
from voiced.edge.soundfile import shipped
from voiced.edge.vad import Vad
from voiced.parts import Parts
from voiced.ports import Clips, Ledger, Load, Media, Memories
from voiced.reports import Reports
from voiced.simulator import Scenario, Simulator, Turn
from voiced.spending import Means


@dataclass
class Home:
    """A daemon at work, and all it touches."""

    daemon: Daemon
    microphone: ScriptedMicrophone
    echo: ScriptedEcho
    ears: ScriptedEars
    speaker: InstantSpeaker
    simulator: Simulator
    diary: Diary
    settled: Remembered
    reports: Reports
    running: "asyncio.Task[None]"

    def speak(self, *, wake: bool = True, word: str = "hey_jarvis", after_s: float = 1.0) -> tuple[int, Samples]:
        """Say the wake word and a question, then be silent, usually long enough for the service to notice.

        Returns the position at which the wake word was decided, and everything heard so far in this call.
        """
        sound = np.concatenate([load(SOUNDS / "hey_jarvis_1.wav"), noise(after_s)])
        sound = sound[: len(sound) // 320 * 320]
        woken = self.microphone.end + NOTES["hey_jarvis_1"]["wake_end"] // 320 * 320
        if wake:
            self.ears.wakes_at[woken] = word
        self.microphone.hear(sound)
        return woken, sound

    def say(self, word: str) -> None:
        """Say a word and nothing more."""
        self.microphone.hear(noise(0.4))
        self.ears.wakes_at[self.microphone.end - 4 * 320] = word

    async def command(self, name: str, payload: str = "") -> dict[str, Any]:
        """Send a command as a client would, and return the answer."""
        before = len(self.diary.answers)
        self.daemon.post(Message(f"voiced/test/{name}", payload.encode(), "answers/here", b"42"))
        await self.diary.until(lambda diary: len(diary.answers) > before)
        topic, answer, correlation = self.diary.answers[-1]
        assert (topic, correlation) == ("answers/here", b"42")
        answered: dict[str, Any] = json.loads(answer)
        return answered

    async def until_told(self, kind: str, topic: str = "event/turn", count: int = 1) -> dict[str, Any]:
        """Wait for the ``count``-th event of this kind."""
        await self.diary.until(lambda diary: len(told(diary, topic, kind)) >= count)
        return told(self.diary, topic, kind)[count - 1]

    async def until_idle(self) -> None:
        await self.until_state("idle")

    async def until_state(self, state: str) -> None:
        await self.diary.until(lambda diary: json.loads(diary.kept["state"])["state"] == state)

    async def until_sounding(self) -> None:
        """Wait until the speaker, which must hold what it gets, has something to say."""
        await eventually(lambda: self.speaker.busy, "sound")

    def states(self) -> list[str]:
        """The states published, without repetitions."""
        states: list[str] = []
        for topic, payload in self.diary.history:
            state = json.loads(payload)["state"] if topic == "state" else "starting"
            if state not in ("starting", *states[-1:]):
                states.append(state)
        return states


def told(diary: Diary, topic: str, kind: str) -> list[dict[str, Any]]:
    events = [json.loads(payload) for name, payload in diary.told if name == topic]
    return [event for event in events if event["event_type"] == kind]


QUICK = Scenario(
    turns=(
        Turn(user="What time is it?", assistant="It is twenty past nine.", sound="time.wav", transcription_delay_ms=50),
        Turn(user="And tomorrow?", assistant="Sunny.", sound="weather.wav", transcription_delay_ms=50),
    ),
    pace=0,
)


def config_for_tests(**changes: Any) -> Config:
    sections = {
        "device": DeviceConfig(id="test"),
        "conversation": ConversationConfig(follow_up_s=0.5, no_speech_s=1.0),
        "mqtt": MqttConfig(host="127.0.0.1"),
        **changes,
    }
    return Config(**sections)


@asynccontextmanager
async def at_home(
    scenario: Scenario = QUICK,
    config: Config | None = None,
    *,
    speaker: InstantSpeaker | None = None,
    echo: ScriptedEcho | None = None,
    settled: Remembered | None = None,
    past: Remembered | None = None,
    reread: Callable[[], Config] | None = None,
    provider: Literal["azure", "azure-preview"] = "azure",
    clips: Clips | None = None,
    environment: Mapping[str, str] | None = None,
    ledger: Ledger | None = None,
    diary: Diary | None = None,
    supervised: bool = False,
    record: bool = True,
    prices: Prices | None = None,
    today: Callable[[], datetime] = lambda: datetime.now(UTC),
    zone: tzinfo = UTC,
    since_boot: Callable[[], float] | None = None,
    as_cloud: bool = False,
    patience: Patience | None = None,
    limits: Limits | None = None,
    new_identity: Callable[[], Identity] | None = None,
    memories: Memories | None = None,
    media: Media | None = None,
    names: Names | None = None,
    way: Proxy | None = None,
) -> AsyncIterator[Home]:
    """A daemon at home.

    ``as_cloud``: the simulator stands where the configured endpoint would be; ``names``: under a name that these know;
    ``way``: what lies between the two.
    """
    config = config or config_for_tests()
    microphone, ears, diary = ScriptedMicrophone(), ScriptedEars(), diary or Diary()
    speaker, settled = speaker or InstantSpeaker(), settled or Remembered()
    echo = echo or ScriptedEcho(full_duplex=config.audio.echo_cancellation == "off")
    secrets = Credentials(config.realtime, environment=environment or {}, new_identity=new_identity)
    async with AsyncExitStack() as stack:
        simulator = await stack.enter_async_context(Simulator(scenario, record=record))
        credentials = await stack.enter_async_context(secrets)
        url, address = simulator.url_for(provider), simulator.url
        if way is not None:
            way.target = simulator.port
            await stack.enter_async_context(way)
            address = f"ws://127.0.0.1:{way.port}"
        if names is not None:
            address = address.replace("127.0.0.1", "service.test")
        cloud = config.realtime.model_copy(update={"endpoint": address} if as_cloud else {})
        where = endpoint(cloud, url=url)
        service = RealtimeService(
            where,
            credentials,
            named=lambda model: endpoint(cloud, url=url, model=model),
            ca_file=cloud.ca_file,
            patience=patience,
            limits=limits,
            names=names,
        )
        reports = Reports(broker=diary, config=config, machine=lambda: Load(1.0, 1.0, None), today=today)
        daemon = Daemon(
            config,
            where.dialect,
            Parts(
                microphone=microphone,
                echo=echo,
                speech=Vad,
                ears=ears,
                speaker=speaker,
                service=service,
                settled=settled,
                past=past or Remembered(),
                resampler=Resampler,
                clock=time.monotonic,
                means=Means(
                    ledger=ledger or KeptLedger(),
                    prices=prices or load_prices(""),
                    zone=zone,
                    since_boot=since_boot or (lambda: today().timestamp()),
                ),
                spent=shipped("budget"),
                media=media or MediaFiles(config.mqtt.media),
                reread=reread,
                supervised=supervised,
                clips=clips,
                memories=memories,
            ),
            reports,
        )
        speaker.notify = daemon.post
        running = asyncio.create_task(daemon.run())
        home = Home(daemon, microphone, echo, ears, speaker, simulator, diary, settled, reports, running)
        try:
            await diary.until(lambda diary: "state" in diary.kept)
            assert json.loads(diary.kept["state"])["state"] == "starting"
            daemon.begin()
            yield home
        finally:
            running.cancel()
            await asyncio.wait([running])
            await service.close()
