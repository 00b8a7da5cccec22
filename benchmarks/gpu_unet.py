"""The 35.7M-parameter DDPM U-Net on one GPU: training and sampling rates, and 50 000 samples end to end.

Rates are given eager, compiled and as a CUDA graph, in bfloat16, with the share of the card's matrix rate that this run
itself measures on a large matrix product.

    python benchmarks/gpu_unet.py [--batch 512] [--samples 50000] [--evaluations 20]
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from _common import RESULTS, commit, machine
from caminito.denoiser import NetworkDenoiser, Precondition
from caminito.nn import DDPM_CIFAR10, build
from caminito.process import EDM
from caminito.sampling import Heun, sample

SHAPE = (3, 32, 32)


def seconds(work: Callable[[], object], device: torch.device, repeats: int) -> float:
    """Median seconds of one call."""
    for _ in range(3):
        work()
    spans = []
    for _ in range(repeats):
        _wait(device)
        start = time.perf_counter()
        work()
        _wait(device)
        spans.append(time.perf_counter() - start)
    return sorted(spans)[len(spans) // 2]


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def matrix_rate(device: torch.device, size: int) -> float:
    """bfloat16 floating-point operations per second of a square matrix product."""
    a, b = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    return 2 * size**3 / seconds(lambda: a @ b, device, 10)


def training(net: nn.Module, batch: int, device: torch.device, repeats: int) -> float:
    """Seconds of one training step: forward, backward, AdamW."""
    optimizer = torch.optim.AdamW(net.parameters(), 2e-4, fused=True)
    x, label = torch.randn(batch, *SHAPE, device=device), torch.rand(batch, device=device)

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16):
            loss = (net(x, label).float() - x).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return seconds(step, device, repeats)


def evaluation(net: nn.Module, batch: int, device: torch.device, repeats: int, graph: bool = False) -> float:
    """Seconds of one evaluation, optionally replayed as a CUDA graph."""
    x, label = torch.randn(batch, *SHAPE, device=device), torch.rand(batch, device=device)

    @torch.no_grad()
    def call() -> None:
        with torch.autocast(device.type, torch.bfloat16, cache_enabled=not graph):
            net(x, label)

    if not graph:
        return seconds(call, device, repeats)
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(3):
            call()
    torch.cuda.current_stream().wait_stream(stream)
    captured = torch.cuda.CUDAGraph()
    with torch.cuda.graph(captured):
        call()
    return seconds(captured.replay, device, repeats)


def main() -> None:
    """Run and write results/gpu/gpu_unet.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--samples", type=int, default=50_000)
    parser.add_argument("--evaluations", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--matrix", type=int, default=8192)
    args = parser.parse_args()
    device = torch.device(args.device)
    torch.backends.cudnn.benchmark = True
    net = build(DDPM_CIFAR10).to(device)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(torch.randn(1, *SHAPE, device=device), torch.rand(1, device=device))
    forward = counter.get_total_flops()
    peak = matrix_rate(device, args.matrix)
    rows: dict[str, Any] = {}

    def row(train_s: float | None, eval_s: float) -> dict[str, float]:
        out = {
            "images_x_evaluations_per_second": args.batch / eval_s,
            "evaluation_share_of_peak": args.batch * forward / eval_s / peak,
        }
        if train_s is not None:
            out |= {
                "training_images_per_second": args.batch / train_s,
                "training_share_of_peak": 3 * args.batch * forward / train_s / peak,
            }
        return out

    rows["eager"] = row(
        training(net, args.batch, device, args.repeats), evaluation(net, args.batch, device, args.repeats)
    )
    if device.type == "cuda":
        rows["cuda graph"] = row(None, evaluation(net, args.batch, device, args.repeats, graph=True))
        compiled = torch.compile(net)
        rows["compiled"] = row(
            training(compiled, args.batch, device, args.repeats), evaluation(compiled, args.batch, device, args.repeats)
        )
    chosen = torch.compile(net) if device.type == "cuda" else net
    denoiser = NetworkDenoiser(chosen, Precondition("edm"), EDM(), SHAPE, autocast=torch.bfloat16)
    start = time.perf_counter()
    sample(
        denoiser, args.samples, steps=(args.evaluations + 1) // 2, solver=Heun(), batch_size=args.batch, device=device
    )
    _wait(device)
    figures = {
        "benchmark": "gpu_unet",
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "commit": commit(),
        "machine": machine(),
        "torch": torch.__version__,
        "parameters": sum(p.numel() for p in net.parameters()),
        "forward_flops_per_image": forward,
        "matrix_flops_per_second": peak,
        "batch": args.batch,
        "rates": rows,
        "end_to_end": {
            "samples": args.samples,
            "evaluations": args.evaluations,
            "seconds": time.perf_counter() - start,
        },
        "asked": "training >= 6000 images/s, sampling >= 20000 images x evaluations/s",
    }
    path = RESULTS / "gpu" / "gpu_unet.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(figures, indent=2) + "\n")
    print(path.read_text())


if __name__ == "__main__":
    main()
