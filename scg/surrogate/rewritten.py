"""What an estimator's rewrite returns: a draft, and nothing else."""

from __future__ import annotations

from typing import Any

from scg.errors import EstimatorError, brief
from scg.surrogate.draft import Draft


def rewritten(estimator: Any, of: Any, where: str) -> Draft:
    """The draft that the estimator makes of a site, of several, or of the whole graph.

    Raises
    ------
    EstimatorError
        If it returns something else.
    """
    draft = estimator.rewrite(of)
    if not isinstance(draft, Draft):
        raise EstimatorError(where, f"{estimator!r} was asked for.",
                             f"Its rewrite returned {brief(draft)}, and no draft.",
                             "Return what site.draft.with_term(…) returns.")
    return draft
