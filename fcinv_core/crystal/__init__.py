"""Crystals, their force constants, and the symmetry-reduced basis of force constants."""

from fcinv_core.crystal.basis import ForceConstantBasis
from fcinv_core.crystal.crystal import Crystal
from fcinv_core.crystal.force_constants import ForceConstants

__all__ = ["Crystal", "ForceConstantBasis", "ForceConstants"]
