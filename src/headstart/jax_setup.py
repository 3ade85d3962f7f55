"""How JAX is run."""

import os
from pathlib import Path


def prepare_jax() -> None:
    """Set, before JAX is imported, what the command line runs it with.

    Compiled programs are kept in the user's cache; small matrix products stay on one thread, since
    the other cores are for physics or for other runs. On an accelerator (JAX_PLATFORMS=cuda,cpu) a
    run takes the memory that it needs, since others share it. Errors end with what they say, not
    with advice of JAX's. What the user has set is left alone.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "headstart" / "jax"
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.3")
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    os.environ.setdefault("JAX_TRACEBACK_FILTERING", "off")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
