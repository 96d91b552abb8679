"""Cut `l2t.npz`, which the tests compare with, out of the whole oracle: `python tests/golden/make_l2t.py DIR`."""

import re
import sys
from pathlib import Path

import numpy as np

WANTED = re.compile(
    r"lr|target/logits|where|pair_contribution|it0/(total|ce|ml|inner|outer_at_thetaT|outer_final)|it0/\w+/(norm|momentum_norm)"
    r"|it0/meta_(grad|moved)/(norm/.*|where/.*|what/\d+/bias)|it0/meta_grad/which/(4|9|14)/bias"
    r"|it0/bn_after_iteration/bn[148]/\w+"
)


def main(folder: Path) -> None:
    """Write the first iteration of "www" at a rate of 0.01, and its batch, beside this file."""
    with np.load(folder / "www_lr001.npz") as oracle, np.load(folder / "batches.npz") as batches:
        arrays = {name: oracle[name] for name in oracle.files if WANTED.fullmatch(name)}
        arrays |= {name: batches[name] for name in ("x0", "y0")}
    np.savez_compressed(Path(__file__).with_name("l2t.npz"), **arrays)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
