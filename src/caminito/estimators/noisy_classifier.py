"""A classifier of noisy items: p(y | x_t) at every noise level of a diffusion model.

It sees what the model sees: items encoded by the model's codec and noised by its process. The gradient of
log p(y | x_t) with respect to x_t then leads the model's samples to a class, also where the model itself knows no
classes; see `caminito.guidance.classifier_guide`.

The model is trained most where its data are neither plain nor lost. Classes are told apart from there on to where
nothing is, so nine tenths of the levels drawn lie between one deviation below the mean of the model's law and its most
noise; beyond 2.5 deviations all levels count as one. The steps of a chain are drawn equally often.
Source: Dhariwal & Nichol 2021, section 4.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.metrics import accuracy_score
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn
from torch.nn import functional

from caminito import nn as networks
from caminito._errors import ConditionError, ConfigError, DataError, RunError, ShapeError, TimeError
from caminito._files import read_json, read_tensors, write_json, write_tensors
from caminito._random import Stream, normal, seed_from
from caminito.data import Codec, codec_from_dict, holdout
from caminito.denoiser import Condition
from caminito.estimators.choices import Choice, Description, data_scale, seeded_network
from caminito.estimators.class_codes import ClassCodes
from caminito.estimators.conditions import ConditionCodec
from caminito.estimators.model import DiffusionModel
from caminito.estimators.schema import parse_training
from caminito.estimators.store import plain
from caminito.process import Process, process_from_dict, process_to_dict
from caminito.process.base import Time
from caminito.training import (
    ClassLogits,
    Progress,
    TrainingConfig,
    fit_classifier_steps,
    initial_state,
    precision_for,
)

__all__ = ["NoiseAccuracy", "NoisyClassifier"]

FORMAT_VERSION = 1
_LEVELS = (0.0, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0)
_LEAST = 2.5  # deviations of log(sigma / alpha) below its mean, from which on less noise is not told apart
_WEIGHTS = ("weights.safetensors", "weights-2.safetensors")  # the one that is not in use is written


class NoiseAccuracy(NamedTuple):
    """How well noisy items are told apart.

    Attributes
    ----------
    noise : float
        sigma / |alpha|, the data having unit variance; 0 for clean items.
    accuracy : float
        Share of items whose most probable class is theirs.
    cross_entropy : float
        Mean of -log p(y | x_t), in nats.
    """

    noise: float
    accuracy: float
    cross_entropy: float


class NoisyClassifier(ClassifierMixin, BaseEstimator):
    """Classifier of the noisy items of a diffusion model.

    Parameters
    ----------
    model : DiffusionModel, fitted
        Whose codec and process are taken; it is not changed, and need not have been trained with classes.
    max_steps, minutes : int, float, optional
        Training budget; the first that is spent ends training. Neither: a number of steps chosen from the data.
    network : 'auto', options for `caminito.nn.build`, or a torch module
        The module maps (x, label) to logits (B, classes). Options that are left open are chosen.
    training : mapping, optional
        Options of `caminito.training.TrainingConfig` (batch_size, learning_rate, ema, precision, ...).
    validation_fraction : float in [0, 1)
        Share of the items held out to watch the cross entropy.
    random_state : int, RandomState or None
        Seed of weights, noise, order and split.
    device : 'auto', 'cpu', 'cuda', ...

    Attributes
    ----------
    classes_ : array, sorted
    codec_, process_, logits_ : the fitted parts
    event_shape_ : tuple of int, of the encoded event
    levels_ : (low, high), noise levels sigma / |alpha|, beyond which it takes the noise for the low or the high one
    choices_ : dict of Choice
    history_ : list of dict, one per validation
    n_steps_ : int, training steps done

    Examples
    --------
    >>> from caminito import ImageDiffusion
    >>> from caminito.data import load_digits
    >>> from caminito.estimators import NoisyClassifier
    >>> X, y = load_digits()
    >>> model = ImageDiffusion(max_steps=2, random_state=0).fit(X)
    >>> classifier = NoisyClassifier(model, max_steps=2, random_state=0).fit(X, y)
    >>> classifier.predict_proba(X[:5]).shape
    (5, 10)
    >>> log_prob = classifier.log_prob(3)  # for caminito.guidance.classifier_guide(model.denoiser_, log_prob)
    """

    codec_: Codec
    process_: Process
    logits_: ClassLogits
    event_shape_: tuple[int, ...]
    levels_: tuple[float, float]
    _codes: ClassCodes

    def __init__(
        self,
        model: DiffusionModel | None = None,
        *,
        max_steps: int | None = None,
        minutes: float | None = None,
        network: str | Mapping[str, Any] | nn.Module = "auto",
        training: Mapping[str, Any] | None = None,
        validation_fraction: float = 0.1,
        random_state: int | np.random.RandomState | None = None,
        device: str = "auto",
    ) -> None:
        self.model = model
        self.max_steps = max_steps
        self.minutes = minutes
        self.network = network
        self.training = training
        self.validation_fraction = validation_fraction
        self.random_state = random_state
        self.device = device

    # -- fitting ------------------------------------------------------------------------------------------------------

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Learn p(y | x_t).

        Parameters
        ----------
        X : array like that of the model's `fit`
        y : array (n,)
            Classes: whole numbers, words or booleans, at least two.
        """
        for _ in self.fit_iter(X, y):
            pass
        return self

    def fit_iter(self, X: ArrayLike, y: ArrayLike, *, held_out: ArrayLike | None = None) -> Iterator[Progress]:
        """`fit`, one training step at a time.

        A consumer that stops early, and closes the iterator, keeps what was learnt until then.

        Parameters
        ----------
        X, y : as in `fit`
        held_out : array of int, optional
            Numbers of the rows that are not trained on; drawn at random unless given.

        Yields
        ------
        Progress

        Raises
        ------
        ConfigError
            If there is no fitted model, or an option has an impossible value.
        DataError
            If y holds no classes, or only one.
        ShapeError
            If the items are not like those of the model.
        """
        model, seed = self._known_model(), seed_from(self.random_state)
        x = model.codec_.encode(np.asarray(X))
        codes = ClassCodes.fit(y, len(x), model.conditions_.classes.get("y"))
        told = codes.encode(y)
        train, held = self._split(len(x), seed, held_out)
        device, choices = self._device(), Description()
        network = self._build_network(model, len(train), len(codes.classes), seed, choices).to(device)
        config = self._training_config(model, x[train], seed, choices)
        state = initial_state(network, config, model.process_)
        logits = ClassLogits(network, model.process_, _levels(model, config), precision_for(config, device))
        history: list[dict[str, Any]] = []
        steps = fit_classifier_steps(
            logits,
            x[train].to(device),
            told[train].to(device),
            config,
            held_out=x[held].to(device),
            held_out_y=told[held].to(device),
            seed=seed,
            resume=state,
        )
        self.choices_ = choices
        try:
            for progress in steps:
                if (found := progress.validation) is not None:
                    levels = {"logsnr": found.logsnr, "levels": found.loss}
                    history.append({"step": progress.step, "loss": found.mean, **levels})
                yield progress
        finally:
            if state.step:
                with torch.no_grad():
                    torch._foreach_copy_(list[Tensor](network.parameters()), state.average.values)
                self._use(model.codec_, codes, logits)
                self.n_features_in_ = model.n_features_in_
                self.history_, self.n_steps_, self.training_ = history, state.step, config

    def _use(self, codec: Codec, codes: ClassCodes, logits: ClassLogits) -> None:
        """Work with these from now on, in float32."""
        logits.network.eval().requires_grad_(False)
        self.codec_, self.event_shape_ = codec, codec.event_shape
        self._codes, self.classes_ = codes, codes.classes
        self.logits_ = dataclasses.replace(logits, autocast=None)
        self.process_, self.levels_ = logits.process, logits.levels

    # -- using --------------------------------------------------------------------------------------------------------

    def predict_proba(self, X: ArrayLike | Tensor, t: float | ArrayLike = 0.0) -> NDArray[np.float64]:
        """p(y | x_t) of each item.

        Parameters
        ----------
        X : array like that of `fit`, or tensor (n, *event_shape_)
            An array is encoded; a tensor is taken for x_t itself.
        t : time of the process, or one per row
            The noise that X carries; 0: clean items.

        Returns
        -------
        float64 array (n, classes), in the order of `classes_`
        """
        logits = self._logits(self._encoded(X), t)
        return np.asarray(logits.double().softmax(1).numpy())

    def predict(self, X: ArrayLike | Tensor, t: float | ArrayLike = 0.0) -> NDArray[Any]:
        """The most probable class of each item; X and t as in `predict_proba`."""
        logits = self._logits(self._encoded(X), t)
        return np.asarray(self.classes_[logits.argmax(1).numpy()])

    def score(
        self,
        X: ArrayLike | Tensor,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        t: float | ArrayLike = 0.0,
    ) -> float:
        """Share of the items whose class is predicted; X and t as in `predict_proba`."""
        return float(accuracy_score(y, self.predict(X, t), sample_weight=sample_weight))

    def accuracy_by_noise(
        self,
        X: ArrayLike,
        y: ArrayLike,
        levels: ArrayLike | None = None,
        *,
        random_state: int | np.random.RandomState | None = None,
    ) -> list[NoiseAccuracy]:
        """How well items are told apart at each noise level.

        Parameters
        ----------
        X : array like that of `fit`, of clean items
        y : array (n,), their classes
        levels : noise levels sigma / |alpha|, optional
            From clean to the end of the process unless given. Of a chain the nearest steps are taken.
        random_state : int, optional
            Of the noise; that of the classifier unless given. It is a function of this, the place of the level and that
            of the item.

        Returns
        -------
        list of NoiseAccuracy

        Raises
        ------
        ConfigError
            If a level is negative or beyond the end of the process.
        ConditionError
            If a class is unknown.
        """
        x, codes = self._encoded(X), self._codes.encode(y)
        if codes.shape != x.shape[:1]:
            raise ConditionError(f"y: expected {len(x)} classes, one per item, got shape {tuple(codes.shape)}.")
        seed = seed_from(self.random_state if random_state is None else random_state)
        found = []
        for number, level in enumerate(self._noise_levels(levels)):
            t = torch.tensor(0.0, dtype=torch.float64)
            if level > 0:
                t = self.process_.time(-2 * math.log(level)).clamp(max=self.process_.t_max)
            eps = normal(seed, Stream.VALIDATION, number, tuple(x.shape), dtype=x.dtype)
            logits = self._logits(self.process_.noise(x, t, eps), float(t)).double()
            right = float((logits.argmax(1) == codes).double().mean())
            found.append(NoiseAccuracy(_level(self.process_, t), right, float(functional.cross_entropy(logits, codes))))
        return found

    def log_prob(
        self, target: Any = None, *, model: DiffusionModel | None = None
    ) -> Callable[[Tensor, Time, Condition], Tensor]:
        """log p(y | x_t) as a function of x_t, for `caminito.guidance.classifier_guide`.

        Parameters
        ----------
        target : a class, a sequence of them, or None
            A class: that of all rows, whatever `cond` says. None: each row's class comes from ``cond["y"]``. A sequence
            has the class of each row, and is for calls with exactly so many; where rows come in parts, they bring
            their own classes in ``cond["y"]``, which must be among those of the sequence.
        model : DiffusionModel, optional
            Whose classes ``cond["y"]`` has codes of; the one that this was fitted with unless given.

        Returns
        -------
        function (x_t, t, cond=None) -> tensor (B,)
            In nats, in the dtype of x_t, and differentiable with respect to it. ``cond["y"]`` holds codes (B,), as
            networks take them: of the model's classes where it was fitted with y, else places in `classes_`.

        Raises
        ------
        ConditionError
            If `target` is no class of this classifier; the nearest ones are named.

        Notes
        -----
        The classes have the frequencies of the training data: log p(y | x_t) holds their log p(y), which no gradient
        sees. The network works in float32, whatever it was trained in: errors of a gradient add up along a walk.
        """
        check_is_fitted(self, "logits_")
        codes_of = self._codes if model is None else self._codes.beside(model.conditions_.classes.get("y"))
        asked = None if target is None else codes_of.encode(target)

        def log_prob(x_t: Tensor, t: Time, cond: Condition = None) -> Tensor:
            logs = self.logits_(x_t, t).log_softmax(1)
            codes = codes_of.of_rows(asked, cond, len(x_t)).to(logs.device)
            return logs.gather(1, codes[:, None])[:, 0].to(x_t.dtype)

        return log_prob

    @property
    def conditions_(self) -> ConditionCodec:
        """The classes as a condition of samples that are to be led to them."""
        check_is_fitted(self, "logits_")
        return self._codes.conditions

    def describe(self) -> Description:
        """What was chosen from the data, and why."""
        check_is_fitted(self, "choices_")
        return self.choices_

    # -- storing ------------------------------------------------------------------------------------------------------

    def save(self, path: str | Path) -> None:
        """Write the classifier to a folder: safetensors and JSON, no code.

        The manifest is replaced last, and names its weights: a classifier that was there before is whole until then.

        Raises
        ------
        ConfigError
            If the process or network is a Python object that a file cannot hold.
        StorageError
            If the disk is full.
        """
        check_is_fitted(self, "logits_")
        path, network = Path(path), self.logits_.network
        if not isinstance(network, networks.Network) or network.options is None:
            raise ConfigError(
                "save: only networks of caminito.nn can be rebuilt from a file. Save this one's weights yourself."
            )
        process = process_to_dict(self.process_)
        name = _WEIGHTS[_weights_in_use(path) == _WEIGHTS[0]]
        digest = write_tensors(path / name, network.state_dict())
        parameters = self.get_params(deep=False)
        write_json(
            path / "manifest.json",
            {
                "format_version": FORMAT_VERSION,
                "estimator": type(self).__name__,
                "parameters": {key: plain(value) for key, value in parameters.items() if key != "model"},
                "codec": self.codec_.to_dict(),
                "classes": self._codes.to_dict(),
                "process": process,
                "network": network.options,
                "levels": self.levels_,
                "n_features": self.n_features_in_,
                "n_steps": self.n_steps_,
                "choices": {key: [choice.value, choice.why] for key, choice in self.choices_.items()},
                "history": self.history_,
                "weights": {"file": name, "sha256": digest},
            },
        )
        for other in _WEIGHTS:
            if other != name:
                with contextlib.suppress(OSError):
                    (path / other).unlink(missing_ok=True)

    @classmethod
    def load(cls, path: str | Path) -> NoisyClassifier:
        """The classifier that `save` wrote; it has no `model`, and needs none unless it is fitted again.

        Raises
        ------
        RunError
            If the folder is no classifier, was saved by a newer version, or its weights were cut or altered.
        """
        path = Path(path)
        facts = read_json(path / "manifest.json")
        if not isinstance(facts, dict) or facts.get("estimator") != cls.__name__:
            got = facts.get("estimator") if isinstance(facts, dict) else None
            raise RunError(f"{path}: expected a {cls.__name__}, got {got!r}. Give the folder that its `save` wrote.")
        if facts.get("format_version") != FORMAT_VERSION:
            raise RunError(
                f"{path}: this version of caminito reads classifiers of format {FORMAT_VERSION}, got "
                f"{facts.get('format_version')}. Upgrade caminito."
            )
        try:
            return cls._rebuilt(facts, path)
        except (KeyError, TypeError, RuntimeError) as error:
            raise RunError(
                f"{path}/manifest.json does not fit its weights ({error}). Restore both from a copy."
            ) from error

    @classmethod
    def _rebuilt(cls, facts: Mapping[str, Any], path: Path) -> NoisyClassifier:
        made = cls(None, **facts["parameters"])
        if made._device().type == "cuda" and not torch.cuda.is_available():
            made.device = "auto"  # trained on a machine with another device
        network = networks.build(facts["network"])
        network.load_state_dict(read_tensors(path / facts["weights"]["file"], facts["weights"]["sha256"]))
        low, high = facts["levels"]
        process = process_from_dict(facts["process"])
        logits = ClassLogits(network.to(made._device()), process, (low, high))
        made._use(codec_from_dict(facts["codec"]), ClassCodes.from_dict(facts["classes"]), logits)
        made.n_features_in_, made.n_steps_ = facts["n_features"], facts["n_steps"]
        made.choices_ = Description({name: Choice(*pair) for name, pair in facts["choices"].items()})
        made.history_ = facts["history"]
        return made

    # -- parts --------------------------------------------------------------------------------------------------------

    def _known_model(self) -> DiffusionModel:
        if not isinstance(self.model, DiffusionModel) or not hasattr(self.model, "denoiser_"):
            got = "one that is not" if isinstance(self.model, DiffusionModel) else repr(self.model)
            raise ConfigError(
                f"model: expected a fitted DiffusionModel, whose noisy items are to be told apart, got {got}. Fit one, "
                "or load it with caminito.load."
            )
        return self.model

    def _split(self, n: int, seed: int, held_out: ArrayLike | None) -> tuple[Tensor, Tensor]:
        """Numbers of the rows to train on, and of those held out."""
        if not 0 <= self.validation_fraction < 1:
            raise ConfigError(f"validation_fraction: expected a share in [0, 1), got {self.validation_fraction!r}.")
        if held_out is None:
            none = self.validation_fraction == 0 or n < 10
            held = np.arange(0) if none else holdout(n, self.validation_fraction, seed)[1]
        else:
            held = np.asarray(held_out, dtype=np.int64).reshape(-1)
            if held.size and (held.min() < 0 or held.max() >= n):
                raise ConfigError(
                    f"held_out: expected numbers of rows, 0 to {n - 1}, got {held.min()} to {held.max()}."
                )
        train = np.setdiff1d(np.arange(n), held)
        if not len(train):
            raise DataError("fit: expected at least one item to train on, got all held out.")
        return torch.from_numpy(train), torch.from_numpy(held)

    def _build_network(self, model: DiffusionModel, n: int, classes: int, seed: int, choices: Description) -> nn.Module:
        if isinstance(self.network, nn.Module):
            return self.network.requires_grad_(True)
        event_shape, asked = model.event_shape_, self.network
        suggested = networks.classifier_options(event_shape, n, classes)
        if isinstance(asked, str) and asked not in ("auto", suggested["kind"]):
            raise ConfigError(
                f"network={asked!r} does not fit events of shape {event_shape}, whose classifier is of kind "
                f"{suggested['kind']!r}. Use 'auto', or pass all its options."
            )
        options = suggested | (dict(asked) if isinstance(asked, Mapping) else {})
        return seeded_network(options, seed, choices)

    def _training_config(self, model: DiffusionModel, x: Tensor, seed: int, choices: Description) -> TrainingConfig:
        given, n = dict(self.training or {}), len(x)
        if "steps" in given or "minutes" in given:
            raise ConfigError("training: give the budget as max_steps or minutes, not inside training.")
        auto = _noise_law(model, x, seed) | {"validate_every": 200}
        if len(model.event_shape_) > 1:
            auto |= {"batch_size": min(64, max(16, n // 4)), "learning_rate": 4e-3}
        else:
            auto |= {"batch_size": min(1024, max(32, n // 4)), "learning_rate": 4e-3, "ema": 0.05}
        steps, minutes = self.max_steps, self.minutes
        if steps is None and minutes is None:
            steps = int(min(3_000, max(600, 30 * n / (given.get("batch_size") or auto["batch_size"]))))
            choices["budget"] = Choice(f"{steps} steps", "30 passes over the data, within 600 and 3000 steps")
        config = parse_training(auto | given | {"steps": steps, "minutes": minutes})
        laws = {
            "lognormal": (
                f"log(sigma / alpha) ~ N({config.time_mean:.2f}, {config.time_std:.2f}^2)",
                "those of the model, and on to where nothing is told apart",
            ),
            "uniform": ("uniform in time", "every step of a chain counts as much as any other"),
        }
        choices["noise levels trained on"] = Choice(*laws.get(config.times, ("", "")))
        return config

    def _device(self) -> torch.device:
        if self.device == "auto":
            return torch.device("cuda" if torch.cuda.is_available() else "cpu")
        return torch.device(self.device)

    def _encoded(self, X: ArrayLike | Tensor) -> Tensor:
        """Items as x_t."""
        check_is_fitted(self, "logits_")
        if not isinstance(X, Tensor):
            return self.codec_.encode(np.asarray(X))
        if X.shape[1:] != self.event_shape_:
            shape = ", ".join(map(str, self.event_shape_))
            raise ShapeError(
                f"X: expected a tensor of encoded items (n, {shape}), got shape {tuple(X.shape)}. Items as they came "
                "are given as an array."
            )
        return X

    @torch.no_grad()
    def _logits(self, x_t: Tensor, t: float | ArrayLike) -> Tensor:
        """Logits of encoded items, on the CPU, as many at a time as fit in memory."""
        at = torch.as_tensor(t, dtype=torch.float64).cpu()
        if at.ndim > 1 or (at.ndim == 1 and len(at) != len(x_t)):
            raise TimeError(f"t: expected one time, or one for each of {len(x_t)} items, got shape {tuple(at.shape)}.")
        if not bool(((at >= 0) & (at <= self.process_.t_max)).all()):
            raise TimeError(
                f"t: expected times from 0 to {self.process_.t_max:g}, got {float(at.min()):g} to {float(at.max()):g}."
            )
        rows = max(1, min(4096, 2**20 // math.prod(self.event_shape_)))
        device = next(self.logits_.network.parameters()).device
        parts = [torch.empty(0, len(self.classes_))]
        for low in range(0, len(x_t), rows):
            part = slice(low, low + rows)
            parts.append(self.logits_(x_t[part].to(device), at[part] if at.ndim else at).cpu())
        return torch.cat(parts)

    def _noise_levels(self, levels: ArrayLike | None) -> list[float]:
        end = _level(self.process_, self.process_.t_max)
        if levels is None:
            return [level for level in _LEVELS if level <= min(end, self.levels_[1])]
        asked = [float(level) for level in np.asarray(levels, dtype=np.float64).reshape(-1)]
        if bad := [level for level in asked if not 0 <= level <= end * (1 + 1e-9)]:
            raise ConfigError(f"levels: expected noise levels sigma / alpha from 0 to {end:.3g}, got {bad[0]:g}.")
        return asked

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "logits_")

    def __sklearn_clone__(self) -> NoisyClassifier:
        """Not fitted, of the same model: a copy of that would not be fitted either."""
        parameters = self.get_params(deep=False)
        return type(self)(**{k: v if k == "model" else clone(v, safe=False) for k, v in parameters.items()})


def _noise_law(model: DiffusionModel, x: Tensor, seed: int) -> dict[str, Any]:
    """Options of training: which levels are drawn how often."""
    if model.process_.is_discrete:
        return {"times": "uniform"}
    mean, std = data_scale(x, seed).time_law
    own = dict(model.training or {})
    low, high = own.get("time_mean", mean) - own.get("time_std", std), math.log(model.noise_range_[1])
    high = max(high, low + 1.0)
    return {"time_mean": (low + high) / 2, "time_std": (high - low) / 3.3}


def _levels(model: DiffusionModel, config: TrainingConfig) -> tuple[float, float]:
    """Least and most noise that the network is told of."""
    end = _level(model.process_, model.process_.t_max)
    if config.times == "uniform":
        return (_level(model.process_, 1) if model.process_.is_discrete else model.noise_range_[0]), end
    return math.exp(config.time_mean - _LEAST * config.time_std), end


def _level(process: Process, t: Time) -> float:
    """sigma / |alpha|, at most e^12: where the data are gone, it is infinite."""
    return float(torch.exp(-process.logsnr(t) / 2).clamp(max=math.exp(12.0)))


def _weights_in_use(path: Path) -> str | None:
    """The file of weights that the manifest of a folder names."""
    try:
        return str(read_json(path / "manifest.json")["weights"]["file"])
    except (RunError, KeyError, TypeError):
        return None
