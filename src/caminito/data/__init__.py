"""Data: codecs between arrays and tensors, sources that read files, small data sets, and the split.

Source   what a path holds: items, labels, captions, bad files, facts; read_image for one file
Codec    array <-> tensor, explicit and invertible
TableCodec   table of any columns <-> float64 matrix, exactly; read_table and write_table for files
TableSource   what a file holds that is a table: rows, columns, facts
shrink   items on a coarser grid, as the early stages of a cascade draw them
TextEncoder   texts -> tensors that a network takes: HashingText without weights, TransformersText by a language model
"""

from caminito.data._folder import read_image
from caminito.data._table_file import MAX_CELLS, NA_VALUES, is_table, read_table, write_table
from caminito.data.array import ArrayCodec
from caminito.data.codec import Codec, codec_from_dict
from caminito.data.datasets import TOYS, checkerboard, eight_gaussians, load_digits, spiral, swiss_roll
from caminito.data.image import ImageCodec
from caminito.data.shrink import shrink
from caminito.data.source import MAX_PIXELS, Source, describe_source, open_source
from caminito.data.split import holdout
from caminito.data.table import Column, TableCodec
from caminito.data.table_source import TableSource, open_table
from caminito.data.text import (
    EncodedText,
    HashingText,
    TextEncoder,
    TransformersText,
    text_encoder_from_dict,
)

__all__ = [
    "MAX_CELLS",
    "MAX_PIXELS",
    "NA_VALUES",
    "TOYS",
    "ArrayCodec",
    "Codec",
    "Column",
    "EncodedText",
    "HashingText",
    "ImageCodec",
    "Source",
    "TableCodec",
    "TableSource",
    "TextEncoder",
    "TransformersText",
    "checkerboard",
    "codec_from_dict",
    "describe_source",
    "eight_gaussians",
    "holdout",
    "is_table",
    "load_digits",
    "open_source",
    "open_table",
    "read_image",
    "read_table",
    "shrink",
    "spiral",
    "swiss_roll",
    "text_encoder_from_dict",
    "write_table",
]
