"""Draws in the form that ArviZ takes."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from caminito._errors import MissingExtraError

__all__ = ["inference_data"]


def inference_data(chains: Tensor) -> Any:
    """InferenceData of one variable `x`, from chains (chains, draws, *event).

    Raises
    ------
    MissingExtraError
        Without arviz: pip install "caminito[density]".
    """
    try:
        import arviz
    except ImportError as error:
        raise MissingExtraError('to_arviz needs arviz. Install it: pip install "caminito[density]"') from error
    given = {"x": chains.numpy()}
    if int(arviz.__version__.split(".")[0]) < 1:
        return arviz.from_dict(posterior=given)
    return arviz.from_dict({"posterior": given})
