"""A small VAE and a small GAN, for the benchmarks alone: what a diffusion model is held against.

Both have the layers of the "standard CNN" of Miyato et al. 2018, table 3, with two halvings in place of three:

    down   conv 3x3 | conv 4x4 / 2, conv 3x3 | conv 4x4 / 2, conv 3x3 | linear     w, 2w, 4w channels, leaky ReLU
    up     linear | deconv 4x4 x 2 | deconv 4x4 x 2 | conv 3x3, tanh               4w, 2w, w channels, batch norm, ReLU

VAE: sigma-VAE (Rybkin et al. 2021), a Gaussian decoder of one learned variance, which leaves no weight between its two
terms to tune; AdamW. A sample is the decoder's mean, as is the custom. Source: Kingma & Welling 2014.

GAN: hinge loss, spectral norm in the discriminator, a step of each in turn, Adam(0, 0.9). Source: Miyato et al. 2018.
The rate of 1e-3 for both did better here than 2e-4 with a discriminator twice as fast (Frechet 1.18 against 2.02).

Both: batches of 64, a step size that falls to 0 over the budget, weights averaged over a thousand steps when sampling,
no augmentation. The budget is wall-clock alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm
from torch.optim.swa_utils import AveragedModel

__all__ = ["GAN", "VAE", "sized", "train"]

BATCH, LATENT = 64, 64


def down(
    width: int, side: int, outputs: int, wrap: Callable[[nn.Module], nn.Module] = lambda layer: layer
) -> nn.Module:
    """Images to numbers, every layer wrapped."""
    a, b, c = width, 2 * width, 4 * width
    shapes = [(1, a, 3, 1), (a, b, 4, 2), (b, b, 3, 1), (b, c, 4, 2), (c, c, 3, 1)]
    layers: list[nn.Module] = []
    for inputs, features, kernel, stride in shapes:
        layers += [wrap(nn.Conv2d(inputs, features, kernel, stride, padding=1)), nn.LeakyReLU(0.1)]
    return nn.Sequential(*layers, nn.Flatten(), wrap(nn.Linear(c * (side // 4) ** 2, outputs)))


def up(width: int, side: int) -> nn.Module:
    """Latent numbers to images within [-1, 1]."""
    a, b, c = width, 2 * width, 4 * width
    return nn.Sequential(
        nn.Linear(LATENT, c * (side // 4) ** 2),
        nn.Unflatten(1, (c, side // 4, side // 4)),
        *(nn.BatchNorm2d(c), nn.ReLU(), nn.ConvTranspose2d(c, b, 4, 2, padding=1)),
        *(nn.BatchNorm2d(b), nn.ReLU(), nn.ConvTranspose2d(b, a, 4, 2, padding=1)),
        *(nn.BatchNorm2d(a), nn.ReLU(), nn.Conv2d(a, 1, 3, padding=1)),
        nn.Tanh(),
    )


class VAE(nn.Module):
    """Variational autoencoder; its only loss is the negative evidence bound in nats per image."""

    def __init__(self, width: int, side: int) -> None:
        super().__init__()
        self.encoder = down(width, side, 2 * LATENT)
        self.maker = up(width, side)
        self.log_std = nn.Parameter(torch.zeros(()))
        self.rates = {"": 2e-3}

    def losses(self, real: Tensor) -> Iterator[tuple[str, Tensor]]:
        """The loss of the one player, whose name is empty."""
        mean, log_var = self.encoder(real).float().chunk(2, dim=1)
        latent = mean + (0.5 * log_var).exp() * torch.randn_like(mean)
        error = (self.maker(latent).float() - real).square() / (2 * (2 * self.log_std).exp()) + self.log_std
        divergence = 0.5 * (mean.square() + log_var.exp() - 1 - log_var)
        yield "", error.flatten(1).sum(1).mean() + divergence.sum(1).mean()


class GAN(nn.Module):
    """Generative adversarial network with hinge losses."""

    def __init__(self, width: int, side: int) -> None:
        super().__init__()
        self.critic = down(width, side, 1, spectral_norm)
        self.maker = up(width, side)
        self.rates = {"critic": 1e-3, "maker": 1e-3}

    def losses(self, real: Tensor) -> Iterator[tuple[str, Tensor]]:
        """The losses of both players, each to be stepped on before the next is asked for."""
        made = self.maker(torch.randn(len(real), LATENT))
        scores = self.critic(torch.cat([real, made.detach()])).float()
        yield (
            "critic",
            functional.relu(1 - scores[: len(real)]).mean() + functional.relu(1 + scores[len(real) :]).mean(),
        )
        yield "maker", -self.critic(made).float().mean()


def sized(kind: type[VAE] | type[GAN], side: int, parameters: int) -> VAE | GAN:
    """The network, encoder or critic included, whose number of parameters is nearest to the one given."""

    def off(width: int) -> int:
        with torch.device("meta"):
            return abs(sum(p.numel() for p in kind(width, side).parameters()) - parameters)

    return kind(min(range(8, 129, 2), key=off), side)


def train(net: VAE | GAN, images: Tensor, seconds: float, bf16: bool) -> tuple[Callable[[int], Tensor], int]:
    """Train for so many seconds; returns what makes images, and the number of steps."""
    betas = (0.0, 0.9) if isinstance(net, GAN) else (0.9, 0.99)
    players = {
        name: torch.optim.AdamW(net.get_submodule(name).parameters(), rate, betas, weight_decay=0.0, fused=True)
        for name, rate in net.rates.items()
    }
    average = AveragedModel(net.maker, multi_avg_fn=_warm, use_buffers=True)
    steps, start, order = 0, time.perf_counter(), torch.randperm(len(images))
    while (spent := time.perf_counter() - start) < seconds:
        if len(order) < BATCH:
            order = torch.randperm(len(images))
        rows, order = order[:BATCH], order[BATCH:]
        with autocast(bf16):
            for name, loss in net.losses(images[rows]):
                for group in players[name].param_groups:
                    group["lr"] = net.rates[name] * (1 - spent / seconds)
                players[name].zero_grad()
                loss.backward()
                players[name].step()
        average.update_parameters(net.maker)
        steps += 1
    maker = average.module.eval()

    @torch.no_grad()
    def make(count: int) -> Tensor:
        with autocast(bf16):
            made: Tensor = maker(torch.randn(count, LATENT)).float()
        return made

    return make, steps


def _warm(averaged: list[Tensor], current: list[Tensor], count: Tensor | int) -> None:
    """A mean over a tenth of the steps so far, and over a thousand at most: the first weights are soon forgotten."""
    decay = min(0.999, (1 + float(count)) / (10 + float(count)))
    for kept, new in zip(averaged, current):
        if kept.is_floating_point():
            kept.lerp_(new, 1 - decay)
        else:
            kept.copy_(new)


def autocast(enabled: bool) -> AbstractContextManager[None]:
    """bfloat16 autocast on the CPU, or nothing."""
    return torch.autocast("cpu", torch.bfloat16, enabled=enabled)
