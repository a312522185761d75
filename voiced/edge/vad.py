"""Is there a voice in a frame? WebRTC's voice activity detector."""

import webrtcvad

from voiced.core.frames import FRAME, MICROPHONE_RATE, Samples


class Vad:
    """WebRTC's detector on 20 ms frames; fits :class:`voiced.ports.Speech`.

    Args:
        mode: 0 to 3, from lenient to strict. 1 loses few wake words spoken 6 dB above the noise, all of them soft
            (:mod:`voiced.core.energy` hears those); 3 loses every quiet one.

    """

    def __init__(self, mode: int = 1) -> None:
        self._hears = webrtcvad.Vad(mode).is_speech

    def __call__(self, samples: Samples) -> bool:
        """Take 320 samples at 16 kHz."""
        return bool(self._hears(samples.tobytes(), MICROPHONE_RATE, FRAME))
