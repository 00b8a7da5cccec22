"""Texts as what a network takes: ids of words learned with it, or the states of a frozen language model.

`HashingText` needs no weights and no vocabulary. A word w becomes the ids of <w> and of its pieces,

    h(<w>), h(<w>[i : i + n])    for n = shortest .. longest and every i,

by a stable hash h into `buckets` places; words that share pieces share ids, so that "shirts" begins near "shirt", and a
misspelt word near the one that was meant. `TransformersText` runs a language model that was trained before, once.
Source: Bojanowski et al. 2017, section 3.2 (pieces of words by hash); Saharia et al. 2022 (Imagen), section 2.1 (frozen
encoders).
"""

from __future__ import annotations

import functools
import importlib
import os
import re
import unicodedata
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple, Protocol, Self, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from caminito._errors import ConfigError, DataError, MissingExtraError, RunError, TruncatedText

__all__ = ["EncodedText", "HashingText", "TextEncoder", "TransformersText", "text_encoder_from_dict"]

_BATCH = 64  # texts that pass a language model together
_ALONE = re.compile("[\u3040-\u30ff\u3400-\u9fff\U00020000-\U0003ffff]")  # kana and ideographs: words without spaces
_CLIP = ("clip", "clip_text_model")  # half of a model of two, which is not among those for texts


class EncodedText(NamedTuple):
    """Texts as tensors, one row per text.

    Attributes
    ----------
    value : Tensor (B, length, size)
        Ids of words (int64) or states of tokens (float32).
    mask : bool Tensor (B, length)
        True where there is a word or token. A row without any is that of an empty text: to a network it is absent.
    """

    value: Tensor
    mask: Tensor


@runtime_checkable
class TextEncoder(Protocol):
    """What a model needs to know of the encoder of its texts."""

    @property
    def length(self) -> int:
        """Words or tokens of a text, at most."""

    @property
    def entry(self) -> dict[str, Any]:
        """The condition that a network must declare to take these texts, in its plain form (`entry_from_dict`)."""

    def encode(self, texts: Sequence[str]) -> EncodedText:
        """Tensors of B texts; a `TruncatedText` warning where some are longer than `length`."""

    def to_dict(self) -> dict[str, Any]:
        """All that `text_encoder_from_dict` needs, as plain JSON values."""


@dataclass(frozen=True)
class HashingText:
    """Words and their pieces as hashed ids: no weights, no vocabulary, any language, the same on every machine.

    A text is folded (Unicode NFKC, no case) and cut at all that is not a letter, a mark or a digit; kana and
    ideographs, written without spaces, are a word each. Order is kept: it is the network that tells places apart.

    Parameters
    ----------
    length : int
        Words of a text, at most.
    buckets : int
        Places that words and pieces are hashed into. Two that meet in one place share what is learned for it.
    grams : (int, int)
        Characters of the shortest and longest pieces, the marks < and > of a word's begin and end counted.
    slots : int
        Ids of a word, at most: the word's own, then its pieces from the shortest on. 1 for whole words only.

    Raises
    ------
    ConfigError
        If a number is not a positive integer, or the shortest piece is longer than the longest.

    Notes
    -----
    `encode` gives ids int64 (B, length, slots): 1 to `buckets`, and 0 where a word leaves a place empty or there is no
    word. The network learns a row for each id (`caminito.nn.Words`).

    Examples
    --------
    >>> encoder = HashingText(length=4)
    >>> encoder.words("Two SMALL shirts, please!")
    ['two', 'small', 'shirts', 'please']
    >>> ids, mask = encoder.encode(["a red square", ""])
    >>> ids.shape, mask.sum(1)
    (torch.Size([2, 4, 24]), tensor([3, 0]))
    >>> encoder.entry
    {'kind': 'words', 'buckets': 4096, 'length': 4, 'grams': 24}
    """

    length: int = 24
    buckets: int = 4096
    _: KW_ONLY
    grams: tuple[int, int] = (3, 5)
    slots: int = 24

    def __post_init__(self) -> None:
        for name in ("length", "buckets", "slots"):
            _check_positive(name, getattr(self, name))
        grams = self.grams
        if not isinstance(grams, list | tuple) or len(grams) != 2:
            raise ConfigError(f"grams: expected the lengths of the shortest and longest pieces, got {grams!r}.")
        for number in grams:
            _check_positive("grams", number)
        if grams[0] > grams[1]:
            raise ConfigError(f"grams: expected the shortest pieces first, got {grams!r}.")
        object.__setattr__(self, "grams", tuple(grams))

    @property
    def entry(self) -> dict[str, Any]:
        """Plain form of the `Words` that a network declares for these ids."""
        return {"kind": "words", "buckets": self.buckets, "length": self.length, "grams": self.slots}

    def words(self, text: str) -> list[str]:
        """The words of a text, folded, in order and all of them."""
        folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
        return folded.translate(_SPACED).split()

    def encode(self, texts: Sequence[str]) -> EncodedText:
        """Ids int64 (B, length, slots) of the words of B texts, and their mask (B, length).

        Raises
        ------
        DataError
            If a row is not a string.

        Warns
        -----
        TruncatedText
            If texts have more than `length` words; the first `length` are kept.
        """
        texts = _check_texts(texts)
        numbers: dict[str, int] = {}  # of the words met, from 1
        index = np.zeros((len(texts), self.length), dtype=np.int64)
        counts = []
        for row, text in enumerate(texts):
            words = self.words(text)
            counts.append(len(words))
            for place, word in enumerate(words[: self.length]):
                index[row, place] = numbers.setdefault(word, len(numbers) + 1)
        _warn_truncated(counts, self.length, "words")
        ids = np.zeros((len(numbers) + 1, self.slots), dtype=np.int64)
        for word, number in numbers.items():
            found = self._ids(word)
            ids[number, : len(found)] = found
        return EncodedText(torch.from_numpy(ids[index]), torch.from_numpy(index > 0))

    def to_dict(self) -> dict[str, Any]:
        """All that `from_dict` needs, as plain JSON values."""
        return {
            "encoder": "hashing",
            "length": self.length,
            "buckets": self.buckets,
            "grams": list(self.grams),
            "slots": self.slots,
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Self:
        """The encoder that `to_dict` described; a `RunError` says what is wrong with an altered one."""
        return cls(**_read_state(state, "hashing", ("length", "buckets", "grams", "slots"), cls))

    def _ids(self, word: str) -> list[int]:
        """The word's own id, then those of its pieces, shortest first, as many as fit."""
        whole = f"<{word}>"
        shortest, longest = self.grams
        pieces = [whole[i : i + n] for n in range(shortest, longest + 1) for i in range(len(whole) - n + 1)]
        return [_hash(piece, self.buckets) for piece in list(dict.fromkeys([whole, *pieces]))[: self.slots]]


@dataclass(frozen=True)
class TransformersText:
    """The last hidden states of a frozen language model of the library transformers.

    The model is read when it is first needed, from a folder on this machine. Only safetensors are read, and no code
    that comes with a model is run.

    Parameters
    ----------
    source : path or str
        A folder with a tokenizer and an encoder (BERT, RoBERTa, T5, CLIP, ...), or a name on the Hugging Face hub.
    length : int
        Tokens of a text, at most, those that the tokenizer adds included.
    download : bool
        Whether a name may be fetched from the hub. Never where the environment variable CAMINITO_OFFLINE is set. A name
        that was fetched before needs no download.
    revision : str, optional
        Version of a model on the hub, best as a commit.
    device : str
        Where the model runs; the states come back to the CPU.

    Raises
    ------
    ConfigError
        If `length` is not a positive integer or, once the model is read, more than it takes.

    Notes
    -----
    `encode` gives float32 (B, length, size), which is 4 * length * size bytes per text. `download` is not kept by
    `to_dict`: a model that somebody hands on fetches nothing unless its user says so.
    """

    source: str | Path
    length: int = 64
    _: KW_ONLY
    download: bool = False
    revision: str | None = None
    device: str = "cpu"

    def __post_init__(self) -> None:
        if not isinstance(self.source, str | Path):
            raise ConfigError(f"source: expected a folder or a name, got {self.source!r}.")
        _check_positive("length", self.length)

    @property
    def entry(self) -> dict[str, Any]:
        """Plain form of the `Tokens` that a network declares for these states; reads the model."""
        return {"kind": "tokens", "size": int(self._loaded[1].config.hidden_size), "length": self.length}

    def encode(self, texts: Sequence[str]) -> EncodedText:
        """States float32 (B, length, size) of the tokens of B texts, and their mask (B, length).

        Raises
        ------
        DataError
            If a row is not a string.
        RunError
            If the model cannot be read.
        MissingExtraError
            If transformers is not installed.

        Warns
        -----
        TruncatedText
            If texts have more than `length` tokens; the first ones are kept.
        """
        texts = _check_texts(texts)
        tokenizer, model = self._loaded
        value = torch.zeros(len(texts), self.length, int(model.config.hidden_size))
        mask = torch.zeros(len(texts), self.length, dtype=torch.bool)
        counts: list[int] = []
        for start in range(0, len(texts), _BATCH):
            batch = texts[start : start + _BATCH]
            counts += [len(tokens) for tokens in tokenizer(batch, verbose=False)["input_ids"]]
            tokens = tokenizer(
                batch,
                padding="max_length",
                truncation=True,
                max_length=self.length,
                return_tensors="pt",
                return_attention_mask=True,
            )
            ids, seen = tokens["input_ids"].to(self.device), tokens["attention_mask"].to(self.device)
            with torch.no_grad():
                states = model(input_ids=ids, attention_mask=seen).last_hidden_state
            written = torch.tensor([bool(text.strip()) for text in batch])
            mask[start : start + len(batch)] = seen.cpu().bool() & written[:, None]
            value[start : start + len(batch)] = states.float().cpu()
        _warn_truncated(counts, self.length, "tokens")
        return EncodedText(torch.where(mask[..., None], value, 0), mask)

    def to_dict(self) -> dict[str, Any]:
        """All that `from_dict` needs, as plain JSON values; the weights stay where they are."""
        return {"encoder": "transformers", "source": str(self.source), "length": self.length, "revision": self.revision}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any], *, download: bool = False, device: str = "cpu") -> Self:
        """The encoder that `to_dict` described; a `RunError` says what is wrong with an altered one."""
        known = _read_state(state, "transformers", ("source", "length", "revision"), cls)
        return cls(**known, download=download, device=device)

    @functools.cached_property
    def _loaded(self) -> tuple[Any, Any]:
        """Tokenizer and frozen model."""
        try:
            library = importlib.import_module("transformers")
        except ImportError as error:
            raise MissingExtraError(
                'texts by a language model need transformers. Install it: pip install "caminito[text]"'
            ) from error
        offline = os.environ.get("CAMINITO_OFFLINE", "") not in ("", "0")
        local = offline or not self.download or Path(self.source).is_dir()
        how = {"local_files_only": local, "trust_remote_code": False, "revision": self.revision or "main"}
        try:
            kind = library.AutoConfig.from_pretrained(self.source, **how).model_type
            text_model = library.CLIPTextModel if kind in _CLIP else library.AutoModelForTextEncoding
            tokenizer = library.AutoTokenizer.from_pretrained(self.source, **how)
            model, info = text_model.from_pretrained(self.source, use_safetensors=True, output_loading_info=True, **how)
        except ImportError as error:
            raise MissingExtraError(f"{self.source}: this model needs more than transformers. {error}") from error
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            raise RunError(
                f"{self.source}: the text encoder cannot be read. {error} {self._advice(offline)}"
            ) from error
        if missing := sorted(key for key in info["missing_keys"] if "pooler" not in key):
            raise RunError(
                f"{self.source}: the file lacks {len(missing)} weights of the text encoder, as {missing[0]}."
            )
        if self.length > tokenizer.model_max_length:
            raise ConfigError(
                f"length: {self.source} takes at most {tokenizer.model_max_length} tokens, got {self.length}."
            )
        return tokenizer, model.float().eval().requires_grad_(False).to(self.device)

    def _advice(self, offline: bool) -> str:
        if Path(self.source).is_dir():
            return "The folder needs config.json, a tokenizer, and weights as safetensors."
        if self.download and offline:
            return "CAMINITO_OFFLINE is set, so nothing was fetched: unset it, or give a folder."
        return "" if self.download else "Nothing was fetched: give a folder, or download=True for a name on the hub."


def text_encoder_from_dict(state: Mapping[str, Any], *, download: bool = False) -> HashingText | TransformersText:
    """The encoder whose `to_dict` gave `state`.

    Parameters
    ----------
    state : mapping
        Plain JSON values.
    download : bool
        Whether a language model may be fetched by its name; what `state` says does not decide that.

    Raises
    ------
    RunError
        If it is not that of an encoder, or was altered.
    """
    if state.get("encoder") == "transformers":
        return TransformersText.from_dict(state, download=download)
    return HashingText.from_dict(state)


def _read_state(state: Mapping[str, Any], kind: str, fields: Sequence[str], cls: type) -> dict[str, Any]:
    """The arguments that an entry holds, tried once."""
    if state.get("encoder") != kind:
        raise RunError(f"expected the entry of a text encoder, got encoder {state.get('encoder')!r}.")
    arguments = {name: value for name, value in state.items() if name != "encoder"}
    if set(arguments) != set(fields):
        raise RunError(f"text encoder {kind!r}: expected {', '.join(fields)}, got {', '.join(arguments)}.")
    try:
        cls(**arguments)
    except ConfigError as error:
        raise RunError(f"text encoder {kind!r}: {error}") from error
    return arguments


def _check_positive(name: str, number: object) -> None:
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise ConfigError(f"{name}: expected a positive integer, got {number!r}.")


def _check_texts(texts: Sequence[str]) -> list[str]:
    """A list of strings, or an error that names the first row that is none."""
    if isinstance(texts, str):
        raise DataError(f"text: expected one string per row, got a single string. Pass [{texts[:20]!r}] for one row.")
    rows = list(texts)
    for row, text in enumerate(rows):
        if not isinstance(text, str):
            raise DataError(
                f"text: expected a string in every row, got {text!r} in row {row}. Write '' where there is no text."
            )
    return [str(text) for text in rows]


class _Spaced(dict[int, str]):
    """A character of a word as it is, or between spaces if it is a word by itself; a space where a word ends."""

    def __missing__(self, code: int) -> str:
        character, category = chr(code), unicodedata.category(chr(code))
        if category == "Cf":  # soft hyphens and joiners are within words, and not seen
            self[code] = ""
        elif category[0] not in "LMN":
            self[code] = " "
        else:
            self[code] = f" {character} " if _ALONE.match(character) else character
        return self[code]


_SPACED = _Spaced()


def _hash(piece: str, buckets: int) -> int:
    """1 to `buckets`, the same in every run and on every machine."""
    return int.from_bytes(blake2b(piece.encode(), digest_size=8).digest(), "little") % buckets + 1


def _warn_truncated(counts: list[int], length: int, unit: str) -> None:
    """Say how many texts are longer than what is kept of them."""
    if longer := sum(count > length for count in counts):
        longest = max(counts)
        warnings.warn(
            f"text: {longer} of {len(counts)} texts have more than {length} {unit}; the longest, in row "
            f"{counts.index(longest)}, has {longest}. What follows the first {length} is left out: shorten them, or "
            f"pass length={longest} and train with that.",
            TruncatedText,
            stacklevel=3,
        )
