"""The peer of learning to transfer has the losses and meta-gradients of the official code in one iteration."""

import re
from pathlib import Path

import numpy as np
import pytest
from l2t_oracle import generator, read

torch = pytest.importorskip("torch", reason="the extra 'bench' is not installed")
l2t_step = pytest.importorskip("benchmarks.l2t_step")

GOLDEN = Path(__file__).parent / "golden"


def _arrays():
    made = generator(GOLDEN)
    theta = {name.removeprefix("tgt/"): x for name, x in made.target().items() if "moving" not in name}
    theta |= {name: x.reshape(x.shape[-2:]) if x.ndim > 1 else x for name, x in made.branch().items()}
    phi = made.what() | made.where() | made.which()
    source = {re.sub(r"^src/(s\d+b\d+)/", r"\1_", name).removeprefix("src/"): x for name, x in made.source().items()}
    groups = {"source": source, "theta": theta, "phi": phi}
    return {f"{group}:{name}": x.astype(float) for group, named in groups.items() for name, x in named.items()}


def test_an_iteration_has_the_losses_and_meta_gradients_of_the_official_code():
    arrays, oracle = _arrays(), read(GOLDEN / "l2t.npz")
    images = torch.tensor(oracle["x0"].astype(float).transpose(0, 3, 1, 2))
    learned, source = l2t_step.begun(arrays), l2t_step.tensors(arrays, "source")
    labels = torch.tensor(oracle["y0"]).long()
    new, found = l2t_step.iteration(learned, source, images, labels, float(oracle["lr"]))
    names = {"cross_entropy": "ce", "matching": "ml", "after": "outer_final"}
    for name, known in names.items():
        assert found[name] == pytest.approx(float(oracle[f"it0/{known}"]), rel=1e-9)
    assert found["lookahead"][:2] == pytest.approx(oracle["it0/inner"], rel=1e-9)
    norms = {name: oracle[f"it0/meta_grad/norm/{name}"] for name in found["slopes"]}
    largest = max(norms.values())
    for name, norm in norms.items():
        assert float(found["slopes"][name].norm()) == pytest.approx(norm, rel=1e-9, abs=1e-12 * largest)
        moved = float((new.phi[name] - torch.tensor(arrays[f"phi:{name}"])).norm())
        assert moved == pytest.approx(float(oracle[f"it0/meta_moved/norm/{name}"]), rel=1e-6)


def test_without_meta_networks_nothing_is_looked_ahead_for():
    arrays = {name: x for name, x in _arrays().items() if not name.startswith("phi")}
    images, labels = torch.tensor(np.zeros((2, 3, 32, 32))), torch.tensor([0, 1])
    begun, source = l2t_step.begun(arrays), l2t_step.tensors(arrays, "source")
    assert set(l2t_step.iteration(begun, source, images, labels, 0.01)[1]) == {"cross_entropy", "matching"}
