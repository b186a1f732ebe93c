"""Estimators: one rule a file. Each is a rewrite of the surrogate for a site; see `estimator.Estimator`."""

from scg.estimators.arm import ARM as ARM
from scg.estimators.arms import ARMS as ARMS
from scg.estimators.carms import CARMS as CARMS
from scg.estimators.disarm import DisARM as DisARM
from scg.estimators.dreg import DReG as DReG
from scg.estimators.enumerate import Enumerate as Enumerate
from scg.estimators.estimator import ESTIMATORS as ESTIMATORS
from scg.estimators.estimator import Estimator as Estimator
from scg.estimators.gradient_critic import GradientCritic as GradientCritic
from scg.estimators.gumbel_rao import GumbelRao as GumbelRao
from scg.estimators.gumbel_softmax import GumbelSoftmax as GumbelSoftmax
from scg.estimators.half import Half as Half
from scg.estimators.local_expectation import LocalExpectation as LocalExpectation
from scg.estimators.mean_propagation import MeanPropagation as MeanPropagation
from scg.estimators.muprop import MuProp as MuProp
from scg.estimators.pathwise import Pathwise as Pathwise
from scg.estimators.psa import PSA as PSA
from scg.estimators.rebar import REBAR as REBAR
from scg.estimators.reinmax import ReinMax as ReinMax
from scg.estimators.score_function import ScoreFunction as ScoreFunction
from scg.estimators.spsa import SPSA as SPSA
from scg.estimators.straight_through import StraightThrough as StraightThrough
from scg.estimators.sum_and_sample import SumAndSample as SumAndSample
from scg.estimators.weak_derivative import WeakDerivative as WeakDerivative
from scg.estimators.without_replacement import WithoutReplacement as WithoutReplacement
