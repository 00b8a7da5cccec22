"""Every process and every solver of the house, with the options that make them different rules."""

import torch

from caminito.process import EDM, VE, VP, Chain, Cosine, FromLogSNR, RectifiedFlow, SubVP
from caminito.sampling import (
    DDIM,
    DEIS,
    IPNDM,
    LMS,
    PNDM,
    Adams,
    Ancestral,
    Churn,
    DPMpp2M,
    DPMpp2MSDE,
    DPMpp2S,
    DPMpp3M,
    DPMpp3MSDE,
    DPMSolver2,
    Euler,
    EulerAncestral,
    Heun,
    Restart,
    SASolver,
    UniPC,
)

PROCESSES = {
    "VP": VP(),
    "Cosine": Cosine(),
    "Cosine-shifted": Cosine(-1.5),
    "SubVP": SubVP(),
    "VE": VE(),
    "EDM": EDM(),
    "RectifiedFlow": RectifiedFlow(),
    "FromLogSNR": FromLogSNR(lambda t: 10 - 25 * t),
    "linear": Chain.ddpm("linear"),
    "cosine": Chain.ddpm("cosine"),
    "sigmoid": Chain.ddpm("sigmoid", steps=50),
    "zero-snr": Chain.ddpm("scaled-linear", zero_snr=True),
    "forgetting": Chain([0.1, 1.0, 0.2], [0.3, 0.4, 0.5]),
    "turning": Chain([0.1, 1.4, 0.2, 1.2], [0.3, 0.4, 0.5, 0.1]),
    "pausing": Chain([0.0, 0.1, 1.0, 0.2], [0.0, 0.3, 0.0, 0.3]),
    "discretised": Chain.discretise(VP(), torch.linspace(0, 1, 11)),
}
SOLVERS = [
    *(Ancestral(), Ancestral("large"), Ancestral("posterior")),
    *(DDIM(), DDIM(0.5), DDIM(1.0), DDIM(0.5, "posterior"), EulerAncestral()),
    *(Euler(), Heun(), DPMSolver2(), DPMpp2S()),
    *(Adams(order, prediction) for order in (2, 3, 4) for prediction in ("x0", "eps", "v")),
    *(DPMpp2M(), DPMpp3M(), DPMpp3M(legacy=True), DEIS(), LMS(), IPNDM(), PNDM(), PNDM("heun")),
    *(UniPC(1), UniPC(2), UniPC(3), UniPC(2, "bh1"), UniPC(3, "bh1")),
    *(DPMpp2MSDE(), DPMpp2MSDE(0.5), DPMpp2MSDE(variance="posterior"), DPMpp3MSDE(), SASolver()),
    *(SASolver(predictor=3, corrector=4), SASolver(0.5, corrector=0), Churn(), Churn(DDIM(0.5), amount=4.0), Restart()),
]
