"""MNIST at equal wall-clock: this package's default against diffusers, in one run on one machine.

The peer is diffusers' `UNet2DModel` with the optimiser, schedule, averaging and loss of its unconditional training
example (AdamW, cosine with 500 warm-up steps, EMA, DDPM epsilon prediction) and its DDIM sampler at 50 steps. Of two
sizes the one with the lower held-out loss after a pilot of `--pilot` minutes each takes part; `--pilot 0` trains both
in full and the better one counts. It gets bfloat16 autocast if that trains faster here. Both see the 60 000 training
images only. Judged by the Frechet distance of 2 000 samples to the 10 000 test images in the features of a classifier
trained in this run, the chi-square of the class histogram, recall, and the copy gauge.

    python benchmarks/images_vs_diffusers.py [--minutes 20] [--part throughput|quality|all]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from _common import RESULTS, SHARED, write
from caminito import ImageDiffusion
from caminito.metrics import copy_gauge, frechet_distance, precision_recall
from caminito.nn import build, suggest
from caminito.plot import png_bytes, tile

PEERS = {
    "diffusers small": (32, 64, 64),
    "diffusers medium": (64, 128, 128),
}
N_SAMPLES = 2000


def mnist() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Training and test images (uint8) and labels."""
    train, test = (np.load(SHARED / "mnist" / f"{part}.npz") for part in ("train", "test"))
    return train["x"], train["y"], test["x"], test["y"]


# -- the judge ---------------------------------------------------------------------------------------------------------


class Judge(nn.Module):
    """A small classifier; its 128 features are where the Frechet distance is taken."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 32, 5, stride=2, padding=2),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3, padding=1),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(64, 64, 3, padding=1),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(64 * 49, 128),
            nn.ReLU(),
        )
        self.head = nn.Linear(128, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))


def judge(x: np.ndarray, y: np.ndarray, x_test: np.ndarray, y_test: np.ndarray) -> tuple[Judge, float]:
    """The classifier after four epochs, and its test accuracy."""
    torch.manual_seed(0)
    net, labels = Judge(), torch.from_numpy(y)
    images = torch.from_numpy(x).float()[:, None] / 255
    epochs, batch = 4, 256
    optimizer = torch.optim.AdamW(net.parameters(), 2e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=epochs * (len(x) // batch))
    for _ in range(epochs):
        for rows in torch.randperm(len(x))[: len(x) // batch * batch].split(batch):
            loss = functional.cross_entropy(net(images[rows]), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    net.eval()
    return net, float((logits(net, x_test).argmax(1) == torch.from_numpy(y_test)).double().mean())


@torch.no_grad()
def logits(net: Judge, x: np.ndarray) -> Tensor:
    """Class scores of uint8 images."""
    return torch.cat([net(torch.from_numpy(part).float()[:, None] / 255) for part in np.array_split(x, 20)])


@torch.no_grad()
def features(net: Judge, x: np.ndarray) -> np.ndarray:
    """Features of uint8 images."""
    parts = np.array_split(x, 20)
    return torch.cat([net.body(torch.from_numpy(part).float()[:, None] / 255) for part in parts]).double().numpy()


def judged(samples: np.ndarray, net: Judge, x: np.ndarray, x_test: np.ndarray, y_test: np.ndarray) -> dict[str, Any]:
    """All figures of 2 000 uint8 samples."""
    seen, real = features(net, samples), features(net, x_test)
    precision, recall = precision_recall(real[: len(seen)], seen)
    counts = np.bincount(logits(net, samples).argmax(1).numpy(), minlength=10)
    shares = np.bincount(y_test, minlength=10) / len(y_test)
    expected = shares * len(samples)
    parts = (samples[:500], x, x_test[:1000])
    gauge = copy_gauge(*(part.reshape(len(part), -1) / 255.0 for part in parts))
    return {
        "frechet": frechet_distance(seen, real),
        "class_chi_square_9_df": float(((counts - expected) ** 2 / expected).sum()),
        "precision": precision,
        "recall": recall,
        "copy_ratio_over_floor": gauge.ratio / gauge.floor,
    }


# -- the peer ----------------------------------------------------------------------------------------------------------


def peer_network(widths: tuple[int, ...]) -> nn.Module:
    """diffusers' U-Net for one 28 x 28 channel, attention at 14 and 7 as in its example's smaller levels."""
    from diffusers import UNet2DModel

    return UNet2DModel(
        sample_size=28,
        in_channels=1,
        out_channels=1,
        layers_per_block=2,
        block_out_channels=widths,
        down_block_types=("DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
    )


def autocast(enabled: bool) -> Any:
    """bfloat16 autocast on the CPU, or nothing."""
    return torch.autocast("cpu", torch.bfloat16, enabled=enabled)


def train_peer(widths: tuple[int, ...], x: np.ndarray, seconds: float, bf16: bool) -> tuple[nn.Module, dict[str, Any]]:
    """diffusers' unconditional training example for so many seconds; returns its averaged network."""
    from diffusers import DDPMScheduler
    from diffusers.optimization import get_cosine_schedule_with_warmup
    from diffusers.training_utils import EMAModel

    torch.manual_seed(0)
    net, scheduler, batch = peer_network(widths), DDPMScheduler(num_train_timesteps=1000), 64
    optimizer = torch.optim.AdamW(net.parameters(), 2e-4, betas=(0.95, 0.999), weight_decay=1e-6, eps=1e-8)
    ema = EMAModel(net.parameters(), decay=0.9999, use_ema_warmup=True, inv_gamma=1.0, power=0.75)
    images = torch.from_numpy(x).float()[:, None] / 127.5 - 1
    steps, start, total, schedule = 0, time.perf_counter(), None, None
    order = torch.randperm(len(images))
    while (spent := time.perf_counter() - start) < seconds:
        if schedule is None and steps == 10:  # its schedule wants the number of steps: measured once
            total = int(10 * seconds / spent)
            schedule = get_cosine_schedule_with_warmup(optimizer, min(500, total // 4), total)
        place = steps * batch % (len(images) - batch)
        if place < batch:
            order = torch.randperm(len(images))
        clean = images[order[place : place + batch]]
        noise, t = torch.randn_like(clean), torch.randint(0, 1000, (batch,))
        with autocast(bf16):
            loss = functional.mse_loss(net(scheduler.add_noise(clean, noise, t), t).sample.float(), noise)
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        if schedule is not None:
            schedule.step()
        optimizer.zero_grad()
        ema.step(net.parameters())
        steps += 1
    seconds_spent = time.perf_counter() - start
    ema.copy_to(net.parameters())
    parameters = sum(p.numel() for p in net.parameters())
    return net.eval(), {
        "parameters": parameters,
        "steps": steps,
        "images_per_second": steps * batch / seconds_spent,
        "train_seconds": seconds_spent,
        "bf16": bf16,
    }


@torch.no_grad()
def sample_peer(net: nn.Module, n: int, steps: int, bf16: bool) -> tuple[np.ndarray, float]:
    """DDIM samples as uint8, and the seconds they took."""
    from diffusers import DDIMScheduler

    scheduler, out, start = DDIMScheduler(num_train_timesteps=1000), [], time.perf_counter()
    generator = torch.Generator().manual_seed(0)
    for low in range(0, n, 250):
        scheduler.set_timesteps(steps)
        x = torch.randn((min(250, n - low), 1, 28, 28), generator=generator)
        for t in scheduler.timesteps:
            with autocast(bf16):
                eps = net(x, t).sample
            x = scheduler.step(eps.float(), t, x).prev_sample
        out.append(((x.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)[:, 0])
    return torch.cat(out).numpy(), time.perf_counter() - start


@torch.no_grad()
def peer_loss(net: nn.Module, x_test: np.ndarray, bf16: bool) -> float:
    """Held-out epsilon error of a peer at evenly spread times, with fixed noise."""
    from diffusers import DDPMScheduler

    clean = torch.from_numpy(x_test[:1000]).float()[:, None] / 127.5 - 1
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    t = torch.arange(1000)
    with autocast(bf16):
        noisy = DDPMScheduler(num_train_timesteps=1000).add_noise(clean, noise, t)
        found = torch.cat([net(a, b).sample.float() for a, b in zip(noisy.split(125), t.split(125), strict=True)])
    return float(functional.mse_loss(found, noise))


# -- throughput --------------------------------------------------------------------------------------------------------


def rate(work: Callable[[], object], images: int, seconds: float = 5.0) -> float:
    """Images per second of `work`, after one call to warm up."""
    work()
    start, calls = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        work()
        calls += 1
    return calls * images / (time.perf_counter() - start)


def rates(net: nn.Module, call: Callable[[Tensor, Tensor], Tensor], bf16: bool, batch: int = 64) -> dict[str, float]:
    """Training steps (forward, backward, AdamW) and evaluations, images per second."""
    optimizer = torch.optim.AdamW(net.parameters(), 1e-4, fused=True)
    x, label = torch.randn(batch, 1, 28, 28), torch.rand(batch)

    def train() -> None:
        with autocast(bf16):
            loss = call(x, label).float().square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    def evaluate() -> None:
        with torch.no_grad(), autocast(bf16):
            call(x, label)

    return {"train": rate(train, batch), "evaluate": rate(evaluate, batch)}


def throughput() -> dict[str, Any]:
    """Both networks at equal parameter counts, in turn, float32 and bfloat16."""
    out: dict[str, Any] = {}
    for name, widths in PEERS.items():
        peer = peer_network(widths)
        target = sum(p.numel() for p in peer.parameters())
        ours, width = None, 32
        while ours is None or sum(p.numel() for p in ours.parameters()) < target:
            ours, width = build(suggest((1, 28, 28), 60_000) | {"width": width}), width + 32
        sizes = {"peer": target, "caminito": sum(p.numel() for p in ours.parameters())}
        rows: dict[str, Any] = {"parameters": sizes}
        for word, bf16 in (("float32", False), ("bfloat16", True)):
            theirs = rates(peer, lambda x, t, net=peer: net(x, 1000 * t).sample, bf16)
            own = rates(ours, lambda x, t, net=ours: net(x, t), bf16)
            rows[word] = {
                "peer": theirs,
                "caminito": own,
                "ratio_train": own["train"] / theirs["train"],
                "ratio_evaluate": own["evaluate"] / theirs["evaluate"],
            }
        best = {k: max(rows[w]["peer"][k] for w in ("float32", "bfloat16")) for k in ("train", "evaluate")}
        mine = {k: max(rows[w]["caminito"][k] for w in ("float32", "bfloat16")) for k in ("train", "evaluate")}
        rows["best_against_best"] = {k: mine[k] / best[k] for k in best}
        out[name] = rows
        print(name, rows, flush=True)
    return out


# -- the run -----------------------------------------------------------------------------------------------------------


def main() -> None:
    """Run and write results/images_vs_diffusers.json, with a picture of both."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--part", choices=("throughput", "quality", "all"), default="all")
    parser.add_argument("--pilot", type=float, default=2.0, help="minutes of each peer's pilot")
    parser.add_argument("--only", nargs="*", default=["caminito", *PEERS])
    parser.add_argument("--name", default="images_vs_diffusers")
    args = parser.parse_args()
    figures: dict[str, Any] = {"minutes": args.minutes}
    packages = ("torch", "diffusers", "numpy")
    if args.part in ("throughput", "all"):
        figures["throughput"] = throughput()
        write(args.name, figures, packages)
    if args.part in ("quality", "all"):
        x, y, x_test, y_test = mnist()
        net, accuracy = judge(x, y, x_test, y_test)
        figures["judge_accuracy"] = accuracy
        real = np.random.RandomState(0).permutation(len(x))[:N_SAMPLES]
        figures["quality"] = {"real training images (floor)": judged(x[real], net, x, x_test, y_test)}
        pictures = [x[real][:10]]
        print("judge", accuracy, figures["quality"], flush=True)
        chosen = args.only
        precision = {
            name: speeds["bfloat16"]["peer"]["train"] > speeds["float32"]["peer"]["train"]
            for name, speeds in figures.get("throughput", {}).items()
        }
        peers = [name for name in args.only if name in PEERS]
        if args.pilot and len(peers) > 1:
            pilots = {}
            for name in peers:
                bf16 = precision.get(name, True)
                pilots[name] = peer_loss(train_peer(PEERS[name], x, 60 * args.pilot, bf16)[0], x_test, bf16)
            figures["pilot"] = {"minutes": args.pilot, "held_out_loss": pilots}
            print(pilots, flush=True)
            chosen = [name for name in args.only if name not in PEERS or pilots[name] == min(pilots.values())]
        for name in chosen:
            if name == "caminito":
                start = time.perf_counter()
                model = ImageDiffusion(minutes=args.minutes, random_state=0).fit(x)
                spent = time.perf_counter() - start
                facts = {
                    "parameters": sum(p.numel() for p in model.denoiser_.network.parameters()),
                    "steps": model.n_steps_,
                    "train_seconds": spent,
                    "chosen": {key: str(choice.value) for key, choice in model.describe().items()},
                }
                start = time.perf_counter()
                samples = model.sample(N_SAMPLES, random_state=0)
                seconds = time.perf_counter() - start
            else:
                widths = PEERS[name]
                bf16 = precision.get(name, True)
                peer, facts = train_peer(widths, x, 60 * args.minutes, bf16)
                samples, seconds = sample_peer(peer, N_SAMPLES, 50, bf16)
            facts["sample_seconds"] = seconds
            figures["quality"][name] = facts | judged(samples, net, x, x_test, y_test)
            pictures.append(samples[:10])
            print(name, figures["quality"][name], flush=True)
            (RESULTS / f"{args.name}.png").write_bytes(png_bytes(tile(np.concatenate(pictures), columns=10, scale=2)))
            write(args.name, figures, packages)
        found = figures["quality"]
        rivals = [found[name]["frechet"] for name in PEERS if name in found]
        if rivals and "caminito" in found:
            figures["frechet_ratio_to_best_peer"] = found["caminito"]["frechet"] / min(rivals)
    write(args.name, figures, packages)


if __name__ == "__main__":
    main()
