import headstart

headstart.prepare_jax()

import jax
import pytest

jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture(autouse=True, scope="module")
def _forget_compiled_programs():
    """A process that keeps the programs of all tests runs out of memory maps."""
    yield
    jax.clear_caches()
