"""Families of random variables, one file each, with all their capabilities.

A family never names an estimator: estimators *require* capabilities (methods), and find the families that have them.
"""

from scg.distributions.bernoulli import Bernoulli as Bernoulli
from scg.distributions.beta import Beta as Beta
from scg.distributions.categorical import Categorical as Categorical
from scg.distributions.contract import package_is_loaded as _loaded
from scg.distributions.custom import Custom as Custom
from scg.distributions.dirichlet import Dirichlet as Dirichlet
from scg.distributions.distribution import FAMILIES as FAMILIES
from scg.distributions.distribution import Distribution as Distribution
from scg.distributions.distribution import kl_divergence as kl_divergence
from scg.distributions.exponential import Exponential as Exponential
from scg.distributions.gamma import Gamma as Gamma
from scg.distributions.mixture import Mixture as Mixture
from scg.distributions.multivariate_normal import MultivariateNormal as MultivariateNormal
from scg.distributions.normal import Normal as Normal
from scg.distributions.one_hot_categorical import OneHotCategorical as OneHotCategorical
from scg.distributions.poisson import Poisson as Poisson
from scg.distributions.simulator import Simulator as Simulator
from scg.distributions.student_t import StudentT as StudentT
from scg.distributions.transformed import Transformed as Transformed
from scg.distributions.uniform import Uniform as Uniform

_loaded()
