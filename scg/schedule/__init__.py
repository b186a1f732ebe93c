"""Plans: from a program to a kernel in the loop language, which a backend writes down."""

from scg.schedule.measured import measured as measured
from scg.schedule.printer import printed as printed
from scg.schedule.whole import plan as plan
