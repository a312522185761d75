"""A microphone that does not hear the speaker, or cancels its sound by itself: its sound is left as it is."""

from collections.abc import Callable

from voiced.core.echo.nearspeech import NearSpeech
from voiced.core.echo.sounding import Sounding
from voiced.core.frames import Frame, Samples
from voiced.core.mqtt.payloads import EchoHealth


class Open:
    """The service hears the microphone all the time: a headset, or a device that cancels its own echo.

    Args:
        speech: Whether samples of a frame may hold speech; asked only while the speaker sounds and a moment longer.

    """

    full_duplex = True
    health = EchoHealth(mode="full-duplex", why='audio.echo_cancellation is "off"')

    def __init__(self, speech: Callable[[Samples], bool]) -> None:
        self._speech = speech
        self._near = NearSpeech()
        self._sounding = Sounding()

    @property
    def near_speech_s(self) -> float:
        """Seconds of speech within the last 0.6 s."""
        return self._near.seconds

    def played(self, block: Samples) -> None:
        """Note whether anything sounds; from any thread."""
        self._sounding.played(block)

    def slipped(self) -> None:
        """Do nothing: when sound is heard does not matter."""

    def clean(self, frame: Frame) -> Frame:
        """Return ``frame``."""
        if self._sounding.at(frame.end):
            self._near.note(frame, speaks=self._speech(frame.samples))
        else:
            self._near.forget()
        return frame
