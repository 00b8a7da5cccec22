"""Averages of the weights of any width, after training: from snapshots of two averages along it.

An average by a power of the step has the profile p(tau) = (gamma + 1) tau^gamma / t^(gamma + 1) over the steps tau <= t
of a run (`PowerAverage`); sigma_rel, its standard deviation over t, says how wide it is. Snapshots of two averages,
taken now and then, have profiles p_i. The average of another width, or of an earlier end, is the sum of x_i theta_i
over the snapshots whose profile lies nearest to its own:

    min_x  int (p - sum_i x_i p_i)^2 dtau   such that   sum_i x_i = 1,

    int p_a p_b = (gamma_a + 1) (gamma_b + 1) / (gamma_a + gamma_b + 1)  t_a^gamma_b / t_b^(gamma_b + 1),   t_a <= t_b.

The sum of one, which the paper leaves to the fit, makes weights that do not change come back as they are. With weights
that stay what they are until the next step nothing is approximate but the fit, so by Cauchy and Schwarz the error is at
most |p| `misfit` times the root of the summed squares of what the weights moved by.
Source: Karras et al. 2024 (EDM2), section 3 and algorithm 3.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from caminito._errors import ConfigError, RunError
from caminito._files import read_json, read_tensors, write_json, write_tensors
from caminito.training.ema import PowerAverage, exponent

__all__ = ["STDS", "Profile", "Snapshots", "coefficients", "inner", "misfit"]

STDS = (0.05, 0.10)  # sigma_rel of the two averages, those of the paper
FORMAT_VERSION = 1
_WIDEST = 12**-0.5  # sigma_rel of the plain mean of all steps, gamma = 0


class Profile(NamedTuple):
    """Which steps an average is made of: those up to `step`, with relative standard deviation `std`."""

    step: int
    std: float


def inner(a: Profile, b: Profile) -> float:
    """int p_a p_b over the steps; see the module."""
    return float(_products([a], [b])[0, 0])


def _products(first: Sequence[Profile], second: Sequence[Profile]) -> NDArray[np.float64]:
    """`inner` of every pair, shape (first, second)."""
    powers = {std: exponent(std) for std in {profile.std for profile in (*first, *second)}}
    t, g = np.array([[float(p.step), powers[p.std]] for p in first]).T[:, :, None]
    u, h = np.array([[float(p.step), powers[p.std]] for p in second]).T[:, None]
    low, high, power = np.minimum(t, u), np.maximum(t, u), np.where(t <= u, h, g)  # the power of the later one
    products: NDArray[np.float64] = (g + 1) * (h + 1) / (g + h + 1) * (low / high) ** power / high
    return products


def coefficients(snapshots: Sequence[Profile], wanted: Profile) -> NDArray[np.float64]:
    """x: how much of each snapshot the wanted average is made of; float64, their sum is 1.

    Raises
    ------
    ConfigError
        If the width is not in (0, 0.2886), or there is no snapshot at the step where the wanted average ends: what
        happened since the one before cannot be made of the others.

    Notes
    -----
    Least squares in float64: neighbouring profiles overlap, so the equations are nearly singular, and the solution of
    smallest norm is taken. Snapshots after the end of the wanted average are left out (0).
    """
    used = _usable(snapshots, wanted)
    overlaps, sides = _products(used, used), _products(used, [wanted])[:, 0]
    scale = np.sqrt(np.diag(overlaps))  # unit profiles: the early ones are narrow and high
    n = len(used)
    system = np.zeros((n + 1, n + 1))
    system[:n, :n] = overlaps / np.outer(scale, scale)
    system[:n, n] = system[n, :n] = 1 / scale * scale.min()
    right = np.append(sides / scale, scale.min())
    solution = np.linalg.lstsq(system, right, rcond=1e-14)[0][:n] / scale
    known = dict(zip(used, solution))
    return np.array([known.get(profile, 0.0) for profile in snapshots])


def misfit(snapshots: Sequence[Profile], wanted: Profile) -> float:
    """|p - sum_i x_i p_i| / |p|: the share of the wanted profile that the snapshots cannot make."""
    x = coefficients(snapshots, wanted)
    overlaps, sides = _products(snapshots, snapshots), _products(snapshots, [wanted])[:, 0]
    whole = inner(wanted, wanted)
    missing = float(whole - 2 * x @ sides + x @ overlaps @ x)
    return float(np.sqrt(max(missing, 0.0) / whole))


def _usable(snapshots: Sequence[Profile], wanted: Profile) -> list[Profile]:
    if not 0 < wanted.std < _WIDEST:
        raise ConfigError(f"sigma_rel: expected a width in (0, {_WIDEST:.4f}), got {wanted.std}.")
    steps = sorted({profile.step for profile in snapshots})
    if wanted.step not in steps:
        raise ConfigError(
            f"step: expected one of a snapshot ({', '.join(map(str, steps)) or 'none'}), got {wanted.step}."
        )
    return [profile for profile in snapshots if profile.step <= wanted.step]


class Snapshots:
    """Two running averages of named weights, and snapshots of them in a folder.

    Snapshots are taken at all multiples of a number of steps, a power of two, that doubles when there would be more
    than `limit`: so there are between half of `limit` and `limit` of them, equally spaced, however long the run. Which
    there are is a function of the step alone.

    Parameters
    ----------
    folder : where `index.json` and the files are
    names : of the weights
    tensors : the weights before the first step
    limit : int >= 4
        Snapshots kept, each of the size of two sets of weights.
    stds : widths of the averages

    Examples
    --------
    >>> import tempfile
    >>> import torch
    >>> weight = torch.zeros(2)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     snapshots = Snapshots(folder, ["weight"], [weight])
    ...     for step in range(1, 65):
    ...         snapshots.update([weight + step], step)
    ...     average = Snapshots.reconstruct(folder, 0.15)
    >>> bool((average["weight"] - 53).abs().max() < 1)  # the mean of tau^3.56 is at .82 of 64
    True
    """

    def __init__(
        self,
        folder: str | Path,
        names: Iterable[str],
        tensors: Iterable[Tensor],
        *,
        limit: int = 32,
        stds: Sequence[float] = STDS,
    ) -> None:
        if limit < 4:
            raise ConfigError(f"limit: expected at least 4 snapshots, got {limit}.")
        self._folder, self._names, self._limit = Path(folder), list(names), limit
        start = list(tensors)
        self.averages = {float(std): PowerAverage(start, std) for std in stds}

    def update(self, tensors: Iterable[Tensor], step: int, *, last: bool = False) -> None:
        """Take in the weights after step number `step` (1, 2, ...); write a snapshot where one is due.

        `last` writes one in any case: at the end of a run, which need not be a multiple.
        """
        given = list(tensors)
        for average in self.averages.values():
            average.update(given, step)
        if last or step % self._every(step) == 0:
            self._write(step)

    def tensors(self) -> dict[str, Tensor]:
        """The running averages by name, for a checkpoint."""
        return {
            f"{std}/{name}": value
            for std, average in self.averages.items()
            for name, value in zip(self._names, average.values)
        }

    def load(self, tensors: Mapping[str, Tensor], step: int) -> None:
        """Go on from a checkpoint of `step` that holds what `tensors` gave: later snapshots are forgotten.

        Raises
        ------
        RunError
            If the earlier ones are gone.
        """
        if not (self._folder / "index.json").is_file():
            raise RunError(
                f"{self._folder}: expected the snapshots taken up to step {step}, found none. Restore the folder from "
                "a copy, or train anew."
            )
        with torch.no_grad():
            for name, value in self.tensors().items():
                value.copy_(tensors[name])
        self._keep([entry for entry in _entries(self._folder) if entry["step"] <= step])

    @staticmethod
    def steps(folder: str | Path) -> list[int]:
        """The steps of the snapshots in a folder, rising; none where there is no such folder."""
        folder = Path(folder)
        return [entry["step"] for entry in _entries(folder)] if (folder / "index.json").is_file() else []

    @staticmethod
    def reconstruct(folder: str | Path, std: float, step: int | None = None) -> dict[str, Tensor]:
        """The average of width `std` (sigma_rel) that ends at `step`, that of the last snapshot unless given.

        Summed in float64; each tensor comes back in its own dtype.

        Raises
        ------
        RunError
            If there are no snapshots, or a file was cut or altered.
        ConfigError
            If the width or the step is out of reach.
        """
        folder = Path(folder)
        entries = _entries(folder)
        stds = read_json(folder / "index.json")["stds"]
        profiles = [Profile(entry["step"], width) for entry in entries for width in stds]
        end = max((entry["step"] for entry in entries), default=0) if step is None else step
        x = coefficients(profiles, Profile(end, std)).reshape(len(entries), len(stds))
        total: dict[str, Tensor] = {}
        kinds: dict[str, torch.dtype] = {}
        for entry, row in zip(entries, x.tolist()):
            if any(row):
                held = read_tensors(folder / entry["file"], entry["sha256"])
                for key, value in held.items():
                    width, name = key.split("/", 1)
                    kinds[name] = value.dtype
                    share = row[stds.index(float(width))] * value.double()
                    total[name] = total[name].add_(share) if name in total else share
        return {name: value.to(kinds[name]) for name, value in total.items()}

    def _every(self, step: int) -> int:
        """Steps between snapshots of a run that has come so far."""
        every = 1
        while step > every * self._limit:
            every *= 2
        return every

    def _write(self, step: int) -> None:
        file = f"step_{step:08d}.safetensors"
        digest = write_tensors(self._folder / file, self.tensors())
        entries = _entries(self._folder) if (self._folder / "index.json").is_file() else []
        every = self._every(step)
        kept = [e for e in entries if e["step"] < step and e["step"] % every == 0]
        self._keep([*kept, {"step": step, "file": file, "sha256": digest}])

    def _keep(self, entries: list[dict[str, Any]]) -> None:
        """Write the index, and only then remove what it no longer names."""
        index = {"format_version": FORMAT_VERSION, "stds": list(self.averages), "snapshots": entries}
        write_json(self._folder / "index.json", index)
        named = {entry["file"] for entry in entries}
        for path in self._folder.glob("step_*.safetensors"):
            if path.name not in named:
                path.unlink(missing_ok=True)


def _entries(folder: Path) -> list[dict[str, Any]]:
    index = read_json(folder / "index.json")
    if index.get("format_version") != FORMAT_VERSION:
        raise RunError(
            f"{folder}: this version reads snapshots of format {FORMAT_VERSION}, got {index.get('format_version')}."
        )
    return list(index["snapshots"])
