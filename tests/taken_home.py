"""Open saved networks as those do who have no tlkeras: `python tests/taken_home.py FOLDER`.

The folder has, for each NAME.npy of images, the network as NAME.keras, NAME.onnx and a SavedModel NAME. Writes what
each of them predicts as NAME_keras.npy, NAME_onnx.npy and NAME_savedmodel.npy.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np


def opened_by_tensorflow(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    """Return what a SavedModel predicts, by TensorFlow alone."""
    import tensorflow as tf

    network = tf.saved_model.load(path)  # kept: its functions do not keep its weights
    return lambda images: network.serve(images).numpy()


def opened_by_onnxruntime(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    """Return what an ONNX file predicts."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path.with_suffix(".onnx"), providers=["CPUExecutionProvider"])
    (image,) = session.get_inputs()
    return lambda images: session.run(None, {image.name: images})[0]


def opened_by_keras(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    """Return what a file of Keras predicts."""
    import keras

    network = keras.saving.load_model(path.with_suffix(".keras"))
    return lambda images: network(images).numpy()


OPENERS = {"onnx": opened_by_onnxruntime, "savedmodel": opened_by_tensorflow, "keras": opened_by_keras}


def main(folder: Path) -> None:
    """Open all, one kind after the other."""
    pictures = {path: np.load(path) for path in folder.glob("*.npy")}
    for kind, opener in OPENERS.items():
        for path, images in pictures.items():
            predict = opener(path.with_suffix(""))
            np.save(path.with_name(f"{path.stem}_{kind}.npy"), predict(images))
    assert "tlkeras" not in sys.modules


if __name__ == "__main__":
    main(Path(sys.argv[1]))
