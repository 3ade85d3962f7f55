"""Maps of returns over two parameters."""

import numpy as np

from headstart.report.reach import figure_of
from headstart.result import Result, Shot

WIDTHS, HEIGHTS = (1.0, 2.0, 3.0), (10.0, 20.0)


def run(best):
    """Returns are `best` plus the width plus a hundredth of the height."""
    sweep = [
        {
            "parameter": "width", "value": width, "second": "height", "second_value": height,
            "zero_shot": [best + width + height / 100],
        }
        for width in WIDTHS
        for height in HEIGHTS
    ]  # fmt: skip
    steps = {"steps": 0, "episodes": 0, "observations": 0}
    return Result("far", "her", 0, steps, steps, [Shot(0, 0, [0.0])], {}, {}, sweep)


def test_the_first_parameter_goes_across_and_the_second_up_on_one_scale():
    figure = figure_of({name: [run(best)] for name, best in zip("abcd", range(4), strict=True)})
    maps = [axis for axis in figure.axes if axis.images]
    assert [axis.get_title() for axis in maps] == list("abcd")
    assert [text.get_text() for text in maps[0].get_xticklabels()] == ["1", "2", "3"]
    assert [text.get_text() for text in maps[0].get_yticklabels()] == ["10", "20"]
    for best, axis in enumerate(maps):
        (image,) = axis.images
        expected = best + np.array([[1.1, 2.1, 3.1], [1.2, 2.2, 3.2]])
        np.testing.assert_allclose(image.get_array(), expected)
        assert image.get_clim() == (1.1, 3 + 3.2)
        assert axis.get_xlabel() == "width"
