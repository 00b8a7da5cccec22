"""Denoisers and their conditions: fixed, hidden, and one denoiser for each class.

For classes k with shares w_k and denoisers D_k that know the noisy density p_t(x_t | k):

    p(k | x_t)   = w_k p_t(x_t | k) / sum_j w_j p_t(x_t | j)
    E[x0 | x_t]  = sum_k p(k | x_t) D_k(x_t).

Source: the law of total expectation; it is exact where the denoisers of the classes are.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from caminito._errors import ConditionError, ConfigError, ShapeError
from caminito.denoiser.base import Condition, Denoiser, for_rows
from caminito.nn import Given
from caminito.process import same_process
from caminito.process.base import Time

__all__ = ["ClassDenoiser", "Wrapped", "given", "without"]


class Wrapped(Denoiser):
    """A denoiser that answers as another one does, until a method says otherwise."""

    def __init__(self, denoiser: Denoiser) -> None:
        self.denoiser, self.process = denoiser, denoiser.process
        self.event_shape, self.data_moments = denoiser.event_shape, denoiser.data_moments

    def asked(self, x_t: Tensor, cond: Condition) -> Condition:
        """The conditions that the other one is given."""
        return cond

    def mean(self, x_t: Tensor, t: Time, cond: Condition = None) -> Tensor:
        """That of the other one."""
        return self.denoiser.mean(x_t, t, self.asked(x_t, cond))

    @property
    def knows_variance(self) -> bool:
        """Whether the other one does."""
        return self.denoiser.knows_variance

    @property
    def mixes_conditions(self) -> bool:
        """Whether the other one does."""
        return self.denoiser.mixes_conditions

    def var(self, x_t: Tensor, t: Time, cond: Condition = None) -> Tensor | None:
        """That of the other one."""
        return self.denoiser.var(x_t, t, self.asked(x_t, cond))

    def moments(self, x_t: Tensor, t: Time, cond: Condition = None) -> tuple[Tensor, Tensor | None]:
        """Those of the other one."""
        return self.denoiser.moments(x_t, t, self.asked(x_t, cond))

    def log_marginal(self, x_t: Tensor, t: Time, cond: Condition = None) -> Tensor | None:
        """That of the other one."""
        return self.denoiser.log_marginal(x_t, t, self.asked(x_t, cond))


def given(denoiser: Denoiser, cond: Condition) -> Denoiser:
    """The denoiser under conditions that are settled: E[x0 | x_t, cond], whatever else is asked.

    Parameters
    ----------
    denoiser : Denoiser
    cond : mapping of named conditions
        With a row for each x_t, or one that serves all.
    """
    return _Given(denoiser, cond)


class _Given(Wrapped):
    def __init__(self, denoiser: Denoiser, cond: Condition) -> None:
        super().__init__(denoiser)
        self.cond = cond

    def asked(self, x_t: Tensor, cond: Condition) -> Condition:
        return for_rows(self.cond, len(x_t))


def without(denoiser: Denoiser, *names: str) -> Denoiser:
    """The denoiser that is not told some conditions: E[x0 | x_t, the others]; none of them where no name is given.

    Parameters
    ----------
    denoiser : Denoiser
        Trained with those conditions dropped at random, or exact.
    names : str
    """
    return _Without(denoiser, names)


class _Without(Wrapped):
    def __init__(self, denoiser: Denoiser, names: tuple[str, ...]) -> None:
        super().__init__(denoiser)
        self.names = names

    def asked(self, x_t: Tensor, cond: Condition) -> Condition:
        kept = {} if not self.names else {k: v for k, v in (cond or {}).items() if k not in self.names}
        return kept or None


class ClassDenoiser(Denoiser):
    """One denoiser for each class, and their mixture where the class is not told.

    Parameters
    ----------
    denoisers : sequence of Denoiser
        Of one process, each with a `log_marginal`.
    shares : tensor, shape (K,), >= 0, summing to 1
        Probability of each class.
    name : str
        Of the condition: whole numbers 0 .. K - 1, one per row.

    Raises
    ------
    ConfigError
        If the shares are no probabilities of so many classes, or the processes differ.

    Examples
    --------
    >>> import torch
    >>> from caminito.denoiser import ClassDenoiser, GaussianDenoiser
    >>> from caminito.process import VP
    >>> vp = VP()
    >>> sides = [GaussianDenoiser(torch.tensor([side]), 0.01, vp) for side in (-1.0, 1.0)]
    >>> denoiser = ClassDenoiser(sides, torch.tensor([0.5, 0.5]))
    >>> x_t = torch.zeros(2, 1)
    >>> denoiser.mean(x_t, 0.9).flatten().abs().max() < 1e-6
    tensor(True)
    >>> denoiser.mean(x_t, 0.9, {"y": torch.tensor([0, 1])}).sign().flatten()
    tensor([-1.,  1.])
    """

    def __init__(self, denoisers: Sequence[Denoiser], shares: Tensor, name: str = "y") -> None:
        w = torch.as_tensor(shares, dtype=torch.float64)
        if w.shape != (len(denoisers),) or not len(w) or bool((w < 0).any()) or abs(float(w.sum()) - 1) > 1e-5:
            raise ConfigError(
                f"shares: expected {len(denoisers)} numbers >= 0 that sum to 1, one for each class, got {w.tolist()}."
            )
        if not all(same_process(each.process, denoisers[0].process) for each in denoisers):
            raise ConfigError("denoisers: expected one process for all classes, got different ones.")
        self.denoisers, self.name = list(denoisers), name
        self.process, self.event_shape = denoisers[0].process, denoisers[0].event_shape
        self._log_shares = torch.log(w / w.sum())
        means, variances = (
            [torch.as_tensor(each.data_moments[i], dtype=torch.float64) for each in denoisers] for i in (0, 1)
        )
        mean = torch.stack([p * m for p, m in zip(w, means)]).sum(0)
        var = torch.stack([p * (v + (m - mean) ** 2) for p, m, v in zip(w, means, variances)]).sum(0)
        self.data_moments = (mean, var)

    @property
    def mixes_conditions(self) -> bool:
        """True: each row has its own weights of the classes."""
        return True

    def log_probs(self, x_t: Tensor, t: Time) -> Tensor:
        """log p(k | x_t) of all classes, shape (B, K): the exact classifier of noisy data."""
        return torch.log_softmax(self._joint(x_t, t), 1)

    def mean(self, x_t: Tensor, t: Time, cond: Condition = None) -> Tensor:
        """sum_k p(k | x_t) D_k, or that of the class where it is told."""
        return self._mixed([each.mean(x_t, t) for each in self.denoisers], self._weights(x_t, t, cond))

    def var(self, x_t: Tensor, t: Time, cond: Condition = None) -> Tensor | None:
        """Diagonal of Cov[x0 | x_t]: within classes and between them."""
        return self.moments(x_t, t, cond)[1]

    def moments(self, x_t: Tensor, t: Time, cond: Condition = None) -> tuple[Tensor, Tensor | None]:
        """Both."""
        pairs, weights = [each.moments(x_t, t) for each in self.denoisers], self._weights(x_t, t, cond)
        mean = self._mixed([m for m, _ in pairs], weights)
        spreads = [v + (m - mean) ** 2 for m, v in pairs if v is not None]
        return mean, self._mixed(spreads, weights) if len(spreads) == len(pairs) else None

    def log_marginal(self, x_t: Tensor, t: Time, cond: Condition = None) -> Tensor:
        """log sum_k w_k p_t(x_t | k), or log p_t(x_t | k) where k is told."""
        logs = self._logs(x_t, t)
        classes, told = self._told(logs, cond)
        own = logs.gather(1, classes[:, None])[:, 0]
        return torch.where(told, own, torch.logsumexp(logs + self._log_shares.to(logs), 1))

    def _joint(self, x_t: Tensor, t: Time) -> Tensor:
        logs = self._logs(x_t, t)
        return logs + self._log_shares.to(logs)

    def _logs(self, x_t: Tensor, t: Time) -> Tensor:
        """log p_t(x_t | k), shape (B, K)."""
        logs = []
        for each in self.denoisers:
            log = each.log_marginal(x_t, t)
            if log is None:
                raise ConfigError(
                    f"denoisers: {type(each).__name__} knows no density, which the weights of the classes are made of."
                )
            logs.append(log)
        return torch.stack(logs, 1)

    def _weights(self, x_t: Tensor, t: Time, cond: Condition) -> Tensor:
        joint = self._joint(x_t, t)
        classes, told = self._told(joint, cond)
        sure = torch.nn.functional.one_hot(classes, len(self.denoisers)).to(joint)
        return torch.where(told[:, None], sure, torch.softmax(joint, 1))

    def _told(self, like: Tensor, cond: Condition) -> tuple[Tensor, Tensor]:
        """Class of each row, 0 where it is not told, and whether it is."""
        rows, entry = len(like), (cond or {}).get(self.name)
        others = [name for name in cond or {} if name != self.name]
        if others:
            raise ConditionError(f"condition {others[0]!r}: expected {self.name!r} alone.")
        if entry is None:
            return torch.zeros(rows, dtype=torch.long, device=like.device), like.new_zeros(rows, dtype=torch.bool)
        value, present, *_ = entry if isinstance(entry, Given) else Given(torch.as_tensor(entry))
        if value.shape != (rows,) or value.is_floating_point():
            raise ShapeError(
                f"condition {self.name!r}: expected whole numbers of shape ({rows},), got {value.dtype} of shape "
                f"{tuple(value.shape)}."
            )
        told = like.new_ones(rows, dtype=torch.bool) if present is None else present
        classes = torch.where(told, value.long(), 0)
        if bool(((classes < 0) | (classes >= len(self.denoisers))).any()):
            raise ConditionError(
                f"condition {self.name!r}: expected classes 0 to {len(self.denoisers) - 1}, got "
                f"{int(classes.min())} to {int(classes.max())}."
            )
        return classes, told

    @staticmethod
    def _mixed(values: Sequence[Tensor], weights: Tensor) -> Tensor:
        """sum_k weights_k values_k; a class of weight 0 counts for nothing, whatever it answers."""
        total = torch.zeros_like(values[0])
        for k, value in enumerate(values):
            w = weights[:, k].to(value).reshape(-1, *([1] * (value.ndim - 1)))
            total = total + torch.where(w > 0, w * value, 0)
        return total
