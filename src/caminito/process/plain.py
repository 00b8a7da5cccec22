"""Processes as plain values, for configuration files and saved models.

{"kind": "edm", "sigma_max": 80.0}        {"kind": "ddpm", "betas": "cosine", "steps": 1000}
{"kind": "chain", "drift": [...], "noise": [...]}
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from caminito._errors import ConfigError
from caminito.process.base import Process
from caminito.process.chain import Chain
from caminito.process.continuous import EDM, VE, VP, Cosine, RectifiedFlow, SubVP

__all__ = ["process_from_dict", "process_to_dict", "same_process"]

_KINDS: dict[str, Callable[..., Process]] = {
    "vp": VP,
    "subvp": SubVP,
    "cosine": Cosine,
    "ve": VE,
    "edm": EDM,
    "rectified-flow": RectifiedFlow,
    "chain": Chain,
    "ddpm": Chain.ddpm,
}


def process_from_dict(options: Mapping[str, Any] | str) -> Process:
    """The process described by a mapping with `kind`, or by its kind alone.

    Raises
    ------
    ConfigError
        If the kind or an option is unknown (the nearest valid name is given), or a value is impossible.
    """
    given = {"kind": options} if isinstance(options, str) else dict(options)
    kind = given.pop("kind", None)
    if kind not in _KINDS:
        near = difflib.get_close_matches(str(kind), _KINDS, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"process: expected a kind among {', '.join(_KINDS)}, got {kind!r}.{hint}")
    known = [name for name in inspect.signature(_KINDS[kind]).parameters if name != "self"]
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else f" Known: {', '.join(known) or 'none'}."
            raise ConfigError(f"process of kind {kind!r}: unknown option {name!r}.{hint}")
    return _KINDS[kind](**given)


def same_process(one: Process, other: Process) -> bool:
    """Whether two processes are one, or have the same plain form; those made of a function are only themselves."""
    if one is other:
        return True
    try:
        return process_to_dict(one) == process_to_dict(other)
    except ConfigError:
        return False


def process_to_dict(process: Process) -> dict[str, Any]:
    """The mapping from which `process_from_dict` makes the same process.

    Raises
    ------
    ConfigError
        If the process is made of a Python function (FromLogSNR), which a file cannot hold.
    """
    match process:
        case Chain():
            return {"kind": "chain", "drift": process.drift.tolist(), "noise": process.std.tolist()}
        case SubVP():
            return {"kind": "subvp", "beta_min": process.vp.beta_min, "beta_max": process.vp.beta_max}
        case VP() | VE() | EDM() | Cosine() | RectifiedFlow():
            kind = next(name for name, made in _KINDS.items() if made is type(process))
            return {"kind": kind, **vars(process)}
        case _:
            raise ConfigError(
                f"process: {type(process).__name__} holds a Python function and cannot be saved. "
                "Use Chain.discretise(process, times), or a process with a name."
            )
