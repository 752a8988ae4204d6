"""Every physical constant and conversion used in fcinv, once.

House units: energy meV, length Å, force constants eV/Å², mass u, scattering length fm,
temperature K. Values follow from the exact SI definitions and CODATA 2022.
"""

from __future__ import annotations

import math

ELEMENTARY_CHARGE_C = 1.602176634e-19
HBAR_J_S = 1.054571817e-34
BOLTZMANN_J_PER_K = 1.380649e-23
ATOMIC_MASS_KG = 1.66053906892e-27
NEUTRON_MASS_KG = 1.67492750056e-27
VACUUM_PERMITTIVITY_F_PER_M = 8.8541878188e-12

MEV_PER_THZ = 2 * math.pi * HBAR_J_S * 1e12 / ELEMENTARY_CHARGE_C * 1e3
"""Energy h·ν in meV of a frequency ν of 1 THz."""

BOLTZMANN_MEV_PER_K = BOLTZMANN_J_PER_K / ELEMENTARY_CHARGE_C * 1e3
"""k_B in meV/K."""

HBAR_SQUARED_OVER_U = HBAR_J_S**2 / (ATOMIC_MASS_KG * 1e-20) / ELEMENTARY_CHARGE_C * 1e3
"""ħ²/u in meV·Å²."""

ENERGY_SQUARED_PER_DYNAMICAL = HBAR_SQUARED_OVER_U * 1e3
"""(meV)² of phonon energy squared per eV/(Å²·u) of the dynamical matrix."""

NEUTRON_ENERGY_PER_K2 = HBAR_J_S**2 * 1e20 / (2 * NEUTRON_MASS_KG) / ELEMENTARY_CHARGE_C * 1e3
"""E/k² of a neutron in meV·Å²."""

MBARN_PER_SQUARE_FM = 10.0
"""1 fm² in mbarn."""

EV_PER_SQUARE_ANGSTROM_PER_N_PER_M = 1.0 / (ELEMENTARY_CHARGE_C * 1e20)
"""eV/Å² of a force constant of 1 N/m."""

COULOMB_EV_ANGSTROM = ELEMENTARY_CHARGE_C * 1e10 / (4 * math.pi * VACUUM_PERMITTIVITY_F_PER_M)
"""e²/(4πε0) in eV·Å: energy of two unit charges times their distance."""

FWHM_PER_SIGMA = 2 * math.sqrt(2 * math.log(2))
"""Full width at half maximum of a Gaussian over its standard deviation."""
