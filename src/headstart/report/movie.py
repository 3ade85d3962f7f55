"""A moving picture of a policy on a domain, as a data URI that needs no player."""

import base64
import io

import numpy as np
from PIL import Image

from headstart import envs
from headstart.learners.policy import Policy, greedy, prepared
from headstart.problem import Domain

STEPS = 400
FRAMES = 100


def movie(policy: Policy, domain: Domain, seed: int) -> str | None:
    """The first seconds of an episode as an animated WebP; nothing if it cannot be drawn.

    An episode that ends early rests on its last frame for a moment.
    """
    batch = envs.start(domain, 1, seed)
    obs = batch.reset()
    frames = [batch.picture()]
    if frames[0] is None:
        return None
    everyone = np.arange(1)
    for t in range(1, STEPS + 1):
        step = batch.step(np.asarray(greedy(policy, prepared(obs))), everyone)
        obs = step.next_obs
        ended = bool(step.terminated[0] | step.truncated[0])
        if ended or t % (STEPS // FRAMES) == 0:
            frames.append(batch.picture())
        if ended:
            break
    images = [Image.fromarray(frame) for frame in frames if frame is not None]
    seconds = getattr(batch.environment, "dt", 0.02) * (STEPS // FRAMES)
    durations = [max(20, round(1000 * seconds))] * (len(images) - 1) + [1000]
    file = io.BytesIO()
    images[0].save(
        file,
        "WEBP",
        save_all=True,
        append_images=images[1:],
        duration=durations,
        loop=0,
        quality=60,
    )
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()
