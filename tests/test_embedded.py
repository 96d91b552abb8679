"""The stand-ins are balanced, the same on every machine, and keep test and training samples apart."""

import shutil

import numpy as np
import pytest

from tlkeras.data import cache, decoding


@pytest.fixture(scope="module")
def digits_folder(tmp_path_factory):
    """Return a folder in which the embedded digits are already parsed: that takes seconds."""
    folder = tmp_path_factory.mktemp("digits")
    decoding.digits(folder)
    return folder


def test_embedded_digits_are_balanced_and_always_the_same(digits_folder):
    arrays = decoding.digits(digits_folder)
    assert arrays["x_train"].shape == (4000, 28, 28, 1)
    assert np.bincount(arrays["y_train"]).tolist() == [400] * 10
    assert np.bincount(arrays["y_test"]).tolist() == [100] * 10
    everything = np.concatenate([arrays["x_train"], arrays["x_test"]]).reshape(5000, -1)
    assert len(np.unique(everything, axis=0)) == 5000
    assert cache.content_fingerprint(arrays) == "9d247c82cd48e214"


def test_embedded_digits_are_parsed_once_and_made_again_when_damaged(digits_folder, tmp_path, monkeypatch):
    folder = shutil.copytree(digits_folder, tmp_path / "datasets")
    small = {key: value[:10] for key, value in decoding.digits(folder).items()}
    monkeypatch.setattr(decoding, "_split_digits", lambda: small)
    assert len(decoding.digits(folder)["x_train"]) == 4000
    (folder / "mnist_embedded.npz").write_bytes(b"damaged")
    assert len(decoding.digits(folder)["x_train"]) == 10
    (folder / "mnist_embedded.npz.json").unlink()
    monkeypatch.setattr(decoding, "_split_digits", lambda: small | {"y_train": small["y_train"] * 0})
    assert decoding.digits(folder)["y_train"].tolist() == [0] * 10


def test_embedded_digits_need_no_folder_that_can_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr(decoding, "_split_digits", lambda: {"x_train": np.zeros(3)})
    assert list(decoding.digits(tmp_path / "file")) == ["x_train"]


@pytest.mark.parametrize(("size", "num_classes"), [(32, 10), (32, 200), (96, 10)])
def test_patches_of_a_class_differ_and_no_test_patch_is_a_training_patch(size, num_classes):
    arrays = decoding.patches(size, num_classes, train=4, test=2)
    assert arrays["x_train"].shape == (4 * num_classes, size, size, 3)
    assert arrays["x_train"].dtype == np.uint8
    assert np.bincount(arrays["y_test"]).tolist() == [2] * num_classes
    assert len(set(arrays["class_names"].tolist())) == num_classes
    train, test = ({image.tobytes() for image in arrays[key]} for key in ("x_train", "x_test"))
    assert not train & test
    assert cache.content_fingerprint(arrays) == cache.content_fingerprint(decoding.patches(size, num_classes, 4, 2))
