"""Who returns, who pays afterwards and how much - with an event and without one."""

from ml.response.affinity import AffinityModel
from ml.response.examples import Examples, ResponseError
from ml.response.explanations import importance_by_feature, reasons_in_words
from ml.response.outcome import ConversionModel, OutcomeModel, OutcomePrediction, ReturnModel, RevenueModel
from ml.response.uplift import WORTH

__all__ = [
    "WORTH",
    "AffinityModel",
    "ConversionModel",
    "Examples",
    "OutcomeModel",
    "OutcomePrediction",
    "ResponseError",
    "ReturnModel",
    "RevenueModel",
    "importance_by_feature",
    "reasons_in_words",
]
