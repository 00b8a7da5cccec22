"""Checkpoints: everything that training needs to go on exactly, in files that hold values and no code.

A checkpoint is one safetensors file; `latest.json` names it with its checksum and is replaced last, so that a cut or a
full disk at any moment leaves a valid pair. Noise, times and order are functions of (seed, step): there is no state of
a random generator to keep.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from caminito._errors import RunError
from caminito._files import read_json, read_tensors, write_json, write_tensors
from caminito.training.ema import PowerAverage
from caminito.training.posthoc import Snapshots

__all__ = ["TrainingState", "load_checkpoint", "save_checkpoint"]

FORMAT_VERSION = 2
_KEEP = 2


@dataclass
class TrainingState:
    """What changes while a network is trained.

    Attributes
    ----------
    network, optimizer, average : the three that hold tensors
    step : int
        Steps done.
    elapsed : float
        Seconds of training so far, over all sittings.
    beside : ModuleDict
        What is trained or filled beside the network and is no part of the model.
    snapshots : Snapshots, optional
        Two more averages, and where they are written now and then.
    """

    network: nn.Module
    optimizer: torch.optim.Optimizer
    average: PowerAverage
    step: int = 0
    elapsed: float = 0.0
    facts: dict[str, Any] = field(default_factory=dict)
    beside: nn.ModuleDict = field(default_factory=nn.ModuleDict)
    snapshots: Snapshots | None = None

    def _trained(self) -> dict[str, nn.Parameter]:
        """What the optimizer moves, by name."""
        beside = {f"beside/{name}": value for name, value in self.beside.named_parameters()}
        return dict(self.network.named_parameters()) | beside

    def _modules(self) -> dict[str, Tensor]:
        """State of the network and of what is beside it, and the averages of snapshots, by name."""
        parts = {"network": self.network.state_dict(), "beside": self.beside.state_dict()}
        parts["snapshots"] = {} if self.snapshots is None else self.snapshots.tensors()
        return {f"{part}/{name}": value for part, held in parts.items() for name, value in held.items()}

    def tensors(self) -> dict[str, Tensor]:
        """All tensors by name; Adam's moments under the name of their parameter."""
        named = dict(self.network.named_parameters())
        out = self._modules()
        out |= {f"average/{name}": value for name, value in zip(named, self.average.values)}
        for name, parameter in self._trained().items():
            for key, value in self.optimizer.state.get(parameter, {}).items():
                out[f"optimizer/{key}/{name}"] = torch.as_tensor(value)
        return out

    def load(self, tensors: dict[str, Tensor], step: int, elapsed: float) -> None:
        """Take back what `tensors` gave.

        Raises
        ------
        RunError
            If names or shapes do not fit this network, or the snapshots taken so far are gone.
        """
        named = dict(self.network.named_parameters())
        expected = {n: tuple(v.shape) for n, v in self._modules().items()}
        known = ("network/", "beside/", "snapshots/")
        found = {n: tuple(v.shape) for n, v in tensors.items() if n.startswith(known)}
        if expected != found:
            differing = sorted(set(expected.items()) ^ set(found.items()))[:3]
            raise RunError(
                f"the checkpoint is of another network or other options (first differences: {differing}). "
                "Resume with the configuration the run was started with."
            )
        for part, module in (("network/", self.network), ("beside/", self.beside)):
            module.load_state_dict({n.removeprefix(part): v for n, v in tensors.items() if n.startswith(part)})
        with torch.no_grad():
            for name, value in zip(named, self.average.values):
                value.copy_(tensors[f"average/{name}"])
        for name, parameter in self._trained().items():
            pattern = re.compile(rf"optimizer/(\w+)/{re.escape(name)}")
            found_state = {m[1]: v for n, v in tensors.items() if (m := pattern.fullmatch(n))}
            if found_state:
                self.optimizer.state[parameter] = {
                    key: self._placed(key, value, parameter) for key, value in found_state.items()
                }
        if self.snapshots is not None:
            held = {n.removeprefix("snapshots/"): v for n, v in tensors.items() if n.startswith("snapshots/")}
            self.snapshots.load(held, step)
        self.step, self.elapsed = step, elapsed

    def _placed(self, key: str, value: Tensor, parameter: nn.Parameter) -> Tensor:
        """State of the optimizer where its parameter is, in the parameter's memory layout.

        A fused optimizer walks through the memory of both side by side; with another layout it would give each weight
        the moments of a different one.
        """
        if key == "step":
            return value.to(parameter.device) if self.optimizer.defaults["fused"] else value
        return torch.empty_like(parameter, dtype=value.dtype, requires_grad=False).copy_(value)


def save_checkpoint(folder: str | Path, state: TrainingState) -> Path:
    """Write the state and point `latest.json` to it; the two newest checkpoints are kept.

    Raises
    ------
    StorageError
        If the disk is full; the previous checkpoint is intact.
    """
    folder = Path(folder)
    path = folder / f"step_{state.step:08d}.safetensors"
    digest = write_tensors(path, state.tensors())
    write_json(
        folder / "latest.json",
        {
            "format_version": FORMAT_VERSION,
            "file": path.name,
            "sha256": digest,
            "step": state.step,
            "elapsed": state.elapsed,
            "facts": state.facts,
        },
    )
    for old in sorted(folder.glob("step_*.safetensors"))[:-_KEEP]:
        old.unlink(missing_ok=True)
    return path


def load_checkpoint(folder: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and facts of the newest checkpoint of a folder.

    Raises
    ------
    RunError
        If there is none, or its file is cut or altered.
    """
    folder = Path(folder)
    latest = read_json(folder / "latest.json")
    if latest.get("format_version") != FORMAT_VERSION:
        raise RunError(
            f"{folder}: this version reads checkpoints of format {FORMAT_VERSION}, got {latest.get('format_version')}."
        )
    return read_tensors(folder / latest["file"], latest["sha256"]), latest
