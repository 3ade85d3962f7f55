import pytest

from headstart.learners import off_policy


@pytest.fixture
def counts(monkeypatch):
    """Gradient steps asked for, update by update; none is taken."""
    counts: list[int] = []

    def counted(learner, count, replay, agent, judge, *_):
        counts.append(count)
        return replay, agent, judge, {}

    monkeypatch.setattr(off_policy, "_update", counted)
    return counts
