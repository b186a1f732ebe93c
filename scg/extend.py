"""The one door for authors of families, ops, baselines and estimators: what they need beside the public names of `scg`.

The pages in ``docs/`` on adding a distribution, an op, a baseline or an estimator import nothing else.
"""

from scg.baselines.baseline import Baseline as Baseline
from scg.baselines.baseline import Subtracted as Subtracted
from scg.distributions.distribution import Distribution as Distribution
from scg.distributions.distribution import Triple as Triple
from scg.distributions.distribution import divergence as divergence
from scg.errors import Problem as Problem
from scg.estimators.estimator import Estimator as Estimator
from scg.ir.constraints import Constraint as Constraint
from scg.ir.constraints import Support as Support
from scg.ir.constraints import log_weights as log_weights
from scg.ir.constraints import lower_triangular as lower_triangular
from scg.ir.constraints import nonnegative as nonnegative
from scg.ir.constraints import nonnegative_integers as nonnegative_integers
from scg.ir.constraints import positive as positive
from scg.ir.constraints import positive_numbers as positive_numbers
from scg.ir.constraints import positive_vector as positive_vector
from scg.ir.constraints import real as real
from scg.ir.constraints import real_line as real_line
from scg.ir.constraints import real_vector as real_vector
from scg.ir.constraints import real_vectors as real_vectors
from scg.ir.constraints import simplex as simplex
from scg.ir.constraints import unit_interval as unit_interval
from scg.ir.constraints import unit_interval_values as unit_interval_values
from scg.ir.constraints import weights as weights
from scg.ir.interval import Interval as Interval
from scg.ir.node import Node as Node
from scg.ir.node import NodeLike as NodeLike
from scg.ir.node import apply as apply
from scg.ir.node import make as make
from scg.ir.op import Pole as Pole
from scg.ops.arithmetic import BLOCK as BLOCK
from scg.ops.arithmetic import JUMP as JUMP
from scg.ops.arithmetic import KINK as KINK
from scg.ops.arithmetic import elementwise as elementwise
from scg.ops.implicit import implicit as implicit
from scg.ops.leaves import per_element as per_element
from scg.ops.leaves import split as split
from scg.ops.leaves import state as state
from scg.ops.measure import expect as expect
from scg.ops.randomness import below as below
from scg.ops.randomness import category as category
from scg.ops.randomness import draw_until as draw_until
from scg.ops.randomness import normal as normal
from scg.ops.randomness import uniform as uniform
from scg.ops.structure import moving as moving
from scg.surrogate.draft import Draft as Draft
from scg.surrogate.draft import Objective as Objective
from scg.surrogate.draft import StateUpdate as StateUpdate
from scg.surrogate.several_sites import Together as Together
from scg.surrogate.site import Site as Site
from scg.surrogate.whole_graph import Whole as Whole
