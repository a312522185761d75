"""What happens to the sound a client sends: turns, their items, and their transcripts."""

import asyncio

from voiced.simulator import usage
from voiced.simulator.answer import Answer
from voiced.simulator.checks import Wrong
from voiced.simulator.conversation import Item, Part
from voiced.simulator.dialect import Json
from voiced.simulator.hearing import InputBuffer
from voiced.simulator.line import Line
from voiced.simulator.replies import Replies, Spawn
from voiced.simulator.scenario import Turn
from voiced.simulator.settings import Settings
from voiced.simulator.turns import Started


class Listening:
    """The input side of a session."""

    def __init__(self, line: Line, settings: Settings, replies: Replies, spawn: Spawn) -> None:
        self._line = line
        self._settings = settings
        self._replies = replies
        self._spawn = spawn
        self._buffer = InputBuffer(settings.input_rate)
        self._begin = 0
        self._item_id = ""
        self._idle_at: int | None = None
        replies.on_done = self._answered
        self.configure()

    def configure(self) -> None:
        """Take over changed settings."""
        self._buffer.configure(self._settings.turns, self._settings.input_rate)

    async def append(self, pcm: bytes) -> None:
        """Take sound, and tell what it brought.

        Raises:
            Wrong: If it is half a sample.

        """
        events = self._buffer.append(pcm)
        self._line.recording.note_sound(pcm)
        for event in events:
            if isinstance(event, Started):
                await self._speech_started(event.sample)
            else:
                await self._speech_stopped(event.sample)
        await self._watch_idle()

    async def commit(self) -> None:
        """Make a turn of all that came.

        Raises:
            Wrong: If that is less than 100 ms.

        """
        begin, pcm = self._buffer.commit()
        await self._commit(self._line.new_id("item"), begin, pcm)

    async def clear(self) -> None:
        """Forget what came."""
        self._buffer.clear()
        await self._line.send("input_audio_buffer.cleared")

    # --- turn detection -------------------------------------------------------------------------------------------

    async def _speech_started(self, sample: int) -> None:
        self._idle_at = None
        self._begin, self._item_id = sample, self._line.new_id("item")
        await self._line.send(
            "input_audio_buffer.speech_started", item_id=self._item_id, audio_start_ms=self._ms(sample)
        )
        if self._settings.turn_flag("interrupt_response"):
            await self._replies.interrupt()
        if self._settings.turn_flag("auto_truncate"):
            await self._line.forget_unheard()

    async def _speech_stopped(self, sample: int) -> None:
        await self._line.send("input_audio_buffer.speech_stopped", item_id=self._item_id, audio_end_ms=self._ms(sample))
        begin, pcm = self._buffer.take(self._begin, sample)
        await self._commit(self._item_id, begin, pcm)
        await self._respond()

    async def _respond(self) -> None:
        if not self._settings.turn_flag("create_response"):
            return
        try:
            await self._replies.create({})
        except Wrong as wrong:
            await self._line.refuse(wrong, None)

    async def _watch_idle(self) -> None:
        """Answer a long silence after an answer, where the session asks for it."""
        if self._idle_at is None or self._buffer.position < self._idle_at or self._buffer.speaking:
            return
        start, end = self._idle_at - self._idle_samples(), self._buffer.position
        self._idle_at = None
        item_id = self._line.new_id("item")
        await self._line.send(
            "input_audio_buffer.timeout_triggered",
            item_id=item_id,
            audio_start_ms=self._ms(start),
            audio_end_ms=self._ms(end),
        )
        begin, pcm = self._buffer.take(start, end)
        await self._commit(item_id, begin, pcm)
        await self._respond()

    def _answered(self, answer: Answer) -> None:
        """Begin to wait for the next word, from when the answer will have been heard."""
        if self._idle_samples() and not self._buffer.speaking:
            heard = answer.sound_ms * self._buffer.rate // 1000
            self._idle_at = self._buffer.position + heard + self._idle_samples()

    def _idle_samples(self) -> int:
        wanted: Json = self._settings.get("turn_detection") or {}
        return int(wanted.get("idle_timeout_ms") or 0) * self._buffer.rate // 1000

    def _ms(self, sample: int) -> int:
        return sample * 1000 // self._buffer.rate

    # --- turns ----------------------------------------------------------------------------------------------------

    async def _commit(self, item_id: str, begin: int, pcm: bytes) -> None:
        part = Part("audio", pcm=pcm, rate=self._buffer.rate)
        item = Item(item_id, "message", "user", parts=[part])
        after = self._line.conversation.insert(item)
        self._line.recording.note_commit(begin, begin + len(pcm) // 2)
        turn = self._replies.heard()
        await self._line.send("input_audio_buffer.committed", item_id=item_id, previous_item_id=after)
        await self._line.tell_item(item, done=False)
        await self._line.tell_item(item, done=True)
        model = self._settings.get("transcription")
        if model is not None:
            self._spawn(self._transcribe(item, part, turn, model))

    async def _transcribe(self, item: Item, part: Part, turn: Turn, wanted: Json) -> None:
        await asyncio.sleep(turn.transcription_delay_ms / 1000)
        kind = "conversation.item.input_audio_transcription"
        place = {"item_id": item.id, "content_index": 0}
        model = str(wanted.get("model", "whisper-1"))
        if turn.transcription == "failed":
            error = {"type": "transcription_error", "code": "audio_unintelligible", "param": None}
            error["message"] = "The audio could not be transcribed."
            await self._line.send(f"{kind}.failed", **place, error=error)
            return
        if model != "whisper-1":
            for index, word in enumerate(turn.user.split()):
                await self._line.send(f"{kind}.delta", **place, delta=word if index == 0 else f" {word}")
        part.transcript = turn.user
        await self._line.send(
            f"{kind}.completed", **place, transcript=turn.user, usage=_transcription_usage(model, part, turn.user)
        )


def _transcription_usage(model: str, part: Part, text: str) -> Json:
    if model == "whisper-1":
        return {"type": "duration", "seconds": part.milliseconds / 1000}
    heard, written = usage.heard_tokens(part.milliseconds), usage.text_tokens(text)
    return {
        "type": "tokens",
        "input_tokens": heard,
        "output_tokens": written,
        "total_tokens": heard + written,
        "input_token_details": {"text_tokens": 0, "audio_tokens": heard},
    }
