"""Ways to fine-tune a pretrained network, alike for every network; and which one to choose for which data.

Three are those of the slides. Those of later papers come in the same phases:

| strategy | trains | source |
| --- | --- | --- |
| `direct` | everything at once, the new classifier not first | the baseline of Kumar et al. 2022 |
| `lp_ft` | the classifier alone (a linear probe), then everything | Kumar et al. 2022, arXiv:2202.10054 |
| `l2_sp` | everything, pulled back to where it started | Li, Grandvalet and Davoine 2018, arXiv:1802.01483 |
| `layerwise` | everything, lower layers at smaller rates | Howard and Ruder 2018, arXiv:1801.06146, section 3.2 |
| `surgical_1`, `surgical_2`, ... | one block and the classifier | Lee et al. 2023, arXiv:2210.11466 |
| `mixup` | everything, on blends of two images each | Zhang et al. 2018, arXiv:1710.09412 |
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from tlkeras import graph
from tlkeras.transfer.finetune import Callbacks, History, finetune
from tlkeras.transfer.freezing import CONVOLUTIONS, learning_layers, trained_layers
from tlkeras.transfer.inputs import Data
from tlkeras.transfer.phases import Phase, graded

STRATEGIES = ("train_all", "freeze_some", "freeze_base")  # 1, 2 and 3 of report 001, page 6
WHOLE = ("direct", "lp_ft", "l2_sp", "layerwise", "mixup")  # of later papers: train every layer
SURGICAL = "surgical_"  # and the number of a block, from 1 up
_AT_ONCE = ("freeze_base", "direct")  # in a single phase
UPPER_SHARE = 0.25  # of the convolutions; not stated. SqueezeNet: fire8 and fire9; VGG16: block5
_SMALL_BELOW = 1_000  # images of a class; report 001, page 13
_SIMILAR_FROM = 0.5  # not stated: the figure has two halves
_PULL, _DECAY = 0.1, 0.01  # of L2-SP: to the start, and of the new classifier to zero; ours
FIRST_RATE = 0.01  # of the lowest layer, as a share of the rate; ours, as in report 004
MIXING = 0.2  # of mixup; its paper takes 0.1 to 0.4 for ImageNet


class UnknownStrategyError(ValueError):
    """Not one of `STRATEGIES`, nor of those of later papers."""


class SimilarityError(ValueError):
    """A similarity outside 0..1."""


class EmptyClassError(ValueError):
    """No images in a class."""


def layers_to_train(model: keras.Model, strategy: str, *, upper_share: float = UPPER_SHARE) -> list[str]:
    """Return the names of the layers that a strategy trains, in model order.

    Args:
        model: a flat classifier: a convolutional base, then dense layers or one last convolution.
        strategy: "train_all", "freeze_some" (trains the classifier and the uppermost convolutions, with the batch
            normalisation that follows them), or "freeze_base" (trains the classifier alone); or one of later papers.
        upper_share: of the base's convolutions that "freeze_some" trains, 0..1; at least one.

    Raises:
        UnknownStrategyError: not one of `STRATEGIES`, nor of those of later papers; or a block that there is not.
        ValueError: a share outside 0..1, a model without a convolution below its classifier, or a subclassed one; for
            "surgical_1" and so on, one of no fixed input size.

    Reference: report 001, pages 6 to 9.
    """
    block = _block_number(strategy)
    if strategy not in (*STRATEGIES, *WHOLE) and not block:
        raise _unknown(strategy)
    if not 0 <= upper_share <= 1:
        raise ValueError(f"Expected a share from 0 to 1. Received: upper_share={upper_share}")
    graph.functional(model)
    names = trained_layers(model, "all")
    start = len(names) - len(classifier_layers(model))
    below = [i for i, name in enumerate(names[:start]) if isinstance(model.get_layer(name), CONVOLUTIONS)]
    if not below:
        raise ValueError(f"Expected a convolutional base below the classifier. Received: layers {names}")
    if block:
        return _block(model, strategy, names[:start]) + names[start:]
    upper = below[-max(1, round(upper_share * len(below)))]
    return names[{"freeze_some": upper, "freeze_base": start}.get(strategy, 0) :]


def _unknown(strategy: str, blocks: str = "N") -> UnknownStrategyError:
    known = (*STRATEGIES, *WHOLE, f"{SURGICAL}{blocks}")
    return UnknownStrategyError(f"Expected a strategy out of {known}. Received: strategy={strategy!r}")


def _block(model: keras.Model, strategy: str, base: list[str]) -> list[str]:
    """Return the layers of the block that a surgical strategy names."""
    blocks = _blocks(model, base)
    number = _block_number(strategy)
    if number > len(blocks):
        raise _unknown(strategy, f"1..{len(blocks)}")
    return blocks[number - 1]


def _blocks(model: keras.Model, names: Sequence[str]) -> list[list[str]]:
    """Group layers by the size of the convolutions' maps: a block lies between two reductions of the image.

    SqueezeNet has four (conv1; fire2 and fire3; fire4 and fire5; fire6 to fire9), VGG16 five.

    Args:
        model: a flat model of a fixed input size.
        names: of its layers with weights below the classifier, in model order.

    Returns:
        Lists of names, lowest block first.

    Raises:
        ValueError: the size of a map is not known before the model runs.
    """
    found: list[list[str]] = []
    last: tuple | None = None
    for name in names:
        layer = model.get_layer(name)
        size = tuple(layer.output.shape[1:-1])
        if None in size:
            raise ValueError(f"Expected a model of a fixed input size. Received: maps of shape {size} from {name!r}")
        if not found or (isinstance(layer, CONVOLUTIONS) and last not in (None, size)):
            found.append([])
        found[-1].append(name)
        last = size if isinstance(layer, CONVOLUTIONS) else last
    return found


def _block_number(strategy: str) -> int:
    """Return the number of the block that a surgical strategy trains, and 0 for any other strategy."""
    number = strategy.removeprefix(SURGICAL)
    return int(number) if number != strategy and number.isdecimal() else 0


def _changes(model: keras.Model, strategy: str, classifier: Sequence[str]) -> dict[str, Any]:
    """Return what a strategy changes in the main phase: fields of `Phase`, none for most strategies.

    Args:
        model: a flat classifier.
        strategy: its name.
        classifier: the layers of the classifier.
    """
    if strategy == "l2_sp":
        learning = learning_layers(model)
        base = [name for name in learning if name not in classifier]
        new = [name for name in learning if name in classifier]
        return {"pull": dict.fromkeys(base, _PULL), "decay": dict.fromkeys(new, _DECAY)}
    if strategy == "layerwise":
        return {"multipliers": graded(model, FIRST_RATE)}
    return {"mixup": MIXING} if strategy == "mixup" else {}


def classifier_layers(model: keras.Model) -> list[str]:
    """Return the names of the classifier's layers: from the first dense layer after the last convolution on.

    Without such a dense layer it is the last layer with weights, as conv10 of SqueezeNet.
    """
    weighted = [layer for layer in model.layers if layer.weights]
    last = max((i for i, layer in enumerate(weighted) if isinstance(layer, CONVOLUTIONS)), default=-1)
    dense = [i for i, layer in enumerate(weighted) if i > last and isinstance(layer, keras.layers.Dense)]
    return [layer.name for layer in weighted[dense[0] if dense else -1 :]]


def phases(
    model: keras.Model,
    strategy: str,
    *,
    epochs: int,
    learning_rate: float = 1e-4,
    head_epochs: int = 0,
    head_rate: float = 1e-3,
    schedule: str = "constant",
    upper_share: float = UPPER_SHARE,
) -> tuple[Phase, ...]:
    """Return the schedule of a strategy for `finetune`: the new classifier first, then what the strategy trains.

    Args:
        model: a flat classifier.
        strategy: see `layers_to_train`.
        epochs: passes of the main phase.
        learning_rate: of Adam where pretrained layers move. Small, so that they are not distorted (report 001, p. 11):
            at 1e-3, trainings of all SqueezeNet can die (notebook 03).
        head_epochs: passes over the classifier alone before; 0 for none. Where the base stays frozen, or moves from
            the start ("direct"), they are added to `epochs`, so that all strategies see the images equally often.
        head_rate: of Adam where the classifier alone moves.
        schedule: "constant", or "cosine" (falls to zero over each phase).
        upper_share: see `layers_to_train`.

    Raises:
        UnknownStrategyError, ValueError: as `layers_to_train` and `Phase` do.
        ValueError: "lp_ft" without `head_epochs`.
    """
    chosen, classifier = layers_to_train(model, strategy, upper_share=upper_share), classifier_layers(model)
    if strategy == "lp_ft" and head_epochs < 1:
        raise ValueError(f"Expected epochs of the classifier alone for 'lp_ft'. Received: head_epochs={head_epochs}")
    if strategy in _AT_ONCE:
        rate = head_rate if strategy == "freeze_base" else learning_rate
        return (Phase(strategy, chosen, head_epochs + epochs, rate, schedule),)
    main = Phase(strategy, chosen, epochs, learning_rate, schedule, **_changes(model, strategy, classifier))
    return (Phase("head", classifier, head_epochs, head_rate, schedule), main) if head_epochs else (main,)


def adapt(
    model: keras.Model,
    strategy: str,
    train: Data,
    validation: Data | None = None,
    *,
    seed: int,
    epochs: int,
    learning_rate: float = 1e-4,
    head_epochs: int = 0,
    batch_size: int = 32,
    callbacks: Callbacks = (),
    sample_weight: Any = None,
    class_weight: Mapping[Any, float] | None = None,
) -> History:
    """Fine-tune a pretrained classifier in place by one of the strategies.

    Frozen parts run once (cached features); afterwards frozen layers are proven unmoved. For more, such as
    augmentation or checkpoints, give `phases` to `finetune`.

    Args:
        model: any flat classifier of the package, raw 0..255 images in.
        strategy: see `layers_to_train`.
        train: images `(n, height, width, channels)` and labels `(n,)`, or a data set of them, see `finetune`.
        validation: the same, or None.
        seed: see `finetune`.
        epochs, learning_rate, head_epochs: see `phases`.
        batch_size: images in a training step.
        callbacks, sample_weight, class_weight: see `finetune`.

    Returns:
        Curves, trained parameters and moves of each phase.

    Raises:
        UnknownStrategyError, ValueError, FreezingError: as `phases` and `finetune` do.
    """
    schedule = phases(model, strategy, epochs=epochs, learning_rate=learning_rate, head_epochs=head_epochs)
    weights: dict[str, Any] = {"sample_weight": sample_weight, "class_weight": class_weight}
    return finetune(
        model, train, validation, schedule, seed=seed, batch_size=batch_size, callbacks=callbacks, **weights
    )


@dataclass(frozen=True)
class Advice:
    """A quadrant (1..4) with the strategy that the slides advise for it, and why."""

    quadrant: int
    large: bool
    similar: bool
    strategy: str  # one of `STRATEGIES`
    reason: str


ADVICE = {  # (large, similar); report 001, pages 15 to 18
    (advice.large, advice.similar): advice
    for advice in (
        Advice(
            quadrant=1,
            large=True,
            similar=False,
            strategy="train_all",
            reason="Enough images to train the whole network; starting from pretrained weights may still help.",
        ),
        Advice(
            quadrant=2,
            large=True,
            similar=True,
            strategy="freeze_some",
            reason="Overfitting is no concern and earlier knowledge holds: the classifier and the upper layers should "
            "do.",
        ),
        Advice(
            quadrant=3,
            large=False,
            similar=False,
            strategy="freeze_some",
            reason="The hardest case: too many trained layers overfit, too few learn nothing. Consider data "
            "augmentation.",
        ),
        Advice(
            quadrant=4,
            large=False,
            similar=True,
            strategy="freeze_base",
            reason="Use the base as a fixed feature extractor and train a new classifier on it.",
        ),
    )
}


def recommend(images_per_class: int, similarity: float) -> Advice:
    """Return what the slides advise for a problem.

    Args:
        images_per_class: labelled images of a class, at least 1; fewer than 1,000 is a small data set.
        similarity: of the data to those of the earlier training, 0..1; from 0.5 up they are similar. Judge it, or
            estimate it (`transferability.similarity`).

    Raises:
        EmptyClassError: fewer than 1 image, or no whole number.
        SimilarityError: a similarity outside 0..1, or no number.

    Reference: report 001, pages 13 to 18.
    """
    if isinstance(images_per_class, bool) or images_per_class != images_per_class // 1 or images_per_class < 1:
        raise EmptyClassError(f"Expected at least 1 image of a class. Received: images_per_class={images_per_class}")
    if isinstance(similarity, bool) or not (math.isfinite(similarity) and 0 <= similarity <= 1):
        raise SimilarityError(f"Expected a similarity from 0 to 1. Received: similarity={similarity}")
    return ADVICE[images_per_class >= _SMALL_BELOW, similarity >= _SIMILAR_FROM]
