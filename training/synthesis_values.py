"""What a recipe's ``[synthesis]`` may hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from model.errors import SetupError
from training.loop.recipe_file import table_of
from training.loop.recipe_values import SHARE, kinds_of_fields, named, number, one_of, row, whole
from training.sprites import KINDS, MATERIAL_KINDS
from training.synthesis import SynthesisConfig
from training.synthetic.scene import FRAMINGS

SYNTHESIS = kinds_of_fields(
    SynthesisConfig,
    height=whole(16),
    width=whole(16),
    frames=whole(1),
    exposures=whole(1),
    kind_shares=named(number(), *KINDS, *MATERIAL_KINDS),
    framing=one_of(*FRAMINGS),
    speeds=row(number(above=True), 2),
    shutter=SHARE,
)


def synthesis_of(recipe: Mapping[str, Any]) -> SynthesisConfig:
    """The recipe's ``[synthesis]``.

    Raises:
        SetupError: ``setup.bad_recipe``.
    """
    try:
        return SynthesisConfig(**table_of(recipe, "synthesis"))
    except ValueError as error:
        raise SetupError(
            "setup.bad_recipe",
            f"the recipe's [synthesis] cannot be used: {error}",
            hint="compare it with training/recipes/st_fam_s.toml",
        ) from error
