"""Folders of images: what is read equals what was written, and each bad input is named with its remedy."""

import csv
import itertools
import json
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile, ImageOps

from caminito._errors import ConfigError, DataError
from caminito.data import ImageCodec, describe_source, open_source


def _random(*shape: int, dtype: str = "uint8", seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max + 1, shape, dtype=dtype)


def _write(folder: Path, items: np.ndarray, *, prefix: str = "", **options: object) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{prefix}{i:03d}.png" for i in range(len(items))]
    for path, item in zip(paths, items):
        Image.fromarray(item).save(path, **options)
    return paths


def _png(width: int, height: int) -> bytes:
    """A black PNG of 1 bit per pixel, made without an image in memory."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    packer = zlib.compressobj(9)
    row = bytes(1 + (width + 7) // 8)
    body = b"".join([packer.compress(row) for _ in range(height)]) + packer.flush()
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("shape", "dtype", "color"),
    [((5, 7), "uint8", "grey"), ((5, 7), "uint16", "grey"), ((5, 7, 3), "uint8", "rgb"), ((5, 7, 4), "uint8", "rgba")],
)
def test_items_are_the_pixels_that_were_written_in_the_order_of_names(tmp_path, shape, dtype, color) -> None:
    X = _random(12, *shape, dtype=dtype)
    _write(tmp_path, X[::-1][:6], prefix="b")
    _write(tmp_path, X[:6], prefix="a")
    source = open_source(tmp_path)
    assert source.kind == "folder" and source.items.dtype == dtype and source.facts["color"] == color
    np.testing.assert_array_equal(source.items, np.concatenate([X[:6], X[::-1][:6]]))
    assert source.bad == [] and source.labels is None and source.captions is None
    assert source.facts["sizes"] == {"5x7": 12} and source.facts["item_shape"] == list(shape)
    codec = ImageCodec().fit(source.items)
    np.testing.assert_array_equal(codec.decode(codec.encode(source.items)), source.items)


def test_grey_with_one_colour_image_becomes_rgb_and_with_alpha_rgba(tmp_path: Path) -> None:
    grey, rgb, rgba = _random(2, 4, 4), _random(1, 4, 4, 3, seed=1), _random(1, 4, 4, 4, seed=2)
    _write(tmp_path, grey, prefix="a")
    assert open_source(tmp_path).items.shape == (2, 4, 4)
    _write(tmp_path, rgb, prefix="b")
    three = open_source(tmp_path).items
    np.testing.assert_array_equal(three[:2], np.repeat(grey[..., None], 3, axis=-1))
    np.testing.assert_array_equal(three[2:], rgb)
    _write(tmp_path, rgba, prefix="c")
    four = open_source(tmp_path).items
    np.testing.assert_array_equal(four[..., :3], np.concatenate([three, rgba[..., :3]]))
    np.testing.assert_array_equal(four[:3, ..., 3], 255)
    np.testing.assert_array_equal(four[3], rgba[0])
    np.testing.assert_array_equal(open_source(tmp_path, color="rgb").items, four[..., :3])
    luma = [np.asarray(Image.fromarray(i).convert("L")) for i in four[..., :3]]
    np.testing.assert_array_equal(open_source(tmp_path, color="grey").items, luma)
    with pytest.raises(ConfigError, match="color"):
        open_source(tmp_path, color="green")  # type: ignore[arg-type]


def test_palette_images_are_their_colours_and_a_transparent_entry_is_alpha(tmp_path: Path) -> None:
    index = np.array([[0, 1], [2, 1]], np.uint8)
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255]], np.uint8)
    for k in range(2):
        image = Image.fromarray(np.roll(index, k, axis=0)).convert("P")
        image.putdata(np.roll(index, k, axis=0).ravel().tolist())
        image.putpalette(colours.ravel().tolist())
        image.save(tmp_path / f"{k}.png")
    np.testing.assert_array_equal(open_source(tmp_path).items, [colours[index], colours[np.roll(index, 1, axis=0)]])
    for file in sorted(tmp_path.iterdir()):
        Image.open(file).save(file, transparency=2)
    items = open_source(tmp_path).items
    np.testing.assert_array_equal(items[0, ..., 3], np.where(index == 2, 0, 255))
    np.testing.assert_array_equal(items[0, ..., :3], colours[index])


def test_the_orientation_of_the_camera_is_respected_in_all_eight_cases(tmp_path: Path) -> None:
    X = _random(8, 5, 5)
    expected = []
    for orientation, item in zip(range(1, 9), X):
        image = Image.fromarray(item)
        exif = Image.Exif()
        exif[0x0112] = orientation
        image.save(tmp_path / f"{orientation}.png", exif=exif)
        with Image.open(tmp_path / f"{orientation}.png") as stored:
            expected.append(np.asarray(ImageOps.exif_transpose(stored)))
    np.testing.assert_array_equal(open_source(tmp_path).items, expected)
    for orientation in (1, 8):  # a portrait stored lying has the size of a portrait
        folder = tmp_path / str(orientation)
        folder.mkdir()
        exif = Image.Exif()
        exif[0x0112] = orientation
        for k, item in enumerate(_random(2, 4, 6)):
            Image.fromarray(item).save(folder / f"{k}.jpg", exif=exif)
        assert open_source(folder).facts["sizes"] == {"4x6" if orientation == 1 else "6x4": 2}


def test_tiff_orientation_and_float_pixels_are_read(tmp_path: Path) -> None:
    X = np.random.default_rng(0).random((2, 3, 4), dtype=np.float32)
    exif = Image.Exif()
    exif[0x0112] = 6
    for k, item in enumerate(X):
        Image.fromarray(item).save(tmp_path / f"{k}.tif", exif=exif)
    np.testing.assert_array_equal(open_source(tmp_path).items, np.rot90(X, -1, axes=(1, 2)))


def test_class_subfolders_give_labels_and_a_class_of_one_is_reported(tmp_path: Path) -> None:
    for name, count, seed in (("dog", 3, 1), ("cat", 4, 2), ("emu", 1, 3)):
        _write(tmp_path / name / "deeper", _random(count, 4, 4, seed=seed))
    source = open_source(tmp_path)
    assert source.classes == ["cat", "dog", "emu"]
    np.testing.assert_array_equal(source.labels, [0] * 4 + [1] * 3 + [2])
    np.testing.assert_array_equal(source.items[4:7], _random(3, 4, 4, seed=1))
    assert source.facts["class_counts"] == {"cat": 4, "dog": 3, "emu": 1}
    assert source.facts["small_classes"] == ["emu"]
    _write(tmp_path, _random(1, 4, 4, seed=4))
    assert open_source(tmp_path).labels is None  # images beside the subfolders: they are no classes
    assert open_source(tmp_path / "dog").labels is None  # one subfolder is no class either


def test_train_and_test_subfolders_are_not_taken_for_classes(tmp_path: Path) -> None:
    for name, seed in (("train", 1), ("test", 2)):
        _write(tmp_path / name, _random(3, 4, 4, seed=seed))
    source = open_source(tmp_path)
    assert source.labels is None and any("splits" in note for note in source.facts["notes"])


def test_captions_beside_the_images_are_kept_in_order(tmp_path: Path) -> None:
    paths = _write(tmp_path, _random(3, 4, 4))
    paths[0].with_suffix(".txt").write_text("un árbol\n", encoding="utf-8")
    paths[2].with_suffix(".txt").write_text("a house", encoding="utf-8")
    source = open_source(tmp_path)
    assert source.captions == ["un árbol", None, "a house"] and source.facts["captions"] == 2
    assert describe_source(source)["caption_examples"] == ["un árbol", "a house"]
    paths[1].with_suffix(".txt").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(DataError, match="UTF-8"):
        open_source(tmp_path)


def _metadata(folder: Path, header: list[str], rows: list[list[str]]) -> None:
    with (folder / "metadata.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])


def test_metadata_gives_labels_and_captions_and_is_trusted_over_subfolders(tmp_path: Path) -> None:
    _write(tmp_path / "a", _random(2, 4, 4))
    _write(tmp_path / "b", _random(1, 4, 4, seed=1))
    rows = [["b/000.png", "third", "x"], ["a/000.png", "first, with comma", "y"], ["a/001.png", "second", "x"]]
    _metadata(tmp_path, ["file_name", "text", "label"], [*rows, ["gone.png", "-", "z"]])
    source = open_source(tmp_path)
    assert source.captions == ["first, with comma", "second", "third"]
    assert source.classes == ["x", "y"] and source.labels is not None and source.labels.tolist() == [1, 0, 0]
    assert any("gone.png" in note for note in source.facts["notes"])
    _metadata(tmp_path, ["file_name", "label"], [[r[0], r[2]] for r in rows[:2]])
    with pytest.raises(DataError, match=r"1 have none, first a/001\.png"):
        open_source(tmp_path)
    _metadata(tmp_path, ["path", "label"], rows)
    with pytest.raises(DataError, match="file_name"):
        open_source(tmp_path)


def test_the_fingerprint_knows_the_pixels_and_not_the_files(tmp_path: Path) -> None:
    X = _random(5, 6, 6)
    _write(tmp_path / "one", X, compress_level=0)
    _write(tmp_path / "two", X, compress_level=9, prefix="other")
    first, second = open_source(tmp_path / "one"), open_source(tmp_path / "two")
    assert first.fingerprint == second.fingerprint
    X[4, 5, 5] ^= 1
    _write(tmp_path / "two", X, prefix="other")
    assert open_source(tmp_path / "two").fingerprint != first.fingerprint


def test_facts_are_plain_json(tmp_path: Path) -> None:
    _write(tmp_path / "a", _random(3, 4, 4))
    _write(tmp_path / "b", _random(3, 4, 4, seed=1))
    facts = describe_source(open_source(tmp_path))
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts


def test_progress_counts_up_to_its_total_and_hidden_files_are_not_images(tmp_path: Path) -> None:
    _write(tmp_path, _random(150, 4, 4))
    (tmp_path / "049.png").write_text("text")
    (tmp_path / "._050.png").write_text("what another system left")
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / "__MACOSX" / "x.png").write_text("what another system left")
    seen: list[tuple[int, int]] = []
    source = open_source(tmp_path, progress=lambda done, total: seen.append((done, total)))
    assert len(source.bad) == 1
    assert seen[-1] == (300, 300) and {total for _, total in seen} == {300}
    assert all(a < b for (a, _), (b, _) in itertools.pairwise(seen))


# Resizing


def test_resize_at_scale_one_is_a_centred_crop(tmp_path: Path) -> None:
    X = _random(3, 30, 40, 3)
    _write(tmp_path, X)
    np.testing.assert_array_equal(open_source(tmp_path, resize=30).items, X[:, :, 5:35])
    np.testing.assert_array_equal(open_source(tmp_path, resize=(20, 40)).items, X[:, 5:25])


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_resize_does_not_alias_the_finest_pattern(tmp_path: Path, dtype: str) -> None:
    top = np.iinfo(dtype).max
    board = (np.indices((64, 64)).sum(0) % 2 * top).astype(dtype)
    flat = np.full((64, 64), top // 4, dtype)
    _write(tmp_path, np.stack([board, flat]))
    items = open_source(tmp_path, resize=8).items
    # away from the border the filter (32 pixels wide) passes the pattern with gain below 2^-10; two roundings of a byte
    assert np.abs(items[0, 2:-2, 2:-2] / top - 0.5).max() < 2**-10 + 2 * 0.5 / 255
    np.testing.assert_array_equal(items[1], top // 4)


def test_resize_makes_mixed_sizes_one_and_says_which_were_enlarged(tmp_path: Path) -> None:
    _write(tmp_path, _random(2, 20, 30), prefix="a")
    _write(tmp_path, _random(2, 6, 5, seed=1), prefix="b")
    source = open_source(tmp_path, resize=(8, 10))
    assert source.items.shape == (4, 8, 10)
    assert source.facts["sizes"] == {"20x30": 2, "6x5": 2} and source.facts["resized"] == [8, 10]
    assert source.facts["notes"] == ["2 images are smaller than 8x10 and were enlarged"]
    for wrong in (0, (8,), (8, 0), 2.5, "big"):
        with pytest.raises(ConfigError, match="resize"):
            open_source(tmp_path, resize=wrong)  # type: ignore[arg-type]


def test_transparent_pixels_lend_no_colour_when_resized(tmp_path: Path) -> None:
    X = np.zeros((2, 16, 16, 4), np.uint8)
    X[..., 0] = 255  # hidden red everywhere
    X[:, 4:12, 4:12] = (0, 0, 200, 255)
    X[1, :4, :4] = (0, 0, 200, 255)
    _write(tmp_path, X)
    items = open_source(tmp_path, resize=8).items
    seen = items[items[..., 3] > 0]
    assert seen[:, 0].max() == 0
    # premultiplied blue is a rounded byte (twice): its error grows as 255/alpha; the cubic's overshoot is below 10 %
    assert (np.abs(seen[:, 2].astype(int) - 200) <= 1.5 * 255 / seen[:, 3] + 20).all()


# Bad input, one by one


def test_an_empty_folder_is_refused_with_what_is_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"\.png.*found an empty folder"):
        open_source(tmp_path)
    (tmp_path / "notes.docx").write_text("x")
    with pytest.raises(DataError, match=r"found 1 \.docx"):
        open_source(tmp_path)
    (tmp_path / "digits.npz").write_text("x")
    with pytest.raises(DataError, match=r"Give one of its data files instead: digits\.npz"):
        open_source(tmp_path)


def test_a_folder_with_one_image_is_refused(tmp_path: Path) -> None:
    _write(tmp_path, _random(1, 4, 4))
    with pytest.raises(DataError, match="at least 2 items"):
        open_source(tmp_path)


def test_identical_images_are_refused(tmp_path: Path) -> None:
    _write(tmp_path, np.full((4, 5, 5), 9, np.uint8))
    with pytest.raises(DataError, match="4 identical"):
        open_source(tmp_path)


def test_a_missing_path_and_a_single_image_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing at this path"):
        open_source(tmp_path / "absent")
    path = _write(tmp_path, _random(1, 4, 4))[0]
    with pytest.raises(DataError, match="single image"):
        open_source(path)


def _make_truncated(path: Path) -> str:
    Image.fromarray(_random(64, 64)).save(path)
    path.write_bytes(path.read_bytes()[:1500])
    return "damaged or cut"


def _make_text(path: Path) -> str:
    path.write_text("this is not a picture")
    return "not an image"


def _make_empty(path: Path) -> str:
    path.write_bytes(b"")
    return "empty file"


def _make_huge(path: Path) -> str:
    path.write_bytes(_png(10_000, 10_000))
    assert path.stat().st_size < 13_000
    return "10000x10000 = 100000000 pixels, more than the 64000000 allowed"


def _make_postscript(path: Path) -> str:
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n%%EndComments\n")
    return "not an image"


def _make_broken_link(path: Path) -> str:
    path.symlink_to(path.with_name("gone.png"))
    return "not a file"


_BAD_FILES = [_make_truncated, _make_text, _make_empty, _make_huge, _make_postscript, _make_broken_link]


@pytest.mark.parametrize("make", _BAD_FILES)
def test_one_bad_file_in_a_hundred_is_listed_and_skipped_and_two_stop(tmp_path: Path, make) -> None:
    X = _random(99, 64, 64)
    _write(tmp_path, X)
    reason = make(tmp_path / "050x.png")
    (tmp_path / "050x.txt").write_text("caption of the bad one")
    (tmp_path / "051.txt").write_text("caption of 51")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        source = open_source(tmp_path)
    np.testing.assert_array_equal(source.items, X)
    ((name, why),) = source.bad
    assert name == "050x.png" and reason in why
    assert source.facts["bad_count"] == 1 and describe_source(source)["bad"] == [{"file": name, "reason": why}]
    assert source.captions is not None and source.captions[51] == "caption of 51" and source.facts["captions"] == 1
    make(tmp_path / "zz.png")
    with pytest.raises(DataError, match=r"(?s)2 of 101 images cannot be read, more than 1%:\n  050x\.png: .*zz\.png"):
        open_source(tmp_path)
    assert len(open_source(tmp_path, max_bad=0.05).bad) == 2


def test_the_pixel_cap_acts_before_any_pixel_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _make_huge(tmp_path / "bomb.png")
    decoded: list[object] = []
    real = ImageFile.ImageFile.load
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: (decoded.append(self.size), real(self))[1])
    with pytest.raises(DataError, match="none of the 1 images can be read"):
        open_source(tmp_path)
    assert decoded == []
    _write(tmp_path, _random(100, 4, 4))
    source = open_source(tmp_path)
    assert [name for name, _ in source.bad] == ["bomb.png"]
    assert set(decoded) == {(4, 4)} and len(decoded) >= 100  # and the counter does count


def test_a_pixel_cap_of_ones_own_is_kept_and_pillows_own_is_named(tmp_path: Path) -> None:
    _write(tmp_path, _random(3, 10, 10))
    with pytest.raises(DataError, match=r"100 pixels, more than the 99 allowed; .* --max-pixels 100 .*max_pixels=100"):
        open_source(tmp_path, max_pixels=99)
    assert len(open_source(tmp_path, max_pixels=100).items) == 3
    folder = tmp_path / "beyond"
    folder.mkdir()
    (folder / "bomb.png").write_bytes(_png(14_000, 14_000))
    with pytest.raises(DataError, match=r"whatever --max-pixels \(max_pixels\) says"):
        open_source(folder, max_pixels=10**9)


def test_a_list_of_many_bad_files_is_cut_at_ten_with_a_count(tmp_path: Path) -> None:
    for k in range(25):
        _make_text(tmp_path / f"{k:02d}.png")
    with pytest.raises(DataError) as caught:
        open_source(tmp_path)
    message = str(caught.value)
    assert "none of the 25" in message and "09.png" in message and "10.png" not in message and "and 15 more" in message


def test_mixed_sizes_are_counted_and_the_option_is_named(tmp_path: Path) -> None:
    _write(tmp_path, _random(3, 8, 12), prefix="a")
    _write(tmp_path, _random(1, 9, 6), prefix="b")
    with pytest.raises(
        DataError, match=r"2 sizes \(height x width\): 8x12 \(3\), 9x6 \(1\).*--resize 6 .*--resize 32x48"
    ):
        open_source(tmp_path)


def test_mixed_depths_are_refused(tmp_path: Path) -> None:
    _write(tmp_path, _random(3, 8, 8), prefix="a")
    _write(tmp_path, _random(1, 8, 8, dtype="uint16"), prefix="b")
    with pytest.raises(DataError, match="3 of uint8, 1 of uint16"):
        open_source(tmp_path)


def test_more_memory_than_allowed_is_refused_from_the_headers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(tmp_path, _random(4, 10, 10))
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("decoded"))
    with pytest.raises(DataError, match="max_bytes"):
        open_source(tmp_path, max_bytes=399)


def test_sixteen_bit_colour_is_read_with_eight_bits_and_says_so(tmp_path: Path) -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    X = _random(2, 3, 3, 3, dtype="uint16")
    for k, item in enumerate(X):
        rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in item)
        head = struct.pack(">IIBBBBB", 3, 3, 16, 2, 0, 0, 0)
        png = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
        (tmp_path / f"{k}.png").write_bytes(b"\x89PNG\r\n\x1a\n" + png)
    source = open_source(tmp_path)
    np.testing.assert_array_equal(source.items, X >> 8)
    assert source.facts["notes"] == ["2 colour images of 16 bits per channel were read with 8 bits"]
