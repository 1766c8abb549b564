"""Render a whole photograph ahead of time, into an archive or a folder of tiles."""

from tileserver.seed.area import Area
from tileserver.seed.plan import SeedPlan
from tileserver.seed.run import Outcome, Seeder

__all__ = ["Area", "Outcome", "SeedPlan", "Seeder"]
