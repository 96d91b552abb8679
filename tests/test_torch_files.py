"""PyTorch checkpoints are read without PyTorch, and whatever is not a tensor or a plain value is refused."""

from collections import OrderedDict

import numpy as np
import pytest
import torch_writer

from tlkeras import _files
from tlkeras.models import readers
from tlkeras.models.weights import WeightFileError

ARRAYS = {
    "features.0.weight": np.random.default_rng(0).normal(size=(4, 3, 2, 5)).astype("<f4"),
    "features.0.bias": np.arange(4, dtype="<f4"),
    "classifier.weight": np.arange(6, dtype="<f8").reshape(2, 3),
    "batches": np.array(7, "<i8"),
}
layouts = pytest.mark.parametrize("layout", ["archive", "sequence"])


@pytest.fixture(autouse=True)
def torch(monkeypatch):
    torch_writer.pretend_torch(monkeypatch)


@layouts
def test_every_tensor_comes_back(tmp_path, layout):
    found = readers.read_torch(torch_writer.write_arrays(tmp_path / "made.pth", ARRAYS, layout))
    assert list(found) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


@layouts
def test_only_what_is_asked_for(tmp_path, layout):
    found = readers.read_torch(torch_writer.write_arrays(tmp_path / "made.pth", ARRAYS, layout), "classifier.")
    assert list(found) == ["classifier.weight"]
    np.testing.assert_array_equal(found["classifier.weight"], ARRAYS["classifier.weight"])


@layouts
def test_views_and_plain_values(tmp_path, layout):
    base = np.arange(12, dtype="<f4").reshape(3, 4)
    state = OrderedDict(turned=torch_writer.Tensor("0", base.T[1:], base, offset=1), epoch=3, best=[0.5, "yes"])
    found = readers.read_torch(torch_writer.write(tmp_path / "made.pth", state, layout))
    assert list(found) == ["turned"]
    np.testing.assert_array_equal(found["turned"], base.T[1:])


@layouts
def test_tensors_inside_of_dicts_are_named_by_their_way(tmp_path, layout):
    inner = OrderedDict(weight=torch_writer.Tensor("0", ARRAYS["features.0.bias"]))
    state = {"epoch": 104, "outer": torch_writer.Tensor("1", ARRAYS["batches"]), "w": inner, "more": [1, ("x",)]}
    path = torch_writer.write(tmp_path / "made.pth.tar", state, layout)
    assert list(readers.read_torch(path)) == ["outer", "w.weight"]
    np.testing.assert_array_equal(readers.read_torch(path, "w.")["w.weight"], ARRAYS["features.0.bias"])


@layouts
def test_code_is_refused(tmp_path, layout):
    state = OrderedDict(harmful=print)
    with pytest.raises(WeightFileError, match=r"Expected plain values and tensors. Received: .*print"):
        readers.read_torch(torch_writer.write(tmp_path / "made.pth", state, layout))


@layouts
def test_a_tensor_beyond_its_storage_is_refused(tmp_path, layout):
    base = np.zeros(8, "<f4")
    for array, offset, reason in ((np.zeros(9, "<f4"), 0, "larger than its storage"), (base, 1, "size of buffer")):
        state = {"outside": torch_writer.Tensor("0", array, base, offset)}
        with pytest.raises(WeightFileError, match=reason):
            readers.read_torch(torch_writer.write(tmp_path / "made.pth", state, layout))


@layouts
def test_many_tensors_of_one_storage_that_would_fill_the_memory(tmp_path, layout, monkeypatch):
    monkeypatch.setattr(_files, "ALWAYS_BYTES", 1000)
    monkeypatch.setattr(_files, "_EXPANSION", 2)
    base = np.zeros(4000, "<f4")
    state = OrderedDict((f"t{number}", torch_writer.Tensor("0", base)) for number in range(20))
    state["t"] = torch_writer.Tensor("0", np.zeros((0,), "<f4"), base)
    state["t"].arguments = (0, (-1, 20 * base.size), (0, 0), False, OrderedDict())
    path = torch_writer.write(tmp_path / "made.pth", state, layout)
    with pytest.raises(WeightFileError, match=r"Expected at most .* MiB of \d+ bytes.*Received: .*made\.pth$"):
        readers.read_torch(path)


@layouts
def test_a_truncated_file(tmp_path, layout):
    path = torch_writer.write_arrays(tmp_path / "made.pth", ARRAYS, layout)
    content = path.read_bytes()
    for length in (0, 3, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(WeightFileError, match=r"PyTorch checkpoint.*Received: .*made\.pth$"):
            readers.read_torch(path)


def test_other_files(tmp_path):
    (tmp_path / "page.pth").write_text("<html>404</html>")
    np.savez(tmp_path / "arrays.pth.npz", a=np.zeros(2))
    for name in ("page.pth", "arrays.pth.npz", "missing.pth"):
        with pytest.raises(WeightFileError, match=f"Received: .*{name}$"):
            readers.read_torch(tmp_path / name)
