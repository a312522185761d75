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
_Ends: TypeAlias = dict[int, tuple[tuple[str, str], ...]]
"""Positions that can be reached, each with what stands for the names until there."""


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
            slots = _ends(sentence, words, {0: ()}, small).get(len(words))
            if slots is not None and words:
                return Match(answer.id, dict(slots))
    return None


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
                for at, slots in starts.items():
                    if at < len(words) and words[at][0] == text:
                        ends.setdefault(at + 1, slots)
            case _Slot(name):
                for at, slots in starts.items():
                    for end in range(at + 1, len(words) + 1):
                        value = " ".join(said for _, said in words[at:end])
                        ends.setdefault(end, (*slots, (name, value)))
            case _Choice(ways):
                for way in ways:
                    for end, slots in _ends(way, words, starts, small).items():
                        ends.setdefault(end, slots)
        starts = ends
    return starts


def _parsed(sentence: str) -> _Sequence:
    if len(sentence) > LONGEST_SENTENCE:
        raise ValueError(f"it has {len(sentence)} characters; at most {LONGEST_SENTENCE} are taken")
    tokens = list(_TOKEN.finditer(unicodedata.normalize("NFC", sentence)))
    ways, after = _alternatives(tokens, 0, "", DEEPEST)
    if after < len(tokens):
        raise ValueError(f'"{tokens[after][0]}" at {tokens[after].start() + 1} closes nothing')
    parts = ways[0] if len(ways) == 1 else (_Choice(ways),)
    if not any(token[1] or token[3] for token in tokens):
        raise ValueError("it holds no word")
    return parts


def _alternatives(tokens: list[re.Match[str]], at: int, closing: str, deep: int) -> tuple[tuple[_Sequence, ...], int]:
    """Return what stands up to ``closing``, divided at ``|``, and the place of the token behind the last of it."""
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
            inner, at = _alternatives(tokens, at, "]" if sign == "[" else ")", deep - 1)
            if at > len(tokens) or not tokens[at - 1][0] == ("]" if sign == "[" else ")"):
                raise ValueError(f'"{sign}" at {token.start() + 1} is not closed')
            parts.append(_Choice((*inner, ()) if sign == "[" else inner))
        elif sign == closing:
            return (*ways, tuple(parts)), at
        else:
            return (*ways, tuple(parts)), at - 1
    return (*ways, tuple(parts)), at
