"""The loop language: what a kernel is made of, whatever technology writes it down.

::

    kernel    = call, tile, end: block               once per range of replicates · per tile of W lanes · after these
    block     = statement*
    statement = Note | Let | Set | Store | Add | Sum | Tally | TallyCounted | If | Loop | Replicates | RowTiles
              | Contraction
              | Fill | Copy | Narrow | AddPartials | Cumulate | SumFromTheEnd       runs of a buffer
              | SumRows | SpreadRows | AddUp
              | FillUniform | FillElements | FillBelow | Sides | Recheck | Rounds   noise, draws, sampling loops
              | Invoke                                                              functions of the user's
              | LeaveOneOut | Groups | ByGroup                                      leave-one-out groups
              | Table                                                               statements as data
              | Observe | ObserveSums | ObserveConstants | ObserveTotals | Pivots   numbers of a range
              | Contrast | Compare
    place     = Element | Part | Leaf | Constant | GroupTotal | Recorded | Ascending | Weight | Var
    expr      = Var | Num | Load | Apply | Cast | Choose | Total | Product | Undecided
              | BelowAt | CategoryAt | CategoryAmong | IndexAmong | PartOf | OthersShare | Signed | AboutBase
              | Counted | ArrayOf
    test      = Within | Every | Some | Equal | Less | AtMost | Near
    index     = Num | Var | Plus | Times | Over | Rest | Beside | Lane | RowOf | Replicate

Types are ``"float32"``, ``"float64"``, ``"bool"``, ``"int"`` and ``"part"``, a run of lanes. A variable is given its
value once by `Let`; what `Set` gives one may change. Nothing here is text but names and notes.
"""

from scg.schedule.language.expressions import AboutBase as AboutBase
from scg.schedule.language.expressions import Apply as Apply
from scg.schedule.language.expressions import ArrayOf as ArrayOf
from scg.schedule.language.expressions import Ascending as Ascending
from scg.schedule.language.expressions import AtMost as AtMost
from scg.schedule.language.expressions import BelowAt as BelowAt
from scg.schedule.language.expressions import Beside as Beside
from scg.schedule.language.expressions import Buffer as Buffer
from scg.schedule.language.expressions import Cast as Cast
from scg.schedule.language.expressions import CategoryAmong as CategoryAmong
from scg.schedule.language.expressions import CategoryAt as CategoryAt
from scg.schedule.language.expressions import Choose as Choose
from scg.schedule.language.expressions import Constant as Constant
from scg.schedule.language.expressions import Counted as Counted
from scg.schedule.language.expressions import Element as Element
from scg.schedule.language.expressions import Equal as Equal
from scg.schedule.language.expressions import Every as Every
from scg.schedule.language.expressions import Expr as Expr
from scg.schedule.language.expressions import GroupTotal as GroupTotal
from scg.schedule.language.expressions import IndexAmong as IndexAmong
from scg.schedule.language.expressions import Lane as Lane
from scg.schedule.language.expressions import Leaf as Leaf
from scg.schedule.language.expressions import Less as Less
from scg.schedule.language.expressions import Load as Load
from scg.schedule.language.expressions import Near as Near
from scg.schedule.language.expressions import Num as Num
from scg.schedule.language.expressions import OthersShare as OthersShare
from scg.schedule.language.expressions import Over as Over
from scg.schedule.language.expressions import Part as Part
from scg.schedule.language.expressions import PartOf as PartOf
from scg.schedule.language.expressions import Place as Place
from scg.schedule.language.expressions import Plus as Plus
from scg.schedule.language.expressions import Product as Product
from scg.schedule.language.expressions import Recorded as Recorded
from scg.schedule.language.expressions import Replicate as Replicate
from scg.schedule.language.expressions import Rest as Rest
from scg.schedule.language.expressions import RowOf as RowOf
from scg.schedule.language.expressions import Signed as Signed
from scg.schedule.language.expressions import Some as Some
from scg.schedule.language.expressions import Times as Times
from scg.schedule.language.expressions import Total as Total
from scg.schedule.language.expressions import Undecided as Undecided
from scg.schedule.language.expressions import Var as Var
from scg.schedule.language.expressions import Weight as Weight
from scg.schedule.language.expressions import Within as Within
from scg.schedule.language.expressions import Words as Words
from scg.schedule.language.kernels import Kernel as Kernel
from scg.schedule.language.kernels import Sizes as Sizes
from scg.schedule.language.matrices import LANES as LANES
from scg.schedule.language.matrices import ROWS as ROWS
from scg.schedule.language.matrices import Matrices as Matrices
from scg.schedule.language.matrices import Matrix as Matrix
from scg.schedule.language.matrices import Stride as Stride
from scg.schedule.language.matrices import by_row as by_row
from scg.schedule.language.matrices import matrices_of as matrices_of
from scg.schedule.language.observations import Compare as Compare
from scg.schedule.language.observations import Contrast as Contrast
from scg.schedule.language.observations import Observe as Observe
from scg.schedule.language.observations import ObserveConstants as ObserveConstants
from scg.schedule.language.observations import ObserveSums as ObserveSums
from scg.schedule.language.observations import ObserveTotals as ObserveTotals
from scg.schedule.language.observations import Pivots as Pivots
from scg.schedule.language.observations import Run as Run
from scg.schedule.language.statements import Add as Add
from scg.schedule.language.statements import AddPartials as AddPartials
from scg.schedule.language.statements import AddUp as AddUp
from scg.schedule.language.statements import Block as Block
from scg.schedule.language.statements import ByGroup as ByGroup
from scg.schedule.language.statements import Contraction as Contraction
from scg.schedule.language.statements import Copy as Copy
from scg.schedule.language.statements import Cumulate as Cumulate
from scg.schedule.language.statements import Fill as Fill
from scg.schedule.language.statements import FillBelow as FillBelow
from scg.schedule.language.statements import FillElements as FillElements
from scg.schedule.language.statements import FillUniform as FillUniform
from scg.schedule.language.statements import Groups as Groups
from scg.schedule.language.statements import If as If
from scg.schedule.language.statements import Invoke as Invoke
from scg.schedule.language.statements import LeaveOneOut as LeaveOneOut
from scg.schedule.language.statements import Let as Let
from scg.schedule.language.statements import Location as Location
from scg.schedule.language.statements import Loop as Loop
from scg.schedule.language.statements import Narrow as Narrow
from scg.schedule.language.statements import Note as Note
from scg.schedule.language.statements import Operand as Operand
from scg.schedule.language.statements import Recheck as Recheck
from scg.schedule.language.statements import Replicates as Replicates
from scg.schedule.language.statements import Rounds as Rounds
from scg.schedule.language.statements import Row as Row
from scg.schedule.language.statements import RowTiles as RowTiles
from scg.schedule.language.statements import Set as Set
from scg.schedule.language.statements import Sides as Sides
from scg.schedule.language.statements import SpreadRows as SpreadRows
from scg.schedule.language.statements import Statement as Statement
from scg.schedule.language.statements import Store as Store
from scg.schedule.language.statements import Sum as Sum
from scg.schedule.language.statements import SumFromTheEnd as SumFromTheEnd
from scg.schedule.language.statements import SumRows as SumRows
from scg.schedule.language.statements import Table as Table
from scg.schedule.language.statements import Tally as Tally
from scg.schedule.language.statements import TallyCounted as TallyCounted
from scg.schedule.language.traverse import changed as changed
from scg.schedule.language.traverse import parts as parts
from scg.schedule.language.traverse import variables as variables
