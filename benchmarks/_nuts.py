"""NUTS of numpyro on the targets of `caminito.testing.targets`, each leapfrog step counted, those of the warm-up too.

    pip install numpyro

The densities are written again in JAX, in float64, and held against ours at draws of the target before anything is
measured. Chains are vectorised, on one thread. numpyro traces and compiles anew in every run: that is timed apart, and
left out of its seconds.
"""

from __future__ import annotations

import math
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from caminito.testing.targets import KnownTarget

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

SMOOTH = math.log1p(math.e)  # the deviation of the forty normals


def installed() -> bool:
    """Is numpyro here?"""
    try:
        import numpyro  # noqa: F401
    except ImportError:
        return False
    return True


def needed() -> None:
    """Refuse to go on without it."""
    if not installed():
        raise SystemExit("This part needs numpyro. Install it: pip install numpyro")


def written(target: KnownTarget, data: tuple[np.ndarray, np.ndarray] | None = None) -> Callable[[Any], Any]:
    """log p of one point (dim,), in JAX."""
    import jax

    jax.config.update("jax_enable_x64", True)
    import jax.numpy as jnp

    dim, name = target.dim, target.name.split(",")[0]
    gauss = 0.5 * dim * math.log(2 * math.pi)
    tops = None if target.modes is None else jnp.asarray(target.modes.numpy())
    weights = None if target.weights is None else jnp.asarray(target.weights.numpy())

    if name in ("mog40", "two modes"):
        std = SMOOTH if name == "mog40" else math.sqrt(0.05)
        constant = jnp.log(weights) - gauss - dim * math.log(std)

        def log_prob(x: Any) -> Any:
            return jax.scipy.special.logsumexp(constant - 0.5 * ((x - tops) ** 2).sum(-1) / std**2)

    elif name == "bananas":
        chance = torch.Generator().manual_seed(0)
        shift = (torch.rand(5, dim, generator=chance, dtype=torch.float64) - 0.5) * 16.0
        turn = torch.linalg.qr(torch.randn(5, dim, dim, generator=chance, dtype=torch.float64)).Q
        centres, turns = jnp.asarray(shift.numpy()), jnp.asarray(turn.numpy())
        stds = jnp.full(dim, 0.5).at[0].set(2.0)
        constant = jnp.log(weights) - gauss - jnp.log(stds).sum()

        def log_prob(x: Any) -> Any:
            y = jnp.einsum("kd,kde->ke", x - centres, turns)
            y = y.at[:, 1].add(-0.25 * (y[:, 0] ** 2 - 4.0))
            return jax.scipy.special.logsumexp(constant - 0.5 * ((y / stds) ** 2).sum(-1))

    elif name == "funnel":

        def log_prob(x: Any) -> Any:
            v, rest = x[0], x[1:]
            return -0.5 * ((v / 3.0) ** 2 + (dim - 1) * v + (rest**2).sum() * jnp.exp(-v)) - gauss - math.log(3.0)

    elif name == "phi4":
        field, c = float(target.name.split()[-1]), 0.1 * dim

        def log_prob(x: Any) -> Any:
            bonds = 0.5 * c * (jnp.diff(jnp.pad(x, 1)) ** 2).sum()
            return -20.0 * (bonds + ((1 - x**2) ** 2 / 4 + field * x).sum() / c)

    elif name == "normal":
        precisions = jnp.asarray(np.logspace(0, -4, dim))

        def log_prob(x: Any) -> Any:
            return -0.5 * (precisions * x**2).sum() - gauss + 0.5 * jnp.log(precisions).sum()

    elif data is not None:
        X, y = data
        rows = np.concatenate([(X - X.mean(0)) / X.std(0), np.ones((len(X), 1))], 1)
        signed = jnp.asarray((2 * y - 1)[:, None] * rows)
        stds = jnp.ones(dim).at[-1].set(2.5)

        def log_prob(x: Any) -> Any:
            return jax.nn.log_sigmoid(signed @ x).sum() - 0.5 * ((x / stds) ** 2).sum() - gauss - jnp.log(stds).sum()

    else:
        raise ValueError(f"{target.name} is not written in JAX.")
    at = torch.randn(64, dim, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    at = at + (0 if target.modes is None else target.modes[torch.arange(64) % len(target.modes)])
    theirs = np.asarray(jax.vmap(log_prob)(jnp.asarray(at.numpy())))
    np.testing.assert_allclose(theirs, target.log_prob(at).numpy(), rtol=1e-6, atol=1e-6)
    return log_prob


@dataclass
class Chains:
    """Draws (chains, draws, dim), leapfrog steps in the warm-up and at each draw, seconds without and of compiling."""

    x: np.ndarray
    warm: int
    steps: np.ndarray
    seconds: float
    compiling: float

    @property
    def gradients(self) -> int:
        """All of them, the warm-up's too."""
        return self.warm + int(self.steps.sum())

    @property
    def rhat(self) -> float:
        """The largest split R-hat of any coordinate."""
        from numpyro.diagnostics import split_gelman_rubin

        return float(np.max(split_gelman_rubin(self.x)))

    @property
    def ess(self) -> float:
        """The least effective sample size of any coordinate."""
        from numpyro.diagnostics import effective_sample_size

        return float(np.min(effective_sample_size(self.x)))

    def after(self, draws: int) -> tuple[np.ndarray, int]:
        """The first so many draws of each chain as one set, and the gradients until then."""
        return self.x[:, :draws].reshape(-1, self.x.shape[-1]), self.warm + int(self.steps[:, :draws].sum())


class _Compiling:
    """Seconds that JAX has spent on tracing and compiling; it does so again in every run of numpyro."""

    seconds = 0.0
    folder: tempfile.TemporaryDirectory[str] | None = None

    @classmethod
    def watched(cls) -> None:
        import jax

        if cls.folder is None:
            cls.folder = tempfile.TemporaryDirectory()  # what was compiled before is read from there
            jax.config.update("jax_compilation_cache_dir", cls.folder.name)
            jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
            jax.monitoring.register_event_duration_secs_listener(cls._heard)

    @classmethod
    def _heard(cls, event: str, seconds: float, **_: Any) -> None:
        if event.startswith("/jax/core/compile/"):
            cls.seconds += seconds


class Nuts:
    """So many chains of NUTS on a density."""

    def __init__(self, log_prob: Callable[[Any], Any], dim: int, count: int, *, warm: int = 1000, kept: int = 2000):
        from numpyro.infer import MCMC, NUTS

        _Compiling.watched()
        kernel = NUTS(potential_fn=lambda x: -log_prob(x))
        how = {"num_chains": count, "chain_method": "vectorized", "progress_bar": False}
        self.mcmc = MCMC(kernel, num_warmup=warm, num_samples=kept, **how)
        self.dim, self.count = dim, count

    def run(self, seed: int, budget: int = 0, *, spread: float | np.ndarray | None = None, most: int = 20) -> Chains:
        """Warm-up and draws; more draws until all chains together have spent `budget` gradients.

        Chains start uniformly in [-2, 2], as Stan's and numpyro's do; with `spread` from N(0, spread^2).
        """
        import jax

        rng = np.random.default_rng(seed)
        shape = (self.count, self.dim)
        start = rng.uniform(-2, 2, shape) if spread is None else spread * rng.standard_normal(shape)
        begin, before = time.perf_counter(), _Compiling.seconds
        fields = ("num_steps",)
        self.mcmc.warmup(jax.random.PRNGKey(seed), init_params=start, extra_fields=fields, collect_warmup=True)
        warm = int(np.asarray(self.mcmc.get_extra_fields()["num_steps"]).sum())
        x, steps = [], []
        for _ in range(most):
            self.mcmc.run(self.mcmc.post_warmup_state.rng_key, extra_fields=fields)
            x.append(np.asarray(self.mcmc.get_samples(group_by_chain=True)))
            steps.append(np.asarray(self.mcmc.get_extra_fields(group_by_chain=True)["num_steps"]))
            self.mcmc.post_warmup_state = self.mcmc.last_state
            if warm + sum(int(each.sum()) for each in steps) >= budget:
                break
        self.mcmc.post_warmup_state = None
        compiling = _Compiling.seconds - before
        seconds = time.perf_counter() - begin - compiling
        return Chains(np.concatenate(x, 1), warm, np.concatenate(steps, 1), seconds, compiling)
