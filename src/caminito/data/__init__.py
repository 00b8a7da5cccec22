"""Data: codecs between arrays and tensors, sources that read files, small data sets, and the split.

Source   what a path holds: items, labels, captions, bad files, facts
Codec    array <-> tensor, explicit and invertible
"""

from caminito.data.array import ArrayCodec
from caminito.data.codec import Codec, codec_from_dict
from caminito.data.datasets import TOYS, checkerboard, eight_gaussians, load_digits, spiral, swiss_roll
from caminito.data.image import ImageCodec
from caminito.data.source import MAX_PIXELS, Source, describe_source, open_source
from caminito.data.split import holdout

__all__ = [
    "MAX_PIXELS",
    "TOYS",
    "ArrayCodec",
    "Codec",
    "ImageCodec",
    "Source",
    "checkerboard",
    "codec_from_dict",
    "describe_source",
    "eight_gaussians",
    "holdout",
    "load_digits",
    "open_source",
    "spiral",
    "swiss_roll",
]
