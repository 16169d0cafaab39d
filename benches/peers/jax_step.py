"""A training step in JAX, of any network that `torch.fx` can trace and whose layers stand in `Step`.

Images have their channels last and kernels are HWIO, as XLA prefers them. The whole step is one compiled function whose
parameters, momentum and running statistics are donated, so that they are updated in place.
"""

import functools
import operator

import jax
import jax.numpy as jnp
import torch
import torch.fx
import torch.nn.functional as F
from jax import lax
from torch import nn


class Step(torch.fx.Interpreter):
    """Runs the traced graph on JAX arrays; `statistics` collects the new running statistics."""

    def __init__(self, traced, parameters, statistics):
        super().__init__(traced)
        self.p, self.statistics = parameters, dict(statistics)

    def call_module(self, target, args, kwargs):
        layer, x = self.module.get_submodule(target), args[0]
        if isinstance(layer, nn.Conv2d):
            y = lax.conv_general_dilated(
                x, self.p[f"{target}.weight"], layer.stride, [(p, p) for p in layer.padding],
                feature_group_count=layer.groups, dimension_numbers=("NHWC", "HWIO", "NHWC"))
            return y + self.p[f"{target}.bias"] if layer.bias is not None else y
        if isinstance(layer, nn.Linear):
            return x @ self.p[f"{target}.weight"].T + self.p[f"{target}.bias"]
        if isinstance(layer, nn.Embedding):
            return self.p[f"{target}.weight"][x]
        if isinstance(layer, nn.RNNBase):
            return self.recurrent(target, layer, x)
        if isinstance(layer, nn.BatchNorm2d):
            return self.batch_norm(target, layer, x)
        if isinstance(layer, nn.MaxPool2d):
            return window(x, layer, -jnp.inf, lax.max)
        if isinstance(layer, nn.AvgPool2d):
            return window(x, layer, 0.0, lax.add) / layer.kernel_size**2
        if isinstance(layer, nn.AdaptiveAvgPool2d):
            return adaptive(x, layer.output_size)
        if isinstance(layer, nn.Flatten):
            return flatten(x)
        if isinstance(layer, nn.ReLU):
            return jax.nn.relu(x)
        if isinstance(layer, nn.Tanh):
            return jnp.tanh(x)
        if isinstance(layer, nn.Identity) or (isinstance(layer, nn.Dropout) and layer.p == 0):
            return x
        raise NotImplementedError(f"{target}: {layer}")

    def recurrent(self, name, layer, x):
        """Layers of LSTMs or GRUs in one direction from zeros, `[batch, time, width]`: loops over time, whose products of the input
        stand before them."""
        step, parts = (lstm_step, 2) if isinstance(layer, nn.LSTM) else (gru_step, 1)
        x = x.swapaxes(0, 1)
        for number in range(layer.num_layers):
            weight = lambda kind: self.p[f"{name}.{kind}_l{number}"]
            gates = x @ weight("weight_ih").T + weight("bias_ih")
            start = (jnp.zeros((x.shape[1], layer.hidden_size)),) * parts
            _, x = lax.scan(functools.partial(step, weight("weight_hh"), weight("bias_hh")), start, gates)
        return x.swapaxes(0, 1), None

    def batch_norm(self, name, layer, x):
        mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
        count = x.size / x.shape[-1]
        for key, value in (("mean", mean), ("var", variance * count / (count - 1))):
            old = self.statistics[f"{name}.running_{key}"]
            self.statistics[f"{name}.running_{key}"] = lax.stop_gradient(0.9 * old + 0.1 * value)
        scale = self.p[f"{name}.weight"] * lax.rsqrt(variance + layer.eps)
        return x * scale + (self.p[f"{name}.bias"] - mean * scale)

    def call_function(self, target, args, kwargs):
        if target in (operator.add, operator.iadd, torch.add):
            return args[0] + args[1]
        if target is torch.flatten:
            return flatten(args[0])
        if target is operator.getitem:
            return args[0][args[1]]
        if target in (torch.relu, F.relu):
            return jax.nn.relu(args[0])
        raise NotImplementedError(str(target))

    def call_method(self, target, args, kwargs):
        if target == "relu":
            return jax.nn.relu(args[0])
        raise NotImplementedError(target)


def lstm_step(weight, bias, state, gates):
    h, c = state
    i, f, g, o = jnp.split(gates + h @ weight.T + bias, 4, 1)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    h = jax.nn.sigmoid(o) * jnp.tanh(c)
    return (h, c), h


def gru_step(weight, bias, state, gates):
    (h,) = state
    (ir, iz, new), (hr, hz, hn) = jnp.split(gates, 3, 1), jnp.split(h @ weight.T + bias, 3, 1)
    z = jax.nn.sigmoid(iz + hz)
    h = (1 - z) * jnp.tanh(new + jax.nn.sigmoid(ir + hr) * hn) + z * h
    return (h,), h


def window(x, layer, start, function):
    """Sums or largest values of windows."""
    kernel, stride, padding = layer.kernel_size, layer.stride, layer.padding
    pads = [(0, 0), (padding, padding), (padding, padding), (0, 0)]
    return lax.reduce_window(x, start, function, (1, kernel, kernel, 1), (1, stride, stride, 1), pads)


def adaptive(x, size):
    """Means of equal parts; sizes that do not divide the image do not occur."""
    rows, columns = (size, size) if isinstance(size, int) else size
    n, height, width, channels = x.shape
    return x.reshape(n, rows, height // rows, columns, width // columns, channels).mean((2, 4))


def flatten(x):
    """Rows in the order of PyTorch: the channels first."""
    return jnp.moveaxis(x, -1, 1).reshape(len(x), -1) if x.ndim == 4 else x.reshape(len(x), -1)


def array(tensor):
    value = jnp.asarray(tensor.detach().numpy())
    return value.transpose(2, 3, 1, 0) if value.ndim == 4 else value


def training_call(model, images, labels):
    """A call that makes one step of SGD with momentum on the same batch."""
    traced = torch.fx.symbolic_trace(model)
    parameters = {name: array(p) for name, p in model.named_parameters()}
    statistics = {name: array(b) for name, b in model.named_buffers() if b.ndim}
    momentum = jax.tree.map(jnp.zeros_like, parameters)
    x = jnp.asarray(images.numpy())
    x = jnp.moveaxis(x, 1, -1) if x.ndim == 4 else x
    labels = jnp.asarray(labels.numpy())

    def loss(parameters, statistics):
        step = Step(traced, parameters, statistics)
        scores = jax.nn.log_softmax(step.run(x, enable_io_processing=False))
        return -jnp.take_along_axis(scores, labels[..., None], -1).mean(), step.statistics

    def step(parameters, momentum, statistics):
        (value, statistics), gradients = jax.value_and_grad(loss, has_aux=True)(parameters, statistics)
        momentum = jax.tree.map(lambda v, g: 0.9 * v + g, momentum, gradients)
        parameters = jax.tree.map(lambda p, v: p - 0.01 * v, parameters, momentum)
        return value, parameters, momentum, statistics

    compiled = jax.jit(step, donate_argnums=(0, 1, 2))
    state = [parameters, momentum, statistics]

    def call():
        value, *state[:] = compiled(*state)
        return value.block_until_ready()

    return call
