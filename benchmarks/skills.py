"""SAC on the half-cheetah with one policy, and with ten skills told apart by where they go:
gradient steps a second, collection included."""

from dataclasses import replace

import sac
from turns import Turn

from headstart.transfer.skills import Skills

TEN = replace(sac.LEARNER, num_envs=10)


def contestants(seconds: float) -> dict[str, Turn]:
    return {"one policy": sac.ours(TEN), "ten skills": sac.ours(TEN, Skills(10))}
