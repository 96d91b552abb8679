"""Check learning to transfer against numbers of the official code: `python tests/l2t_oracle.py DIR [--engine jax]`.

DIR is `tests/golden`, or holds `batches.npz` and files `<method>[_officialinit]_<rate>.npz`, method being scratch, ufm,
ww or www: two iterations on ResNet32 and VGG-9 with 15 pairs, batch 4, float64; and, if it is not the one in `golden/`,
the generator of the weights, `oracle_gen.py`. Prints the worst relative error (L2) of each quantity; exits 1 above
1e-9, or where nothing was checked. `--plain` checks the plain way to compute, in place of the fast one; `--engine jax`
the other engine, which needs JAX, and on a GPU checks what the GPU computes.
"""

import argparse
import collections
import functools
import importlib.util
import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType

if __name__ == "__main__":
    os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"  # it knows no float64, and says so in thousands of lines
    if "jax" in sys.argv:
        os.environ |= {"KERAS_BACKEND": "jax", "JAX_ENABLE_X64": "1"}

import keras
import numpy as np
from keras import ops
from l2t_helpers import compiled, dtype, engine

from tlkeras.l2t import LearningToTransfer
from tlkeras.l2t.matching import resized
from tlkeras.l2t.state import Batch, Outcome, State, Tensor
from tlkeras.models import resnet32, vgg9
from tlkeras.models.resnet32 import FEATURES as SOURCE_FEATURES
from tlkeras.models.vgg import VGG9_FEATURES as TARGET_FEATURES

LIMIT = 1e-9
FLOOR = 1e-3  # of the largest norm among the tensors of one quantity: smaller ones are compared with that
GENERATOR = Path(__file__).parent / "golden" / "l2t_weights.py"
BLOCKS = [f"s{stage}b{block}" for stage in (1, 2, 3) for block in range(1, 6)]
PAIRS = [(source, target) for source in SOURCE_FEATURES for target in TARGET_FEATURES]
Arrays = dict[str, np.ndarray]


def generator(folder: Path) -> ModuleType:
    """Return the module that generates the weights: the folder's, else ours."""
    path = folder / "oracle_gen.py"
    spec = importlib.util.spec_from_file_location("oracle_gen", path if path.exists() else GENERATOR)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def assign(model: keras.Model, values: Arrays, prefix: str) -> None:
    """Give every weight of `model` its value: `src/s1b1/conv1/kernel` is that of the layer `s1b1_conv1`."""
    for layer in model.layers:
        for weight in layer.weights:
            path = re.sub(r"^(s\d+b\d+)_", r"\1/", layer.name)
            weight.assign(values[f"{prefix}/{path}/{weight.name}"])


def summary(name: str, tensors: list, velocities: list = ()) -> dict[str, np.ndarray]:
    """Return norm, sum and up to 64 entries of each tensor."""
    flat = [np.asarray(x).ravel() for x in tensors]
    counts = [min(64, x.size) for x in flat]
    facts = {
        f"{name}/norm": [np.linalg.norm(x) for x in flat],
        f"{name}/sum": [x.sum() for x in flat],
        f"{name}/sample": np.concatenate([x[np.arange(k) * (x.size // k)] for x, k in zip(flat, counts, strict=True)]),
    }
    return facts | ({f"{name}/momentum_norm": [np.linalg.norm(x) for x in velocities]} if velocities else {})


def errors(found: Mapping, oracle: Mapping) -> dict[str, float]:
    """Return the worst relative error of each quantity: all names that differ in numbers alone are one."""
    ignored = ("lr", "target_names")
    groups = collections.defaultdict(list)
    for name, wanted in oracle.items():
        if name in ignored:
            continue
        got = np.asarray(found[name]) if name in found else np.full(wanted.shape, np.nan)
        difference = np.inf if got.shape != wanted.shape else np.linalg.norm(np.ravel(got - wanted))
        groups[re.sub(r"(?<=/)\d+|(?<=bn)\d+", "#", name)].append((difference, np.linalg.norm(np.ravel(wanted))))
    worst = {}
    for group, rows in groups.items():
        differences, norms = np.array(rows).T
        worst[group] = float((differences / np.maximum(norms, FLOOR * norms.max() or 1)).max())
    return worst


class Case:
    """What one file of the oracle is about: the networks and meta-networks of a method, with the weights it says."""

    def __init__(self, name: str, weights: ModuleType, fast: bool = True) -> None:
        self.method = name.split("_")[0]
        official = "officialinit" in name
        with dtype("float64"):
            logits = {"classifier_activation": None, "preprocessing": None}
            self.source, self.target = resnet32(200, **logits), vgg9(10, **logits)
        assign(self.source, weights.source(), "src")
        assign(self.target, weights.target(), "tgt")
        pairs = [] if self.method == "scratch" else PAIRS
        asked = {"what": "ww" in self.method, "where": "ww" in self.method, "which": self.method == "www"}
        self.parts = LearningToTransfer(self.source, self.target, pairs, **asked, fast=fast).learner.parts
        meta, network = self.parts.meta, self.parts.network
        initial = {**weights.what(official), **weights.where(official), **weights.which(official)}
        phi = [doubles(initial[key]) for key in meta.names]
        branches = [v.reshape(v.shape[-2:]) if v.ndim > 1 else v for v in weights.branch().values()]
        theta = [doubles(v) for v in network.trainable] + [doubles(v) for v in branches]
        zeros = [ops.zeros_like(x) for x in theta]
        moments = tuple([ops.zeros_like(x) for x in phi] for _ in range(2))
        state = [doubles(v) for v in network.state]
        self.start = State(theta, zeros, state, phi, moments)
        self.iteration = compiled(functools.partial(engine().iteration, self.parts))

    def found(self, batches: Arrays, rate: float, steps: int = 2) -> Arrays:
        """Return what this package computes, under the oracle's names."""
        facts = {} if self.method in ("scratch", "ufm") else self.before(batches)
        rate, state, totals = doubles(rate), self.start, []
        for step in range(steps):
            labels = ops.convert_to_tensor(batches[f"y{step}"], "int32")
            out = self.iteration(state, doubles(batches[f"x{step}"]), labels, rate, ops.convert_to_tensor(step + 1))
            facts |= self.after(f"it{step}", out)
            totals.append(float(out.losses["cross_entropy"] + ops.sum(out.losses["matching"])))
            state = out.new
        return facts | {"total": np.array(totals)}

    def before(self, batches: Arrays) -> Arrays:
        """Return features, weights and errors at the initial weights."""
        images, labels = doubles(batches["x0"]), ops.convert_to_tensor(batches["y0"], "int32")
        layers = [self.source.get_layer(name).output for name in BLOCKS]
        *maps, logits = keras.Model(self.source.input, [*layers, self.source.output])(images, training=False)
        facts = {"source/logits": logits} | {f"source/full/{i}": maps[i] for i in (4, 9, 14)}
        for i, x in enumerate(maps):
            facts |= {f"source/mean/{i}": np.mean(x), f"source/std/{i}": np.std(x)}
        features, outputs, _ = self.parts.network(self.start.weights[:34], self.start.statistics, images)
        facts["target/logits"] = outputs
        for i, x in enumerate(features):
            every, some = max(1, x.shape[1] // 8), max(1, x.shape[3] // 64)
            facts[f"target/chan_mean/{i}"] = np.mean(x, (0, 1, 2))
            facts[f"target/chan_std/{i}"] = np.std(x, (0, 1, 2))
            facts[f"target/sample/{i}"] = x[:, ::every, ::every, ::some]
        return facts | self.matched(images, labels)

    def matched(self, images: Tensor, labels: Tensor) -> Arrays:
        """Return what the meta-networks say and the errors that they weight."""
        matching, meta = self.parts.matching, self.parts.meta
        features = matching.source_features(images)
        answers, batch = meta.answers(self.start.meta, features), Batch(images, labels, matching.goals(features))
        weighting = meta.weights(self.start.meta, features, doubles(1.0))
        errors = engine().forward(self.parts, self.start.weights, self.start.statistics, batch)[0]
        losses = [ops.sum(x, (1, 2)) for x in matching.by_pair([a * b for a, b in zip(weighting, errors, strict=True)])]
        strength = ops.concatenate(answers["where"], axis=1)
        facts = {"where": strength}
        for k, (what, error) in enumerate(zip(answers["what"], matching.by_pair(errors), strict=True)):
            facts[f"what/{k}"] = what
            if not meta.which:
                facts[f"d2/{k}"] = error[:, 0]
                facts.setdefault("pair_loss_per_sample", []).append(ops.sum(what * error[:, 0], 1))
                continue
            gamma = answers["which"][k]
            facts[f"gamma3x3/{k}"] = ops.reshape(gamma, (*gamma.shape[:2], 3, 3))
            facts[f"d2gamma/{k}"] = ops.einsum("bco,boc->bc", gamma, error)
            facts.setdefault("pair_loss_per_sample", []).append(ops.sum(what * facts[f"d2gamma/{k}"], 1))
        facts["pair_loss_per_sample"] = ops.stack(facts["pair_loss_per_sample"], 1)
        return facts | self.unweighted(batch, losses, features)

    def unweighted(self, batch: Batch, losses: list, features: Arrays) -> Arrays:
        """Return the errors without gamma, and the pairs' share of the loss."""
        plain = type(self.parts.matching)(self.source, self.target, PAIRS)
        batch = batch._replace(goals=plain.goals(features))
        errors = engine().forward(
            self.parts._replace(matching=plain), self.start.weights, self.start.statistics, batch
        )[0]
        facts = {f"d2/{k}": error[:, 0] for k, error in enumerate(plain.by_pair(errors))}
        return facts | {"pair_contribution": 0.5 * ops.mean(ops.stack(losses, 1), 0)}

    def after(self, prefix: str, out: Outcome) -> Arrays:
        """Return the facts of one iteration."""
        single = self.method in ("scratch", "ufm")
        gradient, step, moving = ("grad", "step", "bn") if single else ("grad_total", "step1", "bn_after_step1")
        facts = {"ce": out.losses["cross_entropy"], "ml": ops.sum(out.losses["matching"])}
        facts["total"] = facts["ce"] + facts["ml"]
        facts |= summary(gradient, out.gradients) | summary(step, out.new.weights, out.new.velocities)
        facts |= self.statistics(moving, out.statistics)
        if single and self.method == "ufm" and prefix == "it0":
            facts["/pair_contribution"] = out.losses["matching"]
        if not single:
            facts |= self.ahead(out)
        return {name[1:] if name[0] == "/" else f"{prefix}/{name}": value for name, value in facts.items()}

    def ahead(self, out: Outcome) -> Arrays:
        """Return the facts of the lookahead and of the meta-networks' step."""
        facts = {"inner": out.losses["lookahead"], "outer_final": out.losses["after"]}
        facts["outer_at_thetaT"] = out.losses["before"]
        for name, (weights, velocities) in zip(("inner0", "inner1", "outer"), out.ahead.path, strict=True):
            facts |= summary(name, weights, velocities)
        facts |= summary("grad_outer_final", out.ahead.final_gradients) | self.statistics(
            "bn_after_iteration", out.new.statistics
        )
        moved = [new - old for new, old in zip(out.new.meta, self.start.meta, strict=True)]
        for group, values in (("meta_grad", out.meta_gradients), ("meta_moved", moved)):
            for name, value in zip(self.parts.meta.names, values, strict=True):
                flat = np.asarray(value).ravel()
                facts |= {f"{group}/{name}": value, f"{group}/norm/{name}": np.linalg.norm(flat)}
                facts[f"{group}/sample1024/{name}"] = flat[np.arange(1024) * (flat.size // 1024)]
        return facts

    def statistics(self, name: str, state: list) -> Arrays:
        """Return moving statistics by layer."""
        paths = [variable.path for variable in self.parts.network.state]
        return {f"{name}/{path}": value for path, value in zip(paths, state, strict=True)}


def doubles(values: np.ndarray) -> Tensor:
    """Return a float64 tensor."""
    return ops.convert_to_tensor(np.asarray(values), "float64")


def resizing_error(oracle: Arrays) -> float:
    """Return the worst relative error of a bilinear resize in `interp.npz`."""
    worst = 0.0
    for name, wanted in oracle.items():
        if match := re.fullmatch(r"(in\d+)_to(\d+)", name):
            got = resized(doubles(oracle[match[1]]), int(match[2]), int(match[2]))
            worst = max(worst, float(np.linalg.norm(got - wanted) / np.linalg.norm(wanted)))
    return worst


def read(path: Path) -> Arrays:
    """Return the arrays of an .npz."""
    with np.load(path) as file:
        return {name: file[name] for name in file.files}


def check(folder: Path, fast: bool = True) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield the name of each file and the errors of its quantities."""
    weights = generator(folder)
    if (folder / "l2t.npz").exists():  # the one iteration that comes with the tests
        oracle = read(folder / "l2t.npz")
        batch = {name: oracle.pop(name) for name in ("x0", "y0")}
        found = Case("www_lr001", weights, fast).found(batch, oracle["lr"], steps=1)
        yield "l2t", errors(found, oracle)
        return
    batches = read(folder / "batches.npz")
    for path in sorted(folder.glob("*.npz")):
        if re.match(r"(scratch|ufm|ww|www)_", path.name):
            oracle = read(path)
            yield path.stem, errors(Case(path.stem, weights, fast).found(batches, oracle["lr"]), oracle)
        elif path.name == "interp.npz":
            yield path.stem, {"resize": resizing_error(read(path))}


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--plain", action="store_true", help="without what only saves time")
    parser.add_argument("--engine", choices=("tensorflow", "jax"), default="tensorflow")
    arguments, rows = parser.parse_args(), {}
    for name, found in check(arguments.folder, fast=not arguments.plain):
        for quantity, error in found.items():
            rows[f"{name}: {quantity}"] = error
            print(f"{name:<22}{quantity:<44}{error:.2e}{'' if error <= LIMIT else '  ABOVE'}", flush=True)
    if not rows:
        print("nothing could be checked")
        return 1
    worst = max(rows, key=lambda row: np.nan_to_num(rows[row], nan=np.inf))
    print(f"worst: {worst} {rows[worst]:.2e} (limit {LIMIT:.0e})")
    return int(not rows[worst] <= LIMIT)


if __name__ == "__main__":
    sys.exit(main())
