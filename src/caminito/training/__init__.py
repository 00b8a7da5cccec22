"""Training: the objective, the loop, averaged weights, checkpoints, and what is measured on held-out data."""

from caminito.training.augment import augmented, augmented_at
from caminito.training.checkpoint import TrainingState, load_checkpoint, save_checkpoint
from caminito.training.classifier import ClassLogits, fit_classifier_steps, validate_classifier
from caminito.training.config import TrainingConfig
from caminito.training.ema import PowerAverage
from caminito.training.fit import fit_steps, held_out_conditions
from caminito.training.holes import known_at_random, with_holes
from caminito.training.leaves import fit_leaves
from caminito.training.loop import Progress, averaged, initial_state, precision_for
from caminito.training.objective import batch_targets, denoising_loss, draw_times, weight_of
from caminito.training.posthoc import Snapshots
from caminito.training.regressor import fit_regressors
from caminito.training.resample import Resampler
from caminito.training.residual import fit_residual_variance
from caminito.training.uncertainty import Uncertainty
from caminito.training.validation import Validation, validate

__all__ = [
    "ClassLogits",
    "PowerAverage",
    "Progress",
    "Resampler",
    "Snapshots",
    "TrainingConfig",
    "TrainingState",
    "Uncertainty",
    "Validation",
    "augmented",
    "augmented_at",
    "averaged",
    "batch_targets",
    "denoising_loss",
    "draw_times",
    "fit_classifier_steps",
    "fit_leaves",
    "fit_regressors",
    "fit_residual_variance",
    "fit_steps",
    "held_out_conditions",
    "initial_state",
    "known_at_random",
    "load_checkpoint",
    "precision_for",
    "save_checkpoint",
    "validate",
    "validate_classifier",
    "weight_of",
    "with_holes",
]
