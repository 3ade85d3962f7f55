import ctypes
import os
import sys

import headstart

headstart.prepare_jax()
# What the tests compile is run once or twice: as JAX's own tests do, they go without optimisations,
# and without XLA's newer way of fusing, which makes compiling take twice as long.
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
os.environ["XLA_FLAGS"] += " --xla_cpu_use_fusion_emitters=false"

import jax
import pytest

jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture(autouse=True, scope="module")
def _forget_compiled_programs():
    """A process that keeps the programs of all tests runs out of memory maps, and of memory."""
    yield
    jax.clear_caches()
    if sys.platform == "linux":  # glibc keeps what was freed, half of what a process holds
        ctypes.CDLL(None).malloc_trim(0)


@pytest.fixture(autouse=True)
def _optimized_where_it_learns(request):
    """Programs that run for long are worth their optimisation."""
    if request.node.get_closest_marker("learns") is None:
        yield
        return
    jax.clear_caches()
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", True)
