"""Draws the figures of the README and of the docs that commands make. Needs the extras fast, plot and optuna.

    python docs/figures/make.py [NAME ...]

Without names all of them are drawn, which takes an hour and a half: compare-mnist.png needs ten minutes and MNIST
(``L2L_REF_DATA``), compare-zoo.png as much and CIFAR-10, too, the sweeps train for half an hour, and expected
improvement with integrated hyperparameters takes much of the rest. compare-gp-methods-queries.png also shows
scikit-optimize and SMAC where they are installed. The figures are reduced to 256 colours, so that the repository stays
small.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

HERE = Path(__file__).resolve().parent
BENCHMARKS = ("compare benchmarks --no-restarts --model dnc-oi --model lstm-oi --model lstm-any "
              "--model lstm-any-sum --functions 100 --baselines= --baseline-functions 5 --peers --figure FIGURE")
COMMANDS = {
    "compare-mnist.png": "compare mnist --figure FIGURE",
    "compare-gp-queries.png": "compare gp --dim 1 --functions 100 --baseline-functions 0 --figure FIGURE",
    "compare-gp-methods-queries.png": "compare gp --dim 1 --no-restarts --model lstm-oi --model dnc-oi "
                                      "--model lstm-any --evaluations 50 --functions 50 --baseline-functions 1 "
                                      "--baselines ei,integrated-ei --peers --figure FIGURE",
    "compare-gp-baselines.png": "compare gp --no-restarts --model dnc-oi --model dnc-ei --model dnc-sum "
                                "--model lstm-oi --model lstm-ei --model lstm-sum --functions 300 "
                                "--baseline-functions 5 --baselines ei,integrated-ei --peers --figure FIGURE",
    "compare-gp-losses.png": "compare gp --dim 1,2,3,4,6 --no-restarts --model lstm-any --model lstm-any-ei "
                             "--model lstm-any-sum --functions 300 --baseline-functions 5 --figure FIGURE",
    "compare-gp-noise.png": "compare gp --dim 2,6 --noise 0.2 --model lstm-oi --model dnc-oi --model lstm-any "
                            "--functions 300 --baseline-functions 10 --peers --figure FIGURE",
    "compare-gp-workers.png": "compare gp --dim 2,6 --workers 1,5 --model lstm-oi --model lstm-any --functions 60 "
                              "--baseline-functions 0 --figure FIGURE",
    "compare-benchmarks.png": BENCHMARKS,
    "compare-benchmarks-times.png": BENCHMARKS,
    "compare-art-pictures.png": "compare art --style kandinsky_viii --baselines adam --figure FIGURE",
    "compare-network.png": "compare network --peers --figure FIGURE",
    "compare-zoo.png": "compare zoo --figure FIGURE",
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
BESIDE = ("-queries", "-times", "-pictures")  # what compare adds to the name of a figure that it draws beside the first


def main(names):
    names = names or list(COMMANDS)
    for command in dict.fromkeys(COMMANDS[name] for name in names):
        with tempfile.TemporaryDirectory() as folder:
            figure = Path(folder, "figure.png")
            places = {"FIGURE": str(figure), "RESULTS": str(Path(folder, "results.json"))}
            words = [places.get(word, word) for word in command.split()]
            subprocess.run([sys.executable, "-m", "l2l_ref", *words], check=True)
            for name in (name for name in names if COMMANDS[name] == command):
                ending = next((ending for ending in BESIDE if Path(name).stem.endswith(ending)), "")
                reduce_colours(figure.with_stem(figure.stem + ending), HERE / name)


def reduce_colours(source, target):
    image = Image.open(source).convert("RGB")
    image = image.quantize(COLOURS, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    image.save(target, optimize=True)


if __name__ == "__main__":
    main(sys.argv[1:])
