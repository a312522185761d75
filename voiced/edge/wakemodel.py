"""The wake models: sound in steps, scores out. Runs openWakeWord's models on numpy; odd ones on onnxruntime."""

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Self, TypeAlias

import numpy as np

from voiced.core.frames import STEP, Samples
from voiced.core.verifier import CONSULTED, Refused, Verifier
from voiced.edge import selfcheck
from voiced.edge.classifier import Classifier, missing_operators
from voiced.edge.dense import SHORTEST, Dense, Window, dense
from voiced.edge.features import COLD_EMBEDDINGS, EMBEDDING, Embedding, Floats, Mel
from voiced.edge.models import EMBEDDING as EMBEDDING_MODEL
from voiced.edge.models import MEL, Model, Models
from voiced.edge.onnxfile import Array, Graph, read
from voiced.errors import ModelError

_LONGEST = 750
"""Embeddings a classifier may look at: a minute."""

Classify: TypeAlias = Callable[[Array], Array]


@dataclass(frozen=True, slots=True)
class _Word:
    """A wake word's classifier."""

    name: str
    window: int
    """Embeddings it looks at, the newest last."""
    classify: Classify
    verifier: Verifier | None = None
    """Second opinion: whose voice it was."""
    limit: float = 0.0
    """Least probability of the verifier, else the score is 0."""

    def score(self, embeddings: Floats, sums: Floats | None = None) -> float:
        """Return the score for ``window`` embeddings; 0 if it was another voice than the verifier's.

        Args:
            embeddings: The newest last.
            sums: Of a dense classifier, what its first layer makes of them, if that is known.

        """
        score = self.base(embeddings, sums)
        if self.verifier is not None and score >= CONSULTED and self.verifier(embeddings) < self.limit:
            return Refused(score)
        return score

    def base(self, embeddings: Floats, sums: Floats | None = None) -> float:
        """Return the score, whoever said it.

        Of a model with several classes the first is "none of these" (openWakeWord's timer); the best other one counts.
        """
        if sums is not None and isinstance(self.classify, Dense):
            return self.classify.finish(sums, embeddings)
        scores = self.classify(embeddings[None]).reshape(-1)
        return float(scores[0] if len(scores) == 1 else scores[1:].max())


class WakeModels:
    """Any number of wake words on shared embeddings; fits :class:`voiced.ports.WakeScores`.

    Args:
        models: What :func:`voiced.edge.models.find_models` found.
        words: Names of the wake words, in the order of the scores.
        verifiers: Of words that one person's voice alone may say, with the probability to reach.

    Raises:
        ModelError: If a model is missing, broken, or needs onnxruntime where that is not installed; and if this machine
            computes openWakeWord's own models wrongly.

    """

    def __init__(
        self,
        models: Models,
        words: Sequence[str],
        *,
        verifiers: Mapping[str, tuple[Verifier, float]] | None = None,
    ) -> None:
        mel, embedding = models.feature(MEL), models.feature(EMBEDDING_MODEL)
        self._mel = Mel(read(mel.check()))
        self._embedding = Embedding(read(embedding.check()))
        if mel.expected and embedding.expected:
            selfcheck.check_features(lambda step: self._embedding(self._mel(step))[0])
        loaded = [_verified(_load(models.word(name)), verifiers or {}) for name in words]
        self._windows = _together(loaded)
        self._words = tuple(loaded)
        self._window = max((word.window for word in self._words), default=1)
        self.reset()

    def twin(self) -> Self:
        """Return another with the same weights and a memory of its own, just reset; it takes any voice."""
        twin = copy(self)
        twin._mel, twin._embedding = self._mel.twin(), self._embedding.twin()  # noqa: SLF001 - of its own kind
        twin._windows = [(window.twin(), places) for window, places in self._windows]  # noqa: SLF001 - as above
        twin._words = tuple(replace(word, verifier=None) for word in self._words)  # noqa: SLF001 - as above
        twin.reset()
        return twin

    def looked_at(self, index: int) -> Floats:
        """Return the embeddings that the last score of a word was made of, shape (window, 96), by its place."""
        return self._history[-self._words[index].window :].copy()

    @property
    def words(self) -> tuple[str, ...]:
        """Names of the models, in the order of the scores."""
        return tuple(word.name for word in self._words)

    @property
    def cold_steps(self) -> int:
        """How many rows after a reset mean nothing, for all words to be warm: 25 for openWakeWord's wake words."""
        return COLD_EMBEDDINGS + self._window

    def reset(self) -> None:
        """Forget the sound so far. A word scores 0 until real sound fills what its model looks back on."""
        self._mel.reset()
        self._embedding.reset()
        for window, _ in self._windows:
            window.reset()
        self._steps = 0
        self._history = np.zeros((self._window, EMBEDDING), np.float32)

    def __call__(self, samples: Samples) -> list[tuple[float, ...]]:
        """Take a whole number of 1,280-sample steps that follow on those before; return one row of scores a step."""
        rows: list[tuple[float, ...]] = []
        for start in range(0, len(samples), 2 * STEP):
            steps = samples[start : start + 2 * STEP].reshape(-1, STEP)
            mel = self._mel(steps[0]) if len(steps) == 1 else np.concatenate([self._mel(step) for step in steps])
            rows += [self._score(embedding) for embedding in self._embedding(mel)]
        return rows

    def _score(self, embedding: Floats) -> tuple[float, ...]:
        self._history[:-1] = self._history[1:]
        self._history[-1] = embedding
        self._steps += 1
        sums: dict[int, Floats] = {}
        for window, places in self._windows if self._steps > COLD_EMBEDDINGS else ():
            first = self._words[places[0]]
            sums.update(zip(places, window(embedding, wanted=self._is_warm(first)), strict=False))
        return tuple(
            word.score(self._history[-word.window :], sums.get(place)) if self._is_warm(word) else 0.0
            for place, word in enumerate(self._words)
        )

    def _is_warm(self, word: _Word) -> bool:
        return self._steps > COLD_EMBEDDINGS + word.window


def _together(words: list[_Word]) -> list[tuple[Window, list[int]]]:
    """Lay the first layers of dense classifiers that look equally far back side by side; return them with the places.

    The words in the list then have their weights there.
    """
    found: list[tuple[Window, list[int]]] = []
    for length in sorted({word.window for word in words if word.window >= SHORTEST}):
        places = [
            place for place, word in enumerate(words) if word.window == length and isinstance(word.classify, Dense)
        ]
        classifiers = [classify for place in places if isinstance(classify := words[place].classify, Dense)]
        if classifiers:
            window = Window(classifiers)
            found.append((window, places))
            for place, classifier in zip(places, window.classifiers, strict=True):
                words[place] = replace(words[place], classify=classifier)
    return found


def _verified(word: _Word, verifiers: Mapping[str, tuple[Verifier, float]]) -> _Word:
    if word.name not in verifiers:
        return word
    verifier, limit = verifiers[word.name]
    if verifier.weights.shape != (word.window, EMBEDDING):
        raise ModelError(
            f'the verifier of "{word.name}" was trained for a model that looks at {len(verifier.weights)} embeddings, '
            f"not {word.window}; train it again: voiced wake verify DIR"
        )
    return replace(word, verifier=verifier, limit=limit)


def _load(model: Model) -> _Word:
    """Load a classifier and try it once."""
    graph = read(model.check())
    shape = graph.inputs[0][1] if len(graph.inputs) == 1 else ()
    window = shape[1] if len(shape) == 3 and shape[2] == EMBEDDING else None
    if window is None or not 0 < window <= _LONGEST:
        raise ModelError(
            f'wake model "{model.name}" ({model.path}) is no wake-word classifier: it takes '
            f"{shape or 'several inputs'}, not (1, n, {EMBEDDING}) embeddings"
        )
    try:
        word = _Word(model.name, window, _classifier(model, graph))
        score = word.score(np.zeros((window, EMBEDDING), np.float32))
    except (ArithmeticError, ValueError, KeyError, IndexError, TypeError) as exc:
        reason = f"nothing makes {exc}" if isinstance(exc, KeyError) else exc
        raise ModelError(f'wake model "{model.name}" ({model.path}) does not fit together: {reason}') from exc
    if model.expected:
        selfcheck.check_word(model.name, window, word.score)
    if not 0 <= score <= 1:
        raise ModelError(f'wake model "{model.name}" ({model.path}) gives {score}, not a score from 0 to 1')
    return word


def _classifier(model: Model, graph: Graph) -> Classify:
    missing = missing_operators(graph)
    if not missing:
        return dense(graph) or Classifier(graph)
    try:
        import onnxruntime  # noqa: PLC0415 - costs 20 MB, and most never need it
    except ImportError as exc:
        raise ModelError(
            f'wake model "{model.name}" ({model.path}) needs the operator {missing[0]}, which only onnxruntime has; '
            "install it: pip install voiced[onnx]"
        ) from exc
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(str(model.path), options, providers=["CPUExecutionProvider"])
    except Exception as exc:  # onnxruntime's own errors have no common base
        raise ModelError(f'wake model "{model.name}" ({model.path}) is refused by onnxruntime: {exc}') from exc
    name = session.get_inputs()[0].name

    def classify(embeddings: Array) -> Array:
        try:
            return np.asarray(session.run(None, {name: embeddings})[0])
        except Exception as exc:  # as above
            raise ModelError(f'wake model "{model.name}" ({model.path}) fails in onnxruntime: {exc}') from exc

    return classify
