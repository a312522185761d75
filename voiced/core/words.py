"""The wake words a person configured: who they call, when they count as heard, and which of them are listened to."""

from collections.abc import Iterable
from dataclasses import replace

from voiced.config import EVERY_WORD, WakeConfig, WakeWordConfig
from voiced.core.wake import WordRule, usual_rule

VOLUME_STEP = 10
"""Percent that ``volume_up`` and ``volume_down`` change."""


def word_named(wake: WakeConfig, model: str) -> WakeWordConfig | None:
    """Return what was configured for a word."""
    return next((word for word in wake.words if word.model == model), None)


def calling(words: Iterable[WakeWordConfig]) -> tuple[str, ...]:
    """Return the words that call somebody; the others are command words."""
    return tuple(word.model for word in words if word.action is None)


def choices(wake: WakeConfig) -> tuple[str, ...]:
    """Return what ``wake_word`` can be set to."""
    return (EVERY_WORD, *calling(wake.words))


def is_active(word: WakeWordConfig, chosen: str) -> bool:
    """Return whether a word is listened to while ``chosen`` is; command words always are."""
    return word.action is not None or chosen in {EVERY_WORD, word.model}


def word_rules(wake: WakeConfig, sensitivity: float, chosen: str) -> tuple[WordRule, ...]:
    """Return when each word counts as heard, in the order of the configuration.

    Args:
        wake: The section of the configuration.
        sensitivity: For words without a threshold of their own.
        chosen: The active word, or all.

    """
    return tuple(_rule(word, sensitivity, chosen) for word in wake.words)


def _rule(word: WakeWordConfig, sensitivity: float, chosen: str) -> WordRule:
    rule = usual_rule(word.model, sensitivity=sensitivity, threshold=word.threshold)
    if word.patience is not None:
        rule = replace(rule, patience=word.patience, window=word.window or word.patience)
    if not is_active(word, chosen):
        # so that it hardly ever wins over another word; the daemon ignores it in any case
        rule = replace(rule, threshold=1.0)
    return rule
