"""Forward processes: how data become noise, and the times at which a solver walks back."""

from caminito.process import grid
from caminito.process.balance import BalancedChain, balanced_chain
from caminito.process.base import ContinuousProcess, Process
from caminito.process.chain import BetaTable, Chain, beta_table
from caminito.process.continuous import EDM, VE, VP, Cosine, FromLogSNR, RectifiedFlow, SubVP
from caminito.process.kernel import Bridge, Kernel, Normal, times
from caminito.process.plain import process_from_dict, process_to_dict, same_process

__all__ = [
    "EDM",
    "VE",
    "VP",
    "BalancedChain",
    "BetaTable",
    "Bridge",
    "Chain",
    "ContinuousProcess",
    "Cosine",
    "FromLogSNR",
    "Kernel",
    "Normal",
    "Process",
    "RectifiedFlow",
    "SubVP",
    "balanced_chain",
    "beta_table",
    "grid",
    "process_from_dict",
    "process_to_dict",
    "same_process",
    "times",
]
