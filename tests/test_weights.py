"""A weight file is either exactly right and in the layers, or refused with the model as it was."""

import hashlib
import json

import keras
import numpy as np
import pytest
from helpers import randomised, tiny

from tlkeras.models import tominet, weights

FIRST = "conv_1/kernel"


@pytest.fixture(scope="module")
def donor():
    return randomised(tiny())


@pytest.fixture(scope="module")
def target():
    """Return a freshly built model; every test that shares it asserts that it stays as it is."""
    return tiny(seed=2)


@pytest.fixture
def folder(donor, tmp_path):
    weights.save(donor, tmp_path / "made.npz", {"note": "made here"})
    return tmp_path


def values(model):
    return {name: np.asarray(variable) for name, variable in weights.tensor_names(model).items()}


def test_names_are_layer_and_variable_in_the_order_of_the_layers(target):
    norm = [f"batch_norm_1/{name}" for name in ("gamma", "beta", "moving_mean", "moving_variance")]
    assert list(weights.tensor_names(target))[:6] == ["conv_1/kernel", "conv_1/bias", *norm]
    assert len(weights.tensor_names(target)) == len(target.weights) == 14


def test_weights_that_share_a_name_are_neither_saved_nor_proved(tmp_path):
    inputs = keras.Input((4, 3))
    twice = keras.layers.Bidirectional(keras.layers.SimpleRNN(2), name="twice")
    model = keras.Model(inputs, keras.layers.Dense(2, name="dense")(twice(inputs)))
    message = r"a name of its own .* Received: \['twice/bias', 'twice/kernel', 'twice/recurrent_kernel'\]$"
    with pytest.raises(weights.WeightFileError, match=message):
        weights.save(model, tmp_path / "made.npz", {})
    with pytest.raises(weights.WeightFileError, match=message):
        weights.assign(model, {})
    assert list(tmp_path.iterdir()) == []


def test_what_was_saved_comes_back_bit_for_bit(donor, folder):
    fresh = tiny(seed=3)
    loaded = weights.load_pretrained(fresh, "made", head="dense", folder=folder)
    assert all(np.array_equal(array, values(donor)[name]) for name, array in values(fresh).items())
    assert loaded.tensors == tuple(weights.tensor_names(fresh))
    assert loaded.new_layers == ()
    assert str(loaded) == "ok: 14 of 14 tensors loaded; new layers: none"


def test_the_record_tells_of_the_file_and_nothing_else_is_left(donor, folder):
    record = weights.record("made", folder)
    sha256 = hashlib.sha256((folder / "made.npz").read_bytes()).hexdigest()
    assert record == {"note": "made here", "file": "made.npz", "sha256": sha256, "parameters": donor.count_params()}
    assert sorted(path.name for path in folder.iterdir()) == ["made.json", "made.npz"]


def test_numpys_values_in_a_record_are_numbers_and_lists(donor, tmp_path):
    weights.save(donor, tmp_path / "made.npz", {"folds": np.int64(3), "loss": np.array([1.0, 0.5], np.float32)})
    record = weights.record("made", tmp_path)
    assert (record["folds"], record["loss"]) == (3, [1.0, 0.5])


def test_a_failed_save_keeps_the_old_file_and_leaves_no_partial_one(folder):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(TypeError):
        weights.save(tiny(), folder / "made.npz", {"not JSON": object()})
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize(
    ("name", "options"), [("made", {}), ("made.npz", {"dtype": "int8"}), ("made.npz", {"without": "head"})]
)
def test_what_makes_no_weight_file_is_not_written(donor, tmp_path, name, options):
    with pytest.raises(ValueError, match=r"^Expected a path that ends in \.npz, .* Received: path="):
        weights.save(donor, tmp_path / name, {}, **options)
    assert list(tmp_path.iterdir()) == []


DAMAGE = {
    "missing": (lambda t: t.pop(FIRST), r"missing \['conv_1/kernel'\], not known \[\]$"),
    "superfluous": (lambda t: t.update(other=t[FIRST]), r"missing \[\], not known \['other'\]$"),
    "misshapen": (
        lambda t: t.update({FIRST: t[FIRST][..., :3]}),
        r"shape \(3, 3, 1, 4\)\. Received: .*\(3, 3, 1, 3\)$",
    ),
    "transposed": (lambda t: t.update({FIRST: t[FIRST].T}), r"Received: conv_1/kernel of \(4, 1, 3, 3\)$"),
    "nan": (lambda t: t[FIRST].__setitem__(0, np.nan), r"Received: NaN, infinity or float32 in conv_1/kernel$"),
    "infinite": (lambda t: t[FIRST].__setitem__(0, np.inf), r"Expected finite floats"),
    "whole numbers": (lambda t: t.update({FIRST: t[FIRST].astype(int)}), r"Received: .* int64 in conv_1/kernel$"),
    "text": (lambda t: t.update({FIRST: t[FIRST].astype(str)}), r"Received: .* in conv_1/kernel$"),
    "unchanged": (lambda t: t.update({"conv_1/bias": np.zeros(4)}), r"Received: unchanged \['conv_1/bias'\]$"),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGE.values(), ids=DAMAGE)
def test_wrong_tensors_are_named_and_the_model_stays(donor, target, damage, message):
    before = weights.fingerprint(target)
    tensors = {name: array.copy() for name, array in values(donor).items()}
    damage(tensors)
    with pytest.raises(weights.WeightFileError, match=message):
        weights.assign(target, tensors)
    assert weights.fingerprint(target) == before


def test_another_architecture_is_refused(folder):
    wider = tominet(3, (8, 8, 1), filters=(4, 5))
    deeper = tominet(3, (8, 8, 1), filters=(4, 3, 2))
    for model, message in (
        (wider, r"conv_2/kernel of shape \(3, 3, 4, 5\)"),
        (deeper, r"missing \['batch_norm_3/beta'"),
    ):
        before = weights.fingerprint(model)
        with pytest.raises(weights.WeightFileError, match=message):
            weights.load_pretrained(model, "made", head="dense", new_head=True, folder=folder)
        assert weights.fingerprint(model) == before


@pytest.mark.parametrize("damage", ["flipped", "truncated", "gone", "other weights"])
def test_a_file_that_is_not_the_recorded_one_is_refused(folder, target, damage):
    path = folder / "made.npz"
    content, before = path.read_bytes(), weights.fingerprint(target)
    match damage:
        case "flipped":
            path.write_bytes(content[:500] + bytes([content[500] ^ 1]) + content[501:])
        case "truncated":
            path.write_bytes(content[:-100])
        case "gone":
            path.unlink()
        case "other weights":
            np.savez(path, **values(target))
    with pytest.raises(weights.WeightFileError, match=r"made\.npz is not the recorded file.* Received: .*made\.npz$"):
        weights.load_pretrained(target, "made", head="dense", folder=folder)
    assert weights.fingerprint(target) == before


def test_unreadable_files_are_refused(folder, tmp_path):
    whole = (folder / "made.npz").read_bytes()
    pickled, text = tmp_path / "pickled.npz", tmp_path / "text.npz"
    np.savez(pickled, objects=np.array([{}], dtype=object))
    text.write_text("<html>404</html>")
    (tmp_path / "truncated.npz").write_bytes(whole[: len(whole) // 2])
    for path in (pickled, text, tmp_path / "truncated.npz", tmp_path / "missing.npz"):
        with pytest.raises(weights.WeightFileError, match=rf"a whole \.npz .*Received: .*{path.name}$"):
            weights.read(path)


def test_an_unknown_name_lists_the_known_ones(folder):
    with pytest.raises(weights.WeightFileError, match=r"one of \['made'\]\. Received: 'other'$"):
        weights.record("other", folder)


@pytest.mark.parametrize(("num_classes", "new_head"), [(5, None), (3, True)], ids=["other classes", "asked for"])
def test_the_head_stays_new_where_it_does_not_fit_or_on_demand(donor, folder, num_classes, new_head):
    model = tiny(seed=4, num_classes=num_classes)
    before = values(model)
    loaded = weights.load_pretrained(model, "made", head="dense", new_head=new_head, folder=folder)
    assert str(loaded) == "ok: 12 of 12 tensors loaded; new layers: dense"
    assert loaded.sha256 == json.loads((folder / "made.json").read_text())["sha256"]
    for name, array in values(model).items():
        assert np.array_equal(array, (before if name.startswith("dense/") else values(donor))[name])


def test_the_fingerprint_sees_values_and_order(donor):
    prints = [weights.fingerprint(model) for model in (donor, tiny(seed=0), tiny(seed=1))]
    prints.append(weights.fingerprint(donor.weights[::-1]))
    assert len(set(prints)) == 4
    assert all(len(text) == 16 and int(text, 16) >= 0 for text in prints)
    assert weights.fingerprint(donor.weights) == weights.fingerprint(donor)
    assert weights.fingerprint(tiny(seed=1)) == prints[2]
