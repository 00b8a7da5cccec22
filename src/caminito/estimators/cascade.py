"""A cascade: a model that draws small items, and models that enlarge them, one after the other.

    x_0 ~ p_0(x_0 | y),    x_k ~ p_k(x_k | low_k, y),    low_k = sqrt(1 - s^2) enlarged(x_(k-1)) + s eps

Each stage is a model like any other and learns without the others, from the data shrunk to its size. What it enlarges
is noised to a level s that it is told, so that flaws of the stage before are not taken for details.
Source: Ho et al. 2021, "Cascaded Diffusion Models for High Fidelity Image Generation".
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import NotFittedError

import caminito
from caminito._errors import ConditionError, ConfigError, RunError
from caminito._files import checksum, read_json, write_json
from caminito._random import Stream, seed_from, uniform
from caminito.estimators.bounds import InRange
from caminito.estimators.condition_columns import LowresColumn
from caminito.estimators.conditions import named
from caminito.estimators.model import DiffusionModel
from caminito.estimators.schema import GuidanceConfig, parse_guidance
from caminito.estimators.store import load_model, save_model
from caminito.sampling import Solver

__all__ = ["CascadeDiffusion"]

FORMAT_VERSION = 1


class CascadeDiffusion(BaseEstimator):
    """A base model and stages that enlarge what it draws.

    Parameters
    ----------
    stages : sequence of DiffusionModel
        The base first, then those trained with `upscale`. Some may be fitted already, each alone: `fit` takes them as
        they are, and where all are there is nothing to fit.
    random_state : int, RandomState or None
        Seed of samples where none is given to `sample`. Training has the seeds of the stages.

    Attributes
    ----------
    stages_ : list of DiffusionModel, fitted

    Examples
    --------
    >>> from caminito import ImageDiffusion
    >>> from caminito.data import load_digits
    >>> X, y = load_digits()
    >>> base = ImageDiffusion(max_steps=2, n_steps=2, random_state=0)
    >>> stage = ImageDiffusion(max_steps=2, n_steps=2, random_state=0, upscale=2)
    >>> cascade = CascadeDiffusion([base, stage]).fit(X, y)
    >>> cascade.stages_[0].sample(3).shape, cascade.sample(3, condition=[0, 1, 2], random_state=0).shape
    ((3, 4, 4), (3, 8, 8))
    """

    stages_: list[DiffusionModel]

    def __init__(
        self, stages: Sequence[DiffusionModel], *, random_state: int | np.random.RandomState | None = None
    ) -> None:
        self.stages = stages
        self.random_state = random_state

    def fit(
        self, X: ArrayLike, y: ArrayLike | None = None, *, condition: Mapping[str, ArrayLike] | None = None
    ) -> Self:
        """Train the stages that are not fitted, the base first, each on X shrunk to its size.

        Parameters
        ----------
        X : array (n, ...), items of the size that the last stage gives
        y, condition : as for `DiffusionModel.fit`; each stage is told them

        Raises
        ------
        ConfigError
            If there are not two stages, one is no model of a network, or two do not chain.
        ShapeError
            If X cannot be shrunk by the factors of all stages.
        """
        stages = self._known_stages()
        sizes = [np.asarray(X)]
        for number, stage in reversed(list(enumerate(stages[1:], start=1))):
            sizes.insert(0, stage._shrunk(sizes[0], _factor(number, stage)))
        for number, (stage, items) in enumerate(zip(stages, sizes)):
            if _is_fitted(stage) and _items(stage.codec_) != (shown := _like(items)):
                raise ConfigError(
                    f"stage {number}: expected a model of items {_said(shown)}, which X becomes there, got one of "
                    f"{_said(_items(stage.codec_))}. Give other data, or train it again."
                )
        fitted = []
        for stage, items in zip(stages, sizes):
            own = stage if _is_fitted(stage) else clone(stage).fit(items, y, condition=condition)
            fitted.append(own)
        _check_chain(fitted)
        self.stages_ = fitted
        return self

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
        augmentation: float | None = None,
        batch_size: int | None = None,
        first: int = 0,
        progress: Callable[[int, int], None] | None = None,
    ) -> Any:
        """Draw items like those of X.

        An image of one's own is enlarged by the stage that takes its size: ``stages_[1].sample(condition={"low": x})``.

        Parameters
        ----------
        n_samples : int >= 1
        condition : mapping of values by name, or the values of y alone
            Each reaches every stage that knows it. Without it classes are drawn as often as in training, the same for
            all stages.
        random_state : int, optional
            Sample number i depends on (random_state, first + i) alone. The base draws what it would draw by itself.
        n_steps, solver : of every stage; those of each unless given
        in_range, batch_size : as for `DiffusionModel.sample`
        guidance : float or mapping, optional
            Of the stages that know a condition besides their low resolution; see `DiffusionModel.sample`.
        augmentation : float, optional
            Noise on what each stage enlarges; .1 unless given. More lets stages draw more by themselves.
        progress : (done, total) -> None, optional
            Over all stages.

        Returns
        -------
        array, shape (n_samples, ...), as the last stage gives it
        """
        stages = self._fitted_stages()
        if isinstance(n_samples, bool) or int(n_samples) != n_samples or n_samples < 1:
            raise ConfigError(f"n_samples: expected a whole number >= 1, got {n_samples!r}.")
        seed = seed_from(self.random_state if random_state is None else random_state)
        columns = _asked(stages, condition, n_samples, seed, first)
        leads = _leads(stages, guidance)
        items = None
        for number, stage in enumerate(stages):
            own = {name: values for name, values in columns.items() if name in _told(stage)}
            above: dict[str, Any] = {}
            if number:
                own[stage.conditions_.lowres[0]] = items
                above["augmentation"] = augmentation
            items = stage.sample(
                n_samples,
                condition=own,
                random_state=_seed_of(seed, number),
                n_steps=n_steps,
                solver=solver,
                in_range=in_range,
                guidance=leads[number],
                batch_size=batch_size,
                first=first,
                progress=None if progress is None else _counting(progress, number, len(stages)),
                **above,
            )
        return items

    def check(self) -> None:
        """Refuse stages that are not fitted, or of which one does not enlarge what the one before gives.

        Raises
        ------
        ConfigError, NotFittedError
        """
        self._fitted_stages()

    def save(self, path: str | Path) -> None:
        """Write the cascade to a folder: a folder for each stage, as `DiffusionModel.save` writes it, and cascade.json.

        cascade.json is replaced last, and holds the checksum of each stage: where saving was stopped in between, `load`
        refuses the mixture. Stages that a longer cascade left in the folder are then removed.

        Raises
        ------
        ConfigError
            If a stage cannot be saved.
        StorageError
            If the disk is full.
        """
        path, stages = Path(path), self._fitted_stages()
        former = _recorded(path)
        names = [f"stage_{number}" for number in range(len(stages))]
        for name, stage in zip(names, stages):
            save_model(stage, path / name)
        seed = self.random_state if isinstance(self.random_state, int) else None
        write_json(
            path / "cascade.json",
            {
                "format_version": FORMAT_VERSION,
                "software": f"caminito {caminito.__version__}",
                "stages": {name: _checksum(path / name) for name in names},
                "random_state": seed,
            },
        )
        for name, digest in former.items():
            if name not in names and _checksum(path / name) == digest:
                _remove(path / name)

    @classmethod
    def load(cls, path: str | Path) -> CascadeDiffusion:
        """The cascade that `save` wrote.

        Raises
        ------
        RunError
            If the folder holds none, or a stage of it was cut, altered, or written by another `save`.
        """
        path = Path(path)
        facts = read_json(path / "cascade.json")
        if not isinstance(facts, dict) or facts.get("format_version") != FORMAT_VERSION:
            raise RunError(f"{path}: expected a cascade of format {FORMAT_VERSION}, got another. Upgrade caminito.")
        recorded = facts.get("stages")
        if not isinstance(recorded, dict) or not _in_order(recorded):
            raise RunError(f"{path}/cascade.json: expected stages stage_0, stage_1, ..., got {recorded!r}.")
        for name, digest in recorded.items():
            if (found := _checksum(path / name)) != digest:
                got = "there is none" if found is None else "this is another one"
                raise RunError(
                    f"{path / name}: expected the stage that cascade.json names, but {got}. Saving was stopped in "
                    "between, or the stage was changed by itself: save the whole cascade again, or restore the folder "
                    "from a copy."
                )
        made = cls([load_model(path / name) for name in recorded], random_state=facts.get("random_state"))
        try:
            made.stages_ = made._fitted_stages()
        except ConfigError as error:
            raise RunError(f"{path}: its stages do not belong together ({error}) Restore them from a copy.") from error
        return made

    # -- parts --------------------------------------------------------------------------------------------------------

    def _known_stages(self) -> list[DiffusionModel]:
        """The stages as they were given."""
        stages = list(self.stages)
        if len(stages) < 2:
            raise ConfigError(f"stages: expected a base and at least one stage that enlarges, got {len(stages)}.")
        for number, stage in enumerate(stages):
            if not isinstance(stage, DiffusionModel):
                raise ConfigError(
                    f"stage {number}: expected a DiffusionModel or ImageDiffusion, got {type(stage).__name__}. "
                    "Rows of a table have no size to grow."
                )
            if number == 0 and (stage.upscale is not None or (_is_fitted(stage) and stage.conditions_.lowres)):
                raise ConfigError(
                    "stage 0: expected a base, which draws from noise alone, got a model that enlarges (upscale). Put "
                    "the base first."
                )
            if number and not _is_fitted(stage) and stage.upscale is None:
                raise ConfigError(
                    f"stage {number}: expected a model that enlarges, got one without upscale. Say by how much: "
                    "upscale=2."
                )
        return stages

    def _fitted_stages(self) -> list[DiffusionModel]:
        """Those that `fit` left, or those that were given, if they are fitted."""
        if hasattr(self, "stages_"):
            return self.stages_
        stages = self._known_stages()
        if missing := [number for number, stage in enumerate(stages) if not _is_fitted(stage)]:
            raise NotFittedError(f"stages {missing} of this CascadeDiffusion are not fitted yet. Call fit(X) first.")
        _check_chain(stages)
        return stages

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "stages_") or all(map(_is_fitted, self.stages))


def _is_fitted(stage: Any) -> bool:
    return isinstance(stage, DiffusionModel) and stage.__sklearn_is_fitted__()


def _in_order(stages: Mapping[str, Any]) -> bool:
    """Whether these are the names of stages, in their order."""
    return list(stages) == [f"stage_{number}" for number in range(len(stages))]


def _recorded(path: Path) -> dict[str, Any]:
    """The stages of the cascade in a folder, and their checksums; none where there is no cascade."""
    try:
        facts = read_json(path / "cascade.json")
    except (RunError, OSError):
        return {}
    stages = facts.get("stages") if isinstance(facts, dict) else None
    return stages if isinstance(stages, dict) and _in_order(stages) else {}


def _checksum(stage: Path) -> str | None:
    """That of the manifest of a saved stage, which holds the one of its weights; None where there is no stage."""
    try:
        return checksum((stage / "manifest.json").read_bytes())
    except OSError:
        return None


def _remove(stage: Path) -> None:
    """Remove a saved stage, and its folder if nothing else is there."""
    with contextlib.suppress(OSError):
        for name in ("manifest.json", "weights.safetensors"):
            (stage / name).unlink(missing_ok=True)
        stage.rmdir()


def _low(number: int, stage: DiffusionModel) -> LowresColumn:
    """What a fitted stage enlarges."""
    columns = [stage.conditions_.columns[name] for name in stage.conditions_.lowres]
    if len(columns) != 1 or not isinstance(columns[0], LowresColumn):
        raise ConfigError(
            f"stage {number}: expected a model with one condition of low resolution, got {len(columns)}. Train it with "
            "upscale=2."
        )
    return columns[0]


def _factor(number: int, stage: DiffusionModel) -> int:
    """By how much a stage enlarges."""
    if not _is_fitted(stage):
        return int(stage.upscale or 1)
    low = _low(number, stage)
    ratios = {many / few for few, many in zip(low.codec.event_shape[1:], low.grid)}
    factor = ratios.pop()
    if ratios or factor != int(factor):
        raise ConfigError(
            f"stage {number}: expected a whole factor, the same for every side, got {tuple(low.codec.event_shape[1:])} "
            f"enlarged to {low.grid}. Data cannot be shrunk so: fit the other stages by themselves."
        )
    return int(factor)


def _items(codec: Any) -> tuple[tuple[int, ...], str]:
    """Shape and dtype of the items of a codec; floats of any size are alike."""
    facts = codec.to_dict()
    return tuple(facts["item_shape"]), _kind(np.dtype(facts["dtype"]))


def _like(items: np.ndarray) -> tuple[tuple[int, ...], str]:
    return items.shape[1:], _kind(items.dtype)


def _kind(dtype: np.dtype[Any]) -> str:
    return "float" if dtype.kind == "f" else dtype.name


def _said(items: tuple[tuple[int, ...], str]) -> str:
    return f"{' x '.join(map(str, items[0]))} ({items[1]})"


def _check_chain(stages: Sequence[DiffusionModel]) -> None:
    """Refuse stages of which one does not enlarge what the one before gives."""
    for number, (before, stage) in enumerate(itertools.pairwise(stages), start=1):
        given, taken = _items(before.codec_), _items(_low(number, stage).codec)
        if given != taken:
            raise ConfigError(
                f"stages {number - 1} and {number} do not chain: stage {number - 1} gives items {_said(given)}, and "
                f"stage {number} enlarges items {_said(taken)}. Train one of both for the other."
            )


def _told(stage: DiffusionModel) -> list[str]:
    """Names of the conditions of a stage besides those made of its items."""
    return [name for name in stage.conditions_.columns if name not in stage.conditions_.of_items]


def _asked(
    stages: Sequence[DiffusionModel],
    condition: Mapping[str, ArrayLike] | ArrayLike | None,
    n: int,
    seed: int,
    first: int,
) -> dict[str, Any]:
    """Values of the conditions by name; unless asked for, classes as the first stage that knows them draws them."""
    if condition is not None:
        columns = named(condition)
        known = {name for stage in stages for name in _told(stage)}
        if unknown := sorted(set(columns) - known):
            raise ConditionError(
                f"condition {unknown[0]!r} is unknown to every stage. Known: {', '.join(sorted(known)) or 'none'}."
            )
        return columns
    out: dict[str, Any] = {}
    for stage in stages:
        out = stage.conditions_.draw_values(n, seed, first) | out
    return out


def _leads(
    stages: Sequence[DiffusionModel], guidance: float | Mapping[str, Any] | GuidanceConfig | None
) -> list[GuidanceConfig | None]:
    """Guidance of each stage: by what it knows of what is asked for."""
    if guidance is None:
        return [None] * len(stages)
    config = parse_guidance(guidance)
    known = [_told(stage) for stage in stages]
    everywhere = {name for names in known for name in names}
    if not everywhere:
        raise ConfigError(
            "guidance: these stages were trained without conditions, and there is nothing to be guided by. Train them "
            "with y= or condition=."
        )
    wanted = everywhere if config.names is None else set(config.names)
    if unknown := sorted((wanted | set(config.away_from or {})) - everywhere):
        raise ConditionError(f"guidance: {unknown} are unknown to every stage. Known: {', '.join(sorted(everywhere))}.")
    leads: list[GuidanceConfig | None] = []
    for names in known:
        own = [name for name in names if name in wanted]
        away = {name: value for name, value in (config.away_from or {}).items() if name in names}
        leads.append(config.model_copy(update={"names": own, "away_from": away or None}) if own else None)
    return leads


def _seed_of(seed: int, number: int) -> int:
    """Seed of a stage; that of the base is the cascade's own."""
    return seed if number == 0 else int(uniform(seed, Stream.CASCADE, number, 1) * 2**53)


def _counting(progress: Callable[[int, int], None], number: int, stages: int) -> Callable[[int, int], None]:
    return lambda done, total: progress(number * total + done, stages * total)
