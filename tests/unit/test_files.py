"""A file appears whole or not at all, and what was altered is refused."""

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from caminito._errors import RunError, StorageError
from caminito._files import checksum, read_json, read_tensors, write_atomic, write_json, write_tensors


def _full_disk(monkeypatch, call):
    def fail(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, fail)


def test_write_atomic_replaces_the_whole_file_and_makes_its_folder(tmp_path):
    path = tmp_path / "a" / "b" / "file.bin"
    write_atomic(path, b"long old content")
    write_atomic(path, b"new")
    assert path.read_bytes() == b"new"
    assert [p.name for p in path.parent.iterdir()] == ["file.bin"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_leaves_the_previous_file_and_no_litter(tmp_path, monkeypatch, call):
    path = tmp_path / "weights.safetensors"
    old = {"w": torch.arange(5.0)}
    stamp = write_tensors(path, old)
    if call == "fsync":
        _full_disk(monkeypatch, "fsync")
    else:
        monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left")))
    with pytest.raises(StorageError) as caught:
        write_tensors(path, {"w": torch.zeros(5)})
    monkeypatch.undo()
    assert caught.value.errno == errno.ENOSPC
    for part in (str(path), "No space left", "intact", "free some space"):
        assert part in str(caught.value)
    assert isinstance(caught.value, OSError)
    assert torch.equal(read_tensors(path, stamp)["w"], old["w"])
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_folder_that_is_a_file_is_a_storage_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="could not write"):
        write_atomic(tmp_path / "file" / "inside", b"x")


def test_tensors_come_back_bitwise_with_name_shape_and_dtype(tmp_path):
    tensors = {
        "a": torch.randn(3, 4, dtype=torch.float64),
        "b": torch.randn(7).to(torch.bfloat16),
        "c": torch.tensor([[1, -2]]),
        "view": torch.randn(4, 6).T,
        "scalar": torch.tensor(3.5),
        "nan": torch.tensor([float("nan"), float("inf")]),
    }
    stamp = write_tensors(tmp_path / "t.safetensors", tensors)
    back = read_tensors(tmp_path / "t.safetensors", stamp)
    assert back.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert back[name].dtype == tensor.dtype
        assert torch.equal(torch.nan_to_num(back[name]), torch.nan_to_num(tensor))
    assert stamp == checksum((tmp_path / "t.safetensors").read_bytes())


def test_one_altered_byte_breaks_the_checksum(tmp_path):
    path = tmp_path / "t.safetensors"
    stamp = write_tensors(path, {"w": torch.ones(100)})
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(RunError, match=r"checksum.*cut or altered.*Restore"):
        read_tensors(path, stamp)


@pytest.mark.parametrize("keep", [0, 4, 30, -1])
def test_a_truncated_file_is_refused_with_and_without_a_checksum(tmp_path, keep):
    path = tmp_path / "t.safetensors"
    stamp = write_tensors(path, {"w": torch.ones(100)})
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(RunError, match=r"not a complete safetensors file.*Restore"):
        read_tensors(path)
    with pytest.raises(RunError, match="checksum"):
        read_tensors(path, stamp)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(RunError, match=r"expected a file .*gone\.safetensors, found none"):
        read_tensors(tmp_path / "gone.safetensors")
    with pytest.raises(RunError, match=r"expected a file .*gone\.json, found none"):
        read_json(tmp_path / "gone.json")


def test_json_round_trip_of_arrays_numbers_and_paths(tmp_path):
    value = {"a": np.arange(3), "b": torch.ones(2), "c": np.float64(0.1), "d": Path("x/y"), "e": [None, True, "ñ"]}
    write_json(tmp_path / "v.json", value)
    assert read_json(tmp_path / "v.json") == {
        "a": [0, 1, 2],
        "b": [1.0, 1.0],
        "c": 0.1,
        "d": "x/y",
        "e": [None, True, "ñ"],
    }


def test_json_refuses_what_has_no_plain_form_and_leaves_the_old_file(tmp_path):
    write_json(tmp_path / "v.json", 1)
    with pytest.raises(TypeError, match="no JSON form"):
        write_json(tmp_path / "v.json", {"f": object()})
    assert read_json(tmp_path / "v.json") == 1


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b""])
def test_a_damaged_json_file_is_refused(tmp_path, content):
    (tmp_path / "v.json").write_bytes(content)
    with pytest.raises(RunError, match=r"not valid JSON.*restore"):
        read_json(tmp_path / "v.json")


def test_written_json_ends_with_a_newline_and_is_readable_by_any_parser(tmp_path):
    write_json(tmp_path / "v.json", {"x": 1})
    text = (tmp_path / "v.json").read_text()
    assert text.endswith("\n") and json.loads(text) == {"x": 1}
