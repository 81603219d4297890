"""Draws the two figures of the README. Needs the extras fast and plot, MNIST (``L2L_REF_DATA``), and about ten minutes.

    python docs/figures/make.py

The figures are those of the two commands below, reduced to 256 colours, so that the repository stays small.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

HERE = Path(__file__).resolve().parent
COMMANDS = {
    "compare-mnist.png": ["mnist"],
    "compare-gp-queries.png": ["gp", "--dim", "1", "--functions", "100", "--baseline-functions", "0"],
}
COLOURS = 256


def main():
    for name, arguments in COMMANDS.items():
        with tempfile.TemporaryDirectory() as folder:
            figure = Path(folder, name.replace("-queries", ""))
            command = [sys.executable, "-m", "l2l_ref", "compare", *arguments, "--figure", str(figure)]
            subprocess.run(command, check=True)
            reduce_colours(figure.with_name(name), HERE / name)


def reduce_colours(source, target):
    image = Image.open(source).convert("RGB")
    image = image.quantize(COLOURS, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    image.save(target, optimize=True)


if __name__ == "__main__":
    main()
