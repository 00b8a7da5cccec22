"""Samples of a class that is asked for, and five ways to be led to it: how true they are, and how varied.

One class-conditional U-Net, the package's default, its conditions dropped in a tenth of the rows; a classifier of noisy
images (`NoisyClassifier`, of the same noise); and a judge that is neither, trained in this run on clean images. Each
way leads `--samples` images, equally many of each class, at each scale:

    classifier   the network without the class + w sigma^2 / alpha grad log p(y | x_t)   (Dhariwal & Nichol 2021)
    cfg          weak + w (strong - weak), weak: without the class                       (Ho & Salimans 2022)
    interval     the same, at noise levels in (0.2, 2] alone                             (Kynkaanniemi et al. 2024)
    middle       the same, at noise levels in (0.2, 5]
    wide         the same, at noise levels in (0.2, 10]
    auto         weak: the same network after an eighth of its training, with the class  (Karras et al. 2024)

Measured: the share that the judge takes for the class asked for; the Frechet distance in the judge's 128 features, of
all samples to all test images, and of each class to its own (mean over classes); precision and recall against as many
test images. Time per step is that of a walk of 24 steps in batches of 100, guided over unguided, the same way round in
turn.

    python benchmarks/conditional.py --data mnist|fashion_mnist [--minutes 30 | --training-steps N] [--resume]
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from _common import RESULTS, SHARED, commit, write
from caminito import ImageDiffusion, NoisyClassifier
from caminito.data import open_source
from caminito.metrics import frechet_distance, precision_recall
from caminito.plot import style
from images_vs_diffusers import Judge, features, judge, logits, mnist

CLASSES = 10
NAMES = {"mnist": "MNIST", "fashion_mnist": "Fashion-MNIST"}
INTERVALS = {"interval": (0.2, 2.0), "middle": (0.2, 5.0), "wide": (0.2, 10.0)}
SCALES: dict[str, tuple[float, ...]] = {
    "classifier": (0.5, 1.0, 2.0, 3.0, 5.0),
    "cfg": (0.0, 1.25, 1.5, 1.75, 2.0, 3.0, 5.0),
    "interval": (1.5, 2.0, 3.0, 5.0),
    "middle": (1.5, 2.0, 2.5, 3.0),
    "wide": (1.5, 2.0, 3.0),
    "auto": (1.5, 2.0, 3.0, 5.0),
}
ASKED = {"mnist": 0.985}  # accuracy; with .85 of the unguided recall


def images(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Training and test images (uint8) and labels."""
    if name == "mnist":
        return mnist()
    parts = [open_source(str(SHARED / name / f"{part}-images-idx3-ubyte.gz")) for part in ("train", "t10k")]
    labels = [part.labels for part in parts]
    assert labels[0] is not None and labels[1] is not None
    return parts[0].items, labels[0], parts[1].items, labels[1]


def trained(name: str, x: np.ndarray, y: np.ndarray, args: argparse.Namespace, folder: Path) -> ImageDiffusion:
    """The model of `folder`, trained first if it is not there; with the snapshots that autoguidance needs."""
    place = folder / name
    if not (place / "model" / "manifest.json").exists():
        budget = {"minutes": args.minutes} if args.training_steps is None else {"max_steps": args.training_steps}
        model = ImageDiffusion(**budget, training={"snapshots": 32}, random_state=0)
        begin = time.perf_counter()
        for _ in model.fit_iter(x, y, snapshots=place / "snapshots"):
            pass
        facts = {"minutes": (time.perf_counter() - begin) / 60, "steps": model.n_steps_, "commit": commit()}
        worse = model.reaverage(0.1, step=earliest(place / "snapshots", model.n_steps_ / 8))
        worse.save(place / "worse")
        model.save(place / "model")
        (place / "facts.json").write_text(json.dumps(facts | {"worse_steps": worse.n_steps_}))
    return ImageDiffusion.load(place / "model")  # type: ignore[return-value]


def earliest(folder: Path, least: float) -> int:
    """The first snapshot after so many steps."""
    index = json.loads((folder / "index.json").read_text())
    return min(entry["step"] for entry in index["snapshots"] if entry["step"] >= least)


def classifier(
    name: str, model: ImageDiffusion, x: np.ndarray, y: np.ndarray, args: argparse.Namespace, folder: Path
) -> NoisyClassifier:
    """The classifier of noisy images."""
    place = folder / name / "classifier"
    if not (place / "manifest.json").exists():
        steps = args.training_steps
        budget = {"minutes": args.minutes / 6} if steps is None else {"max_steps": max(1, steps // 4)}
        NoisyClassifier(model, **budget, random_state=0).fit(x, y).save(place)
    return NoisyClassifier.load(place)


def judged(
    samples: np.ndarray, asked: np.ndarray, net: Judge, real: np.ndarray, seen: np.ndarray, y: np.ndarray
) -> dict[str, float]:
    """All figures of samples; `real` and y are features and classes of the test images, `seen` of a part of them."""
    found = features(net, samples)
    own = [frechet_distance(found[asked == k], real[y == k]) for k in range(CLASSES)]
    precision, recall = precision_recall(seen, found)
    return {
        "accuracy": float((logits(net, samples).argmax(1).numpy() == asked).mean()),
        "frechet": frechet_distance(found, real),
        "frechet_of_classes": float(np.mean(own)),
        "precision": precision,
        "recall": recall,
    }


def seconds(model: ImageDiffusion, asked: np.ndarray, ways: dict[str, dict[str, Any]], turns: int) -> dict[str, float]:
    """Time of each way over that of no guidance, the median of turns taken one after the other."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(turns + 1):
        for name, how in ways.items():
            begin = time.process_time()
            model.sample(len(asked), condition=asked, n_steps=24, random_state=turn, **how)
            if turn:  # the first warms up
                taken[name].append(time.process_time() - begin)
    base = np.asarray(taken["none"])
    return {name: float(np.median(np.asarray(values) / base)) for name, values in taken.items()}


def main() -> None:
    """Run and write results/conditional_DATA.json and .png."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="mnist", choices=("mnist", "fashion_mnist"))
    parser.add_argument("--minutes", type=float, default=30.0, help="of training; the classifier takes a sixth of it")
    parser.add_argument("--training-steps", type=int, help="instead of minutes; the classifier takes a quarter")
    parser.add_argument("--samples", type=int, default=1000, help="per point")
    parser.add_argument("--steps", type=int, default=32, help="of a walk")
    parser.add_argument("--ways", nargs="+", default=list(SCALES), choices=tuple(SCALES))
    parser.add_argument("--turns", type=int, default=5, help="of the comparison of times")
    parser.add_argument("--models", type=Path, default=RESULTS / "scratch_conditional", help="where networks are kept")
    parser.add_argument("--resume", action="store_true", help="go on with a run that was stopped")
    args = parser.parse_args()
    x, y, x_test, y_test = images(args.data)
    net, accuracy = judge(x, y, x_test, y_test)
    model = trained(args.data, x, y, args, args.models)
    worse = ImageDiffusion.load(args.models / args.data / "worse")
    noisy = classifier(args.data, model, x, y, args, args.models)
    asked = np.repeat(np.arange(CLASSES), args.samples // CLASSES)
    real = features(net, x_test)
    part = np.random.RandomState(0).permutation(len(x_test))[: len(asked)]
    seen = real[part]
    others = np.concatenate([np.flatnonzero(y == k)[: args.samples // CLASSES] for k in range(CLASSES)])

    path = RESULTS / f"scratch_conditional_{args.data}.json"
    known = json.loads(path.read_text()) if args.resume and path.exists() else {}
    leads: dict[str, dict[str, Any]] = {
        "classifier": {"guide": noisy},
        "cfg": {},
        "interval": {},
        "middle": {},
        "wide": {},
        "auto": {"guide": worse},
    }

    def dials(way: str, scale: float) -> dict[str, Any]:
        more = {"interval": INTERVALS[way]} if way in INTERVALS else {}
        return {"guidance": {"scale": scale, **more}, **leads[way]}

    def point(name: str, how: dict[str, Any]) -> dict[str, float]:
        if name not in known:
            samples = model.sample(len(asked), condition=asked, random_state=0, n_steps=args.steps, **how)
            known[name] = judged(samples, asked, net, real, seen, y_test)
            path.write_text(json.dumps(known))
            print(name, known[name], flush=True)
        return known[name]

    plain = point("none", {})
    ways = {way: {str(scale): point(f"{way} {scale}", dials(way, scale)) for scale in SCALES[way]} for way in args.ways}
    if "times" not in known:
        timed = {"none": {}} | {way: dials(way, 2.0) for way in args.ways} | {"cfg at 1": dials("cfg", 1.0)}
        known["times"] = seconds(model, asked[:: max(1, len(asked) // 100)], timed, args.turns)
        path.write_text(json.dumps(known))
    figures = {
        "data": args.data,
        "samples": len(asked),
        "steps": args.steps,
        "judge_accuracy": accuracy,
        "training": json.loads((args.models / args.data / "facts.json").read_text()),
        "classifier_by_noise": [list(level) for level in noisy.accuracy_by_noise(x_test[:2000], y_test[:2000])],
        "real training images (floor)": judged(x[others], y[others], net, real, seen, y_test),
        "none": plain,
        "ways": ways,
        "best": {way: min(found, key=lambda s, f=found: f[s]["frechet"]) for way, found in ways.items()},
        "seconds over unguided": known["times"],
    }
    if args.data in ASKED:
        least = 0.85 * plain["recall"]
        held = [
            f"{way} {scale}"
            for way, found in ways.items()
            for scale, f in found.items()
            if f["accuracy"] >= ASKED[args.data] and f["recall"] >= least
        ]
        figures["accuracy .985 at .85 of the unguided recall"] = held
    write(f"conditional_{args.data}", figures)
    draw(plain, ways, RESULTS / f"conditional_{args.data}.png", NAMES[args.data])


def draw(plain: dict[str, float], ways: dict[str, dict[str, dict[str, float]]], path: Path, name: str) -> None:
    """Accuracy and Frechet distance against recall, a curve for each way."""
    fig, axes = style.figure(8.4, 4.2, (1, 2))
    for place, (key, words) in zip(
        np.ravel(axes), (("accuracy", "of the class asked for"), ("frechet", "Frechet distance"))
    ):
        for ink, (way, found) in zip(style.COLOURS, ways.items()):
            points = [(f["recall"], f[key]) for scale, f in found.items() if float(scale) > 0]
            place.plot(*zip(*points), "o-", color=ink, markersize=4, label=way)
        place.plot(plain["recall"], plain[key], "s", color=style.MUTED, markersize=6, label="no guidance")
        style.dress(place, words, "recall", key, grid="both")
    style.legend(np.ravel(axes)[-1], loc="best")
    told = "A point for each scale, larger ones further along the line. To the right: more varied."
    style.caption(fig, f"Fidelity against variety, {name}", told)
    fig.savefig(path)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
