"""Attack files for every reader of the package, from a seed: what is promised is one ValueError that names the file.

    python tests/fuzz_files.py --cases 100000

Case k of a seed is always the same, and ``--first k --cases 1 --large`` repeats it alone. A case is a file of one of
the kinds in `KINDS`: a good one with bytes changed, or one whose parts were exchanged and whose sums were computed
anew. Beside them there are the `LARGE` ones, which ask for much memory or time. Each must be read within 5 seconds and
500 MB, and

- be refused with a ValueError of one short line that names the file, or
- hold what the good file holds, or what somebody who forged it could have written with ``save``.

The memory is measured in two ways. The address space is limited to 500 MB more than at the start, and a MemoryError is
a failure, even one that a reader turned into another error. The largest resident size must not pass 500 MB either.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import io
import json
import os
import resource
import signal
import struct
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import l2l_ref as l2l
from l2l_ref import files
from l2l_ref.black_boxes.tables import TABLES, read_table
from l2l_ref.cli.gradcheck import inputs
from l2l_ref.datasets.idx import idx_header, read_idx
from l2l_ref.optimizees import Quadratic
from l2l_ref.trees import flatten

SECONDS, MEMORY = 5, 500 * 2**20


# ------------------------------------------------------------------------------------------------ parts of good files


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, version=(1, 0))
    return stream.getvalue()


def npy_header(text: str, version: bytes = b"\x01\x00") -> bytes:
    """The first bytes of an .npy file with a header of our own."""
    content = text.encode("latin1", "replace") + b"\n"
    return b"\x93NUMPY" + version + struct.pack("<H", len(content) & 0xFFFF) + content


def header_of(shape: Any, dtype: str = "<f4") -> bytes:
    return npy_header(f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}}}")


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return stream.getvalue()


def members_of(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def archive_of(card: dict[str, Any], arrays: dict[str, np.ndarray]) -> bytes:
    """An archive with a card of our own and a hash that fits, as anybody could write it."""
    hashed = card | {"sha256": files.digest(arrays)}
    members = {"card": np.frombuffer(json.dumps(hashed).encode(), np.uint8), **arrays}
    return zipped({f"{name}.npy": npy(array) for name, array in members.items()})


def parts_of(content: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    with np.load(io.BytesIO(content)) as archive:
        arrays = {name: archive[name] for name in archive.files}
    return json.loads(arrays.pop("card").tobytes()), arrays


# ------------------------------------------------------------------------------------------------------ what is read


def _weights(path: Path) -> Any:
    model = l2l.load(path)
    with np.errstate(all="ignore"):  # forged weights may be large
        if isinstance(model, l2l.CoordinatewiseLSTM):
            theta = np.ones(3, np.float32)
            model.update(theta, model.init(theta))
        else:
            l2l.BlackBoxOptimizer([(0, 1)] * min(2, model.dim), model).ask()
    return model.config, flatten(model.params).tobytes()


TINY = {"steps": 2, "unroll": 1, "epochs": 2, "tasks": 1, "functions": 1, "validation_functions": 1}


def _model() -> l2l.CoordinatewiseLSTM:
    return l2l.CoordinatewiseLSTM(hidden=(2,), rng=0, backend="numpy")


def _checkpoint(path: Path) -> Any:
    before = path.stat()
    try:
        trained, log = l2l.meta_train(_model(), Quadratic(dim=2), checkpoint=path, resume=True, **TINY)
    except ValueError:
        if (path.stat().st_ino, path.stat().st_mtime_ns) != (before.st_ino, before.st_mtime_ns):
            raise AssertionError("a checkpoint that was refused has changed") from None
        raise
    return flatten(trained.params).tobytes(), [entry["judged"] for entry in log]


def _search_model() -> l2l.Proposer:
    return l2l.Proposer(2, 2, rng=0, backend="numpy")


def _state(path: Path) -> Any:
    search = l2l.BlackBoxOptimizer.load(path, _search_model())
    state = search.state_dict()
    search.ask()
    return state


def _idx(path: Path) -> Any:
    return read_idx(path, (4, 5, 5)).tobytes()


def _hpolib(path: Path) -> Any:
    values = read_table("lda", path.parent)(np.random.default_rng(0).random((50, 3)))
    if not np.isfinite(values).all():
        raise AssertionError(f"a table with {values}")
    return values.tobytes()


def _inputs(path: Path) -> Any:
    return [(array.dtype.str, array.shape, array.size < 100 and array.tolist()) for array in
            map(np.asarray, inputs(path, lambda x, W, b: x))]


# ---------------------------------------------------------------------------------------------- good files, by kind


class Kind(NamedTuple):
    name: str                          # of the file
    good: Callable[[Path], list[bytes]]
    read: Callable[[Path], Any]
    sealed: bool                       # whether no change of its bytes may change what is read
    forged: Callable[[bytes, np.random.Generator], bytes]


def good_weights(folder: Path) -> list[bytes]:
    path, contents = folder / "w.npz", []
    for model in (l2l.CoordinatewiseLSTM(hidden=(2,)), l2l.CoordinatewiseLSTM(hidden=(2, 1), preprocess=10.0),
                  l2l.Proposer(2, 2), l2l.Proposer(1, 2, cell="dnc", memory=(2, 2, 1))):
        l2l.save(model, path, {"seed": 1, "recipe": {"steps": 4}, "moments": [[0.0, 1.0], [0.1, 0.9]]})
        contents.append(path.read_bytes())
    return contents


def good_checkpoint(folder: Path) -> list[bytes]:
    path, contents = folder / "c.npz", []
    l2l.meta_train(_model(), Quadratic(dim=2), checkpoint=path, overwrite=True, **TINY,
                   report=lambda *_: contents.append(path.read_bytes()))
    return contents[-1:]


def good_state(folder: Path) -> list[bytes]:
    path, search = folder / "s.json", l2l.BlackBoxOptimizer([(0, 1), (-1, 5)], _search_model())
    for value in (5.25, 3.5, None, 7.125):
        search.tell(search.ask(), value)
    search.tell([0.5, 0.5], 1.0)
    search.ask()
    search.save(path)
    return [path.read_bytes()]


def good_idx(folder: Path) -> list[bytes]:
    return [idx_header((4, 5, 5)) + bytes(range(100))]


def good_gzip(folder: Path) -> list[bytes]:
    return [gzip.compress(content, mtime=0) for content in good_idx(folder)]


def good_table(folder: Path) -> list[bytes]:
    table = TABLES["lda"]
    rows = [f"{i},{j},{k},{1.5 + (i + 2 * j + 3 * k) % 41},{0.5}" for i in range(table.shape[0])
            for j in range(table.shape[1]) for k in range(table.shape[2])]
    return ["\n".join([",".join(table.columns), *rows, ""]).encode()]


def good_inputs(folder: Path) -> list[bytes]:
    arrays = {"x": np.ones((3, 2)), "W": np.asfortranarray(np.arange(6.0).reshape(2, 3)), "b": np.float32(3)}
    contents = []
    for save in (np.savez, np.savez_compressed):
        stream = io.BytesIO()
        save(stream, **arrays)
        contents.append(stream.getvalue())
    return contents


# ------------------------------------------------------------------------------------------------------- attacks


def changed_bytes(content: bytes, rng: np.random.Generator) -> bytes:
    """Some bytes replaced, removed, doubled or moved."""
    wrong = bytearray(content)
    for _ in range(int(rng.integers(1, 5))):
        at = int(rng.integers(0, len(wrong) + 1))
        length = int(rng.choice([0, 1, 1, 2, 4, 8, 64]))
        replacements = [b"", rng.bytes(1), rng.bytes(length), bytes(length), b"\xff" * length,
                        wrong[at : at + length] * 2, content[(k := int(rng.integers(0, len(content)))) : k + length]]
        wrong[at : at + length] = replacements[rng.integers(len(replacements))]
        if rng.random() < 0.1:
            del wrong[int(rng.integers(0, len(wrong) + 1)) :]
    return bytes(wrong)


HOSTILE = [None, True, False, 0, 1, -1, 2, 10**10, -(10**10), 2**53, 2**63, 10**400, 0.5, -0.0, 1e308, -1e308, 5e-324,
           float("nan"), float("inf"), "", "x", "nan", "1", "\0", "\u2028", "../../x", "/dev/zero", "a\nb" * 300,
           "\ud800", [], [[]], {}, {"": None}, [0] * 300, [1e400], [None], {"epoch": 1}, [[0, 0]] * 3]


def changed_json(value: Any, rng: np.random.Generator) -> Any:
    """One part of a JSON value replaced, removed or doubled, anywhere in it."""
    if isinstance(value, (dict, list)) and value and rng.random() < 0.85:
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        key = keys[rng.integers(len(keys))]
        copy: Any = value.copy()
        what = rng.random()
        if what < 0.1:
            del copy[key]
        elif what < 0.2 and isinstance(copy, list):
            copy.insert(key, copy[key])
        elif what < 0.2:
            copy[str(HOSTILE[rng.integers(len(HOSTILE))])] = copy[key]
        else:
            copy[key] = changed_json(copy[key], rng)
        return copy
    return HOSTILE[rng.integers(len(HOSTILE))]


SHAPES = ["()", "(0,)", "(1,)", "(2,)", "(-1,)", "(2, 4)", "(4, 2)", "(10**9,)", "(1000000000,)",
          "(4611686018427387904, 4)",
          "(0, 4611686018427387904)", "(2L,)", "(True,)", "(2.0,)", "[2]", "'2'", "None", "(((((2,)))))", "(" * 300]
DTYPES = ["<f4", "<f8", ">f4", "|O", "|S0", "|V0", "|S1000000000", "<U3", "|b1", "<c16", "<m8", "<M8[s]", "|u1", "x",
          "", "<f4, <f4", "(1000000,)f4"]


def changed_npy(content: bytes, rng: np.random.Generator) -> bytes:
    """An .npy with another header, or other bytes."""
    if rng.random() < 0.4:
        return changed_bytes(content, rng)
    start = 10 + struct.unpack_from("<H", content, 8)[0]
    text = (f"{{'descr': '{DTYPES[rng.integers(len(DTYPES))]}', 'fortran_order': {bool(rng.integers(2))}, "
            f"'shape': {SHAPES[rng.integers(len(SHAPES))]}}}")
    version = [b"\x01\x00", b"\x01\x00", b"\x02\x00", b"\x03\x00", b"\xff\xff"][rng.integers(5)]
    return npy_header(text, version) + content[start:]


def changed_members(content: bytes, rng: np.random.Generator, change: Callable[..., bytes] = changed_npy) -> bytes:
    """A zip archive with one member changed, left out, renamed or doubled, and with right sums of all."""
    members = members_of(content)
    name = list(members)[rng.integers(len(members))]
    what = rng.random()
    if what < 0.6:
        members[name] = change(members[name], rng)
    elif what < 0.7:
        del members[name]
    elif what < 0.85:
        names = ["x.npy", "card.npy", "W", "../W.npy", "/W.npy", "W.npy/", "b.npy.npy", "\u2028.npy", ".npy", "",
                 "a" * 999]
        members[names[rng.integers(len(names))]] = members.pop(name)
    else:
        members[f"{rng.integers(9)}.npy"] = members[name]
    methods = [zipfile.ZIP_STORED] * 4 + [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
    return zipped(members, methods[rng.integers(len(methods))])


def forged_archive(content: bytes, rng: np.random.Generator) -> bytes:
    """An archive with another card and a hash that fits, or without one; or with other arrays."""
    if rng.random() < 0.4:
        return changed_members(content, rng)
    card, arrays = parts_of(content)
    card.pop("sha256")
    if rng.random() < 0.8:
        card = changed_json(card, rng)
    else:
        name = list(arrays)[rng.integers(len(arrays))]
        array = arrays[name].copy()
        array.flat[rng.integers(array.size)] = [np.nan, np.inf, -np.inf, 1e38, -1e38, -1, 0][rng.integers(7)]
        others = [array, array[:0], array.T, array.astype(np.complex64), array.astype(">f8"), array.ravel(), array > 0]
        arrays[name] = others[rng.integers(len(others))]
    return archive_of(card, arrays) if isinstance(card, dict) else zipped(
        {"card.npy": npy(np.frombuffer(json.dumps(card).encode(), np.uint8)),
         **{f"{name}.npy": npy(array) for name, array in arrays.items()}})


def forged_state(content: bytes, rng: np.random.Generator) -> bytes:
    state = json.loads(content)
    del state["sha256"]
    state = changed_json(state, rng)
    if not isinstance(state, dict) or not state:
        return json.dumps(state).encode()
    body = json.dumps(state).encode()[:-1]
    return body + files._HASH % files._hash(body, "").encode()


def forged_idx(content: bytes, rng: np.random.Generator) -> bytes:
    header = bytearray(content[:16])
    header[rng.integers(16)] = rng.integers(256)
    return bytes(header) + content[16:]


def forged_gzip(content: bytes, rng: np.random.Generator) -> bytes:
    data = gzip.compress(forged_idx(gzip.decompress(content), rng), mtime=0)
    tails = [b"", bytes(1000), rng.bytes(20), gzip.compress(b"", mtime=0) * 50, data, b"\x1f\x8b", bytes(9) + data]
    return data + tails[rng.integers(len(tails))]


CELLS = [b"", b"nan", b"inf", b"-1", b"1e999", b"0x1", b"1_0", b"9" * 5000, b"\xff", b"x", b"1,2", b"\n", b"\0",
         b'"1"', b" 1 "]


def forged_table(content: bytes, rng: np.random.Generator) -> bytes:
    lines = content.split(b"\n")
    line = int(rng.integers(len(lines)))
    cells = lines[line].split(b",")
    cells[rng.integers(len(cells))] = CELLS[rng.integers(len(CELLS))]
    lines[line] = b",".join(cells)
    return [b"\n", b"\r\n", b"\x0b"][rng.integers(3)].join(lines)


KINDS = {
    "weights": Kind("w.npz", good_weights, _weights, True, forged_archive),
    "checkpoint": Kind("c.npz", good_checkpoint, _checkpoint, True, forged_archive),
    "state": Kind("s.json", good_state, _state, True, forged_state),
    "idx": Kind("i", good_idx, _idx, False, forged_idx),
    "gzip": Kind("i.gz", good_gzip, _idx, True, forged_gzip),
    "hpolib": Kind(TABLES["lda"].file, good_table, _hpolib, False, forged_table),
    "inputs": Kind("x.npz", good_inputs, _inputs, False, changed_members),
}


# ---------------------------------------------------------------------------------- files that ask for memory and time

Goods = dict[str, list[bytes]]  # the good files of each kind
Attack = Callable[[bytes, Path], bytes]  # (a good file, where to write) -> content to write, or b"" if it has written


def repeated(before: bytes, piece: bytes, size: int, after: bytes) -> Attack:
    """A text of about ``size`` bytes."""
    return lambda good, path: before + piece * (size // len(piece)) + after


def as_card(attack: Attack) -> Attack:
    """An archive whose card is what ``attack`` makes."""
    def card(good: bytes, path: Path) -> bytes:
        return zipped(members_of(good) | {"card.npy": npy(np.frombuffer(attack(good, path), np.uint8))})
    return card


def with_field(**changes: Any) -> Attack:
    """An archive whose card has other fields, and a hash that fits."""
    def attack(good: bytes, path: Path) -> bytes:
        card, arrays = parts_of(good)
        return archive_of(card | changes, arrays)
    return attack


def deflated(megabytes: int) -> Attack:
    """An array of zeros that takes a thousandth of its size; its header and the directory tell the truth."""
    def attack(good: bytes, path: Path) -> bytes:
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive, \
                archive.open("x.npy", "w", force_zip64=True) as member:
            member.write(header_of((megabytes * 2**20,), "|u1"))
            for _ in range(megabytes):
                member.write(bytes(2**20))
        return stream.getvalue()
    return attack


def promise(size: int, method: int) -> Attack:
    """An array of which the header and both entries in the zip promise ``size`` bytes, and a hundred are there."""
    def attack(good: bytes, path: Path) -> bytes:
        content = header_of((size,), "|u1") + bytes(100)
        real, lie = struct.pack("<I", len(content)), struct.pack("<I", len(content) + size)
        return zipped({"x.npy": content, "card.npy": content}, method).replace(real, lie)
    return attack


def many_members(good: bytes, path: Path) -> bytes:
    """A directory of two million entries that all name one member."""
    content, count = zipped({"x.npy": npy(np.ones(2))}), 2_000_000
    start, end = content.index(b"PK\x01\x02"), content.index(b"PK\x05\x06")
    last = bytearray(content[end:])
    struct.pack_into("<I", last, 12, count * (end - start))
    return content[:end] + content[start:end] * (count - 1) + bytes(last)


def zip64_directory(good: bytes, path: Path) -> bytes:
    """Small numbers in the last record of a zip file, and large ones in the record that goes before them."""
    content, count = zipped({"x.npy": npy(np.ones(2))}), 2_000_000
    start, end = content.index(b"PK\x01\x02"), content.index(b"PK\x05\x06")
    directory = content[start:end] * count
    record = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, len(directory), start)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, start + len(directory), 1)
    return content[:start] + directory + record + locator + content[end:]


def large_model(good: bytes, path: Path) -> bytes:
    """A forged file of 34 GB, nearly all of it zeros that no disk holds: 64 layers of 4096 units."""
    card, arrays = parts_of(good)
    card["model"] = {"model": "coordinatewise-lstm", "hidden": [4096] * 64, "preprocess": None, "output_scale": 1.0}
    content = archive_of(card, arrays)
    with open(path, "wb") as stream:
        stream.seek(2**35 - len(content))
        stream.write(content)
    return b""


def sparse(good: bytes, path: Path) -> bytes:
    """A good file, followed by a terabyte of zeros that no disk holds."""
    path.write_bytes(good)
    os.truncate(path, 2**40)
    return b""


def device(good: bytes, path: Path) -> bytes:
    path.symlink_to("/dev/zero")
    return b""


def pipe(good: bytes, path: Path) -> bytes:
    os.mkfifo(path)
    return b""


def gzip_bomb(good: bytes, path: Path) -> bytes:
    packer = zlib.compressobj(wbits=31)
    return b"".join([packer.compress(gzip.decompress(good)), *(packer.compress(bytes(2**20)) for _ in range(200)),
                     packer.flush()])


def long_header(good: bytes, path: Path) -> bytes:
    content = b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**27) + b" " * 2**27
    return zipped({"x.npy": content}, zipfile.ZIP_DEFLATED)


MANY = {
    "lists": (b"[", b"[],", b"0]"), "objects": (b"[", b'{"a":0},', b"0]"), "numbers": (b"[", b"0.5,", b"0]"),
    "names": (b"{", b'"":0,', b'"":0}'), "digits": (b'{"format":', b"9", b"}"),
    "decimals": (b'{"format":0.', b"9", b"}"), "depth": (b"", b"[", b""), "nested objects": (b"", b'{"a":', b""),
    "spaces": (b"", b" ", b""), "letters": (b'{"format":"', b"a", b'"}'),
    "escapes": (b'{"format":"', rb"\ud800", b'"}'),
}
LARGE: list[tuple[str, str, Attack]] = [
    *(("weights", f"a card of {name}", as_card(repeated(before, piece, 2**24 - 100, after)))
      for name, (before, piece, after) in MANY.items()),
    ("weights", "a card that is too large", as_card(repeated(b"", b" ", 2**24 + 1, b""))),
    ("weights", "a model of 34 GB", large_model),
    ("weights", "more weights than are believed", with_field(model={
        "model": "proposer", "dim": 1000, "hidden": 4096, "cell": "lstm", "output": "linear"})),
    ("weights", "a large memory", with_field(model={
        "model": "proposer", "dim": 2, "hidden": 2, "cell": "dnc", "output": "linear", "memory": [4096, 4096, 4096]})),
    ("weights", "2 GB in 2 MB", deflated(2048)),
    ("weights", "a promise of 2 GB", promise(2**31, zipfile.ZIP_STORED)),
    ("weights", "two million members", many_members),
    ("weights", "a large directory behind a small one", zip64_directory),
    *(("weights", attack.__name__, attack) for attack in (sparse, device, pipe)),
    ("checkpoint", "rollbacks", with_field(rollbacks=10**10)),
    ("checkpoint", "an update without end", with_field(adam_t=10**4000)),
    ("checkpoint", "a long log", with_field(log=[{}] * 1_000_000, epoch=1_000_000)),
    *(("checkpoint", attack.__name__, attack) for attack in (sparse, device, pipe)),
    *(("state", f"a state of {name}", repeated(before, piece, 2**26 - 100, after))
      for name, (before, piece, after) in MANY.items()),
    ("state", "a state that is too large", repeated(b"", b" ", 2**26 + 1, b"")),
    *(("state", attack.__name__, attack) for attack in (sparse, device, pipe)),
    *(("idx", attack.__name__, attack) for attack in (sparse, device, pipe)),
    ("gzip", "zeros behind its end", lambda good, path: good + bytes(100 * 2**20)),
    ("gzip", "a bomb", gzip_bomb),
    ("gzip", "empty members", lambda good, path: gzip.compress(b"", mtime=0) * 5_000_000 + good),
    ("gzip", "sparse", sparse),
    ("hpolib", "commas", repeated(b"", b",", 2**25, b"")),
    ("hpolib", "lines", repeated(b"", b"\n", 2**25, b"")),
    ("hpolib", "digits", lambda good, path: good.replace(b"1.5", b"1" * 200_000, 5)),
    ("hpolib", "sparse", sparse),
    ("inputs", "2 GB in 2 MB", deflated(2048)),
    ("inputs", "255 MB in 255 kB", deflated(255)),
    ("inputs", "a promise of 2 GB", promise(2**31, zipfile.ZIP_DEFLATED)),
    ("inputs", "a promise of 200 MB", promise(200 * 2**20, zipfile.ZIP_DEFLATED)),
    ("inputs", "two million members", many_members),
    ("inputs", "a large directory behind a small one", zip64_directory),
    ("inputs", "a long header", long_header),
    *(("inputs", attack.__name__, attack) for attack in (sparse, device, pipe)),
]


# ------------------------------------------------------------------------------------------------------------ a run


class Failure(Exception):
    """A case was not read as promised."""


def check(kind: str, path: Path, allowed: Any) -> str:
    """Read a file. Returns "refused" or "read"; raises Failure when a promise is broken.

    ``allowed`` is what it may hold; None stands for anything.
    """
    forget_peak()
    before = peak()
    began = time.process_time()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = KINDS[kind].read(path)
    except ValueError as error:
        outcome, line = "refused", str(error)
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, MemoryError):
                raise Failure("out of memory") from error
            cause = cause.__context__
        if path.name not in line or "\n" in line or len(line) > len(str(path)) + 700:
            raise Failure(f"expected one line that names the file, got {line[:300]!r}") from error
    except BaseException as error:
        raise Failure(f"{type(error).__name__}: {str(error)[:300]}") from error
    else:
        outcome = "read"
        if allowed is not None and found != allowed:
            raise Failure("it was read, as something else")
    seconds = time.process_time() - began
    left = [entry.name for entry in path.parent.iterdir() if entry != path]
    if left:
        raise Failure(f"reading has left {left}")
    if seconds > SECONDS:
        raise Failure(f"it took {seconds:.1f} s")
    if peak() - before > MEMORY:
        raise Failure(f"the process has held {(peak() - before) >> 20} MB more")
    return outcome


def peak() -> int:
    """The most bytes that this process has held, since `forget_peak` where Linux forgets it."""
    with contextlib.suppress(FileNotFoundError), open("/proc/self/status") as stream:
        return next(int(line.split()[1]) << 10 for line in stream if line.startswith("VmHWM"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def forget_peak() -> None:
    """A process begins with the peak of the one that it was forked from."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def limit_memory() -> None:
    """Allow this process MEMORY bytes of address space beyond those that it has, where Linux tells how many it has."""
    with contextlib.suppress(FileNotFoundError), open("/proc/self/statm") as stream:
        there = int(stream.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (there + MEMORY,) * 2)


def in_child(function: Callable[[], str]) -> str:
    """The result of a function that runs in a child process, whose memory is its own. Raises Failure as it does."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        signal.alarm(60)
        try:
            result = "=" + function()
        except BaseException as error:
            result = f"{type(error).__name__}: {error}" if not isinstance(error, Failure) else str(error)
        os.write(writing, result.encode())
        os._exit(0)
    os.close(writing)
    with open(reading, "rb") as stream:
        result = stream.read().decode()
    _, status = os.waitpid(child, 0)
    if status or not result.startswith("="):
        raise Failure(result or f"the process ended with status {status}")
    return result[1:]


def large(number: int, goods: Goods, folder: Path) -> str:
    """Case ``number`` of the large ones; the file is made and read in processes of their own."""
    kind, name, attack = LARGE[number]
    path = folder / KINDS[kind].name

    def make() -> str:
        content = attack(goods[kind][0], path)
        if content:
            path.write_bytes(content)
        return ""

    def read() -> str:
        limit_memory()
        return check(kind, path, None)

    try:
        in_child(make)
        return in_child(read)
    except Failure as failure:
        raise Failure(f"large file {number} ({kind}, {name}): {failure}") from None
    finally:
        path.unlink(missing_ok=True)


def small(k: int, seed: int, goods: Goods, meanings: dict[bytes, Any], folder: Path) -> tuple[str, str]:
    """Case k of a seed: (kind, outcome)."""
    rng = np.random.default_rng([seed, k])
    kind = list(KINDS)[k % len(KINDS)]
    path, good = folder / KINDS[kind].name, goods[kind][rng.integers(len(goods[kind]))]
    forged = rng.random() < 0.5
    path.write_bytes((KINDS[kind].forged if forged else changed_bytes)(good, rng))
    try:
        outcome = check(kind, path, meanings[good] if KINDS[kind].sealed and not forged else None)
    except Failure as failure:
        kept = Path.cwd() / f"case-{seed}-{k}-{path.name}"
        kept.write_bytes(path.read_bytes())
        raise Failure(f"case {k} of seed {seed} ({kind}, kept as {kept}): {failure}") from failure.__cause__
    path.unlink()
    return kind, outcome


def run(cases: range, seed: int, large_ones: range) -> dict[str, dict[str, int]]:
    """How many files of each kind were refused and read. Raises Failure at the first that breaks a promise."""
    counts = {kind: {"refused": 0, "read": 0} for kind in [*KINDS, "large"]}
    with tempfile.TemporaryDirectory() as name:
        folder, goods, meanings = Path(name), Goods(), dict[bytes, Any]()
        for kind, (file, good, read, *_) in KINDS.items():
            goods[kind] = good(folder)
            for content in goods[kind]:
                (folder / file).write_bytes(content)
                meanings[content] = read(folder / file)  # the good ones are read
            (folder / file).unlink()
        for number in large_ones:
            counts["large"][large(number, goods, folder)] += 1
        limit_memory()
        for k in cases:
            kind, outcome = small(k, seed, goods, meanings, folder)
            counts[kind][outcome] += 1
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=100_000, help="how many files (default 100000)")
    parser.add_argument("--first", type=int, default=0, help="number of the first one (default 0)")
    parser.add_argument("--seed", type=int, default=0, help="default 0")
    parser.add_argument("--large", metavar="N", type=int, nargs="*",
                        help="numbers of the large files to read, too (default: all of them)")
    args = parser.parse_args()
    began = time.monotonic()
    try:
        counts = run(range(args.first, args.first + args.cases), args.seed,
                     range(len(LARGE)) if args.large is None else args.large)
    except Failure as failure:
        if failure.__cause__:
            traceback.print_exception(failure.__cause__)
        sys.exit(str(failure))
    for kind, outcomes in counts.items():
        print(f"{kind:10} {outcomes['refused']:7,} refused {outcomes['read']:7,} read")
    print(f"{time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
