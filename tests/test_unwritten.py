"""What is said and cannot be written down: once it was mumbled, time after time something is wrong, and is said."""

import json

from tests.stories import Home, at_home, config_for_tests
from voiced.config import ConversationConfig
from voiced.simulator import Scenario, Turn

FAILS = Turn(user="", assistant="Nine.", sound="time.wav", transcription="failed", transcription_delay_ms=20)
GOES_WELL = Turn(user="What time is it?", assistant="Nine.", sound="time.wav", transcription_delay_ms=20)


def problems(home: Home) -> dict[str, str]:
    home.reports.health(overruns=0, echo=home.echo.health, always=True)
    return {each["code"]: each["message"] for each in json.loads(home.diary.kept["health"])["problems"]}


async def test_a_transcript_that_fails_twice_in_a_row_is_a_problem_until_one_goes_well() -> None:
    turns = (FAILS, GOES_WELL, FAILS, FAILS, GOES_WELL)
    told = (False, False, False, True, False)
    config = config_for_tests(conversation=ConversationConfig(follow_up_s=0.0, no_speech_s=1.0))
    async with at_home(Scenario(turns=turns, pace=0, every_session=False), config) as home:
        for count, is_told in enumerate(told, 1):
            home.speak()
            turn = await home.until_told("finished", count=count)
            await home.until_idle()
            assert turn["user"]["text"] == (turns[count - 1].user or None)
            assert ("transcription" in problems(home)) == is_told
            if is_told:
                assert "could not be transcribed" in problems(home)["transcription"]
                assert "realtime.transcription_model" in problems(home)["transcription"]
