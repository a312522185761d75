"""Several units in one house: tells the others that this one answers, or speaks, and heeds what they tell.

:mod:`voiced.core.arbitration` decides; messages and timers are here. All of it belongs to the event loop.
"""

import asyncio
import logging
from collections.abc import Callable

from pydantic import ValidationError

from voiced.config import Config
from voiced.core import states
from voiced.core.arbitration import RENEW_S, Answer, Arbiter, Claim, Silence
from voiced.core.mqtt import passing
from voiced.core.mqtt.commands import Message
from voiced.core.mqtt.topics import Topics
from voiced.core.wake import Wake
from voiced.ports import Broker, Clock

logger = logging.getLogger(__name__)


class Household:
    """This unit among those that hear each other; alone if ``house.together`` is empty.

    Args:
        config: Who we are, and with whom.
        broker: Carries what is said.
        clock: Monotonic seconds.
        later: Has something done by the task that decides.
        give_way: Called when another unit answers the word that we have begun to answer.

    """

    def __init__(
        self,
        *,
        config: Config,
        broker: Broker,
        clock: Clock,
        give_way: Callable[[], None],
        later: Callable[[Callable[[], None]], None],
    ) -> None:
        self._unit = config.device.id
        self._topics = Topics.of(config)
        self._is_alone = not config.house.together
        self._broker = broker
        self._clock = clock
        self._give_way = give_way
        self._later = later
        self._waits = config.house.window_ms > 0
        self._arbiter = Arbiter(config.device.id, config.house.window_ms / 1000)
        self._is_talking = self._is_speaking = False
        self._waiting: asyncio.TimerHandle | None = None
        self._leave: Callable[[], None] = lambda: None
        self._renewing: asyncio.TimerHandle | None = None

    def woken(
        self, wake: Wake, *, answer: Callable[[], None], leave: Callable[[], None], quality: Callable[[], float]
    ) -> None:
        """Have ``answer`` called, now or after the window, or else ``leave``.

        Args:
            wake: What was heard.
            answer: Answers it.
            leave: Leaves it to another unit.
            quality: Tells how well it was heard, 0 to 1. Asked only where there is a window in which it may win.

        """
        if self._is_alone:
            answer()
            return
        heard = quality() if self._waits else wake.score  # to find out takes a millisecond
        verdict = self._arbiter.woken(wake.word, heard, self._clock(), talking=self._is_talking)
        match verdict:
            case Silence(because):
                logger.info("%s heard, and left to others: %s", wake.word, because)
                leave()
            case Answer(claim, after_s):
                self._stop_waiting()
                if not after_s:
                    answer()  # first of all, and what it sets going as well: nobody waits for the claim to be sent
                    asyncio.get_running_loop().call_soon(self._say, "claim", claim)
                elif self._say("claim", claim):
                    self._leave = leave
                    self._waiting = asyncio.get_running_loop().call_later(after_s, self._begin, answer)
                else:  # who cannot be heard by others need not wait for them
                    answer()

    def notice(self, state: states.State) -> None:
        """Take the state of the conversation, and let the others know when we begin to speak, and when we have done."""
        self._is_talking = not isinstance(state, states.Idle)
        is_speaking = states.published(state) == "responding"  # also while the rest of an answer is still being heard
        if is_speaking != self._is_speaking and not self._is_alone:
            self._is_speaking = is_speaking
            self._tell_speaking()

    def got(self, message: Message) -> bool:
        """Take a message; return whether it was for the household at all."""
        kind = self._topics.of_household(message.topic)
        if kind is None:
            return False
        try:
            match kind:
                case "claim":
                    said = passing.HouseClaim.model_validate_json(message.payload)
                    self._heed(Claim(unit=said.unit, word=said.word, quality=said.quality, talking=said.talking))
                case _:
                    spoken = passing.HouseSpeaking.model_validate_json(message.payload)
                    self._arbiter.spoke(spoken.unit, self._clock(), speaking=spoken.speaking)
        except ValidationError as exc:
            logger.warning("%s: not what a voiced sends: %s", message.topic, exc.errors()[0]["msg"])
        return True

    def _heed(self, claim: Claim) -> None:
        if not self._arbiter.claimed(claim, self._clock()):
            return
        logger.info("%s answers %s; this unit gives way", claim.unit, claim.word)
        if self._waiting is not None:
            self._stop_waiting()
            self._leave()
        else:
            self._give_way()

    def _begin(self, answer: Callable[[], None]) -> None:
        self._waiting = None
        self._later(answer)

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _tell_speaking(self) -> None:
        if self._renewing is not None:
            self._renewing.cancel()
            self._renewing = None
        told = passing.HouseSpeaking(unit=self._unit, speaking=self._is_speaking)
        self._broker.shout(self._topics.household("speaking"), told.json_text())
        if self._is_speaking:
            self._renewing = asyncio.get_running_loop().call_later(RENEW_S, self._tell_speaking)

    def _say(self, kind: str, claim: Claim) -> bool:
        told = passing.HouseClaim(
            unit=claim.unit, word=claim.word, quality=round(claim.quality, 3), talking=claim.talking
        )
        return self._broker.shout(self._topics.household(kind), told.json_text())
