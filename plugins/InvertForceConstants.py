"""InvertForceConstants: interatomic force constants from measured S(Q,E)."""

from mantid.api import (
    AlgorithmFactory,
    FileAction,
    FileProperty,
    IMDHistoWorkspaceProperty,
    ITableWorkspaceProperty,
    MatrixWorkspaceProperty,
    PropertyMode,
    PythonAlgorithm,
    WorkspaceProperty,
)
from mantid.kernel import (
    Direction,
    EnabledWhenProperty,
    FloatBoundedValidator,
    IntArrayProperty,
    IntBoundedValidator,
    Property,
    PropertyCriterion,
    StringArrayProperty,
    StringListValidator,
)

from fcinv_core import mantid_bridge as bridge
from fcinv_core import mantid_properties as properties
from fcinv_core.errors import FcinvError
from fcinv_core.limits import MAX_ITERATIONS

FILES_TO_READ = ("BornFile", "StartForceConstants")
FIT = ("Model", "StartForceConstants", "Background", "Refine", "MaxIterations", "Seed")


class InvertForceConstants(PythonAlgorithm):
    """Force constants with error bars, a copy of the data, a dispersion and a verdict."""

    def category(self):
        return "Inelastic\\Phonons"

    def summary(self):
        return (
            "Finds the harmonic interatomic force constants of a crystal, with error bars, from "
            "its single-crystal S(Q,E), and says whether to trust them."
        )

    def seeAlso(self):
        return ["SimulateSQE", "MDNorm", "LoadMD"]

    def helpURL(self):
        return bridge.help_page("InvertForceConstants")

    def PyInit(self):
        self._declare_measurement()
        self._declare_crystal()
        self._declare_fit()
        self._declare_output()

    def _declare_measurement(self):
        self.declareProperty(
            IMDHistoWorkspaceProperty("InputWorkspace", "", Direction.Input),
            "Measured MDHistoWorkspace: MDNorm's output with three momentum dimensions and DeltaE, "
            "in any order and projection.",
        )
        self.declareProperty(
            StringArrayProperty("AdditionalWorkspaces", direction=Direction.Input),
            "Names of further MDHistoWorkspaces, or groups of them, of the same crystal, which are "
            "fitted jointly.",
        )
        for name, what in (
            ("InputDataWorkspace", "OutputDataWorkspace"),
            ("InputNormalizationWorkspace", "OutputNormalizationWorkspace"),
        ):
            self.declareProperty(
                IMDHistoWorkspaceProperty(
                    name, "", Direction.Input, optional=PropertyMode.Optional
                ),
                f"{what} of the call of MDNorm that made InputWorkspace. With both, bins without "
                "counts tell the most; otherwise counting times follow from signals and errors.",
            )
            self.setPropertyGroup(name, "Data and normalization")
        bridge.declare_measurement(self)
        for name, what in (("EnergyMin", "Lowest"), ("EnergyMax", "Highest")):
            self.declareProperty(
                name,
                Property.EMPTY_DBL,
                doc=f"{what} energy transfer in meV that is fitted. Default: all of the data but "
                "the elastic line and the last 5 % before the incident energy.",
            )

    def _declare_crystal(self):
        self.declareProperty(
            FileProperty("Structure", "", FileAction.Load, [".cif", ".vasp", ".yaml"]),
            "Crystal structure: CIF, POSCAR or phonopy.yaml (whose supercell and Born charges are "
            "taken, too).",
        )
        self.declareProperty(
            IntArrayProperty("SupercellMatrix", []),
            "Supercell of the force constants: 3 multiples, or 9 numbers row by row. Default: that "
            "of a phonopy.yaml, else at least 10 Angstrom along each axis.",
        )
        self.declareProperty(
            "Cutoff",
            Property.EMPTY_DBL,
            validator=FloatBoundedValidator(lower=0.0),
            doc="Range of the force constants in Angstrom. Default: all that fit into the "
            "supercell.",
        )
        self.declareProperty(
            FileProperty("BornFile", "", FileAction.OptionalLoad),
            "BORN file of phonopy with Born charges (e) and dielectric tensor of a polar crystal. "
            "Default: those of StartForceConstants or Structure, if they have any.",
        )
        for name in ("Structure", "SupercellMatrix", "Cutoff", "BornFile"):
            self.setPropertyGroup(name, "Crystal")

    def _declare_fit(self):
        self.declareProperty(
            "Model",
            "",
            doc="Trained network to start from: its name, or the path of its file. Default: the "
            "one that fits the crystal; none: start from the universal force field CHGNet.",
        )
        self.declareProperty(
            FileProperty("StartForceConstants", "", FileAction.OptionalLoad, [".yaml"]),
            "phonopy.yaml or FORCE_CONSTANTS to refine from, instead of a network.",
        )
        self.declareProperty(
            "Background",
            "Linear",
            validator=StringListValidator(["Linear", "Flat", "None"]),
            doc="Fitted with the phonons: linear in energy with the tail of the elastic line, "
            "flat, or none where it has been subtracted.",
        )
        self.declareProperty(
            "Refine",
            True,
            doc="Adjust force constants until counts agree. Otherwise the start is compared with "
            "the data: the network's estimate, with the errors that it states.",
        )
        self.declareProperty(
            "MaxIterations",
            MAX_ITERATIONS,
            validator=IntBoundedValidator(lower=1),
            doc="Largest number of iterations of the refinement on all bins.",
        )
        self.declareProperty(
            "Seed",
            0,
            validator=IntBoundedValidator(lower=0),
            doc="Of random numbers: the same seed gives the same result.",
        )
        for name in FIT:
            self.setPropertyGroup(name, "Fit")
        self.setPropertySettings(
            "MaxIterations", EnabledWhenProperty("Refine", PropertyCriterion.IsDefault)
        )
        self.setPropertySettings(
            "Model", EnabledWhenProperty("StartForceConstants", PropertyCriterion.IsDefault)
        )

    def _declare_output(self):
        self.declareProperty(
            ITableWorkspaceProperty("OutputWorkspace", "", Direction.Output),
            "Table of force constants (eV/Angstrom^2), scale, background, resolution and elastic "
            "constants (GPa): parameter, value, sigma, unit.",
        )
        for name, what in (
            ("OutputSimulation", "The fitted model on the bins of the input, NaN where it is NaN"),
            (
                "OutputResidual",
                "Measured less simulated signal over its expected error, NaN in bins that were "
                "not fitted",
            ),
        ):
            self.declareProperty(
                WorkspaceProperty(name, "", Direction.Output, PropertyMode.Optional),
                f"{what}; a group if there are several workspaces.",
            )
        self.declareProperty(
            MatrixWorkspaceProperty(
                "OutputDispersion", "", Direction.Output, optional=PropertyMode.Optional
            ),
            "Phonon energies in meV along lines of high symmetry (path length in 1/Angstrom), one "
            "spectrum per branch, errors their standard deviations.",
        )
        for name, what, extension in (
            ("OutputForceConstants", "phonopy.yaml with the force constants", ".yaml"),
            ("ReportFile", "Report with pictures, one HTML file", ".html"),
            ("ResultFile", "All numbers, as fcinv writes them into result.json", ".json"),
        ):
            self.declareProperty(
                FileProperty(name, "", FileAction.OptionalSave, [extension]), f"{what}."
            )
            self.setPropertyGroup(name, "Files")
        self.declareProperty(
            "TrustVerdict",
            "",
            direction=Direction.Output,
            doc="Whether to trust the result: yes, caution or no. The reasons are in the log and "
            "in the report.",
        )
        self.declareProperty(
            "Deviance",
            0.0,
            direction=Direction.Output,
            doc="Deviance per degree of freedom: 1 for a fit as good as counting allows.",
        )

    def validateInputs(self):
        issues = properties.issues_of_files(self, FILES_TO_READ)
        issues.update(properties.issues_of_supercell(self))
        workspaces, more = [self.getProperty("InputWorkspace").value], "AdditionalWorkspaces"
        try:
            workspaces += bridge.named_workspaces(self.getProperty(more).value)
        except FcinvError as error:
            issues[more] = str(error)
        for number, workspace in enumerate(workspaces):
            problem = None if workspace is None else bridge.problem_of(workspace)
            if problem is not None:
                issues[more if number else "InputWorkspace"] = problem
        if None not in workspaces and not issues.keys() & {more, "InputWorkspace"}:
            issues.update(properties.issues_of_measurement(self, workspaces))
        if [workspace is None for workspace in self._pair()] in ([True, False], [False, True]):
            issues["InputNormalizationWorkspace"] = "Data and normalization are needed together"
        low, high = self._energy_range()
        if low >= high:
            issues["EnergyMax"] = f"{high:g} meV is not above EnergyMin, {low:g} meV"
        if self.getProperty("Model").value and self.getProperty("StartForceConstants").value:
            issues["Model"] = "StartForceConstants is given, too: leave one of them out"
        return issues

    def _energy_range(self):
        infinity = float("inf")
        low = properties.given(self, "EnergyMin", -infinity)
        return low, properties.given(self, "EnergyMax", infinity)

    def _pair(self):
        """Data and normalization, or None for each."""
        names = ("InputDataWorkspace", "InputNormalizationWorkspace")
        return [self.getProperty(name).value for name in names]

    @bridge.one_line_errors
    def PyExec(self):
        workspaces = [
            self.getProperty("InputWorkspace").value,
            *bridge.named_workspaces(self.getProperty("AdditionalWorkspaces").value),
        ]
        result, copies = bridge.run(self, self._work(workspaces))
        self.setProperty("OutputWorkspace", bridge.table_of(result))
        for name, histograms in copies.items():
            made = [
                bridge.workspace_like(workspace, histogram)
                for workspace, histogram in zip(workspaces, histograms, strict=True)
            ]
            self.setProperty(name, bridge.group_of(made, self.getPropertyValue(name)))
        if self.getPropertyValue("OutputDispersion"):
            self.setProperty("OutputDispersion", bridge.dispersion_workspace(result.dispersion))
        self.setProperty("TrustVerdict", result.verdict.trust)
        self.setProperty("Deviance", float(result.deviance_per_dof))
        self._tell(result)

    def _tell(self, result):
        from fcinv_core.report.wording import HEADLINES, sentence

        trust = result.verdict.trust
        tell = self.log().notice if trust == "yes" else self.log().warning
        tell(f"{HEADLINES[trust]} (deviance {result.deviance_per_dof:.4g}).")
        for reason in result.verdict.reasons:
            tell(sentence(reason))

    def _histograms(self, workspaces):
        """Copies of the workspaces, the first with its normalization if that is given."""
        histograms = [bridge.histogram_from_workspace(workspace) for workspace in workspaces]
        if None not in (pair := self._pair()):
            parts = [bridge.histogram_from_workspace(workspace) for workspace in pair]
            histograms[0] = histograms[0].with_normalization(*parts)
        return histograms

    def _work(self, workspaces):
        """What does not touch Mantid, and returns the result and histograms for other outputs."""
        histograms = self._histograms(workspaces)
        files = {
            "structure": self.getProperty("Structure").value,
            "supercell": properties.supercell_of(self),
            "model": self.getProperty("Model").value or None,
            "start": self.getProperty("StartForceConstants").value or None,
            "born": self.getProperty("BornFile").value or None,
        }
        settings = {
            **properties.measurement_of(self),
            "energy_range": self._energy_range(),
            "cutoff": properties.given(self, "Cutoff"),
            "background": self.getProperty("Background").value.lower(),
            "refine": self.getProperty("Refine").value,
            "max_iterations": self.getProperty("MaxIterations").value,
            "seed": self.getProperty("Seed").value,
        }
        outputs = {
            "force_constants": self.getProperty("OutputForceConstants").value,
            "report": self.getProperty("ReportFile").value,
            "document": self.getProperty("ResultFile").value,
        }
        wanted = [
            name for name in ("OutputSimulation", "OutputResidual") if self.getPropertyValue(name)
        ]

        def work(report):
            from fcinv_core.inversion import invert
            from fcinv_core.inversion.inputs import InversionInputs
            from fcinv_core.inversion.output import write_files

            report("Reading the crystal", 0.0)
            inputs = InversionInputs.from_files(**files)
            result = invert(
                histograms,
                inputs.crystal,
                model=inputs.model,
                start=inputs.start,
                born_charges=inputs.born_charges,
                progress=report,
                **settings,
            )
            report("Writing", 1.0)
            write_files(result, **outputs)
            copies = {}
            if "OutputSimulation" in wanted:
                copies["OutputSimulation"] = result.simulated
            if "OutputResidual" in wanted:
                copies["OutputResidual"] = [fit.residual_histogram for fit in result.fits]
            return result, copies

        return work


AlgorithmFactory.subscribe(InvertForceConstants)
