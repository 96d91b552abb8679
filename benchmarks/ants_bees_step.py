"""One training step of AlexNet, ours or PyTorch's, or the memory of VGG16's, in a process of its own.

`python -m benchmarks.ants_bees_step NAME FILE`: NAME is a key of `SIDES`; weights and images come from FILE
(.npz); prints JSON.
"""

import functools
import json
import sys
import tempfile
from collections.abc import Callable

import numpy as np

from benchmarks.timing import median_seconds

STEPS = 16
REPEATS = 3
THREADS = 2
RATE = 1e-4


def ours(arrays: dict[str, np.ndarray], *, threads_per_operation: int | None = None) -> dict:
    """Measure a step as this package trains: `fit` of many steps a call, all layers trained."""
    from tlkeras import startup

    startup.quiet_start(threads_per_operation)
    import keras
    import tensorflow as tf

    from tlkeras.models import alexnet, weights
    from tlkeras.transfer import freeze
    from tlkeras.transfer.batches import untuned

    images, labels = arrays["images"], arrays["labels"]
    filters = tuple(arrays[f"conv{number}/kernel"].shape[-1] for number in range(1, 6))
    model = alexnet(2, images.shape[1:], weights=None, filters=filters, classifier_activation=None)
    for name, variable in weights.tensor_names(model).items():
        variable.assign(arrays[name])
    logits = np.asarray(model(images[:1]))
    freeze(model, "all", optimizer=keras.optimizers.Adam(RATE), steps_per_execution=STEPS)
    batch = tf.data.Dataset.from_tensors((tf.constant(images), tf.constant(labels)))
    batches = untuned(batch.repeat(STEPS).prefetch(2))
    return {"step": median_seconds(lambda: model.fit(batches, verbose=0), REPEATS) / STEPS, "logits": logits.tolist()}


def pytorch(arrays: dict[str, np.ndarray]) -> dict:
    """Measure the same in PyTorch: channels_last, fused Adam."""
    import torch

    torch.set_num_threads(THREADS)
    model = _torch_model(torch, arrays).to(memory_format=torch.channels_last)
    mean, deviation = (torch.tensor(values).view(1, 3, 1, 1) for values in _standard())
    images = torch.from_numpy(arrays["images"]).permute(0, 3, 1, 2)  # a view: already channels_last
    labels = torch.from_numpy(arrays["labels"]).long()
    optimizer = torch.optim.Adam(model.parameters(), RATE, fused=True)
    loss = torch.nn.CrossEntropyLoss()

    def prepared(batch):
        return (batch.float() / 255 - mean) / deviation

    def steps() -> None:
        for _ in range(STEPS):
            optimizer.zero_grad()
            value = loss(model(prepared(images)), labels)
            value.backward()
            optimizer.step()
            value.item()

    with torch.inference_mode():
        logits = model(prepared(images[:1])).numpy()
    return {"step": median_seconds(steps, REPEATS) / STEPS, "logits": logits.tolist()}


def memory(arrays: dict[str, np.ndarray]) -> dict:
    """Train all of VGG16 as the study does, on a few images, and return the peak of this process."""
    from tlkeras import startup

    startup.quiet_start(1)
    from tlkeras.experiments import environment
    from tlkeras.models import vgg16
    from tlkeras.transfer import Phase, finetune

    images, labels = arrays["images"], arrays["labels"]
    blocks = tuple(tuple(block[block > 0].tolist()) for block in arrays["blocks"])
    model = vgg16(2, images.shape[1:], weights=None, blocks=blocks)
    phase = Phase("main", "all", 1, RATE)
    with tempfile.TemporaryDirectory() as folder:
        finetune(
            model, (images, labels), (images, labels), [phase], seed=0, batch_size=4, keep="best", checkpoints=folder
        )
    return {"peak_mib": environment.peak_memory_mib()}


def _standard() -> tuple[tuple[float, ...], tuple[float, ...]]:
    from tlkeras.models.layers import MODES

    return MODES["torch"]["mean"], MODES["torch"]["deviation"]


def _torch_model(torch, arrays: dict[str, np.ndarray]):
    from torch import nn

    from tlkeras.models.alexnet import POOLED

    parts = []
    for number in range(1, 6):
        kernel = torch.from_numpy(arrays[f"conv{number}/kernel"].transpose(3, 2, 0, 1).copy())
        filters, channels, side, _ = kernel.shape
        layer = nn.Conv2d(channels, filters, side, 4 if number == 1 else 1, padding=2 if number <= 2 else 1)
        layer.weight.data, layer.bias.data = kernel, torch.from_numpy(arrays[f"conv{number}/bias"])
        parts += [layer, nn.ReLU(inplace=True), *([nn.MaxPool2d(3, 2)] if number in POOLED else [])]
    dense = arrays["classifier/kernel"]
    side = round((len(dense) / filters) ** 0.5)
    head = nn.Linear(*dense.shape)
    reordered = dense.reshape(side, side, filters, 2).transpose(3, 2, 0, 1).reshape(2, -1)  # channel by channel
    head.weight.data = torch.from_numpy(np.ascontiguousarray(reordered))
    head.bias.data = torch.from_numpy(arrays["classifier/bias"])
    return nn.Sequential(*parts, nn.Flatten(), head)


SIDES: dict[str, Callable[[dict[str, np.ndarray]], dict]] = {
    "ours": ours,
    "pytorch": pytorch,
    "one thread an operation": functools.partial(ours, threads_per_operation=1),
    "memory": memory,
}

if __name__ == "__main__":
    with np.load(sys.argv[2]) as archive:
        content = {name: archive[name] for name in archive.files}
    print(json.dumps(SIDES[sys.argv[1]](content)))
