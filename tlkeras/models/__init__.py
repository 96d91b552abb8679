"""Networks of the reports, and the strict loading of their weights."""

import keras

from tlkeras.models.squeezenet import squeezenet as squeezenet
from tlkeras.models.tominet import tominet as tominet

if keras.backend.backend() != "tensorflow":
    raise ImportError(
        f"tlkeras needs the TensorFlow backend of Keras. Received: KERAS_BACKEND={keras.backend.backend()}"
    )
