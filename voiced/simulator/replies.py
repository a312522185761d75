"""Which answer is given to what, one at a time in the conversation and any number beside it."""

import re
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from voiced.simulator import usage
from voiced.simulator.answer import Answer, Plan
from voiced.simulator.checks import Wrong
from voiced.simulator.conversation import Item
from voiced.simulator.dialect import Json, Response
from voiced.simulator.items import item_from_wire
from voiced.simulator.line import Line
from voiced.simulator.scenario import ToolCall, Turn
from voiced.simulator.script import Script
from voiced.simulator.settings import Settings
from voiced.simulator.speech import Voice, requested_text

Spawn = Callable[[Coroutine[Any, Any, None]], None]


class Replies:
    """Plans answers from the scenario and keeps track of those under way."""

    def __init__(self, line: Line, settings: Settings, script: Script, voice: Voice, spawn: Spawn) -> None:
        self._line = line
        self._settings = settings
        self._script = script
        self._voice = voice
        self._spawn = spawn
        self._turn: Turn | None = None
        self._calls_made = False
        self._main: Answer | None = None
        self._beside: list[Answer] = []
        self._read_before = usage.Tokens()
        self.on_done: Callable[[Answer], None] = lambda _answer: None
        """Called after each answer of the conversation."""

    @property
    def busy(self) -> bool:
        """Whether an answer of the conversation is being generated."""
        return self._main is not None and self._main.active

    def heard(self) -> Turn:
        """Take note that the person said something; return what it was."""
        self._turn = self._script.spoken()
        self._calls_made = False
        return self._turn

    def forget_cache(self) -> None:
        """The beginning of the conversation changed: nothing of it is cached."""
        self._read_before = usage.Tokens()

    async def interrupt(self) -> None:
        """The person speaks: stop the answer."""
        if self._main is not None and self._main.active:
            await self._main.cancel("turn_detected")

    async def cancel(self, response_id: str | None) -> None:
        """Stop an answer because the client says so.

        Raises:
            Wrong: If it is not under way.

        """
        candidates = [each for each in (self._main, *self._beside) if each is not None and each.active]
        if response_id is None:
            candidates = [each for each in candidates if each is self._main]
        else:
            candidates = [each for each in candidates if each.response.id == response_id]
        if not candidates:
            raise Wrong("response_cancel_not_active", "Cancellation failed: no active response found")
        await candidates[0].cancel("client_cancelled")

    async def create(self, wanted: Mapping[str, Any]) -> None:
        """Begin an answer; ``wanted`` is ``response`` of the event, empty for one that follows a spoken turn.

        Raises:
            Wrong: If one is under way, or the voice may not be changed.

        """
        beside = wanted.get("conversation") == "none"
        if not beside and self._main is not None and self._main.active:
            raise Wrong(
                "conversation_already_has_active_response",
                f"Conversation already has an active response in progress: {self._main.response.id}. "
                "Wait until the response is finished before creating a new one.",
            )
        response = self._response(wanted, beside=beside)
        plan = await self._plan(wanted, response)
        answer = Answer(self._line, response, plan, self._usage(wanted))
        if beside:
            self._beside.append(answer)
        else:
            self._main = answer
        self._spawn(self._run(answer, plan))

    async def _run(self, answer: Answer, plan: Plan) -> None:
        await answer.run()
        if answer is not self._main:
            self._beside.remove(answer)
            return
        if answer.response.status == "completed" and plan.tools:
            self._calls_made = True
        elif answer.response.status not in {"failed", "in_progress"}:
            # an answer that failed may be asked for again
            self._turn, self._calls_made = None, False
        self.on_done(answer)

    def _response(self, wanted: Mapping[str, Any], *, beside: bool) -> Response:
        dialect = self._line.dialect

        def choice(name: str) -> Any:
            given = dialect.read(wanted, name)
            return self._settings.get(name) if given is None else given

        voice = choice("voice")
        if self._line.spoke and voice != self._settings.get("voice"):
            raise Wrong(
                "cannot_update_voice",
                "Cannot update a conversation's voice if assistant audio is present.",
                ".".join(("response", *dialect.paths["voice"])),
            )
        return Response(
            id=self._line.new_id("resp"),
            conversation_id=None if beside else self._line.conversation.id,
            modalities=list(choice("modalities")),
            voice=voice,
            output_format=choice("output_format"),
            max_output_tokens=choice("max_output_tokens"),
            temperature=choice("temperature") or 0.8,
            metadata=wanted.get("metadata"),
        )

    async def _plan(self, wanted: Mapping[str, Any], response: Response) -> Plan:
        given = " ".join(item.text for item in self._input(wanted))
        literal = requested_text(wanted.get("instructions") or "", given)
        if literal is not None:
            pcm = await self._voice.say(literal) if response.speaks else b""
            return Plan(literal, pcm, pace=self._line.scenario.pace)
        if response.conversation_id is None:
            turn = self._script.written(given)
        else:
            turn = self._turn = self._turn or self._script.written(self._unanswered())
        tools = self._tools({"tools": self._settings.get("tools"), **wanted}, turn)
        text = turn.preamble if tools else turn.assistant
        pcm = await self._sound(response, text, "" if tools else turn.sound)
        told = () if tools else turn.more
        more = tuple([(each.assistant, await self._sound(response, each.assistant, each.sound)) for each in told])
        return Plan(
            text,
            pcm,
            more,
            tools,
            turn.think_ms / 1000,
            self._line.scenario.pace,
            self._script.fault(turn),
            turn.beside,
        )

    async def _sound(self, response: Response, text: str, file: str) -> bytes:
        return await self._voice.say(text, file) if response.speaks and text else b""

    def _tools(self, wanted: Mapping[str, Any], turn: Turn) -> tuple[ToolCall, ...]:
        """Return the calls to make now: those the session offers, once."""
        offered = {tool.get("name") for tool in wanted["tools"]}
        choice = wanted.get("tool_choice") or self._settings.get("tool_choice")
        if self._calls_made or choice == "none":
            return ()
        calls = tuple(call for call in turn.tools if call.name in offered)
        forced = choice == "required" or isinstance(choice, dict)
        return calls if calls or not forced or not offered else (_made_up(wanted, turn),)

    def _unanswered(self) -> str:
        """Return what was last written by the person, if nothing was answered since."""
        last = next((item for item in reversed(list(self._line.conversation)) if item.kind == "message"), None)
        return last.text if last is not None and last.role == "user" else ""

    def _input(self, wanted: Mapping[str, Any]) -> list[Item]:
        items = []
        for wire in wanted.get("input") or ():
            if wire.get("type") == "item_reference":
                items.append(self._line.conversation.get(wire["id"], "retrieve"))
            else:
                items.append(item_from_wire(wire, self._line.new_id("item")))
        return items

    def _usage(self, wanted: Mapping[str, Any]) -> usage.Usage:
        instructions = wanted.get("instructions") or self._settings.get("instructions")
        tools: list[Json] = wanted.get("tools") or self._settings.get("tools")
        own = self._input(wanted)
        read = usage.input_tokens(instructions, tools, own if "input" in wanted else self._line.conversation)
        if wanted.get("conversation") == "none":
            return usage.Usage(read)
        before = self._read_before.cached()
        cached = usage.Tokens(min(before.text, read.text), min(before.audio, read.audio))
        self._read_before = read
        return usage.Usage(read, cached)


def _made_up(wanted: Mapping[str, Any], turn: Turn) -> ToolCall:
    """Return a call of the first tool: what the person said wherever a text is wanted, or the choice in those words."""
    tool = wanted["tools"][0]
    said = " ".join(re.findall(r"\w+", turn.user.casefold()))
    arguments: dict[str, str] = {}
    for name, form in tool.get("parameters", {}).get("properties", {}).items():
        choices = form.get("enum")
        if choices is None:
            arguments[name] = turn.user
        else:
            named = [choice for choice in choices if f" {choice.casefold()} " in f" {said} "]
            arguments[name] = (named or choices[-1:])[0]
    return ToolCall(name=tool["name"], arguments=arguments)
