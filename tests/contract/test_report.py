"""What a check prints, returns and raises."""

import pickle

import pytest
import torch

from caminito.denoiser import GaussianDenoiser
from caminito.process import EDM, Chain
from caminito.process.base import as_time
from caminito.sampling import Heun, Restart, UniPC
from caminito.testing import BrokenIdentity, Report, Row, check_denoiser, check_process, check_solver

G = torch.Generator().manual_seed(0)
SMALL = Chain([0.1, 1.0, 0.2], [0.3, 0.4, 0.5])


class Rounding(Chain):
    """A chain that takes a time between its steps for the nearest."""

    def _index(self, t):
        return as_time(t).round().long()


def test_a_check_prints_the_table_that_it_returns(capsys):
    report = check_process(SMALL)
    assert capsys.readouterr().out == f"{report}\n"
    lines = str(report).splitlines()
    assert lines[0] == "Chain" and lines[1].split() == ["claimed", "measured", "tolerance"]
    assert len(lines) == 2 + len(report.rows) and all(line.endswith("holds") for line in lines[2:])
    assert "logsnr(time(l)) = l" in str(report) and "a chain has no time between its steps" in str(report)


def test_a_quiet_check_prints_nothing(capsys):
    denoiser = GaussianDenoiser(torch.zeros(2), 1.0, SMALL)
    check_process(SMALL, verbose=False)
    check_denoiser(denoiser, torch.randn(4, 2, generator=G, dtype=torch.float64), verbose=False)
    with pytest.raises(BrokenIdentity):
        check_process(Rounding([0.1, 0.2], [0.3, 0.4]), verbose=False)
    assert capsys.readouterr().out == ""


def test_a_broken_claim_is_the_last_row_of_what_is_printed_and_of_what_the_error_carries(capsys):
    with pytest.raises(BrokenIdentity, match=r"^Rounding: a chain has no time between its steps\. kernel\(0\.5\) gave"):
        check_process(Rounding([0.1, 0.2], [0.3, 0.4]))
    printed = capsys.readouterr().out.splitlines()
    assert printed[-1].split()[-1] == "BROKEN" and not any("BROKEN" in line for line in printed[:-1])
    with pytest.raises(BrokenIdentity) as caught:
        check_process(Rounding([0.1, 0.2], [0.3, 0.4]), verbose=False)
    report = caught.value.report
    assert "\n".join(printed) == str(report) and len(report.rows) > 5
    assert report.rows[-1] == Row("a chain has no time between its steps", "TimeError", "a result", None, "broken")
    copy = pickle.loads(pickle.dumps(caught.value))
    assert str(copy) == str(caught.value) and copy.report == report


def test_the_table_of_a_solver_has_what_it_claims_and_what_was_measured():
    heun, unipc, restart = (check_solver(solver, verbose=False) for solver in (Heun(), UniPC(2), Restart()))
    order = heun["order of convergence"]
    assert order.claimed == 2 and 1.9 < order.measured < 2.1 and order.verdict == "holds"
    assert unipc["order of convergence"].measured > 2.75  # its corrector gains an order
    evals = heun["evaluations in a step"]
    assert (evals.claimed, evals.measured) == (2, 2)
    # twice in 7 steps it goes 4 steps of a descent again, of 2 calls each
    assert restart["evaluations in 7 steps"] == Row("evaluations in 7 steps", 30, 30)
    assert (heun["noise is drawn"].measured, restart["noise is drawn"].measured) == ("no", "yes")


def test_an_identity_shows_the_error_that_comes_nearest_to_its_tolerance():
    denoiser = GaussianDenoiser(torch.zeros(2), 1.0, EDM())
    report = check_denoiser(denoiser, torch.randn(300, 2, generator=G, dtype=torch.float64), verbose=False)
    row = report["E[x0 - D] = 0"]
    assert row.claimed == 0 and 0 < row.measured < row.tolerance
    # of 2 entries at 5 noise levels the worst is some standard errors off; the tolerance is 6 of them
    assert 0.5 < 6 * row.measured / row.tolerance < 6


def test_a_row_is_found_by_its_name_and_an_unknown_name_is_an_error():
    report = Report("part", (Row("order", 2, 1.9), Row("calls", 3, 3)))
    assert report["calls"].measured == 3
    with pytest.raises(KeyError, match="expected one of 'order', 'calls', got 'evals'"):
        report["evals"]


def test_numbers_are_printed_short():
    rows = (Row("a", 2, 1.98765, 0.25), Row("bb", 0, 3.14159e-16, 1e-9), Row("c", "", "yes", verdict="noted"))
    assert str(Report("part", rows)) == "\n".join(
        [
            "part",
            "      claimed  measured  tolerance",
            "  a   2        1.99      0.25       holds",
            "  bb  0        3.1e-16   1.0e-09    holds",
            "  c            yes                  noted",
        ]
    )


def test_two_checks_of_one_part_say_the_same():
    assert check_process(SMALL, verbose=False) == check_process(SMALL, verbose=False)
