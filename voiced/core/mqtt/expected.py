"""The answers that ``ask_question`` expects, as they stand in its JSON: sentences, or an id with some."""

from typing import Any

from voiced.core.mqtt.actions import LONGEST_NAME, MOST_ANSWERS
from voiced.core.sentences import LONGEST_SENTENCE, Answer, check
from voiced.errors import CommandError


def expected(value: Any) -> tuple[Answer, ...]:
    """Return the answers.

    Raises:
        CommandError: If they cannot be read; says which, and what is wrong.

    """
    if value is None:
        return ()
    if not isinstance(value, list) or len(value) > MOST_ANSWERS:
        raise CommandError(f'"answers" must be a list of at most {MOST_ANSWERS}, of sentences, or of objects')
    answers = tuple(_answer(f"answers[{number}]", one) for number, one in enumerate(value))
    names = [answer.id for answer in answers]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise CommandError(f'two answers have the id "{twice}"; put their sentences together')
    return answers


def _answer(key: str, value: Any) -> Answer:
    if isinstance(value, str):
        return Answer(_sentence(key, value), (value,))
    if not isinstance(value, dict) or not {"id", "sentences"} == set(value):
        raise CommandError(f'{key} must be a sentence, or {{"id": "...", "sentences": ["...", "..."]}}')
    name, sentences = value["id"], value["sentences"]
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
        raise CommandError(f'{key}: "id" must be a text of 1 to {LONGEST_NAME} characters')
    if isinstance(sentences, str):
        sentences = [sentences]
    if not isinstance(sentences, list) or not 0 < len(sentences) <= MOST_ANSWERS:
        raise CommandError(f'{key}: "sentences" must be a list of 1 to {MOST_ANSWERS} sentences')
    return Answer(name, tuple(_sentence(f"{key}.sentences[{n}]", one) for n, one in enumerate(sentences)))


def _sentence(key: str, value: Any) -> str:
    if not isinstance(value, str) or not value.isprintable():
        raise CommandError(f"{key} must be a sentence of at most {LONGEST_SENTENCE} characters")
    try:
        check(value)
    except ValueError as exc:
        raise CommandError(f"{key} is no sentence: {exc}") from exc
    return value
