"""Real parts and fakes fit the ports: mypy proves it from this file."""

from typing import TYPE_CHECKING

import pytest

from tests import fakes
from voiced import hermes, messaging, ports
from voiced.core import ears, resample
from voiced.core.echo import control, uncancelled
from voiced.edge import (
    broker,
    clips,
    ledgerfile,
    memoryfile,
    microphone,
    service,
    speaker,
    store,
    vad,
    wakemodel,
)

if TYPE_CHECKING:
    _microphones: tuple[type[ports.Microphone], ...] = (
        microphone.SoundcardMicrophone,
        microphone.FileMicrophone,
        fakes.ScriptedMicrophone,
    )
    _ears: tuple[type[ports.Ears], ...] = (ears.Ears, fakes.ScriptedEars)
    _echoes: tuple[type[ports.Echo], ...] = (control.EchoControl, uncancelled.Open, fakes.ScriptedEcho)
    _clips: tuple[type[ports.Clips], ...] = (clips.ClipFolder, fakes.KeptClips)
    _speakers: tuple[type[ports.Speaker], ...] = (speaker.Speaker, fakes.InstantSpeaker)
    _services: tuple[type[ports.Service], ...] = (service.RealtimeService,)
    _sessions: tuple[type[ports.Session], ...] = (service.RealtimeSession,)
    _brokers: tuple[type[ports.Broker], ...] = (broker.MqttBroker, hermes.HermesBroker, messaging.NoBroker, fakes.Diary)
    _settled: tuple[type[ports.Settled], ...] = (store.SettingsFile, fakes.Remembered)
    _memories: tuple[type[ports.Memories], ...] = (memoryfile.MemoryFile,)
    _resamplers: tuple[type[ports.Resample], ...] = (resample.Resampler,)
    _ledgers: tuple[type[ports.Ledger], ...] = (ledgerfile.LedgerFile, fakes.KeptLedger)
    _speech: tuple[type[ports.Speech], ...] = (vad.Vad,)
    _scores: tuple[type[ports.WakeScores], ...] = (wakemodel.WakeModels,)


@pytest.mark.parametrize(
    "name",
    [
        "Microphone",
        "Echo",
        "Ears",
        "Clips",
        "Speaker",
        "Service",
        "Session",
        "Broker",
        "Settled",
        "Memories",
        "Ledger",
        "Speech",
    ],
)
def test_a_port_says_what_can_be_relied_on(name: str) -> None:
    """Every port, and every method of it, is documented: the sentence is the contract."""
    port = getattr(ports, name)
    methods = [member for key, member in vars(port).items() if not key.startswith("_") and callable(member)]
    assert port.__doc__
    assert all(method.__doc__ for method in methods)
