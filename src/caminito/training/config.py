"""The options of training: one schema for the estimators, the command line and the documentation."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic_core import PydanticCustomError

__all__ = ["TrainingConfig"]


class TrainingConfig(BaseModel):
    """How a network is trained; see `fit_steps`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: int | None = Field(default=None, ge=1, description="stop after this many steps")
    minutes: float | None = Field(default=None, gt=0, description="stop after this much wall-clock time")
    batch_size: int = Field(default=128, ge=1, description="items per step")
    learning_rate: float = Field(default=1e-3, gt=0, description="peak step size of AdamW")
    warmup: int = Field(default=100, ge=0, description="steps over which the step size rises to its peak")
    decay: Literal["none", "cosine", "linear"] = Field(
        default="cosine", description="how the step size falls to 0 over the budget"
    )
    weight_decay: float = Field(default=0.0, ge=0, description="decoupled weight decay of AdamW")
    clip: float = Field(default=1.0, gt=0, description="largest norm of the gradient")
    ema: float = Field(default=0.1, gt=0, lt=0.28, description="width of the averaging of weights, relative to the run")
    snapshots: int = Field(
        default=0,
        ge=0,
        description="kept at most, each of two sets of weights, to make averages of other widths after training; "
        "0: none, else at least 4 (32 serves every width)",
    )
    times: Literal["uniform", "lognormal", "resampled"] = Field(
        default="lognormal",
        description="law of the noise levels trained on; resampled: the steps of a chain in proportion to the root "
        "mean square of their last losses, weighted so that the mean loss is that of uniform",
    )
    time_mean: float = Field(
        default=-0.5,
        description="of log(sigma / alpha), for lognormal; of log(sigma / alpha / d) where conditions leave d of the "
        "standard deviation (a continuous process, see Centre)",
    )
    time_std: float = Field(default=1.4, gt=0, description="of log(sigma / alpha), for lognormal")
    draws: Literal["independent", "low-discrepancy"] = Field(
        default="low-discrepancy", description="how the noise levels of one batch are drawn together"
    )
    loss: Literal["squared", "hybrid", "vlb"] = Field(
        default="squared",
        description="the weighted squared error of x0; for chains also the variational bound in nats per entry (vlb), "
        "or squared + 0.001 vlb, in which the bound teaches the variance alone (hybrid)",
    )
    weight: Literal["simple", "snr", "min-snr", "p2", "edm", "sigmoid", "uniform"] = Field(
        default="edm", description="weight of the squared x0 error at each noise level"
    )
    uncertainty: bool = Field(
        default=False, description="learn how hard each noise level is, and divide its squared error by that"
    )
    targets: Literal["item", "batch"] = Field(
        default="item",
        description="what a noisy item is compared with: its own clean item, or the mean of the batch's clean items "
        "given the noisy one, which has the same optimum and less variance (no conditions)",
    )
    condition_dropout: float = Field(default=0.1, ge=0, le=1, description="share of rows trained without conditions")
    augmentation: float = Field(
        default=0.6,
        ge=0,
        le=1,
        description="largest share of noise put on low-resolution conditions (lowres); 0: none",
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto", description="of the network's arithmetic; auto: bfloat16 where the processor has units for it"
    )
    compile: bool = Field(default=False, description="compile the network with torch.compile")
    validate_every: int = Field(default=500, ge=1, description="steps between losses on held-out data")
    validation_items: int = Field(default=256, ge=1, description="held-out items used for them")
    checkpoint_minutes: float = Field(default=2.0, ge=0, description="minutes between checkpoints; 0: after every step")

    @field_validator("snapshots")
    @classmethod
    def _none_or_enough(cls, value: int) -> int:
        if 0 < value < 4:
            raise PydanticCustomError("too_few", "expected 0 for none, or at least 4 to make other averages of")
        return value
