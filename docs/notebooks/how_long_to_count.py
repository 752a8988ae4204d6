# %% [markdown]
# # How long to count
#
# Before the beam time: simulate what a spectrometer would count in a tenth of the time and in the
# time of a measurement whose coverage is known, invert both, and see what error bars come of it.

# %%
from matplotlib import pyplot

from fcinv_core import Crystal, ForceConstants, SQEHistogram, invert
from fcinv_core.ensemble.background import Background
from fcinv_core.ensemble.measurement import simulate_measurement

crystal = Crystal.from_file("demo/Si.cif")
coverage = SQEHistogram.load("demo/si_one_orientation.nxs")
expected = ForceConstants.from_file("demo/Si_chgnet.yaml")


def counted(share):
    """What comes of that share of the counting time."""
    return simulate_measurement(
        expected,
        coverage,
        share * coverage.exposure(),
        energy_fwhm=2.4,
        background=Background(flat=0.04),
        scale=10.0,
        seed=1,
    )


# %%
shares = (0.1, 1.0)
results = [invert([counted(share)], crystal, start=expected, energy_fwhm=2.4) for share in shares]
for share, result in zip(shares, results, strict=True):
    sigma = result.dispersion.sigma_mev.mean()
    print(f"{share:g} of the time: {sigma:.3f} meV, {result.verdict.trust}")

# %% [markdown]
# Where nothing but counting limits, error bars fall with the square root of the time (dashed). They
# stay above that where force constants are held by the prior alone: then other orientations are
# worth more than hours.

# %%
sigmas = [result.dispersion.sigma_mev.mean() for result in results]
figure, panel = pyplot.subplots(layout="constrained")
panel.loglog(shares, sigmas, "o-")
panel.loglog(shares, [sigmas[-1] * (shares[-1] / share) ** 0.5 for share in shares], "--")
panel.set(xlabel="share of the counting time", ylabel="error of phonon energies (meV)")
figure.savefig("counting_time.png")
