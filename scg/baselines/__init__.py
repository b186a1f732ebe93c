"""Baselines: what is subtracted from a site's signal without changing its expectation. One a file."""

from scg.baselines.baseline import BASELINES as BASELINES
from scg.baselines.baseline import Baseline as Baseline
from scg.baselines.baseline import Subtracted as Subtracted
from scg.baselines.constant import Constant as Constant
from scg.baselines.expression import Expression as Expression
from scg.baselines.learned import Learned as Learned
from scg.baselines.leave_one_out import LeaveOneOut as LeaveOneOut
from scg.baselines.moving_average import MovingAverage as MovingAverage
from scg.baselines.optimal import Optimal as Optimal
from scg.baselines.vimco import VIMCO as VIMCO
