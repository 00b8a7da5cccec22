"""Verbs for data that were seen in part: what a model says of the rest, in the units and containers of the user.

    posterior     by any operator               inpaint     images with pixels to be filled
    impute        items with NaN                enlarge     images by a factor
    assimilate    fields seen at some points

All draw from p(item | what was seen), whose noise is normal, by `caminito.posterior`; what was seen is put back where
it is certain.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from caminito._errors import ConfigError, DataError, ShapeError
from caminito.denoiser import Condition, rows_of
from caminito.estimators.conditions import named
from caminito.estimators.given import Given, given_of
from caminito.estimators.layout import Layout, known_values
from caminito.estimators.observed import (
    TRAINED,
    Drawn,
    Walk,
    drawn,
    encoded_condition,
    filled,
    level_of,
    refuse_beyond,
    told,
)
from caminito.posterior import Compose, Downsample, Identity, Mask, Method, Operator, Select

if TYPE_CHECKING:
    from caminito.estimators.model import DiffusionModel

__all__ = ["ImageVerbs", "Verbs"]

Floats = NDArray[np.float64]
Noise = float | ArrayLike
Progress = Callable[[int, int], None]


class Verbs:
    """What `DiffusionModel` does with data that were seen in part."""

    def posterior(
        self,
        y: ArrayLike,
        operator: Operator | None = None,
        noise: Noise | None = None,
        *,
        method: Method | str = "auto",
        n_draws: int = 64,
        particles: int | None = None,
        condition: Mapping[str, ArrayLike] | ArrayLike | None = None,
        random_state: int | np.random.RandomState | None = None,
        n_steps: int | None = None,
        batch_size: int | None = None,
        options: Mapping[str, Any] | None = None,
        progress: Progress | None = None,
    ) -> Given:
        """Draw items given y = A(item) + noise.

        Parameters
        ----------
        y : array, in the units of the training data; NaN where nothing was seen
            Without an operator, an item as `fit` was given them, or n of them. With one, what it sees of an item,
            shape (*seen), or (P, *seen) of P different items.
        operator : caminito.posterior.Operator, optional
            A: from rows (B, *event) of items, in the units of the training data, to rows (B, *seen). An event is an
            item with its channels first, shape `event_shape_`: (C, H, W) of an image (H, W, C) and (1, H, W) of (H, W);
            (d,) of a row of d numbers. The identity unless given.
        noise : number, array, optional
            Standard deviation, in the units of y: of all entries seen, or of each, in the shape of one observation; or
            a covariance (m, m) of the m entries seen. Needed with an operator; without one, a grey level of images
            (1 / 255 of the range of their data, at least 1 of whole numbers), or a hundredth of the spread of each
            column or channel of others.
        method : 'auto' or a method of `caminito.posterior.posterior`
            auto: 'tds' where few entries are seen, at most 64 of a row of numbers or 8 of a grid, else 'mmps': weights
            of many entries do not bear the errors of a learnt denoiser.
        n_draws : int >= 1
            Of each observation.
        particles : int >= 2, optional
            Of 'tds' and 'split-smc', for each observation; n_draws unless given, and at least 64.
        condition : mapping of values by name, or the values of y of `fit` alone, optional
            A row for each observation, or one for all. Without it, as for items of no known condition.
        random_state : int, optional
            Draws of observation i depend on (random_state, i, n_draws, particles), not on `batch_size`.
        n_steps : int, optional
            Of the walk; 200 of 'tds' and 'dps', 30 of 'split-smc' and 'split-gibbs', 50 of others unless given.
        batch_size : int, optional
            Rows that the network is given at once; chosen so that memory stays bounded unless given.
        options : mapping, optional
            Further options of the method: `ess`, `iterations`, `trust`, `scale`, `inner`, ...
        progress : (done, total) -> None, optional

        Returns
        -------
        Given

        Raises
        ------
        ShapeError, DataError
            If y has another shape than A sees, infinities, or values far from the range of the data.
        ConfigError
            If the noise is impossible, the adjoint of A is not its own, the codec of the model is not affine, or the
            method cannot take the operator, the noise or an option.

        Warns
        -----
        DegenerateWeights
            If few particles count.

        Examples
        --------
        >>> import numpy as np
        >>> from caminito import DiffusionModel
        >>> X = np.random.default_rng(0).normal(size=(200, 2))
        >>> model = DiffusionModel(max_steps=20, random_state=0).fit(X)
        >>> found = model.posterior([0.5, np.nan], noise=0.1, n_draws=16, n_steps=10, random_state=0)
        >>> found.draws.shape, found.mean.shape
        ((16, 2), (2,))
        """
        model = _fitted(self)
        layout = Layout.of(model.codec_)
        if operator is None:
            rows, is_one = layout.rows(_numbers(y, "y"), "y")
            values, operator, level = _events(layout, rows), Identity(), _believed(model, layout, noise)
        elif noise is None:
            raise ConfigError(
                "noise: expected the standard deviation of what was seen, in its units, got None. Give that of the "
                "instrument, a rounding error at least."
            )
        else:
            values, operator, is_one = _of_seen(layout, _numbers(y, "y"), operator)
            level = _level(noise)
        walk = Walk(method, n_draws, particles, n_steps, batch_size, options, progress)
        return _of(model, layout, values, operator, level, condition, random_state, walk, is_one)

    def impute(
        self,
        X: ArrayLike,
        *,
        n_draws: int = 1,
        noise: Noise | None = None,
        method: Method | str = "auto",
        particles: int | None = None,
        condition: Mapping[str, ArrayLike] | ArrayLike | None = None,
        random_state: int | np.random.RandomState | None = None,
        n_steps: int | None = None,
        batch_size: int | None = None,
        options: Mapping[str, Any] | None = None,
        progress: Progress | None = None,
    ) -> Given:
        """X with its missing values drawn from what they may be, given all else that is known of their items.

        Parameters
        ----------
        X : array or DataFrame like that of `fit`, or one item of it
            NaN is missing; each item may lack other entries. What is known is kept as it is, and so are items that lack
            nothing. Of one that lacks everything, draws are plain samples.
        n_draws : int >= 1
            Draws differ where what is known leaves it open: what a later analysis makes of each says how much that
            matters.
        noise : number or array of the shape of an item, optional
            How far what is known is believed, as a standard deviation; a grey level of images, or a hundredth of the
            spread of each column or channel of others unless given.
        method : str
            As for `posterior`, or "trained": by a network that has learnt to fill holes (`inpainting=True`), which
            "auto" is where it has, unless noise, particles or options are asked for. It takes the steps of `sample`.
        particles, condition, random_state, n_steps, batch_size, options, progress
            As for `posterior`.

        Returns
        -------
        Given
            `draw(0)` is X with its holes filled; `mean`, `std` and `interval()` say what is known of each.

        Raises
        ------
        ShapeError, DataError, ConfigError
            As for `posterior`.

        Examples
        --------
        >>> import numpy as np
        >>> from caminito import DiffusionModel
        >>> X = np.random.default_rng(0).normal(size=(200, 2))
        >>> model = DiffusionModel(max_steps=20, random_state=0).fit(X)
        >>> full = model.impute([[0.5, np.nan], [0.1, 0.2]], n_steps=5, random_state=0).draw(0)
        >>> float(full[0, 0]), full[1].tolist()
        (0.5, [0.1, 0.2])
        """
        model = _fitted(self)
        layout = Layout.of(model.codec_)
        rows, is_one = layout.rows(_with_holes(model, X), "X")
        walk = Walk(method, n_draws, particles, n_steps, batch_size, options, progress)
        known = ~np.isnan(rows) if rows.dtype.kind == "f" else np.ones(rows.shape, dtype=bool)
        holes = _Holes(layout, rows, known, is_one, "X", getattr(X, "index", None) if hasattr(X, "columns") else None)
        return _completed(model, holes, noise, condition, random_state, walk)

    def assimilate(
        self,
        observations: ArrayLike | Mapping[Any, float],
        noise: Noise,
        *,
        n_draws: int = 16,
        method: Method | str = "auto",
        particles: int | None = None,
        condition: Mapping[str, ArrayLike] | ArrayLike | None = None,
        random_state: int | np.random.RandomState | None = None,
        n_steps: int | None = None,
        batch_size: int | None = None,
        options: Mapping[str, Any] | None = None,
        progress: Progress | None = None,
    ) -> Given:
        """Whole fields from what was observed at some of their points.

        Parameters
        ----------
        observations : array of the shape of a field, or of n of them, or mapping of index to value
            NaN where nothing was observed; or the observations of one field, by where they are in it:
            {(3, 17): 281.4, (9, 2): 279.0}.
        noise : number, array of the shape of a field, or mapping of the same indices
            Standard deviation of the observations, in the units of the field. Draws are not tied to an observation more
            than that.
        n_draws, method, particles, condition, random_state, n_steps, batch_size, options, progress
            As for `posterior`.

        Returns
        -------
        Given

        Raises
        ------
        ShapeError, DataError, ConfigError
            As for `posterior`; if an index is outside a field.

        Examples
        --------
        >>> import numpy as np
        >>> from caminito import DiffusionModel
        >>> fields = np.random.default_rng(0).normal(size=(100, 4, 4))
        >>> tiny = {"kind": "unet", "width": 16, "multipliers": [1], "blocks": 1, "attention": []}
        >>> model = DiffusionModel(network=tiny, max_steps=2, random_state=0).fit(fields)
        >>> seen = {(0, 1): 0.3, (2, 2): -1.0}
        >>> model.assimilate(seen, 0.1, n_draws=4, n_steps=5, random_state=0).draws.shape
        (4, 4, 4)
        """
        shape = Layout.of(_fitted(self).codec_).item_shape
        if isinstance(observations, Mapping):
            if isinstance(noise, Mapping):
                noise = _placed(noise, shape, 1.0, "noise", observations)
            observations = _placed(observations, shape, np.nan, "observations")
        elif isinstance(noise, Mapping):
            raise ConfigError("noise: expected a number or an array, as the observations are, got a mapping.")
        return self.posterior(
            observations,
            None,
            noise,
            method=method,
            n_draws=n_draws,
            particles=particles,
            condition=condition,
            random_state=random_state,
            n_steps=n_steps,
            batch_size=batch_size,
            options=options,
            progress=progress,
        )


class ImageVerbs:
    """What `ImageDiffusion` does with images that were seen in part."""

    def inpaint(
        self,
        images: ArrayLike,
        mask: ArrayLike,
        *,
        n_draws: int = 4,
        noise: float | None = None,
        method: Method | str = "auto",
        particles: int | None = None,
        condition: Mapping[str, ArrayLike] | ArrayLike | None = None,
        random_state: int | np.random.RandomState | None = None,
        n_steps: int | None = None,
        batch_size: int | None = None,
        options: Mapping[str, Any] | None = None,
        progress: Progress | None = None,
    ) -> Given:
        """Fill the masked pixels of images: True, or any number but 0, IS MISSING, as in scikit-image and OpenCV.

        Parameters
        ----------
        images : array, shape (H, W) or (H, W, C) of one image, or with n of them in front
            Layout, size and range of the images of `fit`. What stands in masked pixels is not looked at.
        mask : array of the shape of one image, of (H, W), or of either for each of the n images
            Not 0 where a pixel is TO BE FILLED, 0 where it is known. (`caminito.posterior.Mask` says it the other way.)
        n_draws : int >= 1
            Of each image. Known pixels are the same in all of them, bit for bit. Where nothing is masked they are the
            image; where everything is, plain samples.
        noise : float, optional
            How far known pixels are believed, as a standard deviation; a grey level unless given: 1 / 255 of the range
            of the data, at least 1 of whole numbers.
        method : str
            As for `posterior`, or "trained": by a network that has learnt to fill holes (`inpainting=True`), which
            "auto" is where it has, unless noise, particles or options are asked for. It takes the steps of `sample`.
        particles, condition, random_state, n_steps, batch_size, options, progress
            As for `posterior`.

        Returns
        -------
        Given

        Raises
        ------
        ShapeError
            If images or mask have another shape than those of `fit`.
        DataError
            If known pixels are not finite, no values of the dtype of the data, or far from their range.
        ConfigError
            As for `posterior`.

        Examples
        --------
        >>> import numpy as np
        >>> from caminito import ImageDiffusion
        >>> from caminito.data import load_digits
        >>> X, y = load_digits()
        >>> model = ImageDiffusion(max_steps=2, random_state=0).fit(X)
        >>> right = np.zeros((8, 8), dtype=bool)
        >>> right[:, 4:] = True
        >>> found = model.inpaint(X[0], right, n_draws=2, n_steps=5, method="mmps", random_state=0)
        >>> found.draws.shape, bool((found.draws[:, :, :4] == X[0][:, :4]).all())
        ((2, 8, 8), True)
        """
        model = _fitted(self)
        layout = Layout.of(model.codec_)
        rows, is_one = layout.rows(np.asarray(images), "images")
        walk = Walk(method, n_draws, particles, n_steps, batch_size, options, progress)
        known = ~_masked(np.asarray(mask), rows.shape, layout)
        return _completed(model, _Holes(layout, rows, known, is_one, "images"), noise, condition, random_state, walk)

    def enlarge(
        self,
        images: ArrayLike,
        factor: int | None = None,
        *,
        n_draws: int = 4,
        noise: float | None = None,
        method: Method | str = "auto",
        particles: int | None = None,
        condition: Mapping[str, ArrayLike] | ArrayLike | None = None,
        random_state: int | np.random.RandomState | None = None,
        n_steps: int | None = None,
        batch_size: int | None = None,
        options: Mapping[str, Any] | None = None,
        progress: Progress | None = None,
    ) -> Given:
        """Enlarge images: draws of those whose means over blocks of factor x factor pixels are the images.

        Parameters
        ----------
        images : array, shape (h, w) or (h, w, C) of one image, or with n of them in front
            Small ones; h and w times the factor are the size of the images of `fit`.
        factor : int >= 2, optional
            Found from the sizes unless given.
        n_draws : int >= 1
            Of each image.
        noise : float, optional
            How far the small images are believed, as a standard deviation; a grey level unless given: 1 / 255 of the
            range of the data, at least 1 of whole numbers.
        method, particles, condition, random_state, n_steps, batch_size, options, progress
            As for `posterior`.

        Returns
        -------
        Given

        Raises
        ------
        ShapeError
            If the sizes do not fit.
        DataError, ConfigError
            As for `posterior`; if the model was trained to enlarge (`upscale=`), which `sample` does.

        Examples
        --------
        >>> from caminito import ImageDiffusion
        >>> from caminito.data import load_digits, shrink
        >>> X, y = load_digits()
        >>> model = ImageDiffusion(max_steps=2, random_state=0).fit(X)
        >>> small = shrink(X[:3], 2)
        >>> model.enlarge(small, n_draws=2, n_steps=5, method="mmps", random_state=0).draws.shape
        (3, 2, 8, 8)
        """
        model = _fitted(self)
        layout = Layout.of(model.codec_)
        if model.conditions_.lowres and not set(model.conditions_.lowres) & set(named(condition or {})):
            raise ConfigError(
                "enlarge: expected a model of images alone, this one has learnt to enlarge and waits for the small "
                f"ones. Use sample(n, condition={{{model.conditions_.lowres[0]!r}: images}})."
            )
        values, is_one, factor = _small(_numbers(images, "images"), layout, factor)
        level = level_of(model.codec_, layout)
        operator = Downsample(factor)
        walk = Walk(method, n_draws, particles, n_steps, batch_size, options, progress)
        believed = operator(level[None])[0] if noise is None else _level(noise)
        if bool(torch.isnan(values).any()):
            raise DataError("images: expected numbers, got NaN. Use posterior with Downsample for images with holes.")
        return _of(model, layout, values, operator, believed, condition, random_state, walk, is_one)


def _fitted(model: Any) -> DiffusionModel:
    check_is_fitted(model, "denoiser_")
    return cast("DiffusionModel", model)


@dataclass(frozen=True, eq=False)
class _Holes:
    """Items (P, *item) of which some entries are known."""

    layout: Layout
    rows: NDArray[Any]
    known: NDArray[np.bool_]
    is_one: bool
    name: str
    index: Any = None


def _completed(
    model: DiffusionModel, holes: _Holes, noise: Noise | None, condition: Any, random_state: Any, walk: Walk
) -> Given:
    """Draws of the items that lack something; the others as they are."""
    codec, known = cast(Any, model.codec_), holes.known
    kept = known_values(holes.rows, known, codec.dtype, holes.name)
    count, seed = len(kept), model._seed(random_state)
    level = _believed(model, holes.layout, noise)
    cond = _told(model, condition, count, seed)
    array = np.repeat(kept[:, None], walk.n_draws, axis=1)
    todo = np.flatnonzero(~known.reshape(count, -1).all(axis=1))
    found = None
    if len(todo):
        values = np.where(known, holes.rows, np.nan)[todo]
        rows = rows_of(cond, torch.from_numpy(todo))
        if _is_learnt(model, walk, noise):
            refuse_beyond(_events(holes.layout, values), codec.limits, level, holes.name)
            name = cast(str, model.conditions_.known)
            seen = model.conditions_.columns[name].encode(values)
            found = filled(model, len(todo), walk, {**(rows or {}), name: seen}, seed)
        else:
            found = _draws(model, holes.layout, _events(holes.layout, values), Identity(), level, rows, seed, walk)
        array[todo] = np.where(known[todo][:, None], array[todo], _decoded(model, found))
    return given_of(model, array, found, is_one=holes.is_one, index=holes.index, todo=todo)


def _is_learnt(model: DiffusionModel, walk: Walk, noise: Noise | None) -> bool:
    """Whether holes are filled as the model has learnt to.

    Raises
    ------
    ConfigError
        If that was asked for and it has not, or with a noise of its own.
    """
    can = model.conditions_.known is not None
    if walk.method == TRAINED and not can:
        raise ConfigError(
            f"method: {TRAINED!r} fills holes by what was learnt of them, and this model has learnt nothing of holes. "
            "Leave it out, or train with inpainting=True."
        )
    if walk.method == TRAINED and noise is not None:
        raise ConfigError(
            f"noise: expected none with method {TRAINED!r}, which takes what is known as it is, got {noise!r}. "
            "Leave it out, or use method='mmps'."
        )
    return walk.method == TRAINED or (
        can and walk.method == "auto" and noise is None and not walk.particles and not walk.options
    )


def _of(
    model: DiffusionModel,
    layout: Layout,
    values: Tensor,
    operator: Operator,
    noise: Tensor,
    condition: Any,
    random_state: Any,
    walk: Walk,
    is_one: bool,
) -> Given:
    """Draws given observations (P, *seen)."""
    if walk.method == TRAINED:
        raise ConfigError(f"method: {TRAINED!r} fills holes, which impute and inpaint do. Use 'auto' or 'mmps' here.")
    seed = model._seed(random_state)
    found = _draws(model, layout, values, operator, noise, _told(model, condition, len(values), seed), seed, walk)
    return given_of(model, _decoded(model, found), found, is_one=is_one)


def _draws(
    model: DiffusionModel,
    layout: Layout,
    values: Tensor,
    operator: Operator,
    noise: Tensor,
    cond: Condition,
    seed: int,
    walk: Walk,
) -> Drawn:
    """Draws given observations (P, *seen) in the units of the data."""
    is_std = noise.ndim == 0 or noise.shape == values.shape[1:]
    if is_std and (bool((noise < 0).any()) or not bool(torch.isfinite(noise).all())):
        low, high = float(noise.min()), float(noise.max())
        raise ConfigError(
            "noise: expected standard deviations >= 0, got " + (f"{low:g}." if low == high else f"{low:g} to {high:g}.")
        )
    if isinstance(operator, Identity | Select | Downsample):
        refuse_beyond(values, model.codec_.limits, noise if is_std else noise.abs().max().sqrt(), "y")
    return drawn(model, told(layout, values, operator, noise), walk, cond, seed)


def _told(model: DiffusionModel, condition: Any, count: int, seed: int) -> Condition:
    return encoded_condition(model, None if condition is None else named(condition), count, seed)


def _decoded(model: DiffusionModel, found: Drawn) -> NDArray[Any]:
    """Draws as items, shape (P, n, *item)."""
    items = model.codec_.decode(found.x.flatten(0, 1))
    return items.reshape(*found.x.shape[:2], *items.shape[1:])


def _numbers(values: Any, name: str) -> NDArray[Any]:
    """An array of real numbers."""
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise DataError(f"{name}: expected numbers, NaN where nothing was seen, got dtype {array.dtype}.")
    return array


def _events(layout: Layout, rows: NDArray[Any]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(layout.events(rows), dtype=np.float64))


def _level(noise: Noise) -> Tensor:
    return torch.as_tensor(np.asarray(noise, dtype=np.float64))


def _believed(model: DiffusionModel, layout: Layout, noise: Noise | None) -> Tensor:
    """Noise of items seen as they are, in the layout of events."""
    if noise is None:
        return level_of(model.codec_, layout)
    value = np.asarray(noise, dtype=np.float64)
    is_item = value.ndim > 0 and value.shape == layout.item_shape
    return _events(layout, value[None])[0] if is_item else torch.from_numpy(value)


def _of_seen(layout: Layout, y: NDArray[Any], operator: Operator) -> tuple[Tensor, Operator, bool]:
    """Observations (P, *seen) by an operator, of which a mask becomes NaN; and whether there is one alone."""
    if not isinstance(operator, Operator):
        raise ConfigError(
            f"operator: expected one of caminito.posterior, got {type(operator).__name__}. For a matrix or a linear "
            "function: Linear(...), for any other function: Nonlinear(...)."
        )
    event, values = layout.event_shape, torch.from_numpy(np.asarray(y, dtype=np.float64))
    mask = None
    if isinstance(operator, Mask):
        mask, operator = operator.checked(event), Identity()
    elif isinstance(operator, Compose) and isinstance(operator.outer, Mask):
        mask, operator = operator.outer.checked(operator.inner.seen(event)), operator.inner
    shape = operator.seen(event)
    is_one = tuple(values.shape) == shape
    if not is_one and (tuple(values.shape[1:]) != shape or not len(values)):
        many = ", ".join(map(str, ("P", *shape)))
        raise ShapeError(
            f"y: expected shape {shape}, as the operator sees an event of shape {event}, or ({many}) for P "
            f"observations, got {tuple(values.shape)}."
        )
    values = values[None] if is_one else values
    if mask is None:
        return values, operator, is_one
    if mask.ndim > len(shape) and len(mask) != len(values):
        raise ShapeError(f"mask: expected one for each of {len(values)} observations, got {len(mask)}.")
    return torch.where(mask, values, torch.full_like(values, torch.nan)), operator, is_one


def _with_holes(model: DiffusionModel, X: Any) -> NDArray[Any]:
    """X with its NaN, checked against the training data."""
    if hasattr(X, "columns"):
        how: dict[str, Any] = {"allow_nd": True, "ensure_all_finite": "allow-nan"}
        return np.asarray(validate_data(cast(Any, model), X, reset=False, **how))
    return _numbers(X, "X")


def _masked(mask: NDArray[Any], shape: tuple[int, ...], layout: Layout) -> NDArray[np.bool_]:
    """Whether each entry of images (P, *item) is to be filled."""
    item, flat = layout.item_shape, layout.item_shape[:2]
    if mask.dtype.kind not in "biuf" or (mask.dtype.kind == "f" and bool(np.isnan(mask).any())):
        raise DataError(f"mask: expected True where a pixel is to be filled and False elsewhere, got {mask.dtype}.")
    holes = mask != 0
    if mask.shape == item:
        holes = holes[None]
    elif mask.shape == flat:
        holes = holes[None, ..., None]
    elif mask.shape == (shape[0], *flat) and len(item) > 2:
        holes = holes[..., None]
    elif mask.shape != shape:
        raise ShapeError(
            f"mask: expected shape {flat}, as an image has (height, width), {item}, or one for each of {shape[0]} "
            f"images, got {mask.shape}. Not 0 where a pixel is to be filled."
        )
    return np.broadcast_to(holes, shape)


def _small(values: NDArray[Any], layout: Layout, factor: int | None) -> tuple[Tensor, bool, int]:
    """Small images (P, C, h, w), whether there is one alone, and the factor."""
    item = layout.item_shape
    is_one = values.ndim == len(item)
    rows = values[None] if is_one else values
    if rows.ndim != len(item) + 1 or not len(rows) or rows.shape[3:] != item[2:]:
        raise ShapeError(
            f"images: expected small images of the layout of the training data, {item}, one or several, got "
            f"{values.shape}."
        )
    small, full = rows.shape[1:3], item[:2]
    least = full[0] // max(1, small[0]) if factor is None else factor
    size, whole = (" x ".join(map(str, sides)) for sides in (small, full))
    if factor is None and least < 2:
        raise ShapeError(f"images: expected images smaller than those of this model, {whole}, got {size}.")
    operator = Downsample(least)
    if tuple(side * operator.factor for side in small) != full:
        why = "a whole number" if factor is None else f"the factor {operator.factor}"
        raise ShapeError(
            f"images: expected a size that times {why} is {whole}, that of the images of this model, got {size}. "
            "Crop or resize them first."
        )
    return _events(layout, rows), is_one, operator.factor


def _placed(
    values: Mapping[Any, float],
    shape: tuple[int, ...],
    elsewhere: float,
    name: str,
    like: Mapping[Any, Any] | None = None,
) -> NDArray[Any]:
    """A field with values at some indices."""
    if like is not None and set(values) != set(like):
        raise ConfigError(f"{name}: expected the indices of the observations, got others.")
    field_ = np.full(shape, elsewhere)
    for key, value in values.items():
        place = key if isinstance(key, tuple) else (key,)
        inside = len(place) == len(shape) and all(
            isinstance(i, int | np.integer) and 0 <= i < n for i, n in zip(place, shape)
        )
        if not inside:
            raise ShapeError(f"{name}: expected indices of a field of shape {shape}, counted from 0, got {key!r}.")
        field_[place] = value
    return field_
