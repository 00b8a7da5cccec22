"""The estimator: what a user holds.

`fit` learns from arrays, `sample` gives back arrays like them. Inside, a codec makes tensors of the arrays, a process
makes noise of the tensors, a network learns E[x0 | x_t], and a solver walks back.
"""

from __future__ import annotations

import contextlib
import copy
import logging
import math
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor, nn

from caminito._errors import ConfigError, FewLevels
from caminito._random import Stream, permutation, seed_from
from caminito.data import ArrayCodec, Codec, holdout, shrink
from caminito.denoiser import (
    Centre,
    Condition,
    Denoiser,
    NetworkDenoiser,
    Prediction,
    ResidualVariance,
    mapped,
    rows_of,
)
from caminito.estimators.averages import Scratch, reaveraged
from caminito.estimators.bounds import InRange, projection
from caminito.estimators.choices import Choice, Description
from caminito.estimators.condition_columns import KnownColumn
from caminito.estimators.conditions import ConditionCodec, named
from caminito.estimators.frames import Container
from caminito.estimators.grids import CalibratedGrid, draws_for, missed
from caminito.estimators.guided import Guide, Lead, leading
from caminito.estimators.likelihood import LikelihoodMethod, cells, chosen, log_density
from caminito.estimators.planned import line_of, planned
from caminito.estimators.schema import GuidanceConfig, parse_config
from caminito.estimators.verbs import Verbs
from caminito.guidance import constrain
from caminito.nn import Given
from caminito.process import Process
from caminito.process import grid as grids
from caminito.sampling import (
    Ancestral,
    CalibrationMethod,
    DPMpp2M,
    PerSample,
    Solver,
    bits_per_dim,
    calibrate,
    dequantise,
    sample,
    solver_named,
    start,
    trajectory,
)
from caminito.training import (
    Progress,
    TrainingConfig,
    TrainingState,
    augmented_at,
    averaged,
    fit_residual_variance,
    fit_steps,
    held_out_conditions,
    initial_state,
    load_checkpoint,
)

__all__ = ["DiffusionModel"]

_LOG = logging.getLogger("caminito")

_AUGMENTATION = 0.1  # share of noise on conditions of low resolution when sampling, unless another is asked for


class DiffusionModel(Verbs, DensityMixin, BaseEstimator):
    """Diffusion model of arrays of any event shape: points and rows with a perceptron, grids with a U-Net.

    Parameters
    ----------
    process : 'auto', a kind ('edm', 'vp', 'cosine', 'rectified-flow', 'ddpm', ...), its options, or a Process
        How data become noise. auto: EDM with the noise range chosen from the data.
    network : 'auto', 'mlp', 'unet', 'per-step', options for `caminito.nn.build`, or a torch module
        The module maps (x, label, cond) to the shape of x. per-step is for chains of few steps: a network for each,
        {"kind": "per-step", "network": options of one}; what is left open is chosen.
    prediction : 'edm', 'v', 'eps', 'flow', 'x0' or, for chains, 'previous'
        What the network predicts.
    variance : 'measured' or 'learned'
        Where Var[x0 | x_t] comes from, which `solver='ancestral-posterior'` and the bound use: the held-out error of
        each noise level; or, for chains, the network, entry by entry (Improved DDPM; it trains with loss='hybrid').
    max_steps, minutes : int, float, optional
        Training budget; the first that is spent ends training. Neither: a number of steps chosen from the data.
    training : mapping, optional
        Options of `caminito.training.TrainingConfig` (batch_size, learning_rate, ema, weight, precision, ...).
    solver : 'auto', a name, its options, or a Solver
        auto: `Ancestral("large")` for grids walked in 32 steps or more, which covers the data best; else `DPMpp2M`.
    n_steps : int, optional
        Steps of the solver when sampling; 48 unless given.
    validation_fraction : float in [0, 1)
        Share of the data held out to measure the loss per noise level and Var[x0 | x_t].
    channel_axis : None, 1 or -1
        Where the channels of a grid are: (n, H, W) has none, (n, C, H, W) has 1, (n, H, W, C) has -1.
    conditions : mapping, optional
        What conditions are, by name, where their values do not say it: 'label', 'vector', 'text', 'field', 'lowres'
        (arrays on a coarser grid than the items), or an encoder of texts (`caminito.data.HashingText`,
        `TransformersText`).
    upscale : int, optional
        Learn to enlarge by this factor: `fit` shrinks each item (`caminito.data.shrink`) and gives it as condition
        "low", of kind 'lowres'. A stage of a `CascadeDiffusion`, or alone: `sample(condition={"low": small items})`.
    inpainting : bool
        Learn to fill items on a grid that are known in part: each item is given as condition "known", with other holes
        at each step (`caminito.training.known_at_random`). Then `inpaint` and `impute` fill by what was learnt, and
        `sample(condition={"known": items with NaN})` does. Without that condition it draws as any model.
    random_state : int, RandomState or None
        Seed of weights, noise, order and split.
    device : 'auto', 'cpu', 'cuda', ...
    verbose : int
        1 logs progress to the logger 'caminito'.

    Attributes
    ----------
    process_, codec_, denoiser_ : the fitted parts
    event_shape_ : tuple of int, of the encoded event
    n_features_in_ : int
    classes_ : array of the classes of y, if y was given as labels
    choices_ : dict of Choice
    history_ : list of dict, one per validation
    grids_ : list of CalibratedGrid, what `calibrate` found
    n_steps_ : int, training steps done
    training_ : TrainingConfig, with all choices made; not saved with the model

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).normal(size=(200, 2))
    >>> model = DiffusionModel(max_steps=20, random_state=0).fit(X)
    >>> model.sample(5, random_state=0).shape
    (5, 2)
    """

    denoiser_: NetworkDenoiser
    residual_variance_: ResidualVariance | None
    history_: list[dict[str, Any]]
    grids_: list[CalibratedGrid]
    _state: TrainingState | None
    _snapshots: str | os.PathLike[str] | None = None

    def __init__(
        self,
        *,
        process: str | Mapping[str, Any] | Process = "auto",
        network: str | Mapping[str, Any] | nn.Module = "auto",
        prediction: Prediction = "edm",
        variance: Literal["measured", "learned"] = "measured",
        max_steps: int | None = None,
        minutes: float | None = None,
        training: Mapping[str, Any] | None = None,
        solver: str | Mapping[str, Any] | Solver = "auto",
        n_steps: int | None = None,
        validation_fraction: float = 0.1,
        channel_axis: int | None = None,
        conditions: Mapping[str, Any] | None = None,
        upscale: int | None = None,
        inpainting: bool = False,
        random_state: int | np.random.RandomState | None = None,
        device: str = "auto",
        verbose: int = 0,
    ) -> None:
        self.process = process
        self.network = network
        self.prediction = prediction
        self.variance = variance
        self.max_steps = max_steps
        self.minutes = minutes
        self.training = training
        self.solver = solver
        self.n_steps = n_steps
        self.validation_fraction = validation_fraction
        self.channel_axis = channel_axis
        self.conditions = conditions
        self.upscale = upscale
        self.inpainting = inpainting
        self.random_state = random_state
        self.device = device
        self.verbose = verbose

    # -- fitting ------------------------------------------------------------------------------------------------------

    def fit(
        self, X: ArrayLike, y: ArrayLike | None = None, *, condition: Mapping[str, ArrayLike] | None = None
    ) -> Self:
        """Learn the law of the items of X.

        Parameters
        ----------
        X : array, shape (n, ...), or DataFrame of numbers
        y : array (n,), optional
            Classes (integers, words) or numbers to condition on.
        condition : mapping of arrays with n rows, optional
            Further conditions by name.
        """
        for progress in self.fit_iter(X, y, condition=condition):
            if self.verbose and progress.validation is not None:
                _LOG.info(
                    "step %d (%.0f %%): held-out loss %.4f",
                    progress.step,
                    100 * progress.fraction,
                    progress.validation.mean,
                )
        return self

    def fit_iter(
        self,
        X: ArrayLike,
        y: ArrayLike | None = None,
        *,
        condition: Mapping[str, ArrayLike] | None = None,
        resume: str | Path | None = None,
        snapshots: str | Path | None = None,
    ) -> Iterator[Progress]:
        """`fit`, one training step at a time; between steps the model can already `sample` (with averaged weights).

        Parameters
        ----------
        resume : folder of checkpoints, optional
            Go on from the newest one, exactly. The data and the parameters must be those the run was started with.
        snapshots : folder, optional
            Where those that `training.snapshots` asks for are written. Unless given, a temporary one, which goes when
            the model does: then training cannot be resumed.

        Yields
        ------
        Progress
        """
        self._check_parameters()
        array = self._validated(X)
        self.codec_ = self._new_codec().fit(array)
        x = self.codec_.encode(array)
        _warn_of_levels(x)
        seed = seed_from(self.random_state)
        columns = dict(condition or {}) | ({} if y is None else {"y": y})
        kinds = dict(self.conditions or {})
        if self.upscale is not None:
            if "low" in columns:
                raise ConfigError(
                    "upscale: makes the condition 'low' of the items themselves, and one of that name was given. "
                    "Leave one of both out."
                )
            columns, kinds["low"] = {"low": self._shrunk(array, self.upscale), **columns}, "lowres"
        self.conditions_ = ConditionCodec().fit(
            columns, len(x), kinds=kinds, new_codec=self._new_codec, grid=tuple(x.shape[2:])
        )
        cond: Condition = self.conditions_.encode(columns, len(x)) or None
        self._learn_holes(x)
        if "y" in self.conditions_.classes:
            self.classes_ = self.conditions_.classes["y"]
        train, held = self._split(len(x), seed)
        saved = None if resume is None else load_checkpoint(resume)
        if saved is None:
            fields = [name for name, column in self.conditions_.columns.items() if column.kind in ("field", "lowres")]
            centre = line_of(cond, x, train, fields)
        else:  # what the weights have learnt with
            kept = saved[1]["facts"]["centre"]
            centre = None if kept is None else Centre.from_dict(kept)
        plan = planned(self, x[train], seed, centre)
        self.denoiser_, self.choices_, self.noise_range_ = plan.denoiser, plan.choices, plan.noise_range
        self.process_, self.event_shape_ = plan.denoiser.process, tuple(x.shape[1:])
        self.history_, self.grids_, self.residual_variance_ = [], [], None
        config = self.training_ = plan.training
        self._snapshots = self._place_of_snapshots(config, resume, snapshots)
        state = initial_state(self.denoiser_.network, config, self.process_, snapshots=self._snapshots)
        if saved is not None:
            tensors, facts = saved
            state.load(tensors, facts["step"], facts["elapsed"])
            self.history_ = list(facts["facts"].get("history", []))
        state.facts["centre"] = None if centre is None else centre.to_dict()
        device = self._device()
        yield from self._train(x, cond, train, held, config, seed, state, device)
        self.n_steps_ = state.step
        with torch.no_grad():
            torch._foreach_copy_(list[Tensor](self.denoiser_.network.parameters()), state.average.values)
        self.denoiser_.network.eval()
        self._state = None
        self._measure_residuals(x, cond, held if len(held) else train, seed)

    def _learn_holes(self, x: Tensor) -> None:
        """Declare the condition of items that are known in part, if holes in them are to be filled."""
        if not self.inpainting:
            return
        if "known" in self.conditions_.columns:
            raise ConfigError(
                "inpainting: makes the condition 'known' of the items themselves, and one of that name was given. "
                "Leave one of both out."
            )
        if x.ndim < 3:
            raise ConfigError(
                "inpainting: expected items on a grid, got rows of numbers. Leave it out: impute(X) fills rows without."
            )
        self.conditions_.columns["known"] = KnownColumn("known", self.codec_)

    def _with_itself(self, cond: Condition, x: Tensor) -> Condition:
        """Conditions with the items themselves among them, if holes in them are to be filled; x is not copied."""
        if not self.inpainting:
            return cond
        return {
            **(cond or {}),
            "known": Given(x, mask=torch.ones((), dtype=torch.bool, device=x.device).expand(x.shape)),
        }

    def _train(
        self,
        x: Tensor,
        cond: Condition,
        train: np.ndarray,
        held: np.ndarray,
        config: TrainingConfig,
        seed: int,
        state: TrainingState,
        device: torch.device,
    ) -> Iterator[Progress]:
        def part(rows: np.ndarray) -> tuple[Tensor, Condition]:
            index = torch.as_tensor(np.asarray(rows))
            chosen = rows_of(cond, index)
            items = x[index].to(device)
            return items, self._with_itself(mapped(chosen, lambda value: value.to(device)), items)

        data, data_cond = part(train)
        held_out, held_cond = part(held[: config.validation_items])
        self._state = state
        steps = fit_steps(
            self.denoiser_,
            data,
            config,
            cond=data_cond,
            held_out=held_out,
            held_out_cond=held_cond,
            seed=seed,
            resume=state,
        )
        for progress in steps:
            self.n_steps_ = progress.step
            if progress.validation is not None:
                self.history_.append(
                    {
                        "step": progress.step,
                        "loss": progress.validation.mean,
                        "logsnr": progress.validation.logsnr,
                        "levels": progress.validation.loss,
                    }
                )
            state.facts["history"] = self.history_
            yield progress

    def _measure_residuals(self, x: Tensor, cond: Condition, rows: np.ndarray, seed: int) -> None:
        if self.variance == "learned":
            return
        index = torch.as_tensor(np.asarray(rows[:512]))
        chosen = rows_of(cond, index)
        device = self._device()
        items = x[index].to(device)
        on_device = self._with_itself(mapped(chosen, lambda value: value.to(device)), items)
        on_device = held_out_conditions(on_device, self.training_, seed)
        times = self._grid(12)[:-1]
        self.residual_variance_ = fit_residual_variance(self.denoiser_, items, times, cond=on_device, seed=seed)

    # -- using --------------------------------------------------------------------------------------------------------

    def sample(
        self,
        n_samples: int = 1,
        *,
        condition: Mapping[str, ArrayLike] | ArrayLike | None = None,
        random_state: int | np.random.RandomState | None = None,
        n_steps: int | None = None,
        solver: str | Mapping[str, Any] | Solver | None = None,
        in_range: InRange | None = None,
        guidance: float | Mapping[str, Any] | GuidanceConfig | None = None,
        guide: Guide | None = None,
        augmentation: float | None = None,
        batch_size: int | None = None,
        first: int = 0,
        progress: Callable[[int, int], None] | None = None,
    ) -> Any:
        """Draw items like those of X.

        Parameters
        ----------
        n_samples : int >= 1
        condition : mapping of values by name, or the values of y alone
            One row per sample, or one for all. Without it a model trained with classes draws them at their training
            frequencies.
        random_state : int, optional
            Sample number i depends on (random_state, first + i) alone.
        n_steps, solver : those of the model unless given
        in_range : 'clip', 'dynamic' or 'renormalise', optional
            Keep each predicted item between the limits of the data, where `codec_` declares some: values beyond them
            are cut; or those beyond a quantile are, and the item is scaled; or it is only scaled. See
            `caminito.guidance`. Off unless given: what is sampled is then what was learnt.
        guidance : float or mapping, optional
            How far samples are led beyond what was learnt: the scale (0: without conditions, 1: as learnt), or dials of
            `GuidanceConfig`: {"scale": 2, "interval": (0.2, 1.6)}. More gives surer and less varied samples.
        guide : NoisyClassifier, DiffusionModel, or (x_t, t, cond) -> log p of shape (n,), optional
            What leads instead of the difference that the conditions make: a classifier, also to classes that this model
            does not know; a worse version of this model (autoguidance); or any function that torch can differentiate.
        augmentation : float, optional
            Share s of noise put on conditions of low resolution, sqrt(1 - s^2) low + s eps: from 0, which believes them
            in every detail, to the largest that was trained on (`training.augmentation`). .1 unless given, or the
            largest if that is less. The noise on row i is a function of (random_state, first + i).
        batch_size : int, optional
            Items walked at once; chosen so that memory stays bounded unless given.
        progress : (done, total) -> None, optional

        Returns
        -------
        array or DataFrame, shape (n_samples, ...), dtype and range of the training array
        """
        rule, grid = self.solver_and_grid(n_steps, solver)
        lead = leading(self, guidance, guide)
        shape, cond, seed = self._asked(n_samples, condition, random_state, first, lead, augmentation)
        with self._averaged():
            x = sample(
                self._kept(in_range, self._led(lead, grid)),
                shape,
                solver=rule,
                grid=grid,
                cond=cond,
                seed=seed,
                first=first,
                batch_size=batch_size or self._rows_at_once(),
                device=self._device(),
                progress=progress,
            )
        return self._items(x)

    def walk(
        self,
        n_samples: int = 1,
        *,
        condition: Mapping[str, ArrayLike] | ArrayLike | None = None,
        random_state: int | np.random.RandomState | None = None,
        n_steps: int | None = None,
        solver: str | Mapping[str, Any] | Solver | None = None,
        in_range: InRange | None = None,
        guidance: float | Mapping[str, Any] | GuidanceConfig | None = None,
        guide: Guide | None = None,
        augmentation: float | None = None,
    ) -> Iterator[tuple[float, Any]]:
        """The way of samples from noise to data.

        Parameters
        ----------
        n_samples, condition, random_state, n_steps, solver, in_range, guidance, guide, augmentation
            As for `sample`, whose samples the walk ends at. All are walked at once.

        Yields
        ------
        t : float
            Each time of the grid, from noise down to 0.
        items : array or DataFrame, shape (n_samples, ...)
            x_t / sqrt(alpha^2 + sigma^2), so that noise and data have one scale, as items like those of X.
        """
        rule, grid = self.solver_and_grid(n_steps, solver)
        lead = leading(self, guidance, guide)
        shape, cond, seed = self._asked(n_samples, condition, random_state, 0, lead, augmentation)
        denoiser, noise = self._kept(in_range, self._led(lead, grid)), PerSample(seed)
        x = start(denoiser, torch.empty(shape, device=self._device()), grid[0], noise)
        frames = trajectory(denoiser, x, grid, rule, cond=cond, noise=noise)
        for _ in grid:
            with self._averaged():  # for one step: what the caller does between two may be training
                frame = next(frames)
            yield frame.t, self._items(frame.x / math.hypot(*self.process_.kernel(frame.t)))

    def solver_and_grid(
        self,
        n_steps: int | None = None,
        solver: str | Mapping[str, Any] | Solver | None = None,
        *,
        calibrated: bool = True,
    ) -> tuple[Solver, Tensor]:
        """What `sample` walks with: the solver, and the n_steps + 1 times it visits.

        Parameters
        ----------
        n_steps : int, optional
            That of the model unless given, else 48; a chain has no more than its own.
        solver : optional
            That of the model unless given, else the one that suits its kind of data.
        calibrated : bool
            The times that `calibrate` found for this solver and so many steps, if it did.
        """
        check_is_fitted(self, "denoiser_")
        steps = (self.n_steps or 48) if n_steps is None else n_steps
        if steps < 1:
            raise ConfigError(f"n_steps: expected a whole number >= 1, got {steps}.")
        grid = self._grid(steps)
        asked = self.solver if solver is None else solver
        if asked == "auto":
            asked = Ancestral("large") if len(self.event_shape_) > 1 and len(grid) > 32 else DPMpp2M()
        rule = solver_named(asked)
        known = [g.times for g in self.grids_ if g.solver == rule and g.n_steps == len(grid) - 1]
        return rule, known[0] if known and calibrated else grid

    def calibrate(
        self,
        X: ArrayLike,
        n_steps: int,
        y: ArrayLike | None = None,
        *,
        condition: Mapping[str, ArrayLike] | None = None,
        solver: str | Mapping[str, Any] | Solver | None = None,
        method: CalibrationMethod | Literal["auto"] = "auto",
        random_state: int | np.random.RandomState | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> CalibratedGrid:
        """Find the times at which a solver does best in `n_steps` steps, and keep them.

        `sample` takes them of itself whenever the same solver is asked for as many steps.

        Parameters
        ----------
        X : array like that of `fit`, with at least 16 items
            Some tens or hundreds of them are used, drawn at random.
        n_steps : int >= 1
        y, condition : as in `fit`
        solver : that of the model unless given; 'auto' is then the one that suits so many steps
        method : 'auto', 'search', 'klub', 'score' or 'trajectory'
            As in `caminito.sampling.calibrate`. auto: 'search', or 'klub' for a solver that draws noise.
        random_state : int, optional
            The result depends on it, the model and the arguments alone.
        progress : (done, total) -> None, optional

        Returns
        -------
        CalibratedGrid
            Also kept in `grids_`, in the place of an earlier one for the same solver and number of steps.
        """
        rule, usual = self.solver_and_grid(n_steps, solver, calibrated=False)
        if method == "auto":
            method = "klub" if rule.is_stochastic else "search"
        array, seed, draws = self._known(X), self._seed(random_state), draws_for(math.prod(self.event_shape_))
        rows = permutation(seed, Stream.SPLIT, 2, len(array))[:draws].numpy()
        with self._averaged():
            times = calibrate(
                self._walked(),
                self.codec_.encode(array[rows]).to(self._device()),
                rule,
                n_steps,
                method=method,
                like=usual,
                seed=seed,
                cond=rows_of(self._given(y, condition, len(array)), torch.from_numpy(rows)),
                draws=draws,
                batch_size=self._rows_at_once(),
                progress=progress,
            )
            before = after = None
            if not rule.is_stochastic:
                shape, cond, _ = self._asked(draws, None, seed, 0)
                fine = self._grid(16 * n_steps)
                how = {"cond": cond, "seed": seed, "batch_size": self._rows_at_once(), "device": self._device()}
                before, after = missed(self._walked(), shape, fine, [usual, times], rule, **how)
        found = CalibratedGrid(rule, times, method, before, after)
        self.grids_ = [g for g in self.grids_ if (g.solver, g.n_steps) != (rule, n_steps)] + [found]
        return found

    def score_samples(
        self,
        X: ArrayLike,
        y: ArrayLike | None = None,
        *,
        condition: Mapping[str, ArrayLike] | None = None,
        method: LikelihoodMethod = "auto",
        n_steps: int | None = None,
        rtol: float = 1e-5,
        exact: bool | None = None,
        probes: int = 4,
        random_state: int | np.random.RandomState | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> np.ndarray:
        """Log-density of each item, in nats and data units.

        Parameters
        ----------
        X : array like that of `fit`
        y, condition : of the items; without them the density is that of no condition
        method : 'auto', 'heun', 'dopri5' or 'bound'
            The probability-flow ODE by Heun's rule on `n_steps` steps, error O(n_steps^-2); by Dormand-Prince 5(4) to a
            tolerance; or the variational bound, which lies below the log-density. auto: heun; the bound for a chain.
        n_steps : int, optional
            48 unless given; all steps of a chain.
        rtol : float
            Error that 'dopri5' allows in one step, relative and in nats.
        exact : bool, optional
            Exact divergence, or Hutchinson's estimate with `probes` probes; exact up to 64 entries unless given.
        random_state : int, optional
            Of probes and noise; that of the model unless given. Item i depends on it and on i alone.
        progress : (done, total) -> None, optional

        Returns
        -------
        array (n,) of float64

        Warns
        -----
        ApproximateLikelihood
            If the divergence is estimated, or a chain's bound stands for the density.
        """
        array, how = self._known(X), chosen(method, self.process_)
        ode = {"rtol": rtol, "atol": rtol, "exact": exact, "probes": probes} if how != "bound" else {}
        options = {"cond": self._given(y, condition, len(array)), "seed": self._seed(random_state), **ode}
        values = self._log_density(self.codec_.encode(array), how, n_steps, progress=progress, **options)
        return values + self.codec_.log_det(array)

    def bits_per_dim(
        self,
        X: ArrayLike,
        y: ArrayLike | None = None,
        *,
        condition: Mapping[str, ArrayLike] | None = None,
        method: LikelihoodMethod = "bound",
        n_steps: int | None = None,
        random_state: int | np.random.RandomState | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> np.ndarray:
        """Bits that each item of whole numbers costs per entry, at most: -log2 P(X) / entries.

        Parameters
        ----------
        X : array of whole numbers, like that of `fit`
        y, condition, random_state, progress : as in `score_samples`
        method : 'bound', 'heun', 'dopri5' or 'auto'
            The variational bound with the probability of the cell of each value; or the density of the ODE on cells
            filled with uniform noise (Theis et al. 2016, section 3.1), for which a model that was never shown such
            noise pays. auto: as in `score_samples`.
        n_steps : int, optional
            Of the bound or the ODE: 48 unless given; all steps of a chain. More steps tighten the bound.

        Returns
        -------
        array (n,) of float64

        Raises
        ------
        ConfigError
            If the data of this model are not whole numbers.
        """
        array, how = self._known(X), chosen(method, self.process_)
        seed, levels = self._seed(random_state), cells(self.codec_)
        options: dict[str, Any] = {"cond": self._given(y, condition, len(array)), "seed": seed, "progress": progress}
        if how == "bound":
            nats = self._log_density(self.codec_.encode(array), how, n_steps, levels=levels, **options)
        else:
            whole = torch.from_numpy(array.astype(np.float64))
            filled = dequantise(whole, width=self.codec_.quantum or 1.0, seed=seed).numpy()
            nats = self._log_density(self.codec_.encode(filled), how, n_steps, **options) + self.codec_.log_det(array)
        return np.asarray(bits_per_dim(torch.from_numpy(nats), math.prod(array.shape[1:])))

    def score(self, X: ArrayLike, y: Any = None) -> float:
        """Mean log-density of X, in nats."""
        return float(np.mean(self.score_samples(X)))

    def reaverage(self, sigma_rel: float, step: int | None = None) -> Self:
        """This model with another average of its weights, made of the snapshots that training left.

        Parameters
        ----------
        sigma_rel : float in (0, 0.2886)
            Width: standard deviation of the times averaged over, as a share of the run. `training.ema` is that of the
            model as it was trained. .04 to .2 are made to a few thousandths by 32 snapshots.
        step : int, optional
            The average of the run until then, where there is a snapshot; until the last one unless given.

        Returns
        -------
        DiffusionModel
            A new one, to sample, judge or save; this one stays as it is. Var[x0 | x_t], calibrated times and history
            are those measured with this one's weights.

        Raises
        ------
        ConfigError
            If there are no snapshots, the width is out of range, or there is no snapshot at `step`.

        Notes
        -----
        Source: Karras et al. 2024 (EDM2), section 3; see `caminito.training.Snapshots`.

        Examples
        --------
        >>> import numpy as np
        >>> X = np.random.default_rng(0).normal(size=(200, 2))
        >>> model = DiffusionModel(max_steps=40, training={"snapshots": 8}, random_state=0).fit(X)
        >>> wide = model.reaverage(0.15)
        >>> wide.describe()["average"].value
        'sigma_rel 0.15, of 40 steps'
        """
        check_is_fitted(self, "denoiser_")
        denoiser, end = reaveraged(self.denoiser_, self._snapshots, sigma_rel, step)
        made = copy.copy(self)
        made.denoiser_, made.n_steps_, made._state = denoiser, end, None
        measured = self.residual_variance_
        if measured is not None:
            made.residual_variance_ = ResidualVariance(denoiser, measured.levels, measured.residuals)
        made.history_, made.grids_ = list(self.history_), list(self.grids_)
        why = "of the weights, made of snapshots after training"
        made.choices_ = Description(
            self.choices_ | {"average": Choice(f"sigma_rel {sigma_rel:g}, of {end} steps", why)}
        )
        return made

    def describe(self) -> Description:
        """What was chosen from the data, and why."""
        check_is_fitted(self, "denoiser_")
        return self.choices_

    def save(self, path: str | Path) -> None:
        """Write the model to a folder: safetensors and JSON, no code."""
        from caminito.estimators.store import save_model

        check_is_fitted(self, "denoiser_")
        save_model(self, path)

    @classmethod
    def load(cls, path: str | Path) -> DiffusionModel:
        """The model that `save` wrote."""
        from caminito.estimators.store import load_model

        return load_model(path)

    # -- parts --------------------------------------------------------------------------------------------------------

    def _check_parameters(self) -> None:
        plain = {
            "prediction": self.prediction,
            "variance": self.variance,
            "max_steps": self.max_steps,
            "minutes": self.minutes,
            "training": dict(self.training or {}),
            "n_steps": self.n_steps,
            "upscale": self.upscale,
            "inpainting": self.inpainting,
            "validation_fraction": self.validation_fraction,
            "device": self.device,
        }
        if isinstance(self.process, str | Mapping):
            plain["process"] = dict(self.process) if isinstance(self.process, Mapping) else self.process
        if isinstance(self.network, str | Mapping):
            plain["network"] = dict(self.network) if isinstance(self.network, Mapping) else self.network
        parse_config(plain)
        if self.solver != "auto":
            solver_named(self.solver)

    def _new_codec(self) -> Codec:
        return ArrayCodec(self.channel_axis)  # type: ignore[arg-type]

    def _shrunk(self, array: np.ndarray, factor: int) -> np.ndarray:
        return shrink(array, factor, channel_axis=self.channel_axis)  # type: ignore[arg-type]

    def _validated(self, X: ArrayLike, *, reset: bool = True) -> np.ndarray:
        if reset:
            self.container_ = Container.of(X)
        return validate_data(self, X, reset=reset, allow_nd=True, ensure_min_samples=2 if reset else 1)

    def _place_of_snapshots(
        self, config: TrainingConfig, resume: str | Path | None, given: str | Path | None
    ) -> str | os.PathLike[str] | None:
        if not config.snapshots:
            return None
        if given is None and resume is not None:
            raise ConfigError(
                "snapshots: expected the folder of those taken before the stop, got none. Give the one that training "
                "was started with."
            )
        return Scratch() if given is None else Path(given).absolute()

    def _split(self, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        if self.validation_fraction == 0 or n < 10:
            return np.arange(n), np.arange(0)
        return holdout(n, self.validation_fraction, seed)

    def _device(self) -> torch.device:
        if self.device == "auto":
            return torch.device("cuda" if torch.cuda.is_available() else "cpu")
        return torch.device(self.device)

    def _range(self) -> dict[str, float]:
        return {"sigma_min": self.noise_range_[0], "sigma_max": self.noise_range_[1]}

    def _grid(self, steps: int) -> Tensor:
        if self.process_.is_discrete:
            return grids.trailing(self.process_, min(steps, int(self.process_.t_max)))
        return grids.karras(self.process_, steps, **self._range())

    def _log_density(self, x: Tensor, how: str, n_steps: int | None, **options: Any) -> np.ndarray:
        """Nats of encoded items, in encoded units."""
        steps = (int(self.process_.t_max) if self.process_.is_discrete else 48) if n_steps is None else n_steps
        with self._averaged():
            return log_density(
                self._walked(),
                x,
                self._grid(steps),
                how,
                rows=self._rows_at_once(),
                device=self._device(),
                **options,
            )

    def _known(self, X: ArrayLike) -> np.ndarray:
        """X checked against the training data."""
        check_is_fitted(self, "denoiser_")
        return self._validated(X, reset=False)

    def _given(self, y: ArrayLike | None, condition: Mapping[str, ArrayLike] | None, n: int) -> Condition:
        """Conditions of n items."""
        columns = dict(condition or {}) | ({} if y is None else {"y": y})
        return self._on_device(self.conditions_.encode(columns, n))

    def _seed(self, random_state: int | np.random.RandomState | None) -> int:
        return seed_from(self.random_state if random_state is None else random_state)

    def _rows_at_once(self) -> int:
        return max(1, min(4096, 2**20 // int(np.prod(self.event_shape_))))

    def _walked(self) -> NetworkDenoiser | ResidualVariance:
        return self.denoiser_ if self.residual_variance_ is None else self.residual_variance_

    def _led(self, lead: Lead | None, grid: Tensor) -> Denoiser:
        return self._walked() if lead is None else lead.of(self._walked(), grid)

    def _kept(self, in_range: InRange | None, walked: Denoiser | None = None) -> Denoiser:
        """What is walked, held in range if asked."""
        walked = self._walked() if walked is None else walked
        return walked if in_range is None else constrain(walked, projection(in_range, self.codec_))

    def _asked(
        self,
        n_samples: int,
        condition: Any,
        random_state: int | np.random.RandomState | None,
        first: int,
        lead: Lead | None = None,
        augmentation: float | None = None,
    ) -> tuple[tuple[int, ...], Condition, int]:
        """Shape, conditions and seed of the samples asked for."""
        if isinstance(n_samples, bool) or int(n_samples) != n_samples or n_samples < 1:
            raise ConfigError(f"n_samples: expected a whole number >= 1, got {n_samples!r}.")
        n, seed = int(n_samples), self._seed(random_state)
        codec, level = self.conditions_ if lead is None else lead.conditions, self._level(augmentation)
        if condition is None:
            rows = codec.draw(n, seed, first)
        else:
            rows = codec.encode(named(condition), n)
        return (n, *self.event_shape_), self._on_device(augmented_at(rows, level, seed, first)), seed

    def _level(self, augmentation: float | None) -> float:
        """Share of noise to put on conditions of low resolution."""
        usual = TrainingConfig.model_fields["augmentation"].default
        largest = float(dict(self.training or {}).get("augmentation", usual))
        if augmentation is None:
            return min(_AUGMENTATION, largest)
        if not self.conditions_.lowres:
            raise ConfigError(
                "augmentation: this model was trained without conditions of low resolution, and there is nothing to "
                "put noise on. Leave it out, or train with upscale=2."
            )
        if isinstance(augmentation, bool) or not 0 <= augmentation <= largest:
            raise ConfigError(
                f"augmentation: expected a number from 0 to {largest:g}, the largest this model was trained with, got "
                f"{augmentation!r}. For more, train with training={{'augmentation': 1}}."
            )
        return float(augmentation)

    def _on_device(self, cond: Condition) -> Condition:
        device = self._device()
        return mapped(cond, lambda value: value.to(device)) or None

    def _items(self, x: Tensor) -> Any:
        """Encoded events as items like those of X."""
        return self.container_.restore(self.codec_.decode(x.cpu()))

    def _averaged(self) -> contextlib.AbstractContextManager[Any]:
        """The averaged weights in place while the block lasts, if training is under way."""
        state = getattr(self, "_state", None)
        return contextlib.nullcontext() if state is None else averaged(state)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "denoiser_")


def _warn_of_levels(x: Tensor) -> None:
    """A warning where columns of rows take very few values: noise is continuous, and so are the samples."""
    if x.ndim != 2 or len(x) < 100:
        return
    few = [column for column in range(x.shape[1]) if len(torch.unique(x[:2000, column])) <= 10]
    if few:
        shown = ", ".join(str(column) for column in few[:5]) + (", ..." if len(few) > 5 else "")
        warnings.warn(
            f"columns {shown} take at most 10 distinct values, and samples will take values between them. "
            "Give them as a condition, or round the samples.",
            FewLevels,
            stacklevel=4,  # fit_iter, fit: who called it
        )
