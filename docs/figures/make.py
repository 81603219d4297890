"""Draws the figures of the README and of the docs that commands make. Needs the extras fast, plot and optuna.

    python docs/figures/make.py [NAME ...]

Without names all of them are drawn, which takes about an hour: compare-mnist.png needs MNIST (``L2L_REF_DATA``) and
ten minutes, and the sweeps train for most of the rest. The figures are reduced to 256 colours, so that the repository
stays small.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

HERE = Path(__file__).resolve().parent
COMMANDS = {
    "compare-mnist.png": "compare mnist --figure FIGURE",
    "compare-gp-queries.png": "compare gp --dim 1 --functions 100 --baseline-functions 0 --figure FIGURE",
    "compare-network.png": "compare network --peers --figure FIGURE",
    "inspect-memory.png": "inspect memory quadratic --figure FIGURE",
    "inspect-updates.png": "inspect updates quadratic --figure FIGURE",
    "sweep-units.png": "sweep --results RESULTS --figure FIGURE train quadratic --epochs 10 "
                       "--hidden 5 10 20 40 5,5 10,10 20,20 40,40",
    "sweep-weights.png": "sweep --results RESULTS --figure FIGURE train quadratic --epochs 10 "
                         "--loss-weights uniform linear final --unroll 20 100",
    "sweep-rates.png": "sweep --results RESULTS --figure FIGURE --draws 6 train quadratic --epochs 5 "
                       "--learning-rate 1e-4:1e-1",
}
COLOURS = 256


def main(names):
    for name in names or COMMANDS:
        with tempfile.TemporaryDirectory() as folder:
            figure = Path(folder, name.replace("-queries", ""))  # compare gp adds it
            places = {"FIGURE": str(figure), "RESULTS": str(Path(folder, "results.json"))}
            words = [places.get(word, word) for word in COMMANDS[name].split()]
            subprocess.run([sys.executable, "-m", "l2l_ref", *words], check=True)
            reduce_colours(figure.with_name(name), HERE / name)


def reduce_colours(source, target):
    image = Image.open(source).convert("RGB")
    image = image.quantize(COLOURS, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    image.save(target, optimize=True)


if __name__ == "__main__":
    main(sys.argv[1:])
