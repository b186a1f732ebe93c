"""scg: a compiler for stochastic computation graphs.

Declare a `Graph` of parameters, samples and costs; `compile` derives the gradient estimator of its expected cost,
checks that it is unbiased or says why it is not, and lowers it to a kernel.

    g = scg.Graph()
    theta = g.param("theta")
    b = g.sample("b", scg.Bernoulli(logits=theta))
    g.cost("loss", (b - 0.45) ** 2)
    f = scg.compile(g)
    r = f({"theta": 0.3}, samples=1000, rng=0)  # r.cost, r.grad["theta"], r.stderr["theta"]

Models
    Graph, compile, exact, verify, compare, elbo; and what they return: EstimatorFunction, Estimate, Surrogate
Distributions
    Bernoulli, Beta, Categorical, Dirichlet, Exponential, Gamma, MultivariateNormal, Normal, OneHotCategorical, Poisson,
    StudentT, Uniform; Mixture, Transformed, Custom, Simulator; kl_divergence; Distribution, of which they are
    subclasses
Estimators
    ARM, ARMS, CARMS, Delta, DisARM, DoubleCV, DReG, Enumerate, FiniteDifferences, GradientCritic, GumbelRao,
    GumbelSoftmax, Half, LAX, LocalExpectation, MeanPropagation, MuProp, Pathwise, PSA, REBAR, ReinMax, RELAX, RODEO,
    ScoreFunction, SPSA, StochasticTriple, StraightThrough, SumAndSample, UpperBound, WeakDerivative,
    WithoutReplacement; for chains LikelihoodRatio, Phantoms, Regenerative, SPWD;
    Estimator, of which they are subclasses
Baselines
    Constant, Expression, Learned, LeaveOneOut, MovingAverage, Optimal, VIMCO
Functions of nodes, as of NumPy
    abs, clip, concatenate, cos, cumsum, dot, exp, expm1, floor, log, log1p, logaddexp, matmul, maximum, minimum, outer,
    power, sign, sin, sqrt, stack, take, tan, tanh, where
Functions of nodes, as of machine learning
    digamma, erf, lgamma, log_ndtr, log_softmax, logmeanexp, logsumexp, ndtr, ndtri, one_hot, relu, sigmoid, softmax,
    softplus; stop_gradient, assume_continuous
Compiled kernels
    cache_info, clear_cache
Training, in modules of their own
    nn, with `nn.dense`, `nn.mlp` and what weights start from; optim, with `optim.fit`, `optim.sgd` and `optim.adam`
Errors, also in the module `errors`
    SCGError, of which these are subclasses: BaselineError, CallError, CapabilityError, ConditionError,
    DeclarationError, EstimatorError, ExactError, LawError, NodeAttributeError, NodeUseError, NonFiniteError,
    ShapeError, UnknownAttribute, UnknownName
Parts of one's own
    extend, with all that authors of families, ops, estimators and baselines import, and `extend.check`
"""

from scg import extend as extend
from scg import names as names  # refuses names that are not here
from scg import nn as nn
from scg import ops as ops  # fills the registry of ops before anything else needs it
from scg import optim as optim
from scg.backend import cache_info as cache_info
from scg.backend import clear_cache as clear_cache
from scg.baselines import VIMCO as VIMCO
from scg.baselines import Constant as Constant
from scg.baselines import Expression as Expression
from scg.baselines import Learned as Learned
from scg.baselines import LeaveOneOut as LeaveOneOut
from scg.baselines import MovingAverage as MovingAverage
from scg.baselines import Optimal as Optimal
from scg.comparison import compare as compare
from scg.compile import compile as compile
from scg.distributions import Bernoulli as Bernoulli
from scg.distributions import Beta as Beta
from scg.distributions import Categorical as Categorical
from scg.distributions import Custom as Custom
from scg.distributions import Dirichlet as Dirichlet
from scg.distributions import Distribution as Distribution
from scg.distributions import Exponential as Exponential
from scg.distributions import Gamma as Gamma
from scg.distributions import Mixture as Mixture
from scg.distributions import MultivariateNormal as MultivariateNormal
from scg.distributions import Normal as Normal
from scg.distributions import OneHotCategorical as OneHotCategorical
from scg.distributions import Poisson as Poisson
from scg.distributions import Simulator as Simulator
from scg.distributions import StudentT as StudentT
from scg.distributions import Transformed as Transformed
from scg.distributions import Uniform as Uniform
from scg.distributions import kl_divergence as kl_divergence
from scg.elbo import elbo as elbo
from scg.errors import BaselineError as BaselineError
from scg.errors import CallError as CallError
from scg.errors import CapabilityError as CapabilityError
from scg.errors import ConditionError as ConditionError
from scg.errors import DeclarationError as DeclarationError
from scg.errors import EstimatorError as EstimatorError
from scg.errors import ExactError as ExactError
from scg.errors import LawError as LawError
from scg.errors import NodeAttributeError as NodeAttributeError
from scg.errors import NodeUseError as NodeUseError
from scg.errors import NonFiniteError as NonFiniteError
from scg.errors import SCGError as SCGError
from scg.errors import ShapeError as ShapeError
from scg.errors import UnknownAttribute as UnknownAttribute
from scg.errors import UnknownName as UnknownName
from scg.estimators import ARM as ARM
from scg.estimators import ARMS as ARMS
from scg.estimators import CARMS as CARMS
from scg.estimators import LAX as LAX
from scg.estimators import PSA as PSA
from scg.estimators import REBAR as REBAR
from scg.estimators import RELAX as RELAX
from scg.estimators import RODEO as RODEO
from scg.estimators import SPSA as SPSA
from scg.estimators import SPWD as SPWD
from scg.estimators import Delta as Delta
from scg.estimators import DisARM as DisARM
from scg.estimators import DoubleCV as DoubleCV
from scg.estimators import DReG as DReG
from scg.estimators import Enumerate as Enumerate
from scg.estimators import Estimator as Estimator
from scg.estimators import FiniteDifferences as FiniteDifferences
from scg.estimators import GradientCritic as GradientCritic
from scg.estimators import GumbelRao as GumbelRao
from scg.estimators import GumbelSoftmax as GumbelSoftmax
from scg.estimators import Half as Half
from scg.estimators import LikelihoodRatio as LikelihoodRatio
from scg.estimators import LocalExpectation as LocalExpectation
from scg.estimators import MeanPropagation as MeanPropagation
from scg.estimators import MuProp as MuProp
from scg.estimators import Pathwise as Pathwise
from scg.estimators import Phantoms as Phantoms
from scg.estimators import Regenerative as Regenerative
from scg.estimators import ReinMax as ReinMax
from scg.estimators import ScoreFunction as ScoreFunction
from scg.estimators import StochasticTriple as StochasticTriple
from scg.estimators import StraightThrough as StraightThrough
from scg.estimators import SumAndSample as SumAndSample
from scg.estimators import UpperBound as UpperBound
from scg.estimators import WeakDerivative as WeakDerivative
from scg.estimators import WithoutReplacement as WithoutReplacement
from scg.expectation.exact import exact as exact
from scg.export.surrogate import Surrogate as Surrogate
from scg.function import EstimatorFunction as EstimatorFunction
from scg.functions import abs as abs
from scg.functions import assume_continuous as assume_continuous
from scg.functions import clip as clip
from scg.functions import concatenate as concatenate
from scg.functions import cos as cos
from scg.functions import cumsum as cumsum
from scg.functions import digamma as digamma
from scg.functions import dot as dot
from scg.functions import erf as erf
from scg.functions import exp as exp
from scg.functions import expm1 as expm1
from scg.functions import floor as floor
from scg.functions import lgamma as lgamma
from scg.functions import log as log
from scg.functions import log1p as log1p
from scg.functions import log_ndtr as log_ndtr
from scg.functions import log_softmax as log_softmax
from scg.functions import logaddexp as logaddexp
from scg.functions import logmeanexp as logmeanexp
from scg.functions import logsumexp as logsumexp
from scg.functions import matmul as matmul
from scg.functions import maximum as maximum
from scg.functions import minimum as minimum
from scg.functions import ndtr as ndtr
from scg.functions import ndtri as ndtri
from scg.functions import one_hot as one_hot
from scg.functions import outer as outer
from scg.functions import power as power
from scg.functions import relu as relu
from scg.functions import sigmoid as sigmoid
from scg.functions import sign as sign
from scg.functions import sin as sin
from scg.functions import softmax as softmax
from scg.functions import softplus as softplus
from scg.functions import sqrt as sqrt
from scg.functions import stack as stack
from scg.functions import stop_gradient as stop_gradient
from scg.functions import take as take
from scg.functions import tan as tan
from scg.functions import tanh as tanh
from scg.functions import where as where
from scg.graph import Graph as Graph
from scg.run.estimate import Estimate as Estimate
from scg.verification import verify as verify

__version__ = "0.1.0"

names.settle()
