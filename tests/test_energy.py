import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.bench import speech
from tests.recordings import SOUNDS, frames, load
from voiced.core.energy import ABOVE, ENOUGH, NEWEST, QUIETEST, RISE, EnergyDetector
from voiced.core.frames import FRAME, MICROPHONE_RATE, Samples
from voiced.edge.vad import Vad

SECOND = MICROPHONE_RATE // FRAME
loudness = st.floats(0.0, 3000.0)
"""RMS of noise, from digital silence to -21 dBFS."""


def tell(*sounds: Samples) -> list[bool]:
    return EnergyDetector()(np.concatenate(sounds))


def white(frames: int, rms: float, seed: int = 0) -> Samples:
    values = np.random.default_rng(seed).normal(0, rms, frames * FRAME)
    return np.clip(np.rint(values), -32768, 32767).astype(np.int16)


@given(loudness, st.integers(0, 99))
def test_a_room_that_sounds_as_before_holds_no_speech(rms: float, seed: int) -> None:
    assert not any(tell(white(4 * SECOND, rms, seed)))


@given(st.floats(10.0, 3000.0), st.integers(0, 99))
def test_what_is_twice_as_loud_for_a_tenth_of_a_second_may_be_speech(rms: float, seed: int) -> None:
    room = white(2 * SECOND, rms, seed)
    assert any(tell(room, white(5, 2.5 * rms, seed))[2 * SECOND :])
    assert not any(tell(room, white(2, 8 * rms, seed), white(SECOND, rms, seed)))  # a click is not


def test_bits_that_flip_in_digital_silence_are_no_speech() -> None:
    silence = np.zeros(SECOND * FRAME, np.int16)
    flips = silence.copy()
    flips[::50] = 1
    assert not any(tell(silence, flips))


def test_rumble_is_no_speech() -> None:
    rumble = np.cumsum(white(10 * SECOND, 20).astype(np.int64))  # 6 dB less for each octave
    rumble = np.clip(rumble - np.convolve(rumble, np.ones(801) / 801, "same").astype(np.int64), -32768, 32767)
    assert not any(tell(rumble.astype(np.int16))[SECOND:])


def test_a_room_that_stays_louder_is_got_used_to() -> None:
    told = tell(white(2 * SECOND, 10), white(15 * SECOND, 100))
    assert all(told[2 * SECOND + 5 : 3 * SECOND])
    assert not any(told[-3 * SECOND :])


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 100)), min_size=1, max_size=6))
def test_the_floor_is_the_softest_frame_so_far_that_has_risen_since(spans: list[tuple[int, int]]) -> None:
    sound = np.concatenate([white(count, 1.2**level, seed) for seed, (level, count) in enumerate(spans)])
    floors, out = list[float](), list[bool]()
    for frame in sound.reshape(-1, FRAME):
        energy = float(np.sum(np.square(np.diff(frame.astype(np.float64)))))
        out.append(bool(floors) and energy > min(floors) * ABOVE)
        floors = [*(floor * RISE for floor in floors), max(QUIETEST, energy)]
    assert tell(sound) == [stands_out and sum(out[: at + 1][-NEWEST:]) >= ENOUGH for at, stands_out in enumerate(out)]


@given(st.lists(st.tuples(loudness, st.integers(1, 12)), min_size=1, max_size=8), st.data())
def test_frames_are_told_of_alike_however_many_come_at_once(
    spans: list[tuple[float, int]], data: st.DataObject
) -> None:
    sound = np.concatenate([white(count, rms) for rms, count in spans])
    whole, pieces, detector = tell(sound), list[bool](), EnergyDetector()
    while len(pieces) < len(whole):
        count = data.draw(st.integers(1, len(whole) - len(pieces)))
        pieces += detector(sound[len(pieces) * FRAME : (len(pieces) + count) * FRAME])
    assert pieces == whole


def test_speech_too_soft_for_webrtc_s_detector_stands_out() -> None:
    word = load(SOUNDS / "hey_jarvis_2.wav")
    lead = 2 * MICROPHONE_RATE
    sound = speech.noise(2 + len(word) / MICROPHONE_RATE, -70, seed=0).astype(np.float32)
    sound[lead:] += speech.at_level(word, -62)
    room = [*frames(speech.to_samples(sound))]
    vad, begins = Vad(), lead // FRAME
    assert not any([vad(frame.samples) for frame in room][SECOND:])
    told = tell(*(frame.samples for frame in room))
    assert not any(told[:begins])
    assert any(told[begins:])
