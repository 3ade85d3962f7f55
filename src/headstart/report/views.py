"""Stills of a domain: what its agent sees where it sees images, and else a picture of it."""

import base64
import io
import itertools

import numpy as np
from PIL import Image

from headstart import envs
from headstart.experience.unroll import begin, play
from headstart.policies.policy import ExpertPolicy
from headstart.problem import Domain

COPIES = 4
STEPS = 15
ZOOM = 4


def stills(domain: Domain, seed: int = 0) -> str | None:
    """Some copies of the domain side by side, as a data URI; nothing if it cannot be drawn."""
    image = "pixels" in envs.spec_of(domain).groups
    shown = [_still(domain, seed + i) for i in range(COPIES if image else 1)]
    frames = [frame for frame in shown if frame is not None]
    if not frames:
        return None
    gap = np.full((frames[0].shape[0], 6, 3), 255, np.uint8)
    row = [part for frame in frames for part in (frame, gap)][:-1]
    file = io.BytesIO()
    Image.fromarray(np.concatenate(row, axis=1)).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def _still(domain: Domain, seed: int) -> np.ndarray | None:
    """The first copy after a few steps of an expert's, if there is one."""
    expert = next(iter(envs.of(domain).experts), None)
    running = envs.start(domain, 1, seed, expert)
    carry = begin(ExpertPolicy(), running)
    obs = carry.told.obs
    if expert is not None:
        played = play(ExpertPolicy(), running, carry, None)
        obs = next(itertools.islice(played, STEPS - 1, None)).step.obs
    if "pixels" in obs:
        return obs["pixels"][0].repeat(ZOOM, axis=0).repeat(ZOOM, axis=1)
    picture = running.picture()
    return None if picture is None else np.asarray(picture, np.uint8)
