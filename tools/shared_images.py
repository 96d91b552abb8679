"""Which images of the targets has their source seen: `python -m tools.shared_images`, once.

Writes `results/overlaps.json` and, if asked, a sheet of the pairs for the eye. The source of report 003 was trained on
all 500 images of each class of Tiny ImageNet; those that can be had here (`tinyimagenet32`) may be fewer, so that more
may be shared. The sources of reports 000 and 004 were trained on ImageNet, of which Tiny ImageNet is the part that can
be had: a twentieth at most, so that little is said where no pair is found.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from tlkeras import data
from tlkeras._files import write_json
from tlkeras.data.images import ImageTree
from tlkeras.experiments import environment
from tlkeras.models.resnet32 import FEATURES
from tlkeras.reports.l2t import images
from tlkeras.transfer.features import SHARED, compiled_forward, pooled_model

RECORD = environment.REPOSITORY / "results" / "overlaps.json"
SOURCE, TARGETS = "tinyimagenet32", ("stl10", "cifar10", "hymenoptera")
# (distance of pixels, of features) below which a pair may show one photograph: cut differently, or with little in it
# that this network knows. By eye, of the first kind five pairs of six of STL-10 do, and one of three of CIFAR-10.
RULES = ((0.4, 0.1), (0.1, 0.2))


def pairs(name: str) -> list[dict]:
    """Return the pairs of a target and the source's images: where they lie, their labels, both distances."""
    base = pooled_model(images.source(), FEATURES[-1:])
    forward = compiled_forward(base)
    sets = [small(each) for each in (name, SOURCE)]
    joined = [np.concatenate([x for x, _ in parts.values()]) for parts in sets]
    found = data.overlaps(
        *joined,
        largest=max(pixels for pixels, _ in RULES),
        model=lambda x: SHARED.features(base, x, forward),
        largest_of_features=max(features for _, features in RULES),
    )
    found = [row for row in found if any(row["distance"] < a and row["feature_distance"] < b for a, b in RULES)]
    rows = []
    for row in found:
        split, number, label = _place(name, sets[0], row["first"])
        source_split, source_number, source_label = _place(SOURCE, sets[1], row["second"])
        rows.append({"split": split, "image": number, "label": label, "source_split": source_split})
        rows[-1] |= {"source_image": source_number, "source_label": source_label}
        rows[-1] |= {key: row[key] for key in ("distance", "feature_distance")}
    return rows


def small(name: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return images uint8 `(n, 32, 32, 3)` and labels `(n,)` by split; of photographs the middle squares."""
    found = images.target(name)
    if isinstance(found, ImageTree):
        return {split: found.arrays(split, images.SIDE) for split in found.images}
    return images.small(name)


def _place(name: str, parts: dict, number: int) -> tuple[str, int, str]:
    """Return split, number in it, and class of an image by its number among all."""
    ends = np.cumsum([len(labels) for _, labels in parts.values()])
    place = int(np.searchsorted(ends, number, side="right"))
    split, number = list(parts)[place], number - int(ends[place - 1] if place else 0)
    return split, number, str(images.target(name).class_names[int(parts[split][1][number])])


def sheet(name: str, rows: Sequence[dict], columns: int = 16) -> Image.Image:
    """Return an image of the pairs, the target's above the source's."""
    target, source = small(name), small(SOURCE)
    tiles = [
        np.concatenate([target[row["split"]][0][row["image"]], source[row["source_split"]][0][row["source_image"]]])
        for row in rows
    ]
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % columns)
    lines = [np.concatenate(tiles[start : start + columns], axis=1) for start in range(0, len(tiles), columns)]
    whole = Image.fromarray(np.concatenate(lines))
    return whole.resize((2 * whole.width, 2 * whole.height), Image.Resampling.NEAREST)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sheets", type=Path, help="folder for an image of the pairs of each target")
    options = parser.parse_args(arguments)
    found = {name: pairs(name) for name in TARGETS}
    used = [images.target(name).provenance() for name in (SOURCE, *TARGETS)]
    record = {"source": SOURCE, "rules": RULES, "data": used, **environment.describe(), "pairs": found}
    write_json(RECORD, record)
    for name, rows in found.items():
        print(f"{name}: {len(rows)} pairs")
        if options.sheets and rows:
            sheet(name, rows).save(options.sheets / f"{name}.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
