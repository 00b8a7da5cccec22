"""Solvers by name, for the facade, the command line and saved runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from caminito._errors import ConfigError
from caminito.sampling.solvers.adams import (
    DEIS,
    IPNDM,
    LMS,
    Adams,
    DPMpp2M,
    DPMpp2MSDE,
    DPMpp3M,
    DPMpp3MSDE,
    SASolver,
    UniPC,
)
from caminito.sampling.solvers.base import Solver
from caminito.sampling.solvers.onestep import DPMpp2S, DPMSolver2, Euler, Heun
from caminito.sampling.solvers.pndm import PNDM
from caminito.sampling.solvers.stochastic import DDIM, Ancestral, Churn, EulerAncestral, Restart

__all__ = ["NAMES", "name_of", "solver_named", "solver_to_dict"]

NAMES: dict[str, Solver] = {
    "adams": Adams(),
    "ancestral": Ancestral("small"),
    "ancestral-large": Ancestral("large"),
    "ancestral-posterior": Ancestral("posterior"),
    "churn": Churn(),
    "ddim": DDIM(),
    "deis": DEIS(),
    "dpmpp2m": DPMpp2M(),
    "dpmpp2m-sde": DPMpp2MSDE(),
    "dpmpp2s": DPMpp2S(),
    "dpmpp3m": DPMpp3M(),
    "dpmpp3m-sde": DPMpp3MSDE(),
    "dpmsolver2": DPMSolver2(),
    "euler": Euler(),
    "euler-ancestral": EulerAncestral(),
    "heun": Heun(),
    "ipndm": IPNDM(),
    "lms": LMS(),
    "pndm": PNDM(),
    "restart": Restart(),
    "sa": SASolver(),
    "unipc": UniPC(),
}


def solver_named(solver: Solver | str | Mapping[str, Any]) -> Solver:
    """The solver called `solver`, or described by a mapping with `kind` and its options, or `solver` itself.

    Raises
    ------
    ConfigError
        For an unknown name or option.
    """
    if isinstance(solver, Solver):
        return solver
    options: dict[str, Any] = {"kind": solver} if isinstance(solver, str) else dict(solver)
    kind = options.pop("kind", None)
    if kind not in NAMES:
        raise ConfigError(f"solver: expected one of {', '.join(NAMES)}, got {kind!r}.")
    options = {name: solver_named(value) if name == "inner" else value for name, value in options.items()}
    try:
        return dataclasses.replace(NAMES[kind], **options)  # type: ignore[type-var]
    except TypeError:
        known = [field.name for field in dataclasses.fields(NAMES[kind])]  # type: ignore[arg-type]
        raise ConfigError(
            f"solver of kind {kind!r}: expected options among {', '.join(known) or 'none'}, got {', '.join(options)}."
        ) from None


def name_of(solver: Solver) -> str:
    """The name by which `solver_named` gives this solver; its full form if it has none."""
    return next((name for name, known in NAMES.items() if known == solver), repr(solver))


def solver_to_dict(solver: Solver) -> dict[str, Any]:
    """The mapping from which `solver_named` makes the same solver."""
    kind = next(name for name, known in NAMES.items() if type(known) is type(solver))
    options = {field.name: getattr(solver, field.name) for field in dataclasses.fields(solver)}  # type: ignore[arg-type]
    return {"kind": kind} | {k: solver_to_dict(v) if isinstance(v, Solver) else v for k, v in options.items()}
