"""Textual widgets for numbers and pictures in a terminal. They know numpy, rich and textual, and nothing of any program.

Each is drawn through the Line API: painted into rows, compared with what stands on the screen, and only changed rows sent.
"""

from widgets.bars import Bars
from widgets.chart_parts import Curve, Guide, Mark
from widgets.facts import Facts
from widgets.frame_view import FrameView
from widgets.heat_map import HeatMap
from widgets.image_grid import ImageGrid
from widgets.line_chart import LineChart
from widgets.pixel_pad import PixelPad
from widgets.plane import Plane
from widgets.scatter import Scatter
from widgets.surface import Surface
from widgets.table_view import TableView
from widgets.token_strip import TokenStrip

__all__ = [
    "Bars",
    "Curve",
    "Facts",
    "FrameView",
    "Guide",
    "HeatMap",
    "ImageGrid",
    "LineChart",
    "Mark",
    "PixelPad",
    "Plane",
    "Scatter",
    "Surface",
    "TableView",
    "TokenStrip",
]
