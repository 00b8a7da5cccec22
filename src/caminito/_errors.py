"""The errors and warnings a user can meet.

Every error is a subclass of the builtin that a caller would expect, and of `CaminitoError`, which the command line
turns into one message and exit status 2. A message says what was expected, what came, where, and how to fix it.
"""

from __future__ import annotations

__all__ = [
    "ApproximateLikelihood",
    "CaminitoError",
    "CaminitoWarning",
    "ConditionError",
    "ConfigError",
    "CrowdedLadder",
    "DataError",
    "DegenerateWeights",
    "FellBack",
    "FewLevels",
    "GridError",
    "Memorisation",
    "MissingExtraError",
    "NonFiniteError",
    "PriorMismatch",
    "RepeatedTarget",
    "RunError",
    "RunsDisagree",
    "ShapeError",
    "StorageError",
    "TimeError",
    "TruncatedText",
    "UndiscoveredModes",
    "UnscaledData",
]


class CaminitoError(Exception):
    """Base of every error raised on purpose."""


class ShapeError(CaminitoError, ValueError):
    """An array has another shape than the model or operation expects."""


class DataError(CaminitoError, ValueError):
    """The data cannot be read or cannot be learnt from."""


class ConfigError(CaminitoError, ValueError):
    """An option is unknown or has an impossible value."""


class TimeError(CaminitoError, ValueError):
    """A process time is out of range, out of order, or not a step of a chain."""


class GridError(CaminitoError, ValueError):
    """The times asked of a solver do not form a descending grid of the process."""


class ConditionError(CaminitoError, ValueError):
    """A condition is missing, unknown, or has the wrong rows or type."""


class NonFiniteError(CaminitoError, ArithmeticError):
    """A loss, weight or sample became NaN or infinite."""


class RunError(CaminitoError, ValueError):
    """A directory is not a run or model, or its files are damaged."""


class StorageError(CaminitoError, OSError):
    """A file could not be written; what was saved before is intact."""


class MissingExtraError(CaminitoError, ImportError):
    """An optional dependency is needed."""


class CaminitoWarning(UserWarning):
    """Base of every warning raised on purpose."""


class PriorMismatch(CaminitoWarning):
    """The end of the process is not yet the noise that sampling starts from."""


class UnscaledData(CaminitoWarning):
    """Data reach a network far from unit scale."""


class FewLevels(CaminitoWarning):
    """A continuous model is fitted to data with very few distinct values."""


class Memorisation(CaminitoWarning):
    """Samples lie closer to the training data than held-out data do."""


class RepeatedTarget(CaminitoWarning):
    """The target of a table is one of its other columns again."""


class TruncatedText(CaminitoWarning):
    """Texts are longer than what a model reads of them."""


class ApproximateLikelihood(CaminitoWarning):
    """A log-density was estimated with fewer evaluations or probes than an exact one needs."""


class UndiscoveredModes(CaminitoWarning):
    """The search for modes probably missed some that carry mass."""


class DegenerateWeights(CaminitoWarning):
    """A few samples carry most of the weight, so what is computed from all of them is that of a few."""


class RunsDisagree(CaminitoWarning):
    """Independent runs of a sampler found different weights, means or constants."""


class FellBack(CaminitoWarning):
    """The method that was meant does not fit the density, and another one was used."""


class CrowdedLadder(CaminitoWarning):
    """Noise was undone with fewer rungs than the way back asks for."""
