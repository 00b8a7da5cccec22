"""What users hold: estimators with scikit-learn's contract, and how they are stored."""

from caminito.estimators.cascade import CascadeDiffusion
from caminito.estimators.choices import Description
from caminito.estimators.given import Given
from caminito.estimators.grids import CalibratedGrid
from caminito.estimators.image import ImageDiffusion
from caminito.estimators.model import DiffusionModel
from caminito.estimators.noisy_classifier import NoiseAccuracy, NoisyClassifier
from caminito.estimators.schema import ModelConfig, parse_config, updated
from caminito.estimators.store import load_model, save_model
from caminito.estimators.table import TableDiffusion

__all__ = [
    "CalibratedGrid",
    "CascadeDiffusion",
    "Description",
    "DiffusionModel",
    "Given",
    "ImageDiffusion",
    "ModelConfig",
    "NoiseAccuracy",
    "NoisyClassifier",
    "TableDiffusion",
    "load_model",
    "parse_config",
    "save_model",
    "updated",
]
