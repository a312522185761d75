"""Sound to embeddings: openWakeWord's melspectrogram and embedding network, evaluated incrementally.

openWakeWord computes the embedding of the last 76 mel frames at every step, although only 8 of them are new. The
network is convolutional without padding in time, so each layer here keeps the two columns it will need again and sees
only what is new: the same embeddings for an eighth of the work. The weights are read from openWakeWord's own files.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.lib.stride_tricks import as_strided, sliding_window_view
from numpy.typing import NDArray

from voiced.core.frames import STEP, Samples
from voiced.edge.onnxfile import Graph, Node
from voiced.errors import ModelError

Floats: TypeAlias = NDArray[np.float32]

EMBEDDING = 96
"""Numbers in an embedding."""
COLD_EMBEDDINGS = 9
"""Steps after a reset whose embeddings mean nothing: the network sees 76 mel frames, a step brings 8."""

_FFT, _HOP, _BANDS = 512, 160, 32
_FRAMES = STEP // _HOP
_OVERLAP = _FFT - _HOP + 128
"""480 samples of the step before, as openWakeWord takes them: its 1,760 samples give 8 mel frames of 512."""
_BATCH = 13
"""Steps evaluated at once at most, to bound memory."""


class Mel:
    """The melspectrogram: a Fourier transform, a filter bank and a logarithm.

    Raises:
        ModelError: If the file computes something else.

    """

    def __init__(self, graph: Graph) -> None:
        shapes = {value.shape: value for value in graph.constants.values()}
        stft = [value for value in graph.constants.values() if value.shape == (_FFT // 2 + 1, 1, _FFT)]
        filters = shapes.get((_FFT // 2 + 1, _BANDS))
        if len(stft) != 2 or filters is None:
            raise ModelError(
                "the melspectrogram model is not openWakeWord's: it lacks the Fourier transform or filters"
            )
        self._window = np.array(stft[0][0, 0], np.float64)  # the cosine of frequency 0 is 1, so the window remains
        self._check(stft[0][:, 0], stft[1][:, 0])
        self._filters = np.array(filters, np.float32)
        self.reset()

    def reset(self) -> None:
        """Forget the sound before the next step."""
        self._before = np.zeros(_OVERLAP, np.int16)

    def __call__(self, samples: Samples) -> Floats:
        """Take a whole number of steps; return their mel frames, shape (8 per step, 32)."""
        sound = np.concatenate((self._before, samples))
        self._before = sound[-_OVERLAP:].copy()
        frames = sliding_window_view(sound, _FFT)[::_HOP][: len(samples) // _HOP]
        spectrum = np.fft.rfft(frames * self._window)
        power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32)
        decibels = 10 * np.log10(np.maximum(power @ self._filters, 1e-10))
        # The model clips 80 dB below the loudest value of one call, and openWakeWord calls it step by step.
        steps = decibels.reshape(-1, _FRAMES * _BANDS)
        steps = np.maximum(steps, steps.max(axis=1, keepdims=True) - 80)
        scaled: Floats = steps.reshape(-1, _BANDS) / 10 + 2
        return scaled

    def _check(self, real: Floats, imaginary: Floats) -> None:
        """Hold the file's transform against ours on a test signal."""
        signal = np.random.default_rng(0).uniform(-1, 1, _FFT)
        ours = np.fft.rfft(signal * self._window)
        theirs = np.hypot(real @ signal, imaginary @ signal)
        if not np.allclose(np.abs(ours), theirs, atol=1e-3):
            raise ModelError("the melspectrogram model is not openWakeWord's: its Fourier transform is another")


@dataclass(frozen=True, slots=True)
class _Convolution:
    """One layer: convolution, activation and the pooling behind it. Axes: time, mel band, channel."""

    weights: Floats
    """Shape (time x mel x input channels + 1, output channels); the last row is the bias."""
    kernel: tuple[int, int]
    pool: tuple[int, int]
    active: bool
    """Whether the activation follows: the last layer has none."""


class Embedding:
    """The embedding network with the state of its layers.

    Raises:
        ModelError: If the file holds another network than openWakeWord's.

    """

    def __init__(self, graph: Graph) -> None:
        layers, self._slope, self._floor = _layers(graph)
        self._layers = tuple(layers)
        self._one = _Evaluation(self._layers, 1, self._slope, self._floor)

    def reset(self) -> None:
        """Forget the mel frames so far."""
        self._one.forget()

    def __call__(self, mel: Floats) -> Floats:
        """Take the 8 mel frames of each new step; return an embedding for each, shape (steps, 96)."""
        steps = len(mel) // _FRAMES
        if steps == 1:
            return self._one(mel).copy()
        found = np.empty((steps, EMBEDDING), np.float32)
        evaluation = self._one
        for start in range(0, steps, _BATCH):
            size = min(_BATCH, steps - start)
            if size != evaluation.steps:
                previous, evaluation = evaluation, _Evaluation(self._layers, size, self._slope, self._floor)
                evaluation.follow(previous)
            found[start : start + size] = evaluation(mel[start * _FRAMES : (start + size) * _FRAMES])
        if evaluation is not self._one:
            self._one.follow(evaluation)
        return found


class _Evaluation:
    """Working memory of the network for a certain number of steps at once."""

    def __init__(self, layers: Sequence[_Convolution], steps: int, slope: float, floor: float) -> None:
        self.steps = steps
        self._slope, self._floor = np.float32(slope), np.float32(floor)
        self.stages: list[_Stage] = []
        times, bands = steps * _FRAMES, _BANDS
        for layer in layers:
            self.stages.append(_Stage(layer, times, bands))
            times, bands = times // layer.pool[0], self.stages[-1].bands // layer.pool[1]

    def forget(self) -> None:
        for stage in self.stages:
            stage.forget()

    def follow(self, other: "_Evaluation") -> None:
        """Go on where ``other`` stopped."""
        for ours, theirs in zip(self.stages, other.stages, strict=True):
            ours.follow(theirs)

    def __call__(self, mel: Floats) -> Floats:
        values: Floats = mel[:, :, None]
        for stage in self.stages:
            values = stage(values, self._slope, self._floor)
        return values.reshape(self.steps, EMBEDDING)


class _Stage:
    """One layer at work on ``times`` columns at once.

    The convolution is one matrix product over the neighbourhoods of all points, laid out in ``_patches``.
    """

    def __init__(self, layer: _Convolution, times: int, bands: int) -> None:
        self._layer = layer
        height, width = layer.kernel
        size, channels_out = layer.weights.shape
        channels = (size - 1) // (height * width)
        border = width // 2
        self.bands = bands + 2 * border - width + 1
        self._past = height - 1
        self.input = np.zeros((times + self._past, bands + 2 * border, channels), np.float32)
        self._new = self.input[self._past :, border : border + bands]
        self._patches = np.ones((times * self.bands, size), np.float32)
        shape = (times, self.bands, height, width, channels)
        t, b, c = self.input.strides
        self._neighbours = as_strided(self.input, shape, (t, b, t, b, c))
        row = self._patches.strides[0]
        self._cells = as_strided(self._patches, shape, (row * self.bands, row, width * channels * c, channels * c, c))
        self._product = np.empty((times * self.bands, channels_out), np.float32)
        self._shaped = self._product.reshape(times, self.bands, channels_out)

    def forget(self) -> None:
        self.input[:] = 0

    def follow(self, other: "_Stage") -> None:
        if self._past:
            self.input[-self._past :] = other.input[-self._past :]

    def __call__(self, values: Floats, slope: np.float32, floor: np.float32) -> Floats:
        if self._past:
            self.input[: self._past] = self.input[-self._past :]
        self._new[:] = values
        np.copyto(self._cells, self._neighbours)
        np.matmul(self._patches, self._layer.weights, out=self._product)
        result: Floats = self._shaped
        # Pooling first: the activation never decreases, so the greatest stays the greatest, and there is less to do.
        if self._layer.pool[0] == 2:
            result = np.maximum(result[::2], result[1::2])
        if self._layer.pool[1] == 2:
            result = np.maximum(result[:, ::2], result[:, 1::2])
        if self._layer.active:
            low = result * slope
            np.maximum(low, floor, out=low)
            result = np.maximum(result, low, out=low)
        return result


def _layers(graph: Graph) -> tuple[list[_Convolution], float, float]:
    """Return the layers of the embedding network, and slope and floor of its activation."""
    layers: list[_Convolution] = []
    slope, floor = 1.0, -np.inf
    for node in graph.nodes:
        match node.op:
            case "Conv":
                layers.append(_convolution(graph, node))
            case "LeakyRelu" if layers:
                slope = float(node.attributes["alpha"])
                layers[-1] = replace(layers[-1], active=True)
            case "Max" if layers:
                floor = float(np.max(graph.constants[node.inputs[1]]))
            case "MaxPool" if layers:
                layers[-1] = replace(layers[-1], pool=tuple(node.attributes["kernel_shape"]))
            case "Reshape":
                continue
            case _:
                raise ModelError(f"the embedding model is not openWakeWord's: it has the operator {node.op}")
    _check_shapes(layers)
    return layers, slope, floor


def _convolution(graph: Graph, node: Node) -> _Convolution:
    weights = graph.constants[node.inputs[1]]
    if weights.ndim != 4 or weights.shape[2] not in {1, 3} or weights.shape[3] not in {1, 3}:
        raise ModelError(f"the embedding model is not openWakeWord's: it convolves {weights.shape}")
    outputs, _, height, width = weights.shape
    bias = graph.constants[node.inputs[2]] if len(node.inputs) > 2 else np.zeros(outputs, np.float32)
    matrix = np.concatenate((weights.transpose(2, 3, 1, 0).reshape(-1, outputs), bias[None]))
    border = width // 2
    if tuple(node.attributes.get("pads", (0, 0, 0, 0))) != (0, border, 0, border):
        raise ModelError("the embedding model is not openWakeWord's: it pads in time, so it cannot go step by step")
    return _Convolution(np.ascontiguousarray(matrix, np.float32), (height, width), (1, 1), active=False)


def _check_shapes(layers: Sequence[_Convolution]) -> None:
    """Make sure that 8 mel frames go in and one embedding comes out."""
    times, bands, channels = _FRAMES, _BANDS, 1
    for layer in layers:
        size, channels_out = layer.weights.shape
        if size != layer.kernel[0] * layer.kernel[1] * channels + 1:
            break
        times, bands, channels = times // layer.pool[0], bands // layer.pool[1], channels_out
    if (times, bands, channels) != (1, 1, EMBEDDING):
        raise ModelError("the embedding model is not openWakeWord's: its layers give another embedding")
