import headstart

headstart.prepare_jax()

import jax

jax.config.update("jax_numpy_rank_promotion", "raise")
