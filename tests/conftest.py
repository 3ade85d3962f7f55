import headstart

headstart.prepare_jax()

import jax  # noqa: E402

jax.config.update("jax_numpy_rank_promotion", "raise")
