import json
import re

import numpy as np
import pytest
from scipy.stats import t, trim_mean, ttest_ind

from headstart.errors import HeadstartError
from headstart.result import (
    Result,
    Shot,
    area,
    contrast,
    difference,
    estimate,
    iqm,
    median_time,
    threshold_from,
    time_to_threshold,
    transfer,
)


def result(scores, method="m", seed=0, shots=(0, 1, 5, 20), source=()):
    at_home = source or [()] * len(shots)
    return Result(
        problem="p", method=method, seed=seed, source={"steps": 10, "episodes": 1},
        target={"observations": 0, "steps": 7, "episodes": 20},
        shots=[
            Shot(k, 0, [s - 1, s + 1], source=list(home))
            for k, s, home in zip(shots, scores, at_home, strict=True)
        ],
        seconds={}, versions={},
    )  # fmt: skip


def test_area_by_hand():
    # Trapezia over 0–1, 1–5, 5–20: 15, 4 · 25, 15 · 35; together 640, over 20 episodes.
    assert area(result([10, 20, 30, 40])) == pytest.approx(640 / 20)
    assert area(result([20, 30, 40], shots=(1, 5, 20))) == pytest.approx(625 / 19)
    assert area(result([10, 20], shots=(0, 1))) == 15
    assert area(result([5], shots=(0,))) == 5


def test_a_threshold_that_is_never_reached_is_none():
    assert time_to_threshold(result([1, 2, 3, 4]), 3) == 5
    assert time_to_threshold(result([1, 2, 3, 4]), 4.5) is None
    assert median_time([5, None, 1]) == 5
    assert median_time([None, None, 1]) is None
    assert median_time([1, None]) is None


def test_transfer_by_hand():
    scratch = [result([10, 12, 14, 20], "scratch", seed) for seed in (0, 1)]
    runs = [result([50, 55, 60, 70], seed=0), result([30, 40, 60, 90], seed=1)]
    threshold = threshold_from({"scratch": scratch, "oracle": [result([110] * 4, "oracle")]})
    assert threshold == 90  # 80 % of the way from 10 to 110
    worth = transfer(runs, scratch, threshold)
    assert worth.first.value == pytest.approx(40)
    assert worth.jumpstart.value == pytest.approx(30)
    assert worth.last.value == pytest.approx(80)
    assert worth.times == [None, 20]
    assert transfer(runs, [], threshold).jumpstart is None


def test_forward_transfer_by_hand():
    """Areas over 0–20: scratch's are 10 and 20, the runs' 35 and 50, and 60 can be had."""
    scratch = [result([k] * 4, "scratch", seed) for seed, k in enumerate((10, 20))]
    runs = [result([k] * 4, seed=seed) for seed, k in enumerate((35, 50))]
    forward = transfer(runs, scratch, None, best=60).forward
    assert forward.value == pytest.approx((25 / 45 + 30 / 45) / 2)
    alone = transfer(scratch, scratch, None, best=60).forward
    assert (alone.value, alone.low, alone.high) == (0, 0, 0)
    worse = transfer([result([0] * 4)], scratch, None, best=60).forward
    assert worse.value == pytest.approx(-10 / 45)
    for best in (None, 15):  # what could be had is not more than scratch has
        assert transfer(runs[:1], scratch, None, best).forward is None
    assert transfer(runs, [], None, best=60).forward is None


def test_backward_transfer_is_what_became_of_the_return_in_the_source():
    runs = [
        result([0] * 4, seed=0, source=[[9, 11], [8], [7], [4, 2]]),
        result([0] * 4, seed=1, source=[[10], [8], [7], [11]]),
    ]
    assert transfer(runs, [], None).backward.value == pytest.approx((-7 + 1) / 2)
    assert transfer([result([0] * 4)], [], None).backward is None


def test_a_threshold_is_between_scratch_without_and_the_oracle_after_all_its_episodes():
    scratch = [result([0, 8, 9, 10], "scratch")]
    oracle = [result([1, 2, 3, 100], "oracle")]
    assert threshold_from({"scratch": scratch, "oracle": oracle}) == 80
    assert threshold_from({"scratch": scratch}) is None
    assert threshold_from({"oracle": oracle}) is None
    below = [result([50, 8, 9, 100], "scratch")]
    assert threshold_from({"scratch": below, "oracle": [result([9] * 4, "oracle")]}) is None


def test_interquartile_mean_by_hand():
    assert iqm([1, 2, 3, 100]) == 2.5
    assert iqm([0, 4, 5, 6, 9, 10, 11, 99]) == pytest.approx((5 + 6 + 9 + 10) / 4)


def test_an_interval_of_three_is_students():
    found = estimate([1.0, 2.0, 6.0])
    error = np.sqrt(7.0 / 3)  # the variance is 7, and 4.303 is Student's quantile
    assert found.value == 3
    assert (found.low, found.high) == pytest.approx(
        (3 - 4.303 * error, 3 + 4.303 * error), rel=1e-3
    )
    assert (estimate([1.0, 1.0]).low, estimate([1.0, 1.0]).interval) == (1.0, "[1, 1]")
    assert (estimate([1.0]).low, estimate([1.0]).interval) == (None, "")
    with pytest.raises(ValueError, match="at least one run"):
        estimate([])


def test_an_interval_of_eight_by_hand():
    """The middle half is 2, 3, 4, 9; the others are drawn in to 2 and 9."""
    found = estimate([0.0, 1.0, 2.0, 3.0, 4.0, 9.0, 50.0, 99.0])
    error = np.sqrt(7 * np.var([2, 2, 2, 3, 4, 9, 9, 9], ddof=1) / (4 * 3))
    assert found.value == 4.5
    assert found.high - found.value == pytest.approx(3.182 * error, rel=1e-3)
    assert found.value - found.low == pytest.approx(3.182 * error, rel=1e-3)


@pytest.mark.parametrize(("more", "less"), [(3, 3), (5, 5), (10, 7)])
def test_a_difference_against_scipys_test_of_trimmed_means(more, less):
    rng = np.random.default_rng(more)
    a, b = rng.normal(1, 1, more), rng.normal(0, 3, less)
    theirs = ttest_ind(a, b, equal_var=False, trim=0.25)
    ours = difference(a, b, level=1 - theirs.pvalue)  # an interval that just touches 0
    assert ours.value == pytest.approx(trim_mean(a, 0.25) - trim_mean(b, 0.25))
    assert min(abs(ours.low), abs(ours.high)) == pytest.approx(0, abs=1e-6)
    wider = difference(a, b, level=1 - theirs.pvalue / 2)
    assert wider.low < 0 < wider.high
    assert difference(b, a).high == pytest.approx(-difference(a, b).low)


def test_a_difference_of_runs_that_agree():
    assert difference([2.0, 2.0], [1.0, 1.0]).interval == "[1, 1]"
    assert difference([2.0], [1.0, 1.0]).low is None


@pytest.mark.parametrize("runs", [2, 3, 5, 10])
def test_the_interval_covers_the_truth(runs):
    rng = np.random.default_rng(3)
    found = [estimate(rng.normal(0, 1, runs)) for _ in range(1000)]
    assert 0.92 <= np.mean([e.low <= 0 <= e.high for e in found]) <= 0.97


def test_results_round_trip_and_damage_is_named(tmp_path):
    path = tmp_path / "result.json"
    path.write_bytes(result([1, 2, 3, 4]).dumps())
    read = Result.read(path)
    assert read == result([1, 2, 3, 4])
    assert read.shots[0].score == 1
    path.write_text('{"problem": 1}')
    with pytest.raises(HeadstartError, match="is damaged: it has no method"):
        Result.read(path)
    with pytest.raises(HeadstartError, match="cannot read"):
        Result.read(tmp_path / "absent.json")


def test_a_contrast_scales_what_it_weighs():
    """1.3 times the scores, or a factor of 1.3: the same; and three groups add their squares."""
    a, b, c = [3.0, 4.0, 6.0], [1.0, 2.0, 2.5], [0.0, 1.0, 3.0]
    scaled, weighed = difference(a, 1.3 * np.array(b)), contrast((1.0, a), (-1.3, b))
    assert (weighed.value, weighed.low) == pytest.approx((scaled.value, scaled.low))
    three = contrast((1.0, a), (-0.3, b), (-0.7, c))
    squares = [w**2 * np.var(x, ddof=1) / 3 for w, x in ((1, a), (0.3, b), (0.7, c))]
    freedom = sum(squares) ** 2 / sum(s**2 / 2 for s in squares)
    reach = t.ppf(0.975, freedom) * np.sqrt(sum(squares))
    assert three.value == pytest.approx(np.mean(a) - 0.3 * np.mean(b) - 0.7 * np.mean(c))
    assert three.high - three.value == pytest.approx(reach)


SWEPT = {"parameter": "mass", "value": 1.0, "zero_shot": [2.0]}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"seed": -1}, "seed is damaged: '-1' is not <class 'int'>"),
        ({"seed": True}, "seed is damaged: 'True' is not"),
        ({"source": {"steps": -5, "episodes": 1}}, "source.steps is damaged: '-5' is not"),
        ({"source": {"steps": 5}}, "source has no episodes"),
        ({"target": {"steps": 5, "episodes": 1}}, "target has no observations"),
        ({"target": []}, "target is damaged: '[]' is not"),
        ({"shots": []}, "a result has shots, and each has returns"),
        ({"shots": [{"episodes": 0, "steps": 0, "returns": []}]}, "each has returns"),
        ({"shots": [{"episodes": 0, "steps": 0, "returns": ["9"]}]}, "returns is damaged: '9'"),
        ({"shots": [{"episodes": 0, "steps": 0}]}, "it has no returns"),
        (
            {"shots": [{"episodes": 0, "steps": 0, "returns": [float("nan")]}]},
            "NaN is not a finite",
        ),
        (
            {"shots": [{"episodes": 0, "steps": 0, "returns": [10**400]}]},
            "returns is damaged: '1000",
        ),
        ({"shots": [3]}, "shots is damaged: it holds no object"),
        ({"sweep": [{"value": 1.0}]}, "sweep is damaged: it has no parameter"),
        ({"sweep": [SWEPT | {"zero_shot": ["x"]}]}, "zero_shot is damaged: 'x' is not"),
        ({"shot": 3}, "unknown field 'shot': did you mean 'shots'?"),
        ({"versions": {"jax": 1}}, "versions.jax is damaged: '1' is not <class 'str'>"),
    ],
)
def test_a_record_that_is_none_is_refused(change, says, tmp_path):
    whole = result([1, 2, 3, 4])
    (tmp_path / "whole.json").write_bytes(whole.dumps())
    assert Result.read(str(tmp_path / "whole.json")) == whole
    table = json.loads(whole.dumps()) | change
    (tmp_path / "result.json").write_text(json.dumps(table))
    with pytest.raises(HeadstartError, match=re.escape(says)):
        Result.read(tmp_path / "result.json")
