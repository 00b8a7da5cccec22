"""A fitted table model as a folder: arrays in safetensors, all else in JSON; loading reads values and never runs code.

model/ manifest.json   arrays.safetensors   network/ (of mode network: a model of its own)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from caminito._errors import RunError
from caminito._files import read_json, read_tensors, write_json, write_tensors
from caminito.data import TableCodec
from caminito.denoiser import Boosted, Forest, LeafTree
from caminito.estimators.boost_jumps import Boost
from caminito.estimators.choices import Choice, Description
from caminito.estimators.coded import CodedTable
from caminito.estimators.denoise_jumps import Denoise
from caminito.estimators.model import DiffusionModel
from caminito.estimators.network_jumps import Network
from caminito.estimators.ranked import Ranked
from caminito.estimators.table import TableDiffusion
from caminito.estimators.table_choice import Trial
from caminito.estimators.table_constrained import revealing
from caminito.estimators.table_constraints import Rules, plain, unplain

__all__ = ["load_table", "save_table"]

FORMAT_VERSION = 1


def save_table(model: TableDiffusion, path: Path) -> None:
    """Write a fitted model; each file appears whole or not at all, the manifest last."""
    reveal, family = model._reveal, model._family
    table = reveal.table
    arrays: dict[str, NDArray[Any]] = {"matrix": table.matrix, "weights": table.weights}
    if model._observed is not table:
        arrays |= {"observed/matrix": model._observed.matrix, "observed/weights": model._observed.weights}
    for number, tree in enumerate(reveal.trees.values()):
        arrays |= {f"tree/{number}/{name}": value for name, value in tree.arrays().items()}
    if isinstance(family, Denoise):
        for number, forest in enumerate(family.denoiser.regressors):
            arrays |= {f"forest/{number}/{name}": value for name, value in forest.arrays().items()}  # type: ignore[attr-defined]
    if isinstance(family, Denoise | Ranked) and family.ends is not None:
        arrays["ends"] = family.ends
    if isinstance(family, Denoise) and family.stretch is not None:
        arrays["stretch"] = family.stretch
    if isinstance(family, Boost):
        arrays["boost/mean"], arrays["boost/cov"] = family.denoiser.line
        for number, level in enumerate(family.denoiser.levels):
            arrays |= {f"boost/{number}/{name}": value for name, value in level.arrays().items()}
    if isinstance(family, Network):
        family.model.save(path / "network")
    tensors = {name: torch.from_numpy(np.array(value, order="C")) for name, value in arrays.items()}
    digest = write_tensors(path / "arrays.safetensors", tensors)
    parameters = model.get_params(deep=False)
    parameters["types"] = None if model.types is None else [[name, kind] for name, kind in model.types.items()]
    parameters["constraints"] = plain(model.constraints)
    if not isinstance(parameters["random_state"], (int, type(None))):
        parameters["random_state"] = model._seed
    write_json(
        path / "manifest.json",
        {
            "format_version": FORMAT_VERSION,
            "estimator": type(model).__name__,
            "parameters": parameters,
            "codec": model.codec_.to_dict(),
            "target": None if model._target is None else model._target.to_dict(),
            "seed": model._seed,
            "mode": model.mode_,
            "trials": [asdict(trial) for trial in model.trials_],
            "choices": {name: [choice.value, choice.why] for name, choice in model.choices_.items()},
            "reveal": {"order": reveal.order, "min_rows": reveal.min_rows, "trees": list(reveal.trees)},
            "denoise": None
            if not isinstance(family, Denoise)
            else {
                "start": family.start,
                "jitter": family.jitter,
                "along": family.along,
                "levels": family.levels,
                "spread": family.spread.tolist(),
                "data_std": family.denoiser.precondition.data_std,
            },
            "boost": len(family.denoiser.levels) if isinstance(family, Boost) else None,
            "arrays": {"file": "arrays.safetensors", "sha256": digest},
        },
    )


def load_table(path: Path) -> TableDiffusion:
    """The model that `save_table` wrote.

    Raises
    ------
    RunError
        If the folder is not a table model, was saved by a newer version, or its arrays were cut or altered.
    """
    facts = read_json(path / "manifest.json")
    if facts.get("format_version") != FORMAT_VERSION or facts.get("estimator") != TableDiffusion.__name__:
        raise RunError(
            f"{path}: expected a TableDiffusion of format {FORMAT_VERSION}, got {facts.get('estimator')} of format "
            f"{facts.get('format_version')}."
        )
    try:
        return _rebuilt(facts, path)
    except (KeyError, TypeError, IndexError, AttributeError, ValueError) as error:
        if isinstance(error, RunError):
            raise
        raise RunError(f"{path}/manifest.json does not fit its arrays ({error}). Restore both from a copy.") from error


def _rebuilt(facts: Mapping[str, Any], path: Path) -> TableDiffusion:
    types = facts["parameters"]["types"]
    given = facts["parameters"] | {"types": None if types is None else dict(types)}
    model = TableDiffusion(**given | {"constraints": unplain(given.get("constraints", []))})
    tensors = read_tensors(path / facts["arrays"]["file"], facts["arrays"]["sha256"])
    arrays = {name: value.numpy() for name, value in tensors.items()}
    model.codec_ = TableCodec.from_dict(facts["codec"])
    model._rules = Rules(model.constraints, model.codec_)
    model._target = None if facts["target"] is None else TableCodec.from_dict(facts["target"])
    model.n_features_in_ = len(model.codec_.columns_)
    if all(isinstance(name, str) for name in model.codec_.names_):
        model.feature_names_in_ = np.array(model.codec_.names_, dtype=object)
    model._seed, model.mode_ = facts["seed"], facts["mode"]
    model.trials_ = [Trial(**trial) for trial in facts["trials"]]
    model.choices_ = Description({name: Choice(*pair) for name, pair in facts["choices"].items()})
    table = CodedTable(arrays["matrix"], model._all_columns(), arrays["weights"])
    observed = table
    if "observed/matrix" in arrays:
        observed = CodedTable(arrays["observed/matrix"], model._all_columns(), arrays["observed/weights"])
    model._keep(observed)
    told = facts["reveal"]
    trees = {
        (column, tuple(known)): LeafTree.from_arrays(_part(arrays, f"tree/{number}/"), table.weights)
        for number, (column, known) in enumerate(told["trees"])
    }
    how = {"min_rows": told["min_rows"], "seed": model._seed, "trees": trees}
    model._reveal = revealing(table, told["order"], model._rules, **how)
    model._training, model._family = None, model._reveal
    if facts["denoise"] is not None:
        told = facts["denoise"]
        how = {name: told[name] for name in ("start", "jitter", "along", "levels")}
        denoise = Denoise(table, **how, seed=model._seed)
        forests = [Forest.from_arrays(_part(arrays, f"forest/{number}/")) for number in range(told["levels"])]
        denoise.denoiser, denoise.spread = denoise.of(forests, told["data_std"]), np.array(told["spread"])
        denoise.stretch = arrays.get("stretch")
        model._family = denoise
    if model.mode_ == "boost":
        boost = Boost(table, model._reveal, min_rows=told["min_rows"], seed=model._seed)
        levels = [Boosted.from_arrays(_part(arrays, f"boost/{number}/")) for number in range(facts["boost"])]
        boost.denoiser = boost.of(levels, arrays["boost/mean"], arrays["boost/cov"])
        model._family = boost
    if model.mode_ == "network":
        network = Network(table, model._reveal, seed=model._seed)
        network.model = DiffusionModel.load(path / "network")
        model._family = network
    if isinstance(model._family, Denoise | Ranked):
        model._family.ends = arrays.get("ends")
    return model


def _part(arrays: Mapping[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    return {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}
