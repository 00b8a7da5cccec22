"""Pictures that a caption asks for: whether what it says is there, also where its words never met in training.

The package's default U-Net on the captioned set of `_captions`, told captions by hashed words that are learned with it,
the captions dropped in a tenth of the rows. Captions are asked for at each scale of guidance,

    seen    those of `--samples` rows of part `test`: combinations that training images have
    new     those of as many rows of part `new`: no training image has their class, count and place together

and each sample is judged for its four attributes by a classifier that is trained in this run, on the real images of the
training part. The floor is what it says of the real images of the same captions; beside it, of these images with the
captions of others. An interval is Wilson's at 95 %; that of the mean over attributes is of the shares of the samples,
whose four answers are not independent.

    python benchmarks/text.py [--minutes 25 | --training-steps N] [--resume]
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from _captions import CLASSES, PLACES, SIZES, Captioned, captioned
from _common import RESULTS, commit, write
from caminito import ImageDiffusion
from caminito.data import HashingText
from caminito.plot import image_grid, png_bytes

ATTRIBUTES: dict[str, tuple[Any, ...]] = {"class": CLASSES, "count": (1, 2, 3), "place": PLACES, "size": SIZES}
PARTS = {"seen": "test", "new": "new"}
ASKED = {"seen": 0.90, "new": 0.75}
JUDGED = 2000  # rows of each part that the judge's accuracy is taken of, at least
WORDS = 12  # of a caption, at most
Z = 1.959964  # standard errors of 95 %


# -- the judge ---------------------------------------------------------------------------------------------------------


class Attributes(nn.Module):
    """A small classifier with an answer for each attribute.

    In training no class has every count at every place, and a classifier that sees all three at once learns which never
    meet: it would not believe its eyes in new combinations. So class, count and size are read from features without
    their places, by convolutions that close like a torus and know no border; place alone is read from where they are.
    """

    def __init__(self) -> None:
        super().__init__()
        how: dict[str, Any] = {"padding_mode": "circular"}
        self.body = nn.Sequential(
            nn.Conv2d(1, 32, 5, stride=2, padding=2, **how),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3, padding=1, **how),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(64, 128, 3, padding=1, **how),
            nn.BatchNorm2d(128),
            nn.ReLU(),
        )
        self.pooled = nn.Sequential(nn.Linear(256, 128), nn.ReLU())
        sizes = {name: 128 * 64 if name == "place" else 128 for name in ATTRIBUTES}
        self.heads = nn.ModuleDict({name: nn.Linear(sizes[name], len(of)) for name, of in ATTRIBUTES.items()})

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        found = self.body(x)
        anywhere = self.pooled(torch.cat([found.mean((2, 3)), found.amax((2, 3))], dim=1))
        return {name: head(found.flatten(1) if name == "place" else anywhere) for name, head in self.heads.items()}


def codes(data: Captioned, rows: slice = slice(None)) -> dict[str, np.ndarray]:
    """Attributes as numbers of their values."""
    return {
        name: np.array([values.index(value) for value in data.attributes[name][rows].tolist()])
        for name, values in ATTRIBUTES.items()
    }


def judge(data: Captioned, epochs: int) -> Attributes:
    """The classifier after so many epochs."""
    torch.manual_seed(0)
    net, batch = Attributes(), 128
    images = torch.from_numpy(data.images).float()[:, None] / 255
    labels = {name: torch.from_numpy(values) for name, values in codes(data).items()}
    optimizer = torch.optim.AdamW(net.parameters(), 2e-3, weight_decay=1e-2)
    steps = len(images) // batch
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=epochs * steps)
    for _ in range(epochs):
        for rows in torch.randperm(len(images))[: steps * batch].split(batch):
            found = net(images[rows])
            losses = [functional.cross_entropy(found[name], labels[name][rows]) for name in ATTRIBUTES]
            optimizer.zero_grad()
            torch.stack(losses).sum().backward()
            optimizer.step()
            schedule.step()
    return net.eval()


@torch.no_grad()
def answers(net: Attributes, images: np.ndarray) -> dict[str, np.ndarray]:
    """What the judge takes uint8 images for, as numbers of values."""
    pieces = np.array_split(images, max(1, len(images) // 500))
    found = [net(torch.from_numpy(piece).float()[:, None] / 255) for piece in pieces]
    return {name: torch.cat([piece[name].argmax(1) for piece in found]).numpy() for name in ATTRIBUTES}


# -- agreement ---------------------------------------------------------------------------------------------------------


def agreement(net: Attributes, images: np.ndarray, asked: dict[str, np.ndarray]) -> dict[str, dict[str, float]]:
    """Shares of images with the attributes asked for: each, all of them jointly, and the mean over attributes."""
    found = answers(net, images)
    right = np.stack([found[name] == asked[name] for name in ATTRIBUTES], axis=1)
    shares = {name: wilson(column) for name, column in zip(ATTRIBUTES, right.T)}
    each = right.mean(1)
    mean, half = float(each.mean()), float(Z * each.std(ddof=1) / math.sqrt(len(each)))
    return {
        "mean": {"share": mean, "low": max(0.0, mean - half), "high": min(1.0, mean + half)},
        "joint": wilson(right.all(1)),
        **shares,
    }


def wilson(right: np.ndarray) -> dict[str, float]:
    """A share with its interval (Wilson 1927)."""
    n, share = len(right), float(right.mean())
    middle = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * math.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    return {"share": share, "low": middle - half, "high": middle + half}


# -- the run -----------------------------------------------------------------------------------------------------------


def trained(data: Captioned, args: argparse.Namespace) -> ImageDiffusion:
    """The model of the folder, trained first if it is not there."""
    place = args.models / "model"
    if not (place / "manifest.json").exists():
        budget = {"minutes": args.minutes} if args.training_steps is None else {"max_steps": args.training_steps}
        model = ImageDiffusion(**budget, conditions={"caption": HashingText(WORDS)}, random_state=0)
        begin = time.perf_counter()
        for progress in model.fit_iter(data.images, condition={"caption": data.captions}):
            if progress.step % 500 == 0:
                print(f"step {progress.step}, {(time.perf_counter() - begin) / 60:.1f} min", flush=True)
        facts = {"minutes": (time.perf_counter() - begin) / 60, "steps": model.n_steps_, "commit": commit()}
        facts["parameters"] = sum(p.numel() for p in model.denoiser_.network.parameters())
        facts["images"] = len(data.images)
        model.save(place)
        (args.models / "facts.json").write_text(json.dumps(facts))
    return ImageDiffusion.load(place)  # type: ignore[return-value]


def main() -> None:
    """Run and write results/text.json and .png."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=25.0, help="of training")
    parser.add_argument("--training-steps", type=int, help="instead of minutes")
    parser.add_argument("--images", type=int, default=30_000, help="to train on")
    parser.add_argument("--judge-epochs", type=int, default=4)
    parser.add_argument("--samples", type=int, default=500, help="per point: of seen combinations, and of new ones")
    parser.add_argument("--steps", type=int, default=24, help="of a walk")
    parser.add_argument("--scales", type=float, nargs="+", default=[1.0, 1.5, 2.0, 3.0, 5.0])
    parser.add_argument("--models", type=Path, default=RESULTS / "scratch_text", help="where the network is kept")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of what is written")
    parser.add_argument("--resume", action="store_true", help="go on with a run that was stopped")
    args = parser.parse_args()
    for folder in (args.models, args.out):
        folder.mkdir(parents=True, exist_ok=True)
    data = captioned(args.images, *(max(args.samples, JUDGED),) * 2)
    train, kept = data.part("train"), {name: data.part(part) for name, part in PARTS.items()}
    net = judge(train, args.judge_epochs)
    accuracy = {name: agreement(net, part.images, codes(part)) for name, part in kept.items()}
    print("judge", brief(accuracy), flush=True)
    model = trained(train, args)

    path = args.out / "scratch_text.json"
    known = json.loads(path.read_text()) if args.resume and path.exists() else {}
    asked = {name: codes(part, slice(args.samples)) for name, part in kept.items()}
    others = np.random.RandomState(0).permutation(args.samples)

    def point(name: str, scale: float) -> dict[str, dict[str, float]]:
        key = f"{name} {scale:g}"
        if key not in known:
            begin, captions = time.process_time(), kept[name].captions[: args.samples]
            samples = model.sample(
                args.samples, condition={"caption": captions}, random_state=0, n_steps=args.steps, guidance=scale
            )
            known[key] = agreement(net, samples, asked[name])
            path.write_text(json.dumps(known))
            print(key, brief({key: known[key]})[key], f"{time.process_time() - begin:.0f} s", flush=True)
        return known[key]

    scales = {f"{scale:g}": {name: point(name, scale) for name in PARTS} for scale in args.scales}
    best = max(scales, key=lambda scale: scales[scale]["seen"]["joint"]["share"])
    figures = {
        "samples": args.samples,
        "steps": args.steps,
        "training": json.loads((args.models / "facts.json").read_text()),
        "judge_accuracy": accuracy,
        "real images (floor)": {
            name: agreement(net, part.images[: args.samples], asked[name]) for name, part in kept.items()
        },
        "real images, captions of others": {
            name: agreement(net, part.images[: args.samples][others], asked[name]) for name, part in kept.items()
        },
        "scales": scales,
        "best": best,
        "asked": {
            f"{key}, {name}": {
                "asked": ASKED[name],
                "found": scales[best][name][key]["share"],
                "held": scales[best][name][key]["share"] >= ASKED[name],
            }
            for name in PARTS
            for key in ("mean", "joint")
        },
    }
    write("text", figures, ("torch", "numpy"), folder=args.out)
    draw(model, kept, float(best), args)


def brief(found: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Shares alone, to print."""
    return {name: {key: round(each["share"], 3) for key, each in shares.items()} for name, shares in found.items()}


def draw(model: ImageDiffusion, kept: dict[str, Captioned], scale: float, args: argparse.Namespace) -> None:
    """Eight samples for each of six captions of each part, and a real image of the caption."""
    shown = [(name, row) for name, part in kept.items() for row in some(part)]
    captions, columns = [kept[name].captions[row] for name, row in shown], 8
    samples = model.sample(
        columns * len(shown),
        condition={"caption": [caption for caption in captions for _ in range(columns)]},
        random_state=1,
        n_steps=args.steps,
        guidance=scale,
    )
    real = np.stack([kept[name].images[row] for name, row in shown])[:, None]
    rows = np.concatenate([real, samples.reshape(len(shown), columns, *samples.shape[1:])], axis=1)
    fig = image_grid(
        rows.reshape(-1, *samples.shape[1:]),
        columns + 1,
        row_labels=[f"{'new: ' * (name == 'new')}{caption}" for (name, _), caption in zip(shown, captions)],
        title="Pictures that were asked for in words",
        caption=f"First in each row: a real image of the caption, not trained on; then {columns} samples, led by "
        f"{scale:g}. new: no training image has this class, count and place together.",
    )
    (args.out / "text.png").write_bytes(png_bytes(fig))


def some(part: Captioned, count: int = 6) -> list[int]:
    """Rows of as many classes, with every count equally often and places that recur late."""
    found: list[int] = []
    kinds, counts, places = (part.attributes[name] for name in ("class", "count", "place"))
    for row in range(len(part.captions)):
        fresh = kinds[row] not in kinds[found] and counts[row] == 1 + len(found) % 3
        if fresh and (places[row] not in places[found] or len(found) >= len(PLACES)):
            found.append(row)
        if len(found) == count:
            break
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
