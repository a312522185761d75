import numpy as np

from tests.recordings import DEMO, NOTES, SOUNDS, frames, load, noise
from voiced import ports
from voiced.edge.vad import Vad

fits: type[ports.Speech] = Vad


def share(vad: Vad, sound: np.ndarray) -> float:
    """Return how much of the sound counts as speech."""
    answers = [vad(frame.samples) for frame in frames(sound)]
    return sum(answers) / len(answers)


def test_speech_is_speech_and_a_quiet_room_is_not() -> None:
    sound, note = load(SOUNDS / "hey_jarvis_1.wav"), NOTES["hey_jarvis_1"]
    assert share(Vad(), sound[note["speech_start"] : note["speech_end"]]) > 0.9
    assert share(Vad(), sound[: note["speech_start"] - 320]) < 0.1  # its first frames count: it has yet to adapt


def test_quiet_speech_is_speech() -> None:
    sound, note = load(SOUNDS / "alexa_1.wav"), NOTES["alexa_1"]
    speech = sound[note["speech_start"] : note["speech_end"]] // 12  # 22 dB less: -42 dBFS
    assert share(Vad(), speech) > 0.8


def test_noise_and_silence_are_not_speech() -> None:
    assert share(Vad(), np.zeros(16_000, np.int16)) == 0
    assert share(Vad(), noise(4, rms=30)) < 0.1
    assert share(Vad(), load(DEMO)[-8 * 16_000 :]) < 0.02
