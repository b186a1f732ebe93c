"""What the compiler refuses of the tests' problems, and the words in which it must: the laws try all that is not here.

By problem and class of estimator, the same one for all sites. `tests/laws/test_refused.py` holds every combination to
this table, both ways: what is refused must be here, and what is here must be refused.
"""

from __future__ import annotations

from collections.abc import Mapping

import scg

NORMAL = ("normal_to_bernoulli", "bernoulli_to_normal", "normal_quadratic_below", "normal_quadratic_above",
          "normal_exponential", "normal_cosine", "normal_rows", "normal_shared", "normal_shared_in_scan", "normal_scan",
          "figure_1_graph_1", "figure_1_graph_2", "figure_1_graph_3", "figure_1_graph_5")
GAMMA, POISSON, UNIFORM = ("gamma_square", "gamma_rate"), ("poisson_cosine", "poisson_square"), \
    ("uniform_square", "uniform_interval")
INFINITE = {**dict.fromkeys(NORMAL, "Normal"), **dict.fromkeys(GAMMA, "Gamma"), **dict.fromkeys(POISSON, "Poisson"),
            **dict.fromkeys(UNIFORM, "Uniform"), "exponential_square": "Exponential", "beta_square": "Beta",
            "student_square": "StudentT", "dirichlet_shares": "Dirichlet", "multivariate_normal": "MultivariateNormal",
            "mixture_cosine": "Mixture", "custom_logistic": "Custom", "shifted_log_normal": "Transformed"}
NO_WEAK = ("mixture_cosine", "custom_logistic", "multivariate_normal")
BERNOULLI = ("bernoulli_toy", "bernoulli_probs", "shared_logit", "call_level_cost", "scan_masked", "two_layer_net",
             "tiny_net", "chain", "rows", "shared_weights", "scan_of_one_step", "coin_in_scan", "scan_beside_site",
             "truths_in_scan", "data_beside", "normal_to_bernoulli", "bernoulli_to_normal", "figure_1_graph_4",
             "scan_3_steps", "scan_4_steps", "shared_path_in_scan", "unrolled_2_steps", "one_hot_pair")
CATEGORICAL = ("categorical_toy", "categorical_weights", "categorical_table", "bernoulli_to_categorical",
               "per_row_site", "scan_along_data")
IN_SCANS = ("scan_of_one_step", "coin_in_scan", "scan_3_steps", "scan_4_steps", "shared_path_in_scan", "truths_in_scan",
            "scan_along_data", "normal_scan")
PATHS = ("Pathwise", "DReG")
RELAXATIONS = ("GumbelSoftmax", "GumbelRao", "ReinMax")
STEPS = ("scan_of_one_step", "coin_in_scan", "scan_3_steps", "scan_4_steps", "shared_path_in_scan")

REFUSED: Mapping[tuple[str, str], str] = {
    **{(name, kind): f"{family} has no finite support" for name, family in INFINITE.items()
       for kind in ("LocalExpectation", "WithoutReplacement", "SumAndSample", "CARMS")},
    **{(name, "Enumerate"): f"{family} takes infinitely many values" for name, family in INFINITE.items()},
    **{(name, kind): "Its samples are 0 and 1, so the path derivative is zero" for name in BERNOULLI for kind in PATHS},
    **{(name, kind): "Its samples are the integers from 0" for name in (*CATEGORICAL, *POISSON) for kind in PATHS},
    **{("mixture_cosine", kind): "Mixture has no differentiable path" for kind in PATHS},
    **{(name, "WeakDerivative"): f"{INFINITE[name]} has no weak derivative" for name in NO_WEAK},
    **{(name, kind): "comes from the moving bound" for name in UNIFORM
       for kind in ("ScoreFunction", "MuProp", "DReG", "LAX", "Delta", "DoubleCV")},
    **{(name, "MuProp"): r"the take at problems\.py:\d+, which jumps there"
       for name in ("categorical_table", "bernoulli_to_categorical")},
    **{(name, "MuProp"): r"the comparison at problems\.py:\d+, which jumps there"
       for name in ("scan_masked", "truths_in_scan")},
    **{(name, kind): "has no log-odds"
       for name in (*INFINITE, *CATEGORICAL, "scan_masked", "normal_to_bernoulli", "one_hot_pair")
       for kind in ("ARM", "DisARM", "ARMS")},
    **{(name, "StraightThrough"): r"the take at problems\.py:\d+, which jumps"
       for name in ("categorical_table", "bernoulli_to_categorical")},
    **{("bernoulli_to_categorical", kind): r"the take at problems\.py:\d+, which jumps" for kind in RELAXATIONS},
    **{(name, kind): r"the comparison at problems\.py:\d+, which jumps"
       for name in ("scan_masked", "truths_in_scan") for kind in ("StraightThrough", *RELAXATIONS)},
    **{(name, kind): "has no relaxation" for name in (*INFINITE, *CATEGORICAL, "normal_to_bernoulli")
       if name != "bernoulli_to_categorical" for kind in RELAXATIONS},
    **{(name, "PSA"): "has no log-odds" for name in (*INFINITE, *CATEGORICAL, "scan_masked", "one_hot_pair")},
    **{(name, "PSA"): "drawn in the steps of a loop" for name in (*STEPS, "truths_in_scan")},
    ("unrolled_2_steps", "PSA"): r"are not affine in its draws: on the way stands the tanh at problems\.py:\d+",
    **{(name, "Half"): f"{family} has no finite support" for name, family in INFINITE.items()},
    **{(name, kind): r"the take at problems\.py:\d+, which jumps" for kind in ("Half", "MeanPropagation")
       for name in ("categorical_table", "bernoulli_to_categorical")},
    **{(name, kind): r"the comparison at problems\.py:\d+, which jumps" for kind in ("Half", "MeanPropagation")
       for name in ("scan_masked", "truths_in_scan")},
    **{(name, "GradientCritic"): r"the comparison at problems\.py:\d+, which jumps there"
       for name in ("scan_masked", "truths_in_scan")},
    **{(name, "GradientCritic"): "comes from the moving bound" for name in UNIFORM},
    **{(name, "GradientCritic"): r"the take at problems\.py:\d+, which jumps there"
       for name in ("categorical_table", "bernoulli_to_categorical")},
    **{(name, kind): "has no relaxation" for name in (*INFINITE, *CATEGORICAL, "normal_to_bernoulli")
       for kind in ("REBAR", "RELAX")},
    **{("scan_masked", kind): "may exclude a value" for kind in ("REBAR", "RELAX")},
    **{(name, kind): r"the comparison at problems\.py:\d+, which jumps" for name in ("truths_in_scan",)
       for kind in ("REBAR", "Delta")},
    **{(name, "LAX"): "which have no path" for name in (*BERNOULLI, *CATEGORICAL, *POISSON)
       if name not in ("normal_to_bernoulli",)},
    ("categorical_table", "Delta"): r"the take at problems\.py:\d+, which jumps",
    ("custom_logistic", "Delta"): "Custom has no variance",
    **{("shifted_log_normal", kind): "Transformed has no mean"
       for kind in ("MuProp", "Delta", "DoubleCV", "GradientCritic", "MeanPropagation", "StraightThrough")},
    **{(name, "RODEO"): "has no log-odds" for name in (*INFINITE, *CATEGORICAL, "scan_masked", "normal_to_bernoulli",
                                                      "one_hot_pair")},
    **{(name, "UpperBound"): "without a draw in between" for name in (
        "bernoulli_probs", "bernoulli_to_categorical", "call_level_cost", "scan_masked", "categorical_table",
        "two_layer_net", "tiny_net", "chain", "rows", "shared_weights", "scan_3_steps", "scan_4_steps",
        "scan_of_one_step", "coin_in_scan", "scan_beside_site", "unrolled_2_steps", "scan_along_data", "normal_rows",
        "deterministic", "figure_1_graph_4", "shifted_log_normal")},
    **{(name, "UpperBound"): "moves the bounds of its support" for name in UNIFORM},
    ("mixture_cosine", "LAX"): "Mixture has no differentiable path",
    **{(name, "StochasticTriple"): f"{family} has no coupling" for name, family in INFINITE.items()
       if name not in POISSON},
}  # fmt: skip


def refusal(problem: str, strategy: scg.Estimator | None) -> str | None:
    """The words in which a strategy must be refused for a problem; None where it must not be."""
    return REFUSED.get((problem, type(strategy).__name__))
