"""Claims about games, a block that is pushed and tasks of an arm, from made-up numbers."""

import numpy as np
import pytest

from headstart.studies import fetch_push, metaworld, mixed_minatar
from headstart.studies.mixed_minatar import AFRESH, FEATURES, GAMES, RANDOM, TOGETHER


def played(together=0.8, **changes):
    """Results in which every claim holds: the policy of five has this share of what is learned
    alone, or another in the games that are named."""
    seeds, own = range(5), {game: RANDOM[game] + 10 for game in GAMES}
    share = {game: changes.get(game.replace("-", "_"), together) for game in GAMES}
    five = [[RANDOM[game] + share[game] * 10 + 0.01 * seed for game in GAMES] for seed in seeds]
    arms = {TOGETHER: {"scores": five}}
    arms |= {f"{game} alone": {"scores": [[own[game]] for _ in seeds]} for game in GAMES}
    arms[FEATURES] = {
        "scores": [[2.0, *[changes.get("features", 9.0) + 0.01 * s] * 3] for s in seeds]
    }
    arms[AFRESH] = {"scores": [[2.0, 5.0, 6.0, 7.0] for _ in seeds]}
    return {"arms": arms}


@pytest.mark.parametrize(
    ("changes", "broken"),
    [
        ({}, []),
        ({"asterix": 0.3}, [1]),
        ({"space_invaders": 0.2}, [5]),
        ({"together": 0.4}, [0, 1, 2, 3, 4, 5]),
        ({"features": 6.0}, [6]),
    ],
)
def test_claims_about_games_follow_the_numbers(changes, broken):
    table = played(**changes)
    holds = [claim.holds for claim in mixed_minatar.claims(table)]
    assert [i for i, held in enumerate(holds) if not held] == broken
    assert "mean of the games" in mixed_minatar.shown(table)


def test_scores_are_normalised_by_random_actions_and_by_each_game_alone():
    table = played(breakout=0.5)
    found = [np.mean(mixed_minatar.normalised(table, game)) for game in GAMES]
    np.testing.assert_allclose(found, [0.802, 0.502, 0.802, 0.802, 0.802])


@pytest.mark.parametrize(
    ("success", "plain", "returns", "broken"),
    [
        (0.98, 0.1, -7.0, []),
        (0.88, 0.1, -7.0, [0]),
        (0.98, 0.6, -7.0, [1]),
        (0.98, 0.1, -9.5, [2]),
    ],
)
def test_claims_about_the_block_follow_the_numbers(success, plain, returns, broken):
    names = list(fetch_push.LABELS)
    wiggle = np.linspace(-0.01, 0.01, 5)
    table = {
        "arms": {
            names[0]: {"success": (plain + wiggle[:3]).tolist()},
            names[1]: {
                "success": (success + wiggle).tolist(),
                "returns": (returns + wiggle).tolist(),
            },
        }
    }
    holds = [claim.holds for claim in fetch_push.claims(table)]
    assert [i for i, held in enumerate(holds) if not held] == broken


@pytest.mark.parametrize(
    ("alone", "together", "heads", "broken"),
    [
        (0.95, 0.8, 0.9, []),
        (0.7, 0.5, 0.6, [0]),
        (0.85, 0.9, 0.95, [1]),
        (0.95, 0.9, 0.85, [2]),
        (0.95, 0.6, 0.7, [3]),
    ],
)
def test_claims_about_the_arms_tasks_follow_the_numbers(alone, together, heads, broken):
    """Means over the tasks, of which each is the further from the mean the later it is."""
    wiggle, spread = np.linspace(-0.01, 0.01, 5), np.linspace(-0.04, 0.04, 5)
    rates = {
        metaworld.TOGETHER: together + wiggle[:, None] + spread,
        metaworld.HEADS: heads + wiggle[:, None] + spread,
    }
    own = alone + wiggle[:, None] + spread
    rates |= {f"{t} alone": own[:, [i]] for i, t in enumerate(metaworld.TASKS)}
    table = {"arms": {name: {"success": found.tolist()} for name, found in rates.items()}}
    np.testing.assert_allclose(metaworld.success(table, "alone"), own)
    holds = [claim.holds for claim in metaworld.claims(table)]
    assert [i for i, held in enumerate(holds) if not held] == broken
    assert f"{alone:.2f}" in metaworld.shown(table).splitlines()[-1]
