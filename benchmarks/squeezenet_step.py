"""One training step and one forward pass of SqueezeNet, ours or PyTorch's, in a process of its own.

`python -m benchmarks.squeezenet_step NAME FILE`: NAME is a key of `SIDES`; weights and a batch come from FILE
(.npz); prints JSON.
"""

import functools
import json
import sys
from collections.abc import Callable

import numpy as np

from benchmarks.timing import median_seconds

STEPS = 40
THREADS = 2
RATE = 1e-4


def ours(
    arrays: dict[str, np.ndarray],
    *,
    threads_per_operation: int = 1,
    steps_per_execution: int = STEPS,
    xla: bool = False,
    policy: str = "float32",
) -> dict:
    """Measure as this package trains and evaluates: `fit` of many steps a call, one traced forward pass.

    The options are what else was tried to get there.
    """
    from tlkeras import startup

    startup.quiet_start(threads_per_operation)
    import keras
    import tensorflow as tf

    from tlkeras.models import squeezenet, weights
    from tlkeras.transfer.batches import untuned
    from tlkeras.transfer.features import compiled_forward

    keras.config.set_dtype_policy(policy)
    images, labels = arrays["images"], arrays["labels"]
    shape = images.shape[1:]
    model = squeezenet(10, shape, weights=None, preprocessing="unit", dropout=0.0, classifier_activation=None)
    for name, variable in weights.tensor_names(model).items():
        variable.assign(arrays[name])
    forward, batch = compiled_forward(model), tf.constant(images)
    logits = np.asarray(forward(batch))
    infer = median_seconds(lambda: forward(batch).numpy(), STEPS, warm=3)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(
        keras.optimizers.Adam(RATE),
        loss,
        metrics=["accuracy"],
        steps_per_execution=steps_per_execution,
        jit_compile=xla,
    )
    batches = untuned(tf.data.Dataset.from_tensors((batch, tf.constant(labels))).repeat(STEPS).prefetch(2))
    train = median_seconds(lambda: model.fit(batches, verbose=0), 5) / STEPS
    return {"train": train, "infer": infer, "logits": logits.tolist()}


def pytorch(arrays: dict[str, np.ndarray]) -> dict:
    """Measure the same network in PyTorch: channels_last, fused Adam."""
    import torch

    torch.set_num_threads(THREADS)
    model = _torch_model(torch, arrays).to(memory_format=torch.channels_last)
    images = torch.from_numpy(arrays["images"]).permute(0, 3, 1, 2).float() / 255  # a view: already channels_last
    labels = torch.from_numpy(arrays["labels"]).long()
    optimizer = torch.optim.Adam(model.parameters(), RATE, fused=True)
    loss = torch.nn.CrossEntropyLoss()

    def step() -> float:
        optimizer.zero_grad()
        value = loss(model(images), labels)
        value.backward()
        optimizer.step()
        return value.item()

    with torch.inference_mode():
        logits = model(images).numpy()
        infer = median_seconds(lambda: model(images).numpy(), STEPS)
    return {"train": median_seconds(step, STEPS), "infer": infer, "logits": logits.tolist()}


def _torch_model(torch, arrays: dict[str, np.ndarray]):
    from torch import nn

    from tlkeras.models.squeezenet import FIRES, POOLED

    def convolution(name: str, stride: int = 1) -> nn.Module:
        kernel = torch.from_numpy(arrays[f"{name}/kernel"].transpose(3, 2, 0, 1).copy())
        filters, channels, side, _ = kernel.shape
        layer = nn.Conv2d(channels, filters, side, stride, padding=1 if name.endswith("expand3x3") else 0)
        layer.weight.data, layer.bias.data = kernel, torch.from_numpy(arrays[f"{name}/bias"])
        return layer

    class Fire(nn.Module):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.squeeze, self.left, self.right = (
                convolution(f"{name}_{part}") for part in ("squeeze1x1", "expand1x1", "expand3x3")
            )

        def forward(self, x):
            x = torch.relu(self.squeeze(x))
            return torch.cat([torch.relu(self.left(x)), torch.relu(self.right(x))], 1)

    parts = [convolution("conv1", 2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2)]
    for number in range(2, 2 + len(FIRES)):
        parts.append(Fire(f"fire{number}"))
        if f"fire{number}" in POOLED:
            parts.append(nn.MaxPool2d(3, 2))
    return nn.Sequential(*parts, convolution("conv10"), nn.AdaptiveAvgPool2d(1), nn.Flatten())


SIDES: dict[str, Callable[[dict[str, np.ndarray]], dict]] = {
    "ours": ours,
    "pytorch": pytorch,
    "two threads an operation": functools.partial(ours, threads_per_operation=2),
    "one step a call": functools.partial(ours, steps_per_execution=1),
    "XLA": functools.partial(ours, xla=True),
    "bfloat16": functools.partial(ours, policy="mixed_bfloat16"),
}

if __name__ == "__main__":
    with np.load(sys.argv[2]) as archive:
        content = {name: archive[name] for name in archive.files}
    print(json.dumps(SIDES[sys.argv[1]](content)))
