"""Arrays on disk: .npy, .npz and IDX give back what was saved; lying headers and pickles are refused."""

import gzip
import io
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from caminito._errors import DataError
from caminito.data import ImageCodec, open_source
from caminito.data._resize import fit_array

SHARED = Path(__file__).resolve().parents[3].parent / "shared" / "data"


def _items(*shape: int, dtype: str = "uint8") -> np.ndarray:
    return (np.random.default_rng(0).random(shape) * 200).astype(dtype)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float16", "float32", "float64", "int64", ">f4", "bool"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy_gives_back_the_array_in_native_order(tmp_path: Path, dtype: str, order: str) -> None:
    X = np.asarray(_items(6, 4, 5) > 99 if dtype == "bool" else _items(6, 4, 5, dtype=dtype), order=order)
    np.save(tmp_path / "x.npy", X)
    source = open_source(tmp_path / "x.npy")
    assert source.kind == "npy" and source.items.dtype == X.dtype.newbyteorder("=")
    np.testing.assert_array_equal(source.items, X)
    assert source.facts["range"] == [X.min().item(), X.max().item()]


@pytest.mark.parametrize("key", ["x", "X", "images", "data", "arr_0", "anything"])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_finds_items_and_labels(tmp_path: Path, key: str, save) -> None:
    X, y = _items(6, 4, 5), np.array([3, 7, 7, 3, 9, 3])
    save(tmp_path / "d.npz", **{key: X, "y": y})
    source = open_source(tmp_path / "d.npz")
    np.testing.assert_array_equal(source.items, X)
    assert source.classes == ["3", "7", "9"] and source.labels is not None
    np.testing.assert_array_equal(np.array(source.classes, dtype=int)[source.labels], y)
    assert source.facts["small_classes"] == ["9"] and source.facts["array"] == key


def test_npz_labels_may_be_text_bytes_or_whole_floats_and_captions_are_kept(tmp_path: Path) -> None:
    X = _items(4, 3, 3)
    for y in (np.array(["b", "a", "b", "a"]), np.array([b"b", b"a", b"b", b"a"]), np.array([1.0, 0.0, 1.0, 0.0])):
        np.savez(tmp_path / "d.npz", x=X, labels=y, text=np.array(["p", "q", "r", "s"]))
        source = open_source(tmp_path / "d.npz")
        assert source.labels is not None and source.labels.tolist() == [1, 0, 1, 0]
        assert source.captions == ["p", "q", "r", "s"]
    np.savez(tmp_path / "d.npz", x=X, y=np.array([0.5, 1.0, 2.0, 3.0]))
    source = open_source(tmp_path / "d.npz")
    assert source.labels is None and any("continuous" in note for note in source.facts["notes"])
    np.savez(tmp_path / "d.npz", x=X, y=np.array([np.nan, 1.0, 2.0, 3.0]))
    with pytest.raises(DataError, match="1 NaN"):
        open_source(tmp_path / "d.npz")


def test_npz_with_coordinates_called_x_and_y_is_not_mistaken(tmp_path: Path) -> None:
    X = _items(9, 4, 5, dtype="float32")
    np.savez(tmp_path / "d.npz", data=X, x=np.linspace(0, 1, 5), y=np.linspace(0, 1, 4))
    source = open_source(tmp_path / "d.npz")
    np.testing.assert_array_equal(source.items, X)
    assert source.labels is None and any("coordinates" in note for note in source.facts["notes"])


def test_npz_that_does_not_say_what_the_items_are_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", a=_items(3, 2), b=_items(3, 4))
    with pytest.raises(DataError, match=r"a \(3, 2\), b \(3, 4\)"):
        open_source(tmp_path / "d.npz")
    np.savez(tmp_path / "d.npz", x=_items(3, 2), y=np.zeros(2))
    with pytest.raises(DataError, match=r"expected 3 labels.*got shape \(2,\)"):
        open_source(tmp_path / "d.npz")


@pytest.mark.parametrize(
    ("X", "words"),
    [
        (np.where(np.arange(24).reshape(2, 3, 4) == 13, np.nan, 1.5), r"1 NaN.*index \[1, 0, 1\]"),
        (np.ones((5, 3, 3)), "5 identical"),
        (np.ones((1, 3, 3)), "at least 2 items"),
        (np.ones((0, 3, 3)), "empty"),
        (np.array(3.0), "single number"),
        (np.ones((4, 3)) * 1j, "Complex"),
        (np.array(["a", "b"]), "Text"),
    ],
)
def test_arrays_that_cannot_be_learnt_are_refused_at_the_door(tmp_path: Path, X: np.ndarray, words: str) -> None:
    np.save(tmp_path / "x.npy", X)
    with pytest.raises(ValueError, match=words):
        open_source(tmp_path / "x.npy")


class _Trap:
    """An object whose unpickling would leave a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.path,))


def test_python_objects_are_refused_without_running_them(tmp_path: Path) -> None:
    X = np.array([_Trap(tmp_path / "ran"), None], dtype=object)
    np.save(tmp_path / "x.npy", X, allow_pickle=True)
    np.savez(tmp_path / "x.npz", x=X)
    for name in ("x.npy", "x.npz"):
        with pytest.raises(DataError, match="objects"):
            open_source(tmp_path / name)
    assert not (tmp_path / "ran").exists()


def _npy_bytes(shape: tuple[int, ...], body: bytes) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return file.getvalue() + body


def _no_large_arrays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(np, "empty", lambda *a, **k: pytest.fail("memory was taken"))
    monkeypatch.setattr(np.lib.format, "read_array", lambda *a, **k: pytest.fail("memory was taken"))


def test_headers_that_promise_more_than_there_is_are_refused_before_memory_is_taken(tmp_path, monkeypatch) -> None:
    (tmp_path / "cut.npy").write_bytes(_npy_bytes((1000, 1000, 1000), b"\0" * 100))
    (tmp_path / "big.npy").write_bytes(_npy_bytes((10**6, 1000, 1000), b"\0" * 100))
    for name, shape in (("cut", (1000, 1000, 1000)), ("big", (10**6, 1000, 1000))):
        with zipfile.ZipFile(tmp_path / f"{name}.npz", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("x.npy", _npy_bytes(shape, b"\0" * 100))
    head = b"\0\0\x08\x03"
    (tmp_path / "cut-images-idx3-ubyte").write_bytes(head + struct.pack(">3I", 1000, 1000, 1000) + b"\0" * 100)
    (tmp_path / "big-images-idx3-ubyte").write_bytes(head + struct.pack(">3I", 10**6, 1000, 1000) + b"\0" * 100)
    _no_large_arrays(monkeypatch)
    for name in ("cut.npy", "cut.npz", "cut-images-idx3-ubyte"):
        with pytest.raises(DataError, match="promises 1000000000 bytes"):
            open_source(tmp_path / name)
    for name in ("big.npy", "big.npz", "big-images-idx3-ubyte"):
        with pytest.raises(DataError, match=r"931\.3 GiB, more than the 8\.0 GiB allowed"):
            open_source(tmp_path / name)


def test_damaged_archives_are_named(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "d.npz", x=_items(50, 9, 9))
    whole = (tmp_path / "d.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="damaged"):
        open_source(tmp_path / "cut.npz")
    altered = bytearray(whole)
    altered[len(whole) // 2] ^= 0xFF
    (tmp_path / "altered.npz").write_bytes(altered)
    with pytest.raises(DataError, match="damaged"):
        open_source(tmp_path / "altered.npz")
    (tmp_path / "text.npy").write_text("not an array")
    with pytest.raises(DataError, match=r"numpy\.save"):
        open_source(tmp_path / "text.npy")


def _idx(array: np.ndarray) -> bytes:
    kinds = {"u1": 8, "i1": 9, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}
    kind = kinds[array.dtype.str[1:]]
    head = struct.pack(f">BBBB{array.ndim}I", 0, 0, kind, array.ndim, *array.shape)
    return head + array.astype(array.dtype.newbyteorder(">")).tobytes()


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "int32", "float32", "float64"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_idx_gives_back_every_type_and_finds_its_labels(tmp_path: Path, dtype: str, pack) -> None:
    X, y = _items(7, 4, 5, dtype=dtype) if dtype != "int8" else _items(7, 4, 5).astype(np.int8), np.arange(7) % 3
    suffix = ".gz" if pack is gzip.compress else ""
    for images, labels in (
        ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
        ("t10k-images.idx3-ubyte", "t10k-labels.idx1-ubyte"),
    ):
        (tmp_path / (images + suffix)).write_bytes(pack(_idx(X)))
        (tmp_path / (labels + suffix)).write_bytes(pack(_idx(y.astype(np.uint8))))
        source = open_source(tmp_path / (images + suffix))
        assert source.kind == "idx" and source.items.dtype == dtype
        np.testing.assert_array_equal(source.items, X)
        np.testing.assert_array_equal(source.labels, y)
    alone = tmp_path / "alone.idx"
    alone.write_bytes(_idx(X))
    assert open_source(alone).labels is None


def test_broken_idx_files_are_named(tmp_path: Path) -> None:
    X = _idx(_items(7, 4, 5))
    images = tmp_path / "a-images-idx3-ubyte"
    for damage, words in ((X[:100], "are there"), (X + b"\0", "more bytes"), (X[:9], "header is cut")):
        images.write_bytes(damage)
        with pytest.raises(DataError, match=words):
            open_source(images)
    packed = gzip.compress(X)
    (tmp_path / "b-images-idx3-ubyte.gz").write_bytes(packed[:-20])
    with pytest.raises(DataError, match="whole IDX file"):
        open_source(tmp_path / "b-images-idx3-ubyte.gz")
    images.write_bytes(X)
    (tmp_path / "a-labels-idx1-ubyte").write_bytes(_idx(np.zeros(6, np.uint8)))
    with pytest.raises(DataError, match="expected 7 labels"):
        open_source(images)
    with pytest.raises(DataError, match="look like labels"):
        open_source(tmp_path / "a-labels-idx1-ubyte")


def test_an_unknown_kind_is_refused_with_what_is_read(tmp_path: Path) -> None:
    (tmp_path / "table.xlsx").write_text("x")
    with pytest.raises(DataError, match=r"digits, a folder of images, \.npy, \.npz, or IDX.*'\.xlsx'"):
        open_source(tmp_path / "table.xlsx")


def test_digits_is_a_word_and_a_folder_of_that_name_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    source = open_source("digits")
    assert source.kind == "digits" and source.items.shape == (1797, 8, 8)
    assert source.classes == [str(k) for k in range(10)]
    assert open_source(Path("digits")).fingerprint == source.fingerprint
    (tmp_path / "digits").mkdir()
    assert open_source("digits").fingerprint == source.fingerprint
    for path in ("./digits", Path("digits")):
        with pytest.raises(DataError, match="empty folder"):
            open_source(path)


@pytest.mark.parametrize("channels", [(), (1,), (2,), (3,), (4,)])
def test_resizing_arrays_agrees_with_resizing_their_channels(tmp_path: Path, channels: tuple[int, ...]) -> None:
    X = _items(4, 20, 12, *channels)
    if channels in ((2,), (4,)):
        X[..., -1] = 255  # where alpha is opaque, premultiplying changes nothing
    np.save(tmp_path / "x.npy", X)
    source = open_source(tmp_path / "x.npy", resize=6)
    planes = X.astype(np.float64).reshape(4, 20, 12, -1)
    expected = np.clip(fit_array(planes, (6, 6)), 0, 255).reshape(source.items.shape)
    assert source.items.shape == (4, 6, 6, *channels) and source.facts["sizes"] == {"20x12": 4}
    # bytes are resampled in two passes, each rounded: at most 1/2 each, the first spread by weights of sum |w| < 1.3
    assert np.abs(source.items - expected).max() <= 0.5 + 0.5 * 1.3 + 0.5
    np.save(tmp_path / "points.npy", _items(9, 2))
    with pytest.raises(DataError, match="resize: expected images"):
        open_source(tmp_path / "points.npy", resize=6)


def test_channels_in_the_second_place_are_pointed_out(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", _items(4, 3, 9, 9))
    assert any("moveaxis" in note for note in open_source(tmp_path / "x.npy").facts["notes"])


@pytest.mark.skipif(
    not (SHARED / "fashion_mnist").is_dir(), reason="../shared/data/fashion_mnist is not on this machine"
)
def test_fashion_mnist_is_read_as_published() -> None:
    source = open_source(SHARED / "fashion_mnist" / "t10k-images-idx3-ubyte.gz")
    assert source.items.shape == (10_000, 28, 28) and source.items.dtype == np.uint8
    assert source.facts["class_counts"] == {str(k): 1000 for k in range(10)}
    codec = ImageCodec().fit(source.items)
    np.testing.assert_allclose(codec.mean, source.items.mean(dtype=np.float64), rtol=1e-12)
    np.testing.assert_allclose(codec.std, source.items.std(dtype=np.float64), rtol=1e-12)
    np.testing.assert_array_equal(codec.decode(codec.encode(source.items)), source.items)
