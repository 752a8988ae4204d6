# %% [markdown]
# # Beyond the report: any property, with its error bar
#
# A result holds force constants with their covariance. Draws from it, put through any program that
# reads force constants, turn into error bars of whatever that program computes: here the heat
# capacity of silicon. (`to_phonopy()` of force constants hands them to phonopy.)

# %%
import numpy as np
from matplotlib import pyplot

from fcinv_core import Crystal, SQEHistogram, invert
from fcinv_core.networks.library import find_model

data = SQEHistogram.load("demo/si_one_orientation.nxs")
crystal = Crystal.from_file("demo/Si.cif")
result = invert([data], crystal, model=find_model(crystal).model, energy_fwhm=2.4)
print(result.verdict.trust, *result.verdict.reasons, sep="\n")

# %% [markdown]
# What the report shows is there as figures, too.

# %%
result.plot_dispersion()
result.plot_shells()

# %% [markdown]
# Draw sets of force constants that the data allow. `basis` turns parameters into force constants
# that obey all symmetries and sum rules, so each draw is a crystal of its own.

# %%
random = np.random.default_rng(seed=0)
drawn = random.multivariate_normal(result.parameters, result.covariance, size=20)
temperatures = np.arange(20, 301, 20)
mesh = (np.indices((10, 10, 10)).reshape(3, -1).T + 0.5) / 10  # reciprocal-lattice units


def heat_capacity(parameters):
    """(n,) J/K/mol of a primitive cell at `temperatures`."""
    energies = result.basis.force_constants(parameters).frequencies(mesh)  # meV
    x = energies[..., None] / (0.08617333 * temperatures)
    per_mode = (x / 2 / np.sinh(x / 2)) ** 2
    return 8.314463 * per_mode.mean(axis=0).sum(axis=0)


best = heat_capacity(result.parameters)
spread = np.std([heat_capacity(parameters) for parameters in drawn], axis=0)

# %%
figure, (above, below) = pyplot.subplots(2, sharex=True, layout="constrained")
above.plot(temperatures, best)
above.set_ylabel("heat capacity (J/K/mol)")
below.plot(temperatures, spread)
below.set(xlabel="temperature (K)", ylabel="its error (J/K/mol)")
figure.savefig("heat_capacity.png")
print(f"at 300 K: {best[-1]:.3f} ± {spread[-1]:.3f} J/K/mol")
