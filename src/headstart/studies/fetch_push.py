"""Hindsight on a robot's arm that is to push a block somewhere, where only its being there is paid.

Plappert et al. (2018, arXiv 1802.09464) need hindsight and 19 machines for it. RL Baselines3 Zoo
reports returns of -8.8 after 1,000,000 steps of TQC with hindsight. Here it is SAC on EnvPool's
FetchPush-v4, with the Zoo's step size and discount, and with the normalised observations of the
former, without which nothing was learned in 280,000 steps; tried on seeds below 40. With
20,000 random steps first, in place of 2,000, the block is met often enough to begin soon.
"""

from pathlib import Path
from typing import Any

from headstart.problem.named import PROBLEMS
from headstart.studies import Arm, Claim, above, beyond, collected
from headstart.studies.fetch_reach import LABELS, draw, kept, shown

__all__ = ["arms", "claims", "collect", "draw", "shown"]

SEEDS, FIRST = 5, 40
FEWER = 3
"""Seeds of who has no hindsight, and no success to speak of."""
PROBLEM = PROBLEMS["fetch-push"]


def arms() -> dict[str, Arm]:
    """What is compared."""
    plain, hindsight = LABELS
    return {
        plain: Arm(PROBLEM, LABELS[plain], FEWER, FIRST),
        hindsight: Arm(PROBLEM, LABELS[hindsight], SEEDS, FIRST),
    }


def collect(out: Path) -> dict[str, Any]:
    """Success rates, returns and seconds of training by arm and seed."""
    return collected(arms(), out, kept)


def claims(table: dict[str, Any]) -> list[Claim]:
    """What is published, held against every seed's numbers."""
    plain, hindsight = (table["arms"][name] for name in LABELS)
    return [
        beyond("with hindsight it succeeds: above 0.9", hindsight["success"], 0.9),
        above("without it does not", hindsight["success"], plain["success"], 2, digits=2),
        beyond("returns with hindsight are above the published -8.8", hindsight["returns"], -8.8),
    ]
