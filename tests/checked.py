"""How types are checked while tests run: as annotated, and a whole number serves as a float."""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
