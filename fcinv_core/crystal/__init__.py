"""Crystals, their force constants, and the symmetry-reduced basis of force constants."""

from fcinv_core.crystal.basis import ForceConstantBasis
from fcinv_core.crystal.crystal import Crystal
from fcinv_core.crystal.force_constants import ForceConstants
from fcinv_core.crystal.matching import LatticeMatch, match_lattice
from fcinv_core.crystal.shells import ShellConstant, shell_constants

__all__ = [
    "Crystal",
    "ForceConstantBasis",
    "ForceConstants",
    "LatticeMatch",
    "ShellConstant",
    "match_lattice",
    "shell_constants",
]
