"""The errors and warnings a user can catch, by name.

Every error is a subclass of `CaminitoError` and of the builtin one would expect (`ValueError`, `OSError`, ...).
"""

from caminito._errors import (
    ApproximateLikelihood,
    CaminitoError,
    CaminitoWarning,
    ConditionError,
    ConfigError,
    DataError,
    FewLevels,
    GridError,
    Memorisation,
    MissingExtraError,
    NonFiniteError,
    PriorMismatch,
    RunError,
    ShapeError,
    StorageError,
    TimeError,
    UnscaledData,
)

__all__ = [
    "ApproximateLikelihood",
    "CaminitoError",
    "CaminitoWarning",
    "ConditionError",
    "ConfigError",
    "DataError",
    "FewLevels",
    "GridError",
    "Memorisation",
    "MissingExtraError",
    "NonFiniteError",
    "PriorMismatch",
    "RunError",
    "ShapeError",
    "StorageError",
    "TimeError",
    "UnscaledData",
]
