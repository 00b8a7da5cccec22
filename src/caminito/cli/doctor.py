"""`caminito doctor`: what is installed, what will be used, and whether a run is sound."""

from __future__ import annotations

import shutil
from importlib import util
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from caminito._errors import CaminitoError
from caminito.cli.console import facts_table, out, section

if TYPE_CHECKING:
    from caminito.estimators import DiffusionModel
    from caminito.estimators.run import Run
    from caminito.estimators.table import TableDiffusion

__all__ = ["doctor"]

_EXTRAS = {"docs": "sphinx", "diffusers": "diffusers", "dev": "pytest"}


def doctor(
    run: Annotated[
        Path | None, typer.Argument(metavar="[RUN]", help="Also look into this run.", show_default=False)
    ] = None,
) -> None:
    """Check the installation, and RUN if one is given."""
    _installation()
    if run is None:
        return
    section(f"Run {run}")
    good = [_said(*check) for check in _checks(run)]
    if not all(good):
        raise typer.Exit(2)


def _installation() -> None:
    import torch

    from caminito.estimators.folder import environment
    from caminito.training import TrainingConfig, precision_for

    facts = environment()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = precision_for(TrainingConfig(), device)
    free = shutil.disk_usage(Path.cwd()).free / 2**30
    packages = ", ".join(f"{name} {version}" for name, version in facts["packages"].items())
    extras = ", ".join(f"{name} {'yes' if util.find_spec(module) else 'no'}" for name, module in _EXTRAS.items())
    exact = "float32" if dtype is None else str(dtype).removeprefix("torch.")
    why = "float32: no units for bfloat16 here" if dtype is None else "for convolutions; float32 for weights and sums"
    section("Installation")
    out.print(
        facts_table(
            [
                ("caminito", f"{facts['caminito']}, Python {facts['python']}, {facts['system']}", ""),
                ("packages", packages, ""),
                ("device", facts["gpu"] or "cpu", "chosen unless device says otherwise"),
                ("precision", exact, why),
                ("threads", f"{facts['threads']} of {facts['cores']} cores", "OMP_NUM_THREADS sets them"),
                ("disk", f"{free:.1f} GiB free here", "less than a checkpoint may need" if free < 1 else ""),
                ("extras", extras, "pip install 'caminito[...]'"),
            ]
        )
    )


def _said(good: bool, name: str, remark: str) -> bool:
    sign = ("  ok    ", "green") if good else ("  wrong ", "bold red")
    out.print(Text.assemble(sign, (f"{name:<14}", "dim"), remark), soft_wrap=True)
    return good


def _checks(path: Path) -> Any:
    """(good, name, remark) of each check; later ones are left out where an earlier one makes them impossible."""
    from caminito.estimators import DiffusionModel
    from caminito.estimators.run import Run, load_run, open_run

    try:
        run = open_run(path)
        status, standing = run.status, run.standing
    except CaminitoError as error:
        yield False, "files", str(error)
        return
    remark = {
        "failed": f"{standing}: {status.get('message')}",
        "killed": f"{standing}; go on with: {run.resume_command}",
    }
    yield status["state"] != "failed", "state", remark.get(status["state"], standing)
    if isinstance(run, Run) and run.has_checkpoint:
        yield _checkpoint(run)
    try:
        model = load_run(path)
    except CaminitoError as error:
        yield False, "model", str(error)
        return
    if isinstance(model, DiffusionModel):
        yield True, "model", f"checksum as recorded, {model.n_steps_} steps"
        yield from _weights(model)
    else:
        yield True, "model", f"checksum as recorded, trees of {model.mode_}"
        yield _rows(model)


def _checkpoint(run: Run) -> tuple[bool, str, str]:
    """Whether the checkpoint is whole and finite, and how far the averaged weights are from the raw ones."""
    import torch

    from caminito.training import load_checkpoint

    try:
        tensors, facts = load_checkpoint(run.path / "checkpoints")
    except CaminitoError as error:
        return False, "checkpoint", str(error)
    broken = sorted(name for name, t in tensors.items() if t.is_floating_point() and not bool(torch.isfinite(t).all()))
    if broken:
        return False, "checkpoint", f"{len(broken)} tensors are not finite, first {broken[0]}; lower the learning rate"
    pairs = [(t, tensors["network/" + name[8:]]) for name, t in tensors.items() if name.startswith("average/")]
    apart = sum(float((a - b).double().square().sum()) for a, b in pairs) ** 0.5
    size = sum(float(b.double().square().sum()) for _, b in pairs) ** 0.5
    share = 100 * apart / max(size, 1e-30)
    return True, "checkpoint", f"step {facts['step']}, finite; averaged weights are {share:.1f} % from the raw ones"


def _weights(model: DiffusionModel) -> Any:
    import numpy as np
    import torch

    network = model.denoiser_.network
    broken = [name for name, value in network.state_dict().items() if not bool(torch.isfinite(value).all())]
    count = sum(value.numel() for value in network.state_dict().values())
    yield not broken, "weights", f"{count:,} numbers, all finite" if not broken else f"not finite: {broken[0]}"
    try:
        samples = np.asarray(model.sample(4, n_steps=8, random_state=0))
    except CaminitoError as error:
        yield False, "sampling", str(error)
        return
    finite = bool(np.isfinite(samples.astype(np.float64)).all())
    low, high = samples.min(), samples.max()
    varied = bool((samples != samples[:1]).any())
    remark = f"4 samples, values {low:g} to {high:g}" if varied else "all samples are the same: train for longer"
    yield finite and varied, "sampling", remark


def _rows(model: TableDiffusion) -> tuple[bool, str, str]:
    try:
        rows = model.sample(100, random_state=0)
    except CaminitoError as error:
        return False, "sampling", str(error)
    varied = len(rows.drop_duplicates()) > 1
    return varied, "sampling", "100 rows" if varied else "all rows are the same: look at the data"
