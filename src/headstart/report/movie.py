"""A moving picture of a policy on a domain, as a data URI that needs no player."""

import base64
import io

from PIL import Image

from headstart import envs
from headstart.experience.unroll import begin, play
from headstart.policies.policy import AbstractPolicy
from headstart.problem import Domain

FRAME = 0.06
"""Seconds between two frames, at least; a step, if that is longer."""
FRAMES = 125


def movie(policy: AbstractPolicy, domain: Domain, seed: int) -> str | None:
    """The first seconds of an episode as an animated WebP; nothing if it cannot be drawn.

    It begins with nothing remembered. An episode that ends early rests on its last frame.
    """
    running = envs.start(domain, 1, seed)
    carry = begin(policy, running)
    frames = [running.picture()]
    if frames[0] is None:
        return None
    every = max(round(FRAME / running.environment.dt), 1)
    for t, seen in enumerate(play(policy, running, carry, None, rounds=1), start=1):
        ended = bool(seen.step.terminated[0] | seen.step.truncated[0])
        if ended or t % every == 0:
            frames.append(running.picture())
        if t == FRAMES * every:
            break
    images = [Image.fromarray(frame) for frame in frames if frame is not None]
    seconds = running.environment.dt * every
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
