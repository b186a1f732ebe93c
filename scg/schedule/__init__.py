"""Plans: from a program to a kernel in the loop language, which a backend writes down."""

from scg.schedule.measured import measured as measured
from scg.schedule.one_by_one import plan as plan
from scg.schedule.printer import printed as printed
