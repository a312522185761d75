"""Opens the real parts around the daemon, lives in them, and closes them in reverse order."""

import asyncio
import logging
import signal
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from voiced import __version__
from voiced.app import Daemon
from voiced.config import EVERY_WORD, AudioConfig, Config
from voiced.core.ears import Ears
from voiced.core.echo.control import EchoControl
from voiced.core.echo.uncancelled import Open
from voiced.core.frames import MICROPHONE_RATE, SERVICE_RATE, Samples
from voiced.core.loudness import QuietHours, hours
from voiced.core.playout import PlayoutEvent
from voiced.core.profiles import echo_policy, ignored
from voiced.core.realtime.endpoint import Endpoint, endpoint
from voiced.core.reference import Reference, ReferenceModels
from voiced.core.resample import Resampler
from voiced.core.wake import WakeRules
from voiced.core.words import word_rules
from voiced.edge import verifierfile
from voiced.edge.aec3 import Aec3, LateAec3
from voiced.edge.clips import ClipFolder
from voiced.edge.credentials import Credentials
from voiced.edge.ledgerfile import LedgerFile, load_prices
from voiced.edge.machine import give_back, keep_little_memory, load_meter, local_zone, since_boot
from voiced.edge.mediafile import MediaFiles
from voiced.edge.memoryfile import MemoryFile
from voiced.edge.models import find_models
from voiced.edge.service import RealtimeService
from voiced.edge.sound import SoundSettings, open_sound
from voiced.edge.soundfile import shipped
from voiced.edge.soundserver import SoundServer, default_source
from voiced.edge.store import SettingsFile, state_directory
from voiced.edge.supervisor import Supervisor
from voiced.edge.vad import Vad
from voiced.edge.wakemodel import WakeModels
from voiced.ending import give_up
from voiced.errors import MissingPartError
from voiced.messaging import about, log_told, open_broker, update_told
from voiced.parts import Parts
from voiced.ports import Broker, Echo, Microphone, Speaker
from voiced.reports import Reports
from voiced.spending import Means

logger = logging.getLogger(__name__)

BEAT_S = 0.5
"""Between two looks at the parts."""

HEALTH_S = 60.0
"""``health`` is published at least this often."""

GRACE_S = 5.0
"""A broker away for less, or a microphone opening for less, is no problem yet."""

SILENT_S = 30.0
"""Of nothing but zeros from the microphone; then somebody is told, since no room is as silent as that."""

SILENT = (
    "the microphone gives nothing but zeros: it is muted, by its own switch or at the sound server, or that gives "
    "another device in its place, such as the speaker's monitor; 'voiced check microphone' listens, "
    "'voiced devices' lists names for audio.input"
)

DEAF_S = 5.0
"""Without a frame for so long, and no reason known, the daemon is not well, and systemd is not told that it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """What is open."""

    daemon: Daemon
    microphone: Microphone
    speaker: Speaker
    echo: Echo
    soundserver: SoundServer
    broker: Broker
    reports: Reports
    endpoint: Endpoint


@asynccontextmanager
async def opened(
    config: Config,
    environ: Mapping[str, str],
    *,
    sound: SoundSettings | None = None,
    simulator_url: str | None = None,
    reread: Callable[[], Config] | None = None,
) -> AsyncIterator[House]:
    """Open everything but the line to the service.

    Args:
        config: What the user wants.
        environ: For secrets and places.
        sound: Other ends than the configuration's.
        reread: Reads the configuration again.
        simulator_url: Of one that runs, for provider ``simulator``; by default one is started.

    Raises:
        VoicedError: If a part that cannot come by itself later is missing: a model, a file, a password.

    """
    keep_little_memory()
    prices = load_prices(config.budget.prices_file)
    ears, reference = make_ears(config)
    state = state_directory(environ)
    restarts = "NOTIFY_SOCKET" in environ  # systemd starts it again
    async with AsyncExitStack() as parts:
        if config.realtime.provider == "simulator" and simulator_url is None:
            simulator_url = await start_simulator(parts)
            logger.warning("no cloud service is configured: a simulator with canned answers stands in for it")
        where = endpoint(config.realtime, url=simulator_url)
        credentials = await parts.enter_async_context(Credentials(config.realtime, environment=environ))
        service = RealtimeService(
            where,
            credentials,
            named=lambda model: endpoint(config.realtime, url=simulator_url, model=model),
            ca_file=config.realtime.ca_file,
        )
        parts.push_async_callback(service.close)
        broker = await open_broker(config, state, parts, restarts=restarts)
        parts.enter_context(log_told(config, environ, broker))
        await parts.enter_async_context(update_told(config, state, broker))
        reports = Reports(broker=broker, config=config, machine=load_meter(), today=lambda: datetime.now(UTC))
        echo = make_echo(config, environ, lambda problem: reports.problem("echo", problem))
        book = await asyncio.to_thread(parts.enter_context, LedgerFile(state / "ledger.sqlite"))
        memories = parts.enter_context(MemoryFile(state / "memory.json"))
        if not config.conversation.memory_on_disk:
            await asyncio.to_thread(memories.erase)  # of what was kept while that was wanted
        clips = _clips(config, state / "clips")
        if clips is not None:
            parts.enter_context(clips)
        # The daemon exists before the first playout event: nothing plays before it says so.
        daemons: list[Daemon] = []
        loop = asyncio.get_running_loop()

        def heard(event: PlayoutEvent) -> None:
            loop.call_soon_threadsafe(daemons[0].post, event)

        def played(block: Samples) -> None:
            reference.played(block)
            echo.played(block)

        microphone, speaker = await parts.enter_async_context(
            open_sound(
                sound or sound_settings(config.audio, environ),
                notify=heard,
                give_up=give_up,
                tap=played,
                slipped=echo.slipped,
            )
        )
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
                settled=parts.enter_context(SettingsFile(state / "settings.json")),
                past=parts.enter_context(SettingsFile(state / "turns.json", "turns")),
                resampler=Resampler,
                clock=time.monotonic,
                means=Means(
                    ledger=book,
                    prices=prices,
                    zone=local_zone(environ),
                    since_boot=since_boot,
                ),
                spent=shipped("budget"),
                media=MediaFiles(config.mqtt.media),
                reread=reread,
                supervised=restarts,
                clips=clips if config.wake.clips else None,
                memories=memories if config.conversation.memory_on_disk else None,
            ),
            reports,
        )
        daemons.append(daemon)
        reports.clock(since_boot())
        reports.info(about(config))
        reports.forget_texts()
        for number, wish in enumerate((*config.unmet(), *ignored(config, where.dialect), *where.warnings)):
            reports.problem(f"configuration_{number}", wish)
        yield House(
            daemon=daemon,
            microphone=microphone,
            speaker=speaker,
            echo=echo,
            soundserver=SoundServer(environ),
            broker=broker,
            reports=reports,
            endpoint=where,
        )


async def live(house: House, supervisor: Supervisor) -> None:
    """Run until cancelled, or until a recording instead of a microphone is over."""
    daemon = house.daemon
    logger.info("voiced %s talks to %s", __version__, house.endpoint.describe())
    watching = [
        asyncio.create_task(_watch(house, supervisor), name="watch"),
        asyncio.create_task(house.broker.obey(daemon.post), name="obey"),
        asyncio.create_task(house.soundserver.watch(), name="sound server"),
    ]
    running = asyncio.create_task(daemon.run(), name="daemon")

    def reload() -> None:
        supervisor.reloading()
        daemon.reload()
        daemon.post(lambda: supervisor.ready(daemon.status))

    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reload)
    try:
        done, _ = await asyncio.wait({running, *watching}, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        supervisor.stopping("closing")
        for task in (running, *watching):
            task.cancel()
        await asyncio.gather(running, *watching, return_exceptions=True)


async def start_simulator(parts: AsyncExitStack) -> str:
    """Start a simulator that ends with ``parts``; return its address."""
    from voiced.simulator import Simulator  # noqa: PLC0415 - a daemon with a real service does without its memory

    return (await parts.enter_async_context(Simulator(record=False))).url


async def _watch(house: House, supervisor: Supervisor) -> None:
    """Look after the parts: report what is wrong with them, and tell systemd that all is well."""
    frames, last_health = 0, 0.0
    began = last_frame = last_connected = time.monotonic()
    is_ready = False
    status = ""
    while True:
        now = time.monotonic()
        if house.daemon.frames != frames or house.daemon.is_muted:
            frames, last_frame = house.daemon.frames, now
        if house.broker.connected:
            last_connected = now
        house.reports.clock(since_boot())
        missing = (
            house.microphone.problem or house.soundserver.problem if frames or now - began > GRACE_S else None
        )  # it may still be opening
        house.reports.problem("microphone", missing)
        house.reports.problem("microphone_silent", SILENT if house.microphone.silent_s > SILENT_S else None)
        house.reports.problem("speaker", house.speaker.problem)
        is_away = not house.broker.connected and now - last_connected <= GRACE_S
        house.reports.problem("mqtt", None if is_away else house.broker.problem)
        due = now - last_health >= HEALTH_S
        house.reports.health(
            overruns=house.microphone.overruns,
            underruns=house.speaker.underruns,
            echo=house.echo.health,
            vetoed=house.daemon.vetoed,
            always=due,
        )
        if due:
            last_health = now
            house.daemon.spending.tell()
        if not is_ready and (frames or missing or house.daemon.is_muted):
            is_ready = True
            house.daemon.begin()
            await asyncio.to_thread(give_back)
            supervisor.ready("listening" if frames else "no microphone yet")
        # A microphone that is known to be gone is being reopened; a restart would not bring it back.
        is_well = now - last_frame < DEAF_S or missing is not None
        if is_well and supervisor.watchdog_s is not None:
            supervisor.alive()
        if is_ready and (said := _status(house, missing)) != status:
            status = said
            supervisor.status(status)
        await asyncio.sleep(BEAT_S)


def _status(house: House, missing: str | None) -> str:
    """Return the line that ``systemctl status`` shows."""
    last = house.reports.last_wake
    woken = f"; last wake: {last.wake_word} at {last.time:%Y-%m-%d %H:%M:%S} UTC" if last else ""
    return (missing or house.daemon.status) + woken


def make_ears(config: Config) -> tuple[Ears, Reference]:
    """Return the ears, and what must be told all that is played.

    Raises:
        ModelError: If a wake model is missing or broken.

    """
    words = config.wake.words
    models = WakeModels(
        find_models(config.wake.models_dir),
        [word.model for word in words],
        verifiers=verifierfile.configured(config.wake),
    )
    rules = WakeRules(
        words=word_rules(config.wake, config.wake.sensitivity, EVERY_WORD),
        near_miss=config.wake.near_miss,
        cold_steps=models.cold_steps,
    )

    def make() -> ReferenceModels:
        twin = models.twin()
        return ReferenceModels(twin, twin.reset)

    reference = Reference(
        make=make,
        resample=Resampler(SERVICE_RATE, MICROPHONE_RATE).feed,
        thresholds=[rule.threshold for rule in rules.words],
        cold_steps=rules.cold_steps,
    )
    gated = config.wake.gate == "on"
    ears = Ears(speech=Vad(), score=models, forget=models.reset, rules=rules, gate=gated, reference=reference)
    return ears, reference


def make_echo(config: Config, environ: Mapping[str, str], problem: Callable[[str], None]) -> EchoControl | Open:
    """Return what stands between the microphone and everybody else, and must be told all that is played.

    Args:
        config: What the user wants.
        environ: Says where the sound server is.
        problem: Told, once, why nobody can interrupt by voice.

    """
    aec3 = LateAec3()

    def suppressor() -> Aec3 | None:
        try:
            return aec3()
        except MissingPartError as exc:
            problem(str(exc))
            raise

    by_default = config.audio.input == "default" and config.audio.echo_cancellation == "auto"
    policy = echo_policy(config, default_source(environ) if by_default else "")
    return Open(Vad()) if policy == "open" else EchoControl(policy, suppressor, Vad())


def _clips(config: Config, usual: Path) -> ClipFolder | None:
    """Return where clips are kept. Old ones are deleted there even if there are to be no more."""
    folder = Path(config.wake.clips_dir).expanduser() if config.wake.clips_dir else usual
    if not config.wake.clips and not folder.is_dir():
        return None
    return ClipFolder(folder, most=config.wake.clips_max, days=config.wake.clips_days)


def sound_settings(audio: AudioConfig, environ: Mapping[str, str]) -> SoundSettings:
    """Return the ends that the configuration names."""
    quiet = QuietHours(*hours(audio.quiet_hours), audio.quiet_volume) if audio.quiet_hours else None
    return SoundSettings(
        input=audio.input,
        output=audio.output,
        volume=audio.volume,
        chime_volume=audio.chime_volume,
        announcement_volume=audio.announcement_volume,
        quiet=quiet,
        zone=local_zone(environ) if quiet else UTC,
        media_role=audio.media_role,
        input_end=audio.input_end,
    )
