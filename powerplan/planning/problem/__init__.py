"""What is optimised: gains as variables, power and errors as sums of terms, the constraints of a target."""

from typing import TYPE_CHECKING

from powerplan.lazy import loaded_when_used

# targets and objectives name these, and are known where nothing is calculated
if TYPE_CHECKING:
    from powerplan.planning.problem.error_rate import ErrorRate
    from powerplan.planning.problem.measures import Constraint, Error, Measure, Power
else:
    _MEASURES = dict.fromkeys(("Constraint", "Error", "Measure", "Power"), f"{__name__}.measures")
    __getattr__ = loaded_when_used(__name__, {**_MEASURES, "ErrorRate": f"{__name__}.error_rate"})

__all__ = ["Constraint", "Error", "ErrorRate", "Measure", "Power"]
