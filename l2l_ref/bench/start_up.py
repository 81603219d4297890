"""The cost of starting: imports, first results and size. Times are medians over rounds, each in a process of its own.

The times of "import l2l_ref" and "load and step" are those in excess of "import numpy", which is measured in the same
rounds. The first compiled result is that of a `CoordinatewiseLSTM` on 1,000 coordinates with numba. It is measured with
an empty cache, and with the cache that this measurement has left.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
import zipfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

from .. import backends
from .timing import Report, run_in_process

PACKAGE = Path(__file__).parent.parent
STEP = """
import numpy as np, l2l_ref as l2l
opt = l2l.load("mnist-lstm", backend="{backend}")
state = opt.init(np.zeros(1000, np.float32))
opt.update(np.ones(1000, np.float32), state)
"""
CODE = {"import numpy": "import numpy", "import l2l_ref": "import numpy, l2l_ref",
        "load and step, numpy": STEP.format(backend="numpy")}
COMPILED, COLD = "first compiled result", "first compiled result, cold cache"


def _seconds(code: str, environment: Mapping[str, str]) -> float:
    started = time.perf_counter()
    run_in_process(code, environment)
    return time.perf_counter() - started


def start_up(rounds: int = 5, seed: int = 0, report: Report | None = None) -> dict[str, Any]:
    """Time starts. Returns the dict that ``bench start-up --json`` prints."""
    code_of = CODE | ({COMPILED: STEP.format(backend="numba")} if backends.available("numba") else {})
    times: dict[str, list[float]] = {name: [] for name in code_of}
    path = os.pathsep.join(part for part in (str(PACKAGE.parent), os.environ.get("PYTHONPATH")) if part)
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"NUMBA_CACHE_DIR": folder, "PYTHONPATH": path}
        cold = {COLD: [_seconds(code_of[COMPILED], environment)]} if COMPILED in code_of else {}
        for k in range(rounds):
            for name, code in code_of.items():
                times[name].append(_seconds(code, environment))
            if report:
                report(f"round {k + 1}/{rounds}")
    rows = [{"work": "start-up", "implementation": name, "threads": None, "median_s": statistics.median(seconds),
             "min_s": min(seconds), "ms_over_numpy": 1e3 * (statistics.median(seconds)
                                                            - statistics.median(times["import numpy"]))}
            for name, seconds in (times | cold).items()]
    files = [file for file in PACKAGE.rglob("*") if file.is_file() and "__pycache__" not in file.parts]
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            archive.write(file, file.relative_to(PACKAGE.parent))
    return {"installed_bytes": sum(file.stat().st_size for file in files), "wheel_bytes": packed.tell(), "rows": rows}
