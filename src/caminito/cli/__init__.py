"""The command line: inspect, train, sample, impute, evaluate, report, doctor.

Nothing heavy is imported before a command needs it: `caminito --help` does not wait for torch.
"""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """What the script `caminito` runs."""
    from caminito.cli.app import app

    app()
