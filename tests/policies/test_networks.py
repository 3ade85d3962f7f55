import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from headstart.policies.networks import MLP, Convolution, one_hot


def test_a_perceptron_by_hand():
    """x → tanh(x W₁ + b₁) → W₂ + b₂."""
    layers = MLP((2, 3, 1), 0.5, jax.random.key(0))
    layers = eqx.tree_at(lambda m: m.biases, layers, [jnp.arange(3.0), jnp.array([7.0])])
    x = np.array([[0.5, -1.0], [2.0, 0.25]], np.float32)
    first, second = map(np.asarray, layers.weights)
    expected = np.tanh(x @ first + np.arange(3.0)) @ second + 7.0
    np.testing.assert_allclose(layers(jnp.asarray(x)), expected, rtol=1e-5)
    assert layers.sizes == (2, 3, 1)


def test_weights_are_orthogonal_with_their_gains():
    layers = MLP((4, 4, 4), 0.01, jax.random.key(0))
    for weight, gain in zip(layers.weights, (np.sqrt(2), 0.01), strict=True):
        weight = np.asarray(weight)
        np.testing.assert_allclose(weight.T @ weight, gain**2 * np.eye(4), atol=1e-5 * gain)


@pytest.mark.parametrize(("kernel", "stride", "size"), [(8, 4, (24, 27)), (3, 1, (5, 4))])
def test_a_convolution_by_hand(kernel, stride, size):
    layer = Convolution((2, 5), kernel, stride, jax.random.key(0))
    layer = eqx.tree_at(lambda c: c.bias, layer, jnp.arange(5.0))
    x = np.asarray(jax.random.normal(jax.random.key(1), (3, *size, 2)))
    ours = jax.jit(lambda layer, x: layer(x))(layer, x)
    assert ours.shape == (3, layer.size_of(size[0]), layer.size_of(size[1]), 5)
    for row, column in np.ndindex(ours.shape[1:3]):
        top, left = stride * row, stride * column
        patch = x[:, top : top + kernel, left : left + kernel]
        expected = np.einsum("nhwi,hwio->no", patch, layer.weight) + np.arange(5.0)
        np.testing.assert_allclose(ours[:, row, column], expected, atol=1e-4)


def test_a_kernel_that_its_stride_does_not_divide_is_refused():
    with pytest.raises(ValueError, match="a kernel of 5 is not a multiple of the stride 2"):
        Convolution((1, 1), 5, 2, jax.random.key(0))


def test_choices_stand_side_by_side_as_ones_and_zeros():
    found = one_hot(jnp.array([[1, 0], [0, 2]]), (2, 3))
    np.testing.assert_array_equal(found, [[0, 1, 1, 0, 0], [1, 0, 0, 0, 1]])
