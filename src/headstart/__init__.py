"""Headstart: transfer learning in reinforcement learning.

You can train here; will it work there? A problem names a source, a target, and what may be taken
from the target. A method carries knowledge from one to the other. The target is metered, and the
result is the return on it after no, one, a few and many tries.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from headstart.envs.parameter import Parameter
from headstart.errors import HeadstartError
from headstart.problem import Access, Domain, TransferProblem
from headstart.problem.distributions import Choice, Fixed, LogUniform, Normal, Uniform

if TYPE_CHECKING:
    from headstart.policies.loaded import LoadedPolicy

__version__ = "0.2.0"
__all__ = [
    "Access",
    "Choice",
    "Domain",
    "Fixed",
    "HeadstartError",
    "LogUniform",
    "Normal",
    "Parameter",
    "TransferProblem",
    "Uniform",
    "load",
]


def load(folder: str | Path, trusted: Sequence[str] = ()) -> "LoadedPolicy":
    """A policy that was learned, to act in an environment of one's own.

        policy = headstart.load("runs/cheetah/finetune/0/adapted")
        action = policy(obs)

    Args:
        folder: of knowledge, or of a run, for what it ended with.
        trusted: the user's own encoders or memory, by `module:Class`, that it may import.

    Raises:
        HeadstartError: there is no policy, or it holds many skills, or is of an older version.
    """
    prepare_jax()
    from headstart.knowledge import Knowledge
    from headstart.policies.loaded import LoadedPolicy
    from headstart.policies.policy import policy_from

    adapted = Path(folder) / "adapted"
    held = Knowledge.load(adapted if adapted.is_dir() else Path(folder))
    return LoadedPolicy(policy_from(held, trusted))


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
