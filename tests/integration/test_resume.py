"""A run that is killed or stopped ends, after it is resumed, with the weights of one that was not: bit for bit."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from caminito.training import Snapshots

STEPS = 160
TINY = [
    *(
        "--set",
        "network.width=16",
        "--set",
        "network.blocks=1",
        "--set",
        "network.attention=[]",
        "--set",
        "training.batch_size=16",
    ),
    *("--set", "training.validate_every=25", "--set", "training.checkpoint_minutes=0.002"),
    *("--set", "training.snapshots=8"),
]
pytestmark = pytest.mark.slow


def started(place: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "caminito.cli", *arguments],
        cwd=place,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(place: Path, *arguments: str) -> str:
    process = started(place, *arguments)
    told, complaint = process.communicate(timeout=500)
    assert process.returncode == 0, told + complaint
    return told


def step_of(run: Path) -> int:
    path = run / "checkpoints" / "latest.json"
    return int(json.loads(path.read_text())["step"]) if path.is_file() else 0


def wait_for(run: Path, step: int, process: subprocess.Popen[str]) -> None:
    while step_of(run) < step:
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)


def left_by(run: Path) -> dict[str, bytes]:
    """Weights and snapshots, and what they make of them."""
    files = [run / "model" / "weights.safetensors", *sorted((run / "snapshots").iterdir())]
    made = Snapshots.reconstruct(run / "snapshots", 0.12)
    tensors = {name: value.numpy().tobytes() for name, value in made.items()}
    return {str(path.relative_to(run)): path.read_bytes() for path in files} | tensors


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Files of the run that nothing happened to."""
    place = tmp_path_factory.mktemp("whole")
    finished(place, "train", "digits", "--out", "run", "--steps", str(STEPS), *TINY)
    return left_by(place / "run")


def test_two_kills_at_random_steps_change_no_bit_of_the_final_weights_and_snapshots(
    whole: dict[str, bytes], tmp_path: Path
) -> None:
    run, drawn = tmp_path / "run", random.Random()
    arguments = ["train", "digits", "--out", "run", "--steps", str(STEPS), *TINY]
    for low, high in ((1, 60), (70, 120)):
        process = started(tmp_path, *arguments)
        wait_for(run, drawn.randint(low, high), process)
        time.sleep(drawn.uniform(0, 0.05))
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        arguments = ["train", "--resume", "run"]
    told = finished(tmp_path, *arguments)
    assert "Done" in told
    assert left_by(run) == whole
    resumed = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines() if '"resume"' in line]
    assert len(resumed) == 2 and 0 < resumed[0]["step"] < resumed[1]["step"] < STEPS


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_says_how_to_go_on_and_nothing_is_lost(
    whole: dict[str, bytes], tmp_path: Path, number: signal.Signals
) -> None:
    process = started(tmp_path, "train", "digits", "--out", "run", "--steps", str(STEPS), *TINY)
    wait_for(tmp_path / "run", 10, process)
    process.send_signal(number)
    _, complaint = process.communicate(timeout=100)
    assert process.returncode == 130, complaint
    assert "caminito train --resume run" in complaint
    assert "Traceback" not in complaint
    status = json.loads((tmp_path / "run" / "status.json").read_text())
    assert status["state"] == "interrupted"
    assert step_of(tmp_path / "run") == status["step"]  # a checkpoint of that very step
    finished(tmp_path, "train", "--resume", "run")
    assert left_by(tmp_path / "run") == whole
