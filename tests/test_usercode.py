"""Which files a result is of."""

import sys
from importlib.metadata import version

import pytest

from headstart.usercode import digests

FILES = {
    "worlds/__init__.py": "",
    "worlds/slope.py": "import json\nfrom .parts import friction\nimport worlds.parts.wheels\n",
    "worlds/parts/__init__.py": "from . import paint\n",
    "worlds/parts/paint.py": "COLOUR = 'red'\n",
    "worlds/parts/friction.py": "def of(speed):\n    from alone import factor\n",
    "worlds/parts/wheels.py": "from ..slope import nothing_that_exists\n",
    "worlds/parts/unused.py": "",
    "alone.py": "import numpy\nfactor = 2\n",
    "other.py": "",
}


@pytest.fixture
def here(tmp_path, monkeypatch):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] in ("worlds", "alone")]:
        del sys.modules[name]


def test_it_is_all_that_is_imported_from_beside_it(here):
    assert list(digests(["worlds.slope"])) == [
        "alone", "worlds", "worlds.parts", "worlds.parts.friction", "worlds.parts.paint",
        "worlds.parts.wheels", "worlds.slope",
    ]  # fmt: skip
    assert list(digests(["alone"])) == ["alone"]
    assert digests(["alone", "worlds.slope"]) == digests(["worlds.slope"])


@pytest.mark.parametrize("edited", ["worlds/slope.py", "worlds/parts/paint.py", "alone.py"])
def test_an_edit_anywhere_in_it_shows_and_nowhere_else(here, edited):
    before = digests(["worlds.slope"])
    (here / "other.py").write_text("edited = True")
    (here / "worlds/parts/unused.py").write_text("edited = True")
    assert digests(["worlds.slope"]) == before
    (here / edited).write_text(FILES[edited] + "edited = True\n")
    after = digests(["worlds.slope"])
    module = edited.removesuffix(".py").replace("/", ".")
    assert {name for name in before if before[name] != after[name]} == {module}


def test_what_is_installed_or_ours_is_told_by_its_version():
    found = digests(["headstart.envs.mujoco", "gymnasium.envs.classic_control", "json"])
    assert found == {"gymnasium": f"gymnasium {version('gymnasium')}"}


def test_what_cannot_be_parsed_is_still_a_file(here):
    (here / "other.py").write_text("not python")
    (here / "alone.py").write_text("def later():\n    import other\n")
    assert list(digests(["alone"])) == ["alone", "other"]
