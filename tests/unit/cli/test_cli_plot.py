"""`caminito plot`: each picture shows what the run holds, carries its recipe, and is refused where it does not fit."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner, Result

import caminito
from caminito import plot
from caminito._random import Stream, normal
from caminito.cli.app import app
from caminito.cli.pictures import DRAWN, FILMED
from caminito.cli.plot import KINDS, _with_comment
from caminito.data import open_source
from caminito.estimators.run import Run
from caminito.metrics import nearest_items

SMALL = [
    "--set",
    "n_steps=3",
    "--set",
    "training.batch_size=16",
    "--set",
    "training.validate_every=2",
    "--set",
    "validation_fraction=0.25",
]
ROWS = ["--set", "network.width=16", "--set", "network.depth=1", "--steps", "6"]
GRIDS = ["--set", "network.width=8", "--set", "network.blocks=1", "--set", "network.attention=[]", "--steps", "4"]
CHAIN = ["--set", "process.kind=ddpm", "--set", "process.betas=[0.1, 0.3, 0.6, 0.9]"]
OF = {
    "images": ["loss", "levels", "time", "schedule", "samples", "strip", "corruption", "nearest"],
    "points": ["loss", "levels", "time", "schedule", "samples", "paths", "field"],
    "numbers": ["loss", "levels", "time", "schedule", "samples", "paths"],
}
FEW = {
    "samples": ["-n", "4"],
    "strip": ["-n", "2"],
    "paths": ["-n", "3"],
    "corruption": ["-n", "2"],
    "nearest": ["-n", "3"],
}


def said(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "300"})


def made(*arguments: object) -> Path:
    """The file that `caminito plot` says it made."""
    result = said("plot", *arguments)
    assert result.exit_code == 0, result.output
    return Path(result.output.splitlines()[-1])


def refused(*arguments: object) -> str:
    result = said("plot", *arguments)
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output and isinstance(result.exception, SystemExit)
    return " ".join(result.output.split())


def few(kind: str) -> list[str]:
    """A kind, with few items and few steps where it has some."""
    return [kind, *FEW.get(kind, []), *(["--steps", "3"] if "--steps" in KINDS[kind].takes else [])]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with three runs: images in two classes, points on an ellipse far from 0, numbers on a chain."""
    place = tmp_path_factory.mktemp("plots")
    rng = np.random.default_rng(0)
    images = rng.integers(0, 200, (48, 8, 8)).astype(np.uint8)
    images[::2] //= 4
    np.savez(place / "images.npz", data=images, labels=np.arange(48) % 2)
    np.save(place / "points.npy", rng.normal(size=(60, 2)) * [3.0, 0.5] + [10.0, -4.0])
    np.save(place / "numbers.npy", rng.normal(size=60))
    for name, data, options in (
        ("images", "images.npz", GRIDS),
        ("points", "points.npy", ROWS),
        ("numbers", "numbers.npy", [*ROWS, *CHAIN]),
    ):
        result = said("train", place / data, "--out", place / name, *SMALL, *options)
        assert result.exit_code == 0, result.output
    return place


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], dict[str, Any]]:
    """Notes what a function of `caminito.plot` is given, and draws nothing."""

    def noting(name: str) -> dict[str, Any]:
        noted: dict[str, Any] = {}

        def note(*arguments: Any, **options: Any) -> Any:
            noted.update(options, arguments=arguments)
            return np.zeros((2, 2), np.uint8)

        monkeypatch.setattr(plot, name, note)
        return noted

    return noting


def train_rows(runs: Path, name: str, file: str) -> np.ndarray:
    return Run.open(runs / name).split(open_source(runs / file))[0]


# -- every picture ----------------------------------------------------------------------------------------------------


def test_every_kind_is_drawn_and_those_that_move_are_filmed() -> None:
    assert set(KINDS) == set(DRAWN) == set().union(*OF.values())
    assert set(FILMED) == {name for name, kind in KINDS.items() if kind.moves}


DRAWINGS = [("images", kind) for kind in OF["images"]]
DRAWINGS += [("points", "samples"), ("points", "paths"), ("points", "field"), ("numbers", "samples")]
DRAWINGS += [("numbers", "paths"), ("numbers", "schedule")]


@pytest.mark.parametrize(("name", "kind"), DRAWINGS)
def test_a_picture_lies_in_the_run_and_carries_its_recipe(runs: Path, name: str, kind: str) -> None:
    path = made(runs / name, *few(kind))
    assert path == runs / name / "plots" / f"{kind}.png"
    recipe = plot.read_recipe(path)
    assert recipe["picture"] == kind and recipe["run"] == name
    assert recipe["software"] == f"caminito {caminito.__version__}"
    assert recipe["trained_steps"] == ("4" if name == "images" else "6")
    assert ("steps" in recipe) == ("--steps" in KINDS[kind].takes)
    if kind in FEW:
        assert recipe["samples"] == FEW[kind][1] and recipe["seed"] == "0"
    with Image.open(path) as image:
        assert image.getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize(("name", "kind"), [(name, kind) for name, kinds in OF.items() for kind in kinds])
def test_a_picture_that_does_not_fit_is_refused_with_those_that_do(runs: Path, name: str, kind: str) -> None:
    for other in set(OF) - {name}:
        if kind not in OF[other]:
            message = refused(runs / other, kind)
            assert f"plot {kind}: expected a run of" in message and f"is one of {other}" in message
            assert message.endswith(f"Pictures of it: {', '.join(k for k in KINDS if k in OF[other])}.")


@pytest.mark.parametrize("kind", ["samples", "strip", "loss"])
def test_the_dark_theme_is_dark_everywhere(runs: Path, tmp_path: Path, kind: str) -> None:
    path = made(runs / "images", *few(kind), "--theme", "dark", "--out", tmp_path / "dark.png")
    assert plot.read_recipe(path)["theme"] == "dark"
    with Image.open(path) as image:
        pixels = np.asarray(image)
    assert (pixels[[0, 0, -1, -1], [0, -1, 0, -1]] == 0x17).all()
    assert not (pixels == 255).all(axis=-1).any()
    assert "theme: expected light or dark, got 'blue'" in refused(runs / "images", kind, "--theme", "blue")


@pytest.mark.parametrize(("suffix", "where"), [(".svg", b"dc:description"), (".pdf", b"/Subject")])
def test_pictures_for_print_carry_the_recipe_and_are_the_same_again(
    runs: Path, tmp_path: Path, suffix: str, where: bytes
) -> None:
    files = [made(runs / "points", *few("paths"), "--seed", 3, "--out", tmp_path / f"{i}{suffix}") for i in (1, 2)]
    text = files[0].read_bytes()
    assert where in text and b"picture: paths" in text and b"seed: 3" in text
    assert text == files[1].read_bytes()


def test_a_gif_moves_and_carries_the_recipe(runs: Path, tmp_path: Path) -> None:
    path = made(runs / "images", *few("strip"), "--seed", 5, "--out", tmp_path / "way.gif")
    with Image.open(path) as image:
        assert image.format == "GIF" and image.n_frames > 1  # frames that are the same are one
        comment = image.info["comment"]
        image.seek(image.n_frames - 1)
        image.load()
    assert b"picture: strip" in comment and b"seed: 5" in comment and b"steps: 3" in comment


@pytest.mark.parametrize("colours", [2, 256])
def test_a_recipe_of_any_length_leaves_a_gif_as_it_was(colours: int) -> None:
    ramp = (np.arange(256) % colours * (255 // (colours - 1))).astype(np.uint8).reshape(16, 16)
    frames = [ramp, 255 - ramp]
    plain, told = plot.gif_bytes(frames), "picture: strip; class: " + "é" * 600
    with Image.open(io.BytesIO(plain)) as before, Image.open(io.BytesIO(_with_comment(plain, told))) as after:
        assert after.info.pop("comment").decode() == told
        assert after.info == before.info and after.n_frames == 2
        for frame in range(2):
            before.seek(frame), after.seek(frame)
            assert np.array_equal(np.asarray(after.convert("RGB")), np.asarray(before.convert("RGB")))


# -- what is shown ----------------------------------------------------------------------------------------------------


def test_points_are_those_of_the_data_and_of_the_model(runs: Path, seen: Callable) -> None:
    noted = seen("scatter")
    made(runs / "points", "samples", "-n", 7, "--steps", 3, "--seed", 2, "--solver", "ddim")
    real, samples = noted["arguments"]
    model = caminito.load(runs / "points")
    assert np.array_equal(samples, model.sample(7, random_state=2, n_steps=3, solver="ddim"))
    train = {tuple(row) for row in train_rows(runs, "points", "points.npy")}
    assert len(real) == 7 and {tuple(row) for row in real} <= train


def test_numbers_stand_on_the_histogram_of_the_data(runs: Path, seen: Callable) -> None:
    noted = seen("histogram1d")
    made(runs / "numbers", "samples", "-n", 50)
    samples, (x, height) = noted["arguments"]
    assert np.array_equal(samples, caminito.load(runs / "numbers").sample(50, random_state=0)[:, 0])
    assert np.trapezoid(height, x) == pytest.approx(1, rel=1e-12)
    train = train_rows(runs, "numbers", "numbers.npy")[:, 0]
    assert x[0] <= train.min() and x[-1] >= train.max()  # 45 of 45 rows are drawn
    low, high = x[1], x[2]
    assert height[1] * (high - low) * len(train) == pytest.approx(np.sum((low <= train) & (train < high)), abs=1e-9)


def test_images_have_a_row_for_each_class_real_ones_left(runs: Path, seen: Callable) -> None:
    noted = seen("image_grid")
    made(runs / "images", "samples", "-n", 6, "--steps", 3)
    cells, columns = noted["arguments"]
    assert columns == 7 and noted["row_labels"] == ["0", "1"]
    cells = cells.reshape(2, 7, 8, 8, 4)
    assert (cells[:, 3] == 0).all()  # nothing between the halves
    assert (np.delete(cells, 3, axis=1)[..., 3] == 255).all()
    source = open_source(runs / "images.npz")
    rows, _ = Run.open(runs / "images").rows(source)
    samples = caminito.load(runs / "images").sample(6, condition=[0, 0, 0, 1, 1, 1], random_state=0, n_steps=3)
    for label in (0, 1):
        known = {image.tobytes() for image in source.items[rows][source.labels[rows] == label]}
        assert {np.ascontiguousarray(image[..., 0]).tobytes() for image in cells[label, :3]} <= known
        assert np.array_equal(cells[label, 4:, ..., 0], samples[3 * label : 3 * label + 3])


def test_one_class_is_set_beside_real_images_of_that_class(runs: Path, seen: Callable) -> None:
    noted = seen("image_grid")
    path = made(runs / "images", "samples", "-n", 5, "--class", 1, "--steps", 3)
    assert plot.read_recipe(path)["class"] == "1"
    cells, columns = noted["arguments"]
    cells = cells.reshape(2, 7, 8, 8, 4)
    assert columns == 7 and noted["row_labels"] is None
    assert (cells[1, 2:4] == 0).all() and (cells[1, 6:] == 0).all()  # 3 + 2 of each
    source = open_source(runs / "images.npz")
    known = {image.tobytes() for image in source.items[source.labels == 1]}
    assert {np.ascontiguousarray(cells[0, i, ..., 0]).tobytes() for i in range(3)} <= known
    samples = caminito.load(runs / "images").sample(5, condition=1, random_state=0, n_steps=3)
    assert np.array_equal(cells[0, 4:, ..., 0], samples[:3]) and np.array_equal(cells[1, 4:6, ..., 0], samples[3:])
    assert "Known classes: 0, 1" in refused(runs / "images", "samples", "--class", "seven")


def test_the_strip_ends_at_the_samples(runs: Path, seen: Callable) -> None:
    noted = seen("film_strip")
    made(runs / "images", "strip", "-n", 3, "--steps", 4, "--seed", 9)
    frames, times = noted["arguments"]
    model = caminito.load(runs / "images")
    assert len(frames) == len(times) == 5 and times[-1] == 0 and noted["limits"] == (0, 255)
    assert np.array_equal(frames[-1], model.sample(3, random_state=9, n_steps=4))


def test_paths_end_at_the_samples(runs: Path, seen: Callable) -> None:
    noted = seen("trajectories")
    made(runs / "numbers", "paths", "-n", 6, "--seed", 1, "--steps", 4)
    frames, times = noted["arguments"]
    assert list(times) == [4, 3, 2, 1, 0]
    assert np.array_equal(frames[-1], caminito.load(runs / "numbers").sample(6, random_state=1, n_steps=4))


def test_classes_colour_the_paths_unless_one_is_asked_for(seen: Callable, tmp_path: Path) -> None:
    points = np.random.default_rng(0).normal(size=(40, 2))
    np.savez(tmp_path / "named.npz", data=points, labels=np.where(points[:, 0] > 0, "right", "left"))
    done = said("train", tmp_path / "named.npz", "--out", tmp_path / "run", *SMALL, *ROWS[:-1], 1)
    assert done.exit_code == 0, done.output
    noted = seen("trajectories")
    made(tmp_path / "run", "paths", "-n", 9, "--steps", 2)
    model = caminito.load(tmp_path / "run")
    assert set(noted["groups"]) == {"left", "right"}
    assert np.array_equal(
        noted["arguments"][0][-1], model.sample(9, condition=noted["groups"], random_state=0, n_steps=2)
    )
    noted.clear()
    made(tmp_path / "run", "paths", "-n", 9, "--steps", 2, "--class", "left")
    assert noted.get("groups") is None
    assert np.array_equal(noted["arguments"][0][-1], model.sample(9, condition="left", random_state=0, n_steps=2))
    noted = seen("vector_field")
    made(tmp_path / "run", "field", "--class", "left")
    assert (noted["data"][:, 0] <= 0).all()


def test_corruption_begins_with_real_images_and_ends_in_the_noise_of_the_process(runs: Path, seen: Callable) -> None:
    noted = seen("corruption")
    made(runs / "images", "corruption", "-n", 3, "--seed", 4)
    frames, times = noted["arguments"]
    model = caminito.load(runs / "images")
    assert len(frames) == len(times) == 9 and times[0] == 0 and times == sorted(times)
    known = {image.tobytes() for image in train_rows(runs, "images", "images.npz")}
    assert {image.tobytes() for image in frames[0]} <= known
    x0 = model.codec_.encode(frames[0])
    last = model.codec_.encode(frames[-1])
    alpha, sigma = model.process_.kernel(times[-1])
    eps = (last * torch.hypot(alpha, sigma) - alpha * x0) / sigma
    inside = (frames[-1] > 0) & (frames[-1] < 255)  # what was not cut
    expected = normal(4, Stream.NOISE, 0, tuple(x0.shape))
    step = 1 / float(model.codec_.std[0])  # of one grey level
    assert float((eps - expected)[torch.from_numpy(inside)[:, None]].abs().max()) < 0.51 * step * 1.01


def test_the_field_is_that_of_the_denoiser_in_units_of_the_data(runs: Path, seen: Callable) -> None:
    noted = seen("vector_field")
    made(runs / "points", "field")
    across, up, fields, names = noted["arguments"]
    assert len(fields) == len(names) == 4 and names[1] == "sigma / alpha = 0.8"
    assert np.diff(across)[0] == pytest.approx(np.diff(up)[0], rel=0.2)  # the cells are about squares
    assert (across[0] + across[-1]) / 2 == pytest.approx(10, abs=2)
    model = caminito.load(runs / "points")
    codec, t = model.codec_, model.process_.time(torch.tensor(-2 * np.log(0.8)))
    place = np.array([[across[4], up[1]]])
    with torch.no_grad():
        mean = model.denoiser_.mean(codec.encode(place), t)
    assert np.allclose(fields[1][1, 4], codec.decode(mean) - place, rtol=1e-4, atol=1e-4)
    train = {tuple(row) for row in train_rows(runs, "points", "points.npy")}
    assert {tuple(row) for row in noted["data"]} == train


def test_the_schedule_is_that_of_the_process(runs: Path, seen: Callable) -> None:
    noted = seen("schedule")
    made(runs / "points", "schedule")
    (name, (t, alpha, sigma)), *rest = noted["arguments"][0].items()
    model = caminito.load(runs / "points")
    assert name == "edm" and not rest and float(t[-1]) == 1 and len(t) > 100
    assert torch.equal(torch.stack([alpha, sigma]), torch.stack(list(model.process_.kernel(t))))
    assert float(sigma[0]) == pytest.approx(model.noise_range_[0], rel=0.1)
    noted = seen("noise_tables")
    made(runs / "numbers", "schedule")
    ((name, beta),) = noted["arguments"][0].items()
    assert name == "chain of 4 steps" and beta.tolist() == pytest.approx([0.1, 0.3, 0.6, 0.9], rel=1e-12)


@pytest.mark.parametrize("name", ["points", "numbers"])
def test_moving_paths_end_at_the_samples_over_the_data(runs: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    noted: dict[str, Any] = {}
    film = plot.gif_bytes([np.zeros((4, 4), np.uint8), np.full((4, 4), 255, np.uint8)])
    monkeypatch.setattr(plot, "moving_paths", lambda *a, **how: noted.update(how, arguments=a) or film)
    made(runs / name, "paths", "-n", 5, "--out", runs / f"{name}.gif")
    frames, times = noted["arguments"]
    assert len(frames) == len(times) == 4 and times[-1] == 0
    assert np.array_equal(frames[-1], caminito.load(runs / name).sample(5, random_state=0))
    assert (noted["data"] is None) == (name == "numbers")


def test_nearest_are_the_nearest_of_the_training_items(runs: Path, seen: Callable) -> None:
    noted = seen("nearest")
    made(runs / "images", "nearest", "-n", 4, "--steps", 3)
    ours, theirs = noted["arguments"]
    train = train_rows(runs, "images", "images.npz")
    index, distance = nearest_items(ours, train)
    assert np.array_equal(ours, caminito.load(runs / "images").sample(4, random_state=0, n_steps=3))
    assert np.array_equal(theirs, train[index]) and np.allclose(noted["distances"], distance)


def test_losses_are_those_of_the_log(runs: Path, seen: Callable) -> None:
    run = Run.open(runs / "points")
    checks = [e for e in run.events if e["event"] == "validation"]
    noted = seen("loss_curves")
    made(runs / "points", "loss")
    curves = noted["arguments"][0]
    steps, losses = curves["held-out, averaged weights"]
    assert steps == [2, 4, 6] and losses == [e["loss"] for e in checks]
    assert len(curves["training"][0]) == len([e for e in run.events if e["event"] == "step"])
    noted = seen("loss_by_level")
    made(runs / "points", "levels")
    levels, history = noted["arguments"]
    assert levels == checks[-1]["logsnr"] and history == [e["levels"] for e in checks]
    assert noted["labels"] == ["step 2", "step 4", "step 6"]


def test_time_is_that_of_training_and_of_judging(runs: Path, seen: Callable, tmp_path: Path) -> None:
    noted = seen("time_spent")
    made(runs / "points", "time")
    spent = Run.open(runs / "points").status["spent"]
    assert noted["arguments"][0] == {name: spent[name] for name in ("training", "pictures", "saving")}
    shutil.copytree(runs / "points", tmp_path / "judged")
    (tmp_path / "judged" / "metrics.json").write_text('{"seconds": {"sampling": 2.0, "judging": 1.0}}')
    made(tmp_path / "judged", "time")
    assert noted["arguments"][0]["sampling"] == 2.0 and "training" in noted["arguments"][0]


# -- where things are missing -----------------------------------------------------------------------------------------


def test_a_model_alone_has_pictures_without_data(runs: Path, seen: Callable, tmp_path: Path) -> None:
    shutil.copytree(runs / "points" / "model", tmp_path / "model")
    noted = seen("scatter")
    assert made(tmp_path / "model", "samples", "-n", 4) == tmp_path / "model" / "plots" / "samples.png"
    assert len(noted["arguments"]) == 1 and len(noted["arguments"][0]) == 4
    noted = seen("loss_curves")
    made(tmp_path / "model", "loss")
    assert list(noted["arguments"][0]) == ["held-out, averaged weights"]
    assert "does not say where its time went" in refused(tmp_path / "model", "time")
    shutil.copytree(runs / "images" / "model", tmp_path / "images")
    assert "holds a model alone" in refused(tmp_path / "images", "nearest")


def test_data_that_are_gone_are_asked_for_and_done_without_where_that_is_possible(
    runs: Path, seen: Callable, tmp_path: Path
) -> None:
    run, moved = shutil.copytree(runs / "images", tmp_path / "run"), runs / "images.npz"
    facts = json.loads((run / "data.json").read_text())
    (run / "data.json").write_text(json.dumps(facts | {"path": str(tmp_path / "absent.npz")}))
    for kind in ("corruption", "nearest"):
        message = refused(run, kind, "-n", 2)
        assert f"no longer at {tmp_path / 'absent.npz'}" in message and f"caminito plot {run} {kind} DATA" in message
    noted = seen("corruption")
    made(run, "corruption", moved, "-n", 2)
    assert len(noted["arguments"][0][0]) == 2
    noted = seen("image_grid")
    result = said("plot", run, "samples", "-n", 4, "--steps", 2)
    assert result.exit_code == 0 and "The picture is made without them" in result.output
    assert noted["title"] == "Samples" and noted["arguments"][0].shape == (4, 8, 8)
    assert "no longer at" not in said("plot", run, "samples", moved, "-n", 4, "--steps", 2).output
    assert "does not hold the data" in refused(run, "samples", runs / "points.npy")


def test_losses_that_were_not_measured_are_not_drawn(runs: Path, seen: Callable, tmp_path: Path) -> None:
    run = shutil.copytree(runs / "points", tmp_path / "run")
    lines = (run / "events.jsonl").read_text().splitlines(keepends=True)
    (run / "events.jsonl").write_text("".join(line for line in lines if '"validation"' not in line))
    facts = json.loads((run / "model" / "manifest.json").read_text())
    (run / "model" / "manifest.json").write_text(json.dumps(facts | {"history": []}))
    assert "no loss on held-out data" in refused(run, "levels")
    noted = seen("loss_curves")
    made(run, "loss")
    assert list(noted["arguments"][0]) == ["training"]
    (run / "events.jsonl").unlink()
    assert "no loss written down yet" in refused(run, "loss")


# -- mistakes ---------------------------------------------------------------------------------------------------------


def test_help_says_of_each_kind_what_it_shows() -> None:
    text = CliRunner().invoke(app, ["plot", "--help"], env={"COLUMNS": "80"}).output
    for name, kind in KINDS.items():
        row = next(line for line in text.splitlines() if line.split()[:1] == [name])
        assert kind.shows in row and ", ".join(kind.of) in row


def test_an_unknown_kind_is_answered_with_the_nearest(runs: Path) -> None:
    message = refused(runs / "points", "shedule")
    assert "KIND: expected one of loss, levels" in message and message.endswith("Did you mean 'schedule'?")


def test_options_that_change_nothing_are_refused(runs: Path) -> None:
    assert "--seed: the picture 'loss' does not depend on it" in refused(runs / "points", "loss", "--seed", 1)
    assert "It takes -n, --seed." in refused(runs / "images", "corruption", "--steps", 3)
    assert "-n: expected a whole number of at least 1, got 0" in refused(runs / "points", "paths", "-n", 0)
    assert "dpmpp2m" in refused(runs / "points", "paths", "--solver", "eular")


def test_places_that_cannot_hold_the_picture_are_refused(runs: Path, tmp_path: Path) -> None:
    assert ".png, .svg, .pdf or .gif, got 'a.jpg'" in refused(runs / "points", "loss", "--out", "a.jpg")
    message = refused(runs / "points", "loss", "--out", "a.gif")
    assert "does not move. Those that do: strip, paths." in message
    (tmp_path / "a.png").mkdir()
    assert "this is a folder" in refused(runs / "points", "loss", "--out", tmp_path / "a.png")
    assert "nothing at this path" in refused(tmp_path / "absent", "loss")
