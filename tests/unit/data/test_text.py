"""Texts as tensors: what becomes of words, what is refused, and the contract with a language model."""

from __future__ import annotations

import json
import sys
import warnings
from hashlib import blake2b
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from caminito.data import HashingText, TextEncoder, TransformersText, text_encoder_from_dict
from caminito.errors import ConfigError, DataError, MissingExtraError, RunError, TruncatedText
from caminito.nn import Tokens, Words, entry_from_dict

# --- words and their pieces ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Two SMALL shirts, on the left!", ["two", "small", "shirts", "on", "the", "left"]),
        ("red_square-17 3x", ["red", "square", "17", "3x"]),
        ("ﬁne  ＲＥＤ\tStraße", ["fine", "red", "strasse"]),
        ("cafe\u0301 café", ["café", "café"]),
        ("hin\u00addi हिन्दी", ["hindi", "हिन्दी"]),
        ("赤い猫", ["赤", "い", "猫"]),
        ("", []),
        (" \n ... 🙂", []),
    ],
)
def test_a_text_is_folded_and_cut_into_words(text: str, words: list[str]) -> None:
    assert HashingText().words(text) == words


def test_a_word_is_itself_and_its_pieces() -> None:
    encoder = HashingText(1, 10**9)
    pieces = ["<red>", "<re", "red", "ed>", "<red", "red>"]  # the piece of five characters is the word again
    assert ids_of(encoder, "red") == {one(piece) for piece in pieces}
    assert ids_of(encoder, "a") == {one("<a>")}
    assert ids_of(HashingText(1, 10**9, slots=1), "red") == {one("<red>")}
    assert ids_of(HashingText(1, 10**9, slots=3), "red") == {one(piece) for piece in pieces[:3]}
    assert ids_of(HashingText(1, 10**9, grams=(2, 2)), "red") == {one(p) for p in ("<red>", "<r", "re", "ed", "d>")}


def test_the_hash_is_the_same_in_every_process() -> None:
    # int.from_bytes(hashlib.blake2b(b"<red>", digest_size=8).digest(), "little") % 4096 + 1
    assert HashingText(1, slots=1).encode(["red"]).value.tolist() == [[[3901]]]


def test_words_that_share_pieces_share_ids() -> None:
    encoder = HashingText(1, 10**9)
    shirts, shirt, misspelt, boat = (ids_of(encoder, word) for word in ("shirts", "shirt", "shrits", "boat"))
    assert len(shirts & shirt) > len(shirts) / 2
    assert shirts & misspelt and not shirts & boat


def test_rows_do_not_depend_on_each_other_and_the_rest_is_padding() -> None:
    encoder = HashingText(4)
    ids, mask = encoder.encode(["a red square", "", "blue"])
    assert ids.dtype == torch.int64 and ids.shape == (3, 4, 24) and mask.dtype == torch.bool
    assert mask.tolist() == [[True, True, True, False], [False] * 4, [True, False, False, False]]
    assert torch.equal((ids > 0).any(-1), mask)
    assert int(ids.max()) <= 4096
    for row, text in enumerate(["a red square", "", "blue"]):
        alone = encoder.encode([text])
        assert torch.equal(alone.value[0], ids[row]) and torch.equal(alone.mask[0], mask[row])


def test_many_words_spread_over_the_buckets() -> None:
    ids = HashingText(1, 64, slots=1).encode([f"word{i}" for i in range(6400)]).value.flatten()
    counts = torch.bincount(ids - 1, minlength=64).double()
    assert len(counts) == 64
    chi2 = float(((counts - 100) ** 2 / 100).sum())
    assert abs(chi2 - 63) < 4 * (2 * 63) ** 0.5  # four standard deviations of chi-square with 63 degrees


def test_longer_texts_are_cut_with_a_warning_that_counts_them() -> None:
    with pytest.warns(TruncatedText, match=r"2 of 3 texts .* more than 2 words; the longest, in row 2, has 4"):
        ids, mask = HashingText(2).encode(["one two three", "one", "one two three four"])
    assert torch.equal(ids[0], HashingText(2).encode(["one two"]).value[0])
    assert mask.sum(1).tolist() == [2, 1, 2]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        HashingText(2).encode(["one two"])


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["a", None], "got None in row 1"),
        ([float("nan")], "got nan in row 0"),
        (["a", b"b"], "in row 1"),
        ("a red square", r"Pass \['a red square'\]"),
    ],
)
def test_what_is_no_text_is_refused_with_its_row(texts: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        HashingText().encode(texts)


@pytest.mark.parametrize(
    "arguments",
    [{"length": 0}, {"buckets": 1.5}, {"slots": True}, {"grams": (5, 3)}, {"grams": (0, 3)}, {"grams": 3}],
)
def test_impossible_numbers_are_refused(arguments: dict) -> None:
    with pytest.raises(ConfigError, match=next(iter(arguments))):
        HashingText(**arguments)


def test_json_gives_the_encoder_back() -> None:
    encoder = HashingText(7, 99, grams=(2, 4), slots=11)
    state = json.loads(json.dumps(encoder.to_dict()))
    assert text_encoder_from_dict(state) == encoder
    assert isinstance(encoder, TextEncoder)
    assert entry_from_dict(encoder.entry) == Words(buckets=99, length=7, grams=11)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoder": "magic"}, "got encoder 'magic'"),
        ({"length": -1}, "length"),
        ({"more": 1}, "expected length, buckets"),
        ({"grams": [3]}, "grams"),
    ],
)
def test_an_altered_state_is_refused(change: dict, message: str) -> None:
    with pytest.raises(RunError, match=message):
        text_encoder_from_dict({**HashingText().to_dict(), **change})


def ids_of(encoder: HashingText, word: str) -> set[int]:
    return set(encoder.encode([word]).value.flatten().tolist()) - {0}


def one(piece: str) -> int:
    return int.from_bytes(blake2b(piece.encode(), digest_size=8).digest(), "little") % 10**9 + 1


# --- a language model ---------------------------------------------------------------------------------------------


class Library(SimpleNamespace):
    """A stand-in for transformers that writes down how it is called: three states per token, <s> and </s> around."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[str, str, dict]] = []
        self.kind, self.missing, self.failure, self.batches = "bert", [], None, []
        for name in ("AutoConfig", "AutoTokenizer", "AutoModelForTextEncoding", "CLIPTextModel"):
            setattr(self, name, SimpleNamespace(from_pretrained=self._reader(name)))

    def _reader(self, name: str) -> Any:
        def from_pretrained(source: Any, **how: Any) -> Any:
            self.calls.append((name, source, how))
            if self.failure is not None:
                raise self.failure
            if name == "AutoConfig":
                return SimpleNamespace(model_type=self.kind)
            return Tokenizer() if name == "AutoTokenizer" else (Model(self.batches), {"missing_keys": self.missing})

        return from_pretrained


class Tokenizer:
    model_max_length = 64

    def __call__(self, texts: list[str], **how: Any) -> dict[str, Any]:
        ids = [[1, *(len(word) + 2 for word in text.split()), 2] for text in texts]
        if "return_tensors" not in how:
            return {"input_ids": ids}
        assert how == {
            "padding": "max_length",
            "truncation": True,
            "max_length": how["max_length"],
            "return_tensors": "pt",
            "return_attention_mask": True,
        }
        length = how["max_length"]
        rows = [[*row[: length - 1], 2] if len(row) > length else row for row in ids]
        mask = [[1] * len(row) + [0] * (length - len(row)) for row in rows]
        padded = [row + [0] * (length - len(row)) for row in rows]
        return {"input_ids": torch.tensor(padded), "attention_mask": torch.tensor(mask)}


class Model(nn.Module):
    def __init__(self, batches: list[int]) -> None:
        super().__init__()
        self.config = SimpleNamespace(hidden_size=3)
        self.scale = nn.Parameter(torch.ones(1, dtype=torch.float16))
        self.batches = batches

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Any:
        assert not torch.is_grad_enabled() and not self.training and not self.scale.requires_grad
        self.batches.append(len(input_ids))
        states = input_ids[..., None] * self.scale * torch.tensor([1.0, 10.0, 100.0])
        return SimpleNamespace(last_hidden_state=torch.where(attention_mask[..., None] > 0, states, torch.nan))


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    fake = Library()
    monkeypatch.setitem(sys.modules, "transformers", fake)  # type: ignore[arg-type]
    monkeypatch.delenv("CAMINITO_OFFLINE", raising=False)
    return fake


def test_states_of_a_frozen_model_and_their_mask(library: Library) -> None:
    encoder = TransformersText("some/model", 6)
    assert library.calls == []  # read when it is first needed
    assert entry_from_dict(encoder.entry) == Tokens(size=3, length=6)
    value, mask = encoder.encode(["a red square", "  ", "blue"])
    assert value.dtype == torch.float32 and value.shape == (3, 6, 3)
    assert value[0, :, 0].tolist() == [1, 3, 5, 8, 2, 0]
    assert torch.equal(value[..., 2], 100 * value[..., 0])
    assert mask.sum(1).tolist() == [5, 0, 3] and not value[1].any()
    assert [name for name, _, _ in library.calls] == ["AutoConfig", "AutoTokenizer", "AutoModelForTextEncoding"]
    assert isinstance(encoder, TextEncoder)


def test_nothing_is_fetched_and_no_code_or_pickle_is_read(library: Library, tmp_path: Any) -> None:
    TransformersText(tmp_path, download=True).entry  # noqa: B018
    TransformersText("some/model").entry  # noqa: B018
    for name, _, how in library.calls:
        assert how["local_files_only"] is True and how["trust_remote_code"] is False
        assert name != "AutoModelForTextEncoding" or how["use_safetensors"] is True


@pytest.mark.parametrize(("offline", "local"), [(None, False), ("", False), ("0", False), ("1", True)])
def test_the_hub_is_asked_only_if_told_and_not_offline(
    offline: str | None, local: bool, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    if offline is not None:
        monkeypatch.setenv("CAMINITO_OFFLINE", offline)
    TransformersText("some/model", download=True, revision="abc").entry  # noqa: B018
    assert [how["local_files_only"] for _, _, how in library.calls] == [local] * 3
    assert [how["revision"] for _, _, how in library.calls] == ["abc"] * 3


def test_clip_gives_its_half_for_texts(library: Library) -> None:
    library.kind = "clip"
    TransformersText("some/model").entry  # noqa: B018
    assert library.calls[-1][0] == "CLIPTextModel"


def test_texts_pass_in_batches_and_keep_their_rows(library: Library) -> None:
    texts = ["x" * (1 + i % 7) for i in range(150)]
    value, _ = TransformersText("some/model", 4).encode(texts)
    assert library.batches == [64, 64, 22]
    assert value[:, 1, 0].tolist() == [len(text) + 2 for text in texts]
    assert TransformersText("some/model", 4).encode([]).value.shape == (0, 4, 3)


def test_longer_texts_are_cut_to_their_first_tokens(library: Library) -> None:
    with pytest.warns(TruncatedText, match=r"1 of 2 texts .* 4 tokens; the longest, in row 1, has 6"):
        value, mask = TransformersText("some/model", 4).encode(["a b", "a bb ccc dddd"])
    assert value[1, :, 0].tolist() == [1, 3, 4, 2] and bool(mask.all())


def test_a_missing_library_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtraError, match=r'pip install "caminito\[text\]"'):
        TransformersText("some/model").encode(["a"])


@pytest.mark.parametrize(
    ("arguments", "offline", "advice"),
    [
        ({}, None, "give a folder, or download=True"),
        ({"download": True}, "1", "CAMINITO_OFFLINE is set"),
    ],
)
def test_a_model_that_cannot_be_read_says_what_to_do(
    arguments: dict, offline: str | None, advice: str, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    if offline is not None:
        monkeypatch.setenv("CAMINITO_OFFLINE", offline)
    library.failure = OSError("no such file.")
    with pytest.raises(RunError, match=rf"some/model: .* no such file\. .*{advice}"):
        TransformersText("some/model", **arguments).encode(["a"])


def test_a_model_without_all_its_weights_is_refused(library: Library) -> None:
    library.missing = ["pooler.dense.weight"]  # not on the way to the states
    TransformersText("some/model").entry  # noqa: B018
    library.missing = ["pooler.dense.weight", "encoder.layer.0.weight"]
    with pytest.raises(RunError, match=r"lacks 1 weights .* encoder\.layer\.0\.weight"):
        TransformersText("some/model").entry  # noqa: B018


def test_more_tokens_than_the_model_takes_are_refused(library: Library) -> None:
    with pytest.raises(ConfigError, match="at most 64 tokens, got 65"):
        TransformersText("some/model", 65).entry  # noqa: B018


def test_json_keeps_all_but_the_leave_to_download(library: Library) -> None:
    encoder = TransformersText("some/model", 5, download=True, revision="abc")
    state = json.loads(json.dumps(encoder.to_dict()))
    assert text_encoder_from_dict(state) == TransformersText("some/model", 5, revision="abc")
    assert text_encoder_from_dict(state, download=True) == encoder
    with pytest.raises(RunError, match="expected source, length, revision"):
        text_encoder_from_dict({**state, "download": True})
    with pytest.raises(RunError, match="source: expected a folder or a name, got 5"):
        text_encoder_from_dict({**state, "source": 5})
