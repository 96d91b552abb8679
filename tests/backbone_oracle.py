"""Check backbones against numbers of another implementation: `python tests/backbone_oracle.py FILE.npz`.

The file holds uint8 images `image<size>` and, under `squeezenet/<preprocessing>/<size>/`, `alexnet/` and `vgg16/`
(at 224), facts of the last feature map: shape, channel_mean, and for some sum (of the values and of their squares) and
corner (the first 64 channels of the first pixel). Prints each row's worst relative error and the worst row; exits 1
above 1e-4 (float32), or where no row could be checked.
"""

import argparse
import sys
from pathlib import Path

import keras
import numpy as np

from tlkeras.models import alexnet, squeezenet, vgg16

LIMIT = 1e-4
BUILDERS = {"squeezenet": (squeezenet, "fire9_concat"), "alexnet": (alexnet, "pool5"), "vgg16": (vgg16, "block5_pool")}


def features(name: str, oracle: dict[str, np.ndarray]) -> np.ndarray:
    """Return the last feature map `(height, width, channels)` of a row such as squeezenet/caffe/32, or alexnet."""
    network, *rest = name.split("/")
    preprocessing, size = rest or (None, 224)
    build, last = BUILDERS[network]
    image = oracle[f"image{size}"]
    model = build(10, image.shape, weights="imagenet", **({"preprocessing": preprocessing} if preprocessing else {}))
    base = keras.Model(model.input, model.get_layer(last).output)
    return keras.ops.convert_to_numpy(base(image[None], training=False))[0].astype(np.float64)


def errors(found: np.ndarray, row: dict[str, np.ndarray]) -> float:
    """Return the largest error among the row's facts, each relative to the largest number of its fact."""
    if tuple(row["shape"]) != found.shape:
        return float("inf")
    facts = {
        "channel_mean": found.mean(axis=(0, 1)),
        "sum": np.array([found.sum(), (found**2).sum()]),
        "corner": found[0, 0, :64],
    }
    shared = facts.keys() & row.keys()
    return max(float(np.abs(facts[name] - row[name]).max() / np.abs(row[name]).max()) for name in shared)


def check(path: Path) -> tuple[dict[str, float], list[str]]:
    """Return the error of each row, and the rows of networks that are not built yet."""
    with np.load(path) as file:
        oracle = {name: file[name] for name in file.files}
    names = sorted({name.rsplit("/", 1)[0] for name in oracle if "/" in name})
    rows = {name: {k.rsplit("/", 1)[1]: v for k, v in oracle.items() if k.startswith(f"{name}/")} for name in names}
    known = [name for name in names if name.split("/")[0] in BUILDERS]
    return {name: errors(features(name, oracle), rows[name]) for name in known}, sorted(set(names) - set(known))


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    found, unknown = check(parser.parse_args().file)
    for name, error in found.items():
        print(f"{name:<28}{error:.2e}")
    for name in unknown:
        print(f"{name:<28}not built yet")
    if not found:
        print("no row could be checked")
        return 1
    worst = max(found, key=found.get)
    print(f"worst row: {worst} {found[worst]:.2e} (limit {LIMIT:.0e})")
    return int(not found[worst] <= LIMIT)


if __name__ == "__main__":
    sys.exit(main())
