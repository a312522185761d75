"""Expected answers: sentences with ``[optional]`` words, ``(one|or another)`` and ``{name}`` for anything.

The templates are those of Home Assistant's sentences, without its lists and rules. Case, punctuation and accents that
are written apart count for nothing; small words ("please", "the") only where nothing fits with them.
Source: https://developers.home-assistant.io/docs/voice/intent-recognition/template-sentence-syntax.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

LONGEST_SENTENCE = 200
MOST_WORDS = 60
"""Of what was said that are looked at."""
DEEPEST = 6
"""Brackets in brackets."""

_WORD = re.compile(r"\w+(?:['\N{RIGHT SINGLE QUOTATION MARK}]\w+)*")
_TOKEN = re.compile(rf"\{{\s*(\w+)\s*\}}|([\[\]()|])|({_WORD.pattern})|([{{}}])")
SMALL = frozenset(
    {
        *("a", "an", "the", "please", "um", "uh", "er", "ah", "oh", "well"),
        *("der", "die", "das", "den", "dem", "ein", "eine", "einen", "bitte", "äh", "ähm", "also"),
        *("le", "la", "les", "un", "une", "du", "euh", "alors"),
        *("el", "los", "las", "una", "uno", "eh", "pues"),
        *("il", "lo", "gli", "een", "het", "de", "alsjeblieft"),
    }
)
"""Words that may be there or not: English, German, French, Spanish, Italian, Dutch."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What may be answered; any of the sentences means it."""

    id: str
    sentences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Match:
    """What was answered, and what stood for the ``{names}``."""

    id: str
    slots: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Word:
    text: str


@dataclass(frozen=True, slots=True)
class _Slot:
    name: str


@dataclass(frozen=True, slots=True)
class _Choice:
    ways: "tuple[_Sequence, ...]"


_Sequence: TypeAlias = "tuple[_Word | _Slot | _Choice, ...]"
_Filled: TypeAlias = "tuple[str, int, int, _Filled] | None"
"""A name, from where to where words stand for it, and the names before it."""
_Ends: TypeAlias = dict[int, _Filled]
"""Positions that can be reached, each with the names that words stand for until there."""


def check(sentence: str) -> None:
    """Look at a sentence.

    Raises:
        ValueError: If it is no template; says what is wrong, and where.

    """
    _parsed(sentence)


def match(said: str, answers: Iterable[Answer]) -> Match | None:
    """Return the first answer whose sentence is the whole of what was said."""
    known = [(answer, _parsed(sentence)) for answer in answers for sentence in answer.sentences]
    spoken = _words(said)
    for small in (frozenset[str](), SMALL):
        words = [word for word in spoken if word[0] not in small]
        for answer, sentence in known:
            ends = _ends(sentence, words, {0: None}, small)
            if words and len(words) in ends:
                return Match(answer.id, _slots(ends[len(words)], words))
    return None


def _slots(filled: _Filled, words: list[tuple[str, str]]) -> dict[str, str]:
    slots: dict[str, str] = {}
    while filled is not None:  # the last of a name that stands twice counts
        name, begin, end, filled = filled
        slots.setdefault(name, " ".join(said for _, said in words[begin:end]))
    return slots


def _words(text: str) -> list[tuple[str, str]]:
    """Return the words of a text, each as it is compared and as it was said."""
    found = _WORD.findall(unicodedata.normalize("NFC", text))
    return [(_plain(word), word) for word in found[:MOST_WORDS]]


def _plain(word: str) -> str:
    return word.casefold().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")


def _ends(parts: _Sequence, words: list[tuple[str, str]], starts: _Ends, small: frozenset[str]) -> _Ends:
    """Return where a sequence can end that begins at ``starts``; polynomial, however the template is nested."""
    for part in parts:
        ends: _Ends = {}
        match part:
            case _Word(text) if text in small:
                ends = starts
            case _Word(text):
                for at, filled in starts.items():
                    if at < len(words) and words[at][0] == text:
                        ends.setdefault(at + 1, filled)
            case _Slot(name):
                reached = len(words)  # what lies behind it can be reached from a start that was looked at already
                for at, filled in starts.items():
                    for end in range(at + 1, reached + 1):
                        ends[end] = (name, at, end, filled)
                    reached = min(reached, at)
            case _Choice(ways):
                for way in ways:
                    for end, filled in _ends(way, words, starts, small).items():
                        ends.setdefault(end, filled)
        starts = ends
    return starts


def _parsed(sentence: str) -> _Sequence:
    if len(sentence) > LONGEST_SENTENCE:
        raise ValueError(f"it has {len(sentence)} characters; at most {LONGEST_SENTENCE} are taken")
    tokens = list(_TOKEN.finditer(unicodedata.normalize("NFC", sentence)))
    ways, after, _ = _alternatives(tokens, 0, "", DEEPEST)
    if after < len(tokens):
        raise ValueError(f'"{tokens[after][0]}" at {tokens[after].start() + 1} closes nothing')
    parts = ways[0] if len(ways) == 1 else (_Choice(ways),)
    if not any(token[1] or token[3] for token in tokens):
        raise ValueError("it holds no word")
    return parts


def _alternatives(
    tokens: list[re.Match[str]], at: int, closing: str, deep: int
) -> tuple[tuple[_Sequence, ...], int, bool]:
    """Return what stands up to ``closing``, divided at ``|``, the place of the token behind it, and whether it came."""
    ways: list[_Sequence] = []
    parts: list[_Word | _Slot | _Choice] = []
    while at < len(tokens):
        token = tokens[at]
        slot, sign, word, stray = token.groups()
        at += 1
        if slot:
            parts.append(_Slot(slot))
        elif word:
            parts.append(_Word(_plain(word)))
        elif stray:
            raise ValueError(f'"{stray}" at {token.start() + 1} belongs to no {{name}}')
        elif sign == "|":
            ways.append(tuple(parts))
            parts = []
        elif sign in "[(":
            if not deep:
                raise ValueError(f"more than {DEEPEST} brackets stand in each other")
            inner, at, is_closed = _alternatives(tokens, at, "]" if sign == "[" else ")", deep - 1)
            if not is_closed:
                raise ValueError(f'"{sign}" at {token.start() + 1} is not closed')
            parts.append(_Choice((*inner, ()) if sign == "[" else inner))
        elif sign == closing:
            return (*ways, tuple(parts)), at, True
        else:
            return (*ways, tuple(parts)), at - 1, False
    return (*ways, tuple(parts)), at, False
