"""What is handed back of a density."""

import sys

import pytest
import torch

from caminito.density import DensityResult
from caminito.errors import MissingExtraError


def result(**more):
    x = torch.tensor([[0.0, 1.0], [2.0, 3.0], [4.0, 8.0]], dtype=torch.float64)
    return DensityResult(x, **more)


def test_moments_are_those_of_the_samples():
    torch.testing.assert_close(result().mean(), torch.tensor([2.0, 4.0]).double())
    torch.testing.assert_close(result().std(), torch.tensor([(8 / 3) ** 0.5, (26 / 3) ** 0.5]).double())


def test_the_summary_and_the_repr_say_what_matters():
    known = result(
        log_evidence=-1.23456,
        log_evidence_se=0.012,
        warnings=["runs disagree"],
        method="smc",
        diagnostics={"calls": 7.0},
    )
    told = known.summary()
    for part in ("3 samples in 2 dimensions by smc", "runs disagree", "-1.235 +- 0.012", "calls 7", "(2, 4)"):
        assert part in told
    assert repr(known) == "DensityResult(3 samples of dim 2 by smc, log_evidence=-1.235 +- 0.012, 1 warning)"
    assert "log evidence" not in result().summary()


def test_arviz_is_asked_for_by_the_name_of_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "arviz", None)
    with pytest.raises(MissingExtraError, match=r"caminito\[density\]"):
        result().to_arviz()


class Arviz:
    """What is used of it."""

    __version__ = "0.23.4"

    @staticmethod
    def from_dict(*, posterior):
        return posterior


class NewArviz:
    __version__ = "1.0.0"

    @staticmethod
    def from_dict(data):
        return data["posterior"]


@pytest.mark.parametrize("library", [Arviz, NewArviz])
def test_arviz_gets_a_chain_for_each_run(monkeypatch, library):
    monkeypatch.setitem(sys.modules, "arviz", library)
    x = torch.arange(10.0, dtype=torch.float64).reshape(5, 2)
    runs = torch.tensor([1, 0, 1, 0, 1])
    chains = DensityResult(x, runs=runs).to_arviz()["x"]
    assert chains.shape == (2, 2, 2)
    assert chains[0].tolist() == x[[1, 3]].tolist() and chains[1].tolist() == x[[0, 2]].tolist()
    assert DensityResult(x).to_arviz()["x"].shape == (1, 5, 2)
