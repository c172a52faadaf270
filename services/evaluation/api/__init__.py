"""The gRPC servicers of evaluation: translate, call, translate back."""

from services.evaluation.api.evaluation import EvaluationApi
from services.evaluation.api.orders import OrderApi

__all__ = ["EvaluationApi", "OrderApi"]
