"""The graph of a model: its operations and calls, its logits, and running it no further than asked."""

import gc
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import images, tiny
from keras import layers

from tlkeras import graph


def nested():
    """Return a model of two models that each have a convolution "same", and the two."""
    inputs = keras.Input((8, 8, 1))
    left, right = (
        keras.Sequential([keras.Input((8, 8, 1)), layers.Conv2D(1, 3, padding="same", name="same")], name=name)
        for name in ("left", "right")
    )
    return keras.Model(inputs, right(layers.ReLU(name="between")(left(inputs))), name="whole"), left, right


def residual():
    """Return a model that calls one dense layer twice, and the layer."""
    inputs = keras.Input((3,), name="input")
    shared = layers.Dense(3, name="shared")
    first = shared(inputs)
    x = layers.BatchNormalization(name="norm")(first, training=False)
    return keras.Model(inputs, layers.Add(name="add")([first, shared(x)])), shared


def subclassed():
    class Plain(keras.Model):
        pass

    return Plain()


def test_a_sequential_model_gives_the_functional_one_that_it_wraps():
    flat, sequential = tiny(), keras.Sequential([keras.Input((3,)), layers.Dense(2)])
    assert graph.functional(flat) is flat
    assert graph.functional(sequential).outputs[0] is sequential.outputs[0]
    assert graph.is_functional(sequential) and not graph.is_functional(sequential.layers[0])


@pytest.mark.parametrize("model", [keras.Sequential([]), subclassed(), "TomiNet"])
def test_a_model_without_a_graph_is_refused(model):
    with pytest.raises(
        ValueError, match=r"functional model, or a Sequential one that is built\. .*keras\.Model.* Received: "
    ):
        graph.operations(model)


def test_operations_have_paths_and_those_of_a_nested_model_come_before_it():
    model, left, _ = nested()
    operations = graph.operations(model)
    assert list(operations) == ["left/same", "left", "between", "right/same", "right"]
    assert operations["left/same"] is left.layers[0] and operations["left"] is left


def test_operations_are_found_at_any_depth():
    model, left, _ = nested()
    assert graph.find(model, "left/same") is left.layers[0] and graph.find(model, "left") is left
    assert graph.find(model, "between").name == "between"


BAD_NAMES = {
    "same": r"\['left/same', 'right/same'\] have this one\. Received: layer='same'$",
    "beetween": r"Expected a layer of whole, such as \['between'\]\. Received: layer='beetween'$",
    "q": r"such as \['left/same', 'left', 'between', 'right/same', 'right'\]\. Received: layer='q'$",
}


@pytest.mark.parametrize("name", BAD_NAMES)
def test_names_of_no_layer_and_of_several_are_refused(name):
    with pytest.raises(ValueError, match=BAD_NAMES[name]):
        graph.find(nested()[0], name)


def test_calls_are_those_of_this_model_in_order():
    model, shared = residual()
    shared(keras.Input((3,)))  # by another model
    calls = graph.calls(model)
    assert [operation.name for operation in calls] == ["input", "shared", "norm", "add"]
    first, second = calls[shared]
    (norm,), (add,), (start,) = (calls[model.get_layer(name)] for name in ("norm", "add", "input"))
    assert first.inputs == (model.inputs[0],) and first.outputs == norm.inputs
    assert norm.options == {"training": False} and add.options == {}
    assert add.sources == (shared, shared) and second.sources == (norm.operation,)
    assert start.inputs == start.sources == () and add.outputs[0] is model.outputs[0]


def test_users_are_the_calls_that_take_an_output():
    users = graph.users(residual()[0])
    names = {name: [call.operation.name for call in calls] for name, calls in users.items()}
    assert names.pop("shared").count("add") == 2  # once for each of its two outputs
    assert names == {"input": ["shared"], "norm": ["shared"]}


@pytest.mark.parametrize(
    ("layer", "random"),
    [
        (layers.Dropout(0.5), True),
        (keras.Sequential([layers.Dense(2), layers.Dropout(0.5)]), True),
        (layers.Dense(2), False),
        ("no layer", False),
    ],
)
def test_random_layers_are_known(layer, random):
    assert graph.is_random(layer) is random


def test_activations_are_those_of_the_model():
    model, left, right = nested()
    x = images(3).astype(np.float32)
    between = keras.ops.relu(left(x))
    expected = {"left/same": left(x), "left": left(x), "between": between, "right/same": right(between)}
    for name, activations in expected.items():
        np.testing.assert_allclose(graph.up_to(model, name)(x), activations)
    np.testing.assert_allclose(graph.up_to(model, "between", inclusive=False)(x), left(x))
    np.testing.assert_allclose(graph.up_to(model, "right/same", inclusive=False)(x), between)


def test_a_shared_layer_counts_where_it_is_called_first():
    model, shared = residual()
    x = np.ones((2, 3), np.float32)
    np.testing.assert_allclose(graph.up_to(model, "shared")(x), shared(x))


def test_operations_after_the_layer_are_not_run():
    class Failing(layers.Layer):
        def call(self, inputs):
            raise RuntimeError("too far")

        def compute_output_shape(self, input_shape):
            return input_shape

    base = tiny()
    model = keras.Model(base.inputs[0], Failing()(base.get_layer("conv_2").output))
    assert graph.up_to(model, "conv_2")(images(2).astype(np.float32)).shape == (2, 4, 4, 3)


def test_models_and_layers_of_several_inputs_are_refused():
    one, two = keras.Input((8, 8, 1)), keras.Input((8, 8, 1))
    with pytest.raises(ValueError, match="of one input. Received: .*, of 2 inputs$"):
        graph.up_to(keras.Model([one, two], layers.Add(name="sum")([one, two])), "sum")
    with pytest.raises(ValueError, match="one input and one output. Received: layer='add'"):
        graph.up_to(residual()[0], "add", inclusive=False)


def with_end(end):
    """Return a model that makes three numbers out of 8x8 pixels, and has this layer (or operation) at its end."""
    inputs = keras.Input((8, 8, 1))
    return keras.Model(inputs, end(layers.Dense(3, name="numbers")(layers.Flatten()(inputs))))


ENDS = {
    "softmax layer": (lambda: layers.Softmax(), "softmax"),
    "softmax activation": (lambda: layers.Activation("softmax"), "softmax"),
    "softmax operation": (lambda: keras.ops.softmax, "softmax"),
    "nested softmax": (lambda: keras.Sequential([keras.Input((3,)), layers.Softmax()]), "softmax"),
    "softmax by another name": (lambda: layers.Activation(lambda x: keras.ops.softmax(x)), "softmax"),
    "sigmoid by another name": (lambda: layers.Activation(lambda x: 1 / (1 + keras.ops.exp(-x))), "sigmoid"),
    "sigmoid": (lambda: layers.Activation("sigmoid"), "sigmoid"),
    "nothing": (lambda: layers.Flatten(), None),
    "nested nothing": (lambda: keras.Sequential([keras.Input((3,)), layers.Flatten()]), None),
}


@pytest.mark.parametrize("name", ENDS)
def test_logits_are_told_from_probabilities_and_computed(name):
    make, squashing = ENDS[name]
    model, x = with_end(make()), images(2).astype(np.float32)
    assert graph.squashing(graph.last_operation(model)) == squashing
    assert graph.has_logits(model) is (squashing != "softmax")
    expected = graph.up_to(model, "numbers")(x)
    found, nothing = graph.logits(model)(x)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert nothing is None


@pytest.mark.parametrize("activation", ["softmax", "sigmoid", None])
def test_layers_that_change_no_value_do_not_hide_the_activation(activation):
    inputs = keras.Input((8, 8, 1))
    inner = keras.Model(inputs, layers.Dense(3, activation=activation)(layers.Flatten()(inputs)))
    ends = (layers.Reshape((3, 1)), layers.Flatten(), layers.Activation("linear", dtype="float32"), layers.Identity())
    outputs = inner(inputs)
    for end in ends:
        outputs = end(outputs)
    assert graph.output_activation(keras.Model(inputs, outputs)) == activation


class Perceptron(layers.Layer):
    """Two dense layers of one's own, which may have an activation between them, and one after them."""

    def __init__(self, units, activation=None, after=None, initializer="glorot_uniform"):
        super().__init__()
        self.activation, self.after = keras.activations.get(activation), keras.activations.get(after)
        self.hidden, self.head = layers.Dense(8), layers.Dense(units, kernel_initializer=initializer)

    def build(self, shape):
        self.hidden.build(shape)
        self.head.build((None, 8))

    def call(self, inputs):
        return self.after(self.head(self.activation(self.hidden(inputs))))


class WithoutGraph(keras.Model):
    """A classifier that runs its layers in another order than it made them."""

    def __init__(self, first=None, last=None):
        super().__init__()
        self.last = layers.Dense(3, activation=last)
        self.dropout = layers.Dropout(0.9)
        self.first = layers.Dense(3, activation=first)

    def call(self, inputs, training=None):
        return self.last(self.first(self.dropout(inputs, training=training)))


OWN_ENDS = {
    "a hidden sigmoid": (lambda: Perceptron(1, "sigmoid"), None),
    "a hidden softmax": (lambda: Perceptron(3, "softmax"), None),
    "a head of zeros": (lambda: Perceptron(1, "relu", initializer="zeros"), None),
    "a sigmoid inside": (lambda: Perceptron(1, "relu", "sigmoid"), "sigmoid"),
    "a softmax inside": (lambda: Perceptron(3, "relu", "softmax"), "softmax"),
    "a lambda layer": (lambda: layers.Lambda(lambda x: keras.ops.softmax(x)), "softmax"),
    "a linear lambda layer": (lambda: layers.Lambda(lambda x: 2 * x), None),
    "a softmax of a model without a graph": (lambda: WithoutGraph(last="softmax"), "softmax"),
    "a softmax in the middle of a model without a graph": (lambda: WithoutGraph(first="softmax"), None),
}


@pytest.mark.parametrize("name", OWN_ENDS)
@pytest.mark.parametrize("policy", ["float32", "mixed_float16", "mixed_bfloat16"])
def test_ends_of_ones_own_are_judged_by_what_they_do(name, policy):
    make, activation = OWN_ENDS[name]
    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy(policy)
    try:
        model = with_end(make())
    finally:
        keras.config.set_dtype_policy("float32")
    before = model.get_weights()
    assert graph.output_activation(model) == activation
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    if activation:
        with pytest.raises(ValueError, match=r"Expected a Keras layer whose activation comes last.* Received: "):
            graph.logits(model)
    else:
        x = images(2).astype(np.float32)
        np.testing.assert_array_equal(graph.logits(model)(x)[0], keras.ops.cast(model(x, training=False), "float32"))


def test_the_end_of_a_model_without_a_graph_is_found_below_layers_that_change_no_value():
    inner = with_end(WithoutGraph(last="softmax"))
    assert graph.output_activation(keras.Model(inner.inputs, layers.Flatten()(inner.outputs[0]))) == "softmax"


def test_the_end_of_a_model_without_a_graph_is_refused():
    with pytest.raises(ValueError, match=r"functional model, .* Received: "):
        graph.has_logits(subclassed())


def test_a_softmax_inside_the_last_layer_is_left_out_and_a_layer_is_watched():
    model, x = tiny(), images(2).astype(np.float32)
    watched = []
    run = graph.logits(model, model.get_layer("conv_2"))
    logits, maps = run(x, lambda maps: watched.append(maps) or maps)
    np.testing.assert_allclose(keras.ops.softmax(logits), model(x), rtol=1e-5)
    np.testing.assert_allclose(maps, graph.up_to(model, "conv_2")(x), rtol=1e-6)
    assert watched[0] is maps
    blank, _ = run(x, lambda maps: 0 * maps)
    np.testing.assert_array_equal(blank[0], blank[1])  # the network goes on with what the watch returns


def test_logits_are_those_of_inference():
    inputs = keras.Input((8, 8, 1))
    x = layers.Dropout(0.9)(layers.Flatten()(inputs), training=True)
    model = keras.Model(inputs, layers.Dense(3, kernel_initializer="ones")(x))
    np.testing.assert_allclose(graph.logits(model)(tf.ones((1, 8, 8, 1)))[0], [[64.0] * 3])


def test_a_layer_without_its_activation_follows_the_weights():
    layer = layers.Conv2D(2, 3, activation="relu", kernel_initializer="ones", bias_initializer="ones")
    x = -tf.ones((1, 4, 4, 1))
    layer(keras.Input((4, 4, 1)))
    run = graph.without_activation(layer)
    assert np.all(run(x).numpy() == -8)
    layer.bias.assign([0.0, 9.0])
    assert run(x).numpy().reshape(-1, 2).tolist() == [[-9.0, 0.0]] * 4 and layer.activation is keras.activations.relu
    assert graph.without_activation(layers.Softmax())(x) is x


def test_nothing_of_the_model_changes():
    model = nested()[0]

    def state():
        nodes = [(len(layer._inbound_nodes), len(layer._outbound_nodes)) for layer in model._flatten_layers()]
        return model.to_json(), nodes, [layer.trainable for layer in model.layers]

    before, x = state(), images(1).astype(np.float32)
    keras.backend.clear_session()
    graph.up_to(model, "right/same")(x)
    graph.logits(model, graph.find(model, "between"))(x)
    assert state() == before
    inputs = keras.Input((1,))
    assert keras.Model(inputs, layers.Identity()(inputs)).name == "functional"  # no name was used up


def test_graphs_of_custom_gradients_are_freed():
    @tf.custom_gradient
    def same(inputs):
        return inputs, lambda slope: slope

    def traced():
        return weakref.ref(tf.function(lambda inputs: same(inputs)).get_concrete_function(tf.TensorSpec((1,))).graph)

    kept = traced()
    with graph.forgotten_gradients():
        freed = traced()
    gc.collect()
    assert kept() is not None and freed() is None
