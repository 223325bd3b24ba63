"""Recipes by family. `recipe(name)` makes an objective; the modules below register themselves."""

from workbench.objectives.recipes.base import COLDEST, RECIPES, Objective, RecipeSpec, Term, entry, recipe

__all__ = ["COLDEST", "RECIPES", "RecipeSpec", "Objective", "Term", "entry", "recipe"]

from workbench.objectives.recipes import assignment, contrast, distil, many, softened, space  # noqa: E402, F401
