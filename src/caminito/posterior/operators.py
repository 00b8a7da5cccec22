"""Operators: what an instrument sees of the data, y = A(x) + noise.

An operator maps rows of events (B, *event) to rows of what is seen (B, *seen). For a linear one the adjoint is as much
part of it as the map itself,

    <A x, y> = <x, A^T y>,

and where A A^T = g I on what is seen (a mask, a selection, a mean over blocks) it says so: everything that a Gaussian
observation asks for is then a division.
"""

from __future__ import annotations

import math
import numbers
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from caminito._errors import ConfigError, ShapeError

__all__ = [
    "Blur",
    "Compose",
    "Downsample",
    "Identity",
    "Linear",
    "Mask",
    "Nonlinear",
    "Operator",
    "Select",
    "check_adjoint",
]


class Operator(ABC):
    """What is seen of data.

    Attributes
    ----------
    is_linear : bool
        Whether it has an adjoint.
    """

    is_linear: bool = True

    @abstractmethod
    def __call__(self, x: Tensor) -> Tensor:
        """A(x), shape (B, *seen), of rows (B, *event)."""

    def adjoint(self, y: Tensor, event: tuple[int, ...]) -> Tensor:
        """A^T y, shape (B, *event), of rows (B, *seen); by differentiation unless an operator knows better."""
        with torch.enable_grad():
            x = torch.zeros(len(y), *event, dtype=y.dtype, device=y.device, requires_grad=True)
            (back,) = torch.autograd.grad(self(x), x, y)
        return back

    def seen(self, event: tuple[int, ...], dtype: torch.dtype = torch.float32) -> tuple[int, ...]:
        """Shape of what is seen of one event; `dtype` is that of the event."""
        return tuple(self(torch.zeros(1, *event, dtype=dtype)).shape[1:])

    def gram(self, event: tuple[int, ...]) -> float | None:
        """g where A A^T = g I; None where it is not a multiple of the identity, or not known to be."""
        return None


class Identity(Operator):
    """Everything, as it is: A x = x."""

    def __call__(self, x: Tensor) -> Tensor:
        """x."""
        return x

    def adjoint(self, y: Tensor, event: tuple[int, ...]) -> Tensor:
        """y."""
        return y

    def gram(self, event: tuple[int, ...]) -> float:
        """1."""
        return 1.0


class Mask(Operator):
    """Some entries as they are, the others not at all: A x = x where seen, 0 elsewhere.

    Parameters
    ----------
    mask : bool tensor, shape (*event); or (P, *event), one for each of P observations
        True where an entry is seen.
    """

    def __init__(self, mask: Tensor) -> None:
        mask = torch.as_tensor(mask)
        if mask.dtype != torch.bool:
            raise ConfigError(f"mask: expected True (seen) and False (missing), got {mask.dtype}. Compare: mask > 0.")
        self.mask = mask

    def __call__(self, x: Tensor) -> Tensor:
        """x with 0 where it is not seen."""
        if self.mask.ndim == x.ndim and len(self.mask) not in (1, len(x)):
            raise ShapeError(
                f"mask: expected one for all of {len(x)} rows or one for each, got {len(self.mask)}. One for each "
                "observation is for a mask alone, or for one that comes last."
            )
        return torch.where(self.mask.to(x.device), x, torch.zeros((), dtype=x.dtype, device=x.device))

    def adjoint(self, y: Tensor, event: tuple[int, ...]) -> Tensor:
        """A mask is its own adjoint."""
        return self(y)

    def gram(self, event: tuple[int, ...]) -> float:
        """1."""
        return 1.0

    def checked(self, event: tuple[int, ...]) -> Tensor:
        """The mask, if it fits events of this shape.

        Raises
        ------
        ShapeError
        """
        if tuple(self.mask.shape[-len(event) :]) != event or self.mask.ndim > len(event) + 1:
            raise ShapeError(
                f"mask: expected shape {event}, as an event has, or one for each observation, got "
                f"{tuple(self.mask.shape)}. True where an entry is seen."
            )
        return self.mask


class Select(Operator):
    """Some entries, by number: A x = x.flatten()[index].

    Parameters
    ----------
    index : sequence of int
        Numbers of entries of a flattened event, none twice.
    """

    def __init__(self, index: Sequence[int] | Tensor) -> None:
        given = torch.as_tensor(index)
        is_whole = given.dtype != torch.bool and not given.is_floating_point() and not given.is_complex()
        if not is_whole or given.ndim != 1 or not len(given) or len(given.unique()) != len(given):
            raise ConfigError(f"index: expected whole numbers of entries, none twice, got {given.tolist()}.")
        self.index = given.long()

    def __call__(self, x: Tensor) -> Tensor:
        """The entries, shape (B, number of entries)."""
        size = x[0].numel()
        if int(self.index.min()) < 0 or int(self.index.max()) >= size:
            raise ShapeError(
                f"index: expected numbers in [0, {size}), got {int(self.index.min())} to {int(self.index.max())}."
            )
        return x.flatten(1)[:, self.index.to(x.device)]

    def adjoint(self, y: Tensor, event: tuple[int, ...]) -> Tensor:
        """The entries put back where they were, 0 elsewhere."""
        out = torch.zeros(len(y), math.prod(event), dtype=y.dtype, device=y.device)
        out[:, self.index.to(y.device)] = y
        return out.reshape(-1, *event)

    def gram(self, event: tuple[int, ...]) -> float:
        """1."""
        return 1.0


class Linear(Operator):
    """A matrix, or a linear function.

    Parameters
    ----------
    forward : tensor (m, d), or function (B, *event) -> (B, *seen)
        A matrix acts on flattened events.
    adjoint : function (B, *seen) -> (B, *event), optional
        A^T; by differentiation unless given. It is checked before it is used (`check_adjoint`).
    """

    def __init__(
        self, forward: Tensor | Callable[[Tensor], Tensor], adjoint: Callable[[Tensor], Tensor] | None = None
    ) -> None:
        if isinstance(forward, Tensor):
            if forward.ndim != 2:
                raise ShapeError(f"forward: expected a matrix (m, d), got shape {tuple(forward.shape)}.")
            if adjoint is not None:
                raise ConfigError("adjoint: a matrix has its own. Leave it out.")
        elif not callable(forward):
            raise ConfigError(f"forward: expected a matrix or a function, got {type(forward).__name__}.")
        self.forward, self.given = forward, adjoint

    def __call__(self, x: Tensor) -> Tensor:
        """A x."""
        if isinstance(self.forward, Tensor):
            if x[0].numel() != self.forward.shape[1]:
                raise ShapeError(
                    f"forward: expected a matrix with a column for each of {x[0].numel()} entries of an event, got "
                    f"{self.forward.shape[1]}."
                )
            return x.flatten(1) @ self.forward.T.to(x)
        return self.forward(x)

    def adjoint(self, y: Tensor, event: tuple[int, ...]) -> Tensor:
        """A^T y."""
        if isinstance(self.forward, Tensor):
            return (y @ self.forward.to(y)).reshape(-1, *event)
        return super().adjoint(y, event) if self.given is None else self.given(y)


class Downsample(Operator):
    """Means over blocks of factor x ... x factor points; channels stay.

    Parameters
    ----------
    factor : int >= 2
    """

    def __init__(self, factor: int) -> None:
        self.factor = whole("factor", factor, 2)

    def __call__(self, x: Tensor) -> Tensor:
        """Shape (B, C, *grid / factor)."""
        grid = x.shape[2:]
        if not grid or any(points % self.factor for points in grid):
            told = " x ".join(map(str, grid)) or "an event without a grid"
            raise ShapeError(f"factor: expected one that divides the grid, got {self.factor} for {told}. Crop or pad.")
        blocks = [size for points in grid for size in (points // self.factor, self.factor)]
        out = x.reshape(*x.shape[:2], *blocks)
        return out.mean(dim=tuple(range(3, out.ndim, 2)))

    def adjoint(self, y: Tensor, event: tuple[int, ...]) -> Tensor:
        """Each mean shared out equally among its block."""
        for axis in range(2, y.ndim):
            y = y.repeat_interleave(self.factor, axis)
        return y / self.factor ** (y.ndim - 2)

    def gram(self, event: tuple[int, ...]) -> float:
        """1 / points of a block."""
        return float(self.factor ** -(len(event) - 1))


class Blur(Operator):
    """A Gaussian blur of each channel; beyond the border is 0.

    Parameters
    ----------
    width : float > 0
        Standard deviation, in points; the kernel ends at four of them.
    """

    def __init__(self, width: float) -> None:
        if not width > 0 or not math.isfinite(width):
            raise ConfigError(f"width: expected a number of points > 0, got {width!r}.")
        self.width = float(width)
        reach = max(1, math.ceil(4 * self.width))
        kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, dtype=torch.float64) / self.width) ** 2)
        self.kernel = kernel / kernel.sum()

    def __call__(self, x: Tensor) -> Tensor:
        """The blurred event, same shape."""
        if x.ndim < 3:
            raise ShapeError(f"blur: expected channels and a grid, (B, C, *grid), got shape {tuple(x.shape)}.")
        kernel, reach = self.kernel.to(x), len(self.kernel) // 2
        for axis in range(2, x.ndim):
            rows = x.movedim(axis, -1)
            lines = functional.conv1d(rows.reshape(-1, 1, rows.shape[-1]), kernel[None, None], padding=reach)
            x = lines.reshape(rows.shape).movedim(-1, axis)
        return x

    def adjoint(self, y: Tensor, event: tuple[int, ...]) -> Tensor:
        """A symmetric kernel with zeros beyond the border is its own adjoint."""
        return self(y)


class Nonlinear(Operator):
    """Any function that torch can differentiate.

    Parameters
    ----------
    forward : function (B, *event) -> (B, *seen)
    """

    is_linear = False

    def __init__(self, forward: Callable[[Tensor], Tensor]) -> None:
        self.forward = forward

    def __call__(self, x: Tensor) -> Tensor:
        """A(x)."""
        return self.forward(x)

    def adjoint(self, y: Tensor, event: tuple[int, ...]) -> Tensor:
        """Refused: it has none."""
        raise ConfigError("operator: a nonlinear one has no adjoint. Linearise it, or use a method that does.")


class Compose(Operator):
    """One operator after another: A x = outer(inner(x))."""

    def __init__(self, outer: Operator, inner: Operator) -> None:
        self.outer, self.inner = outer, inner
        self.is_linear = outer.is_linear and inner.is_linear

    def __call__(self, x: Tensor) -> Tensor:
        """outer(inner(x))."""
        return self.outer(self.inner(x))

    def adjoint(self, y: Tensor, event: tuple[int, ...]) -> Tensor:
        """inner^T outer^T y."""
        return self.inner.adjoint(self.outer.adjoint(y, self.inner.seen(event, y.dtype)), event)


def check_adjoint(operator: Operator, event: tuple[int, ...], *, dtype: torch.dtype = torch.float64) -> None:
    """Refuse a linear operator whose adjoint is not its own: <A x, y> = <x, A^T y> for random x and y.

    Raises
    ------
    ConfigError
        If the two sides differ, or the operator is not linear.
    """
    chance = torch.Generator().manual_seed(0)
    x, other = (torch.randn(2, *event, generator=chance, dtype=dtype) for _ in range(2))
    image = operator(x)
    y = torch.randn(image.shape, generator=chance, dtype=dtype)
    tolerance = 1e-4 * max(float(image.norm() * y.norm()), 1e-12)  # for operators in single precision inside
    straight = operator(x + 2 * other) - image - 2 * operator(other)
    if not float(straight.norm()) <= tolerance:
        raise ConfigError("operator: expected a linear one, got A(x + 2 z) != A x + 2 A z. Use Nonlinear.")
    back = operator.adjoint(y, event)
    if back.shape != x.shape:
        raise ConfigError(
            f"operator: expected an adjoint that gives shape {(2, *event)}, got {tuple(back.shape)}. "
            "It takes what is seen back to an event."
        )
    left, right = (image * y).flatten(1).sum(1), (x * back).flatten(1).sum(1)
    if not bool(((left - right).abs() <= tolerance).all()):
        raise ConfigError(
            f"operator: expected <A x, y> = <x, A^T y>, got {float(left[0]):.6g} and {float(right[0]):.6g}. "
            "Mend the adjoint, or leave it out: it is then found by differentiation."
        )


def whole(name: str, value: Any, least: int = 1) -> int:
    """The option as an int, if it is a whole number that is large enough.

    Raises
    ------
    ConfigError
    """
    is_number = isinstance(value, numbers.Real)
    if not is_number or value != value // 1 or value < least:
        raise ConfigError(f"{name}: expected a whole number >= {least}, got {value!r}.")
    return int(value)
