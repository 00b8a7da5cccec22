"""What every run directory has, whatever it trains: a name, options, facts of its data, a log, and where it stands."""

from __future__ import annotations

import contextlib
import os
import platform
import shlex
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import torch
import yaml
from pydantic import BaseModel

import caminito
from caminito._errors import CaminitoError, RunError
from caminito._files import read_json, write_atomic, write_json
from caminito.estimators.events import EventLog

__all__ = ["RunFolder", "altered", "config_text", "environment", "kind_of_run", "refuse_occupied", "stored", "written"]

_SILENCE = 600.0  # seconds after which a process that claims to be training is taken for dead


class RunFolder:
    """The part of a run that does not depend on what is trained; `Run` and `TableRun` are the two that do.

    Attributes
    ----------
    path : Path
    facts : dict
        What data.json says.
    events : EventLog
    """

    def __init__(self, path: Path, facts: dict[str, Any]) -> None:
        self.path, self.facts = path, facts
        self.events = EventLog(path / "events.jsonl")

    @property
    def name(self) -> str:
        """Name of the directory."""
        return self.path.resolve().name

    @property
    def status(self) -> dict[str, Any]:
        """What status.json says; a run whose process is gone is "killed", whatever it says."""
        status: dict[str, Any] = read_json(self.path / "status.json")
        if status["state"] == "running" and not _alive(status):
            status["state"] = "killed"
        return status

    @property
    def standing(self) -> str:
        """Where training is, in words: "finished at step 4000"."""
        status = self.status
        return f"{status['state']} at step {status['step']}" if "step" in status else str(status["state"])

    @property
    def resume_command(self) -> str:
        """What to type so that training goes on."""
        return f"caminito train --resume {shlex.quote(str(self.path))}"

    def check_resumable(self) -> None:
        """Refuse to go on with a run that is finished, or that another process is training.

        Raises
        ------
        RunError
        """
        status = self.status
        if status["state"] == "finished":
            steps = f" ({status['step']} steps)" if "step" in status else ""
            raise RunError(
                f"{self.path} is finished{steps}: there is nothing left to train. "
                "Start another run for a longer training."
            )
        if status["state"] == "running":
            raise RunError(
                f"{self.path} is being trained by process {status.get('pid')} (it wrote "
                f"{time.time() - status['updated']:.0f} s ago). Stop that one first."
            )

    def _claim(self, resume: bool) -> None:
        self.check_resumable()
        if not resume and self.status["state"] != "created":
            refuse_occupied(self.path)

    def _tell(self, **facts: Any) -> None:
        path = self.path / "status.json"
        before = read_json(path) if path.is_file() else {}
        write_json(path, before | facts | {"updated": time.time()})

    def _refuse_other(self, now: Mapping[str, Any], then_words: str, now_words: str) -> None:
        """Refuse data whose fingerprint is not the one the run was started with."""
        then = self.facts
        if now["fingerprint"] != then["fingerprint"]:
            raise RunError(
                f"{now['path']} does not hold the data this run was started with: {then_words} with fingerprint "
                f"{then['fingerprint'][:12]} then, {now_words} with {now['fingerprint'][:12]} now. "
                "Give the path of the same data, or start a new run with these."
            )


def written(path: Path, config: BaseModel, facts: Mapping[str, Any]) -> None:
    """The files that a run begins with.

    Raises
    ------
    RunError
        If there is something at `path` already: nothing is ever overwritten.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        refuse_occupied(path)
    write_json(path / "data.json", facts)
    write_json(path / "env.json", environment())
    write_atomic(path / "config.yaml", config_text(config).encode())


def stored(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Options and facts of the run at `path`.

    Raises
    ------
    RunError
        If there is none, with the runs that are near; or if its files were altered.
    """
    if not _is_run(path):
        raise RunError(_not_a_run(path))
    facts = read_json(path / "data.json")
    try:
        options = yaml.safe_load((path / "config.yaml").read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise altered(path, error) from error
    if not isinstance(facts, dict) or not isinstance(options, dict):
        raise altered(path, "expected names and values")
    return options, facts


def altered(path: Path, why: object) -> RunError:
    """The error of a run whose files do not fit each other."""
    return RunError(f"{path}: config.yaml or data.json was altered ({why}). Restore it from a copy.")


def kind_of_run(path: Path) -> str | None:
    """ "table" or "network"; None where there is no run."""
    if not _is_run(path):
        return None
    facts = read_json(path / "data.json")
    return "table" if isinstance(facts, dict) and facts.get("kind") == "table" else "network"


def environment(device: str = "auto") -> dict[str, Any]:
    """Versions and machine, as env.json holds them; no names, no paths."""
    from importlib import metadata

    names = ("torch", "numpy", "scipy", "scikit-learn", "pandas", "pillow", "safetensors", "pydantic", "typer", "rich")
    versions = {}
    for name in names:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return {
        "caminito": caminito.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "packages": versions,
    }


def config_text(config: BaseModel) -> str:
    """The options as YAML, each with what it means."""
    lines = ["# What this model was asked to be. Use it again with: caminito train DATA --config FILE", ""]
    for name, field in type(config).model_fields.items():
        value = yaml.safe_dump({name: getattr(config, name)}, sort_keys=False, default_flow_style=False).rstrip()
        if "\n" in value:
            lines += [f"# {field.description}", value]
        else:
            lines.append(f"{value:<34}# {field.description}")
    return "\n".join(lines) + "\n"


def refuse_occupied(path: Path) -> NoReturn:
    """Say what is at `path` and that nothing is overwritten.

    Raises
    ------
    RunError
        Always.
    """
    advice = "Nothing is overwritten: choose another place with --out"
    try:
        _, facts = stored(path)
        run = RunFolder(path, facts)
        state, standing = run.status["state"], run.standing
    except (CaminitoError, KeyError):
        raise RunError(f"{path} exists already and is not an empty folder. {advice}.") from None
    more = "" if state == "finished" else f", or go on with: {run.resume_command}"
    raise RunError(f"{path} holds a run already ({standing}). {advice}{more}.")


def _is_run(path: Path) -> bool:
    return (path / "config.yaml").is_file() and (path / "data.json").is_file()


def _alive(status: Mapping[str, Any]) -> bool:
    """Whether the process that wrote a status still exists, as far as can be told."""
    pid = status.get("pid")
    if time.time() - status.get("updated", 0.0) > _SILENCE or not isinstance(pid, int):
        return False
    if os.name == "nt":  # there a signal 0 would end the process
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return pid != os.getpid()


def _not_a_run(path: Path) -> str:
    if not path.exists():
        found = "there is nothing at this path"
    elif path.is_file():
        found = "this is a file"
    else:
        found = "this folder has no config.yaml and data.json"
    near = path if path.is_dir() else path.parent
    places = [near, Path("runs")]
    runs = sorted({str(c.parent) for place in places if place.is_dir() for c in place.glob("*/config.yaml")})
    advice = f"Runs near by: {', '.join(runs[:5])}." if runs else "Make one with: caminito train DATA."
    return f"{path}: expected a run directory, but {found}. {advice}"
