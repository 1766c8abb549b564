"""A georeferenced photograph: opened, described, fingerprinted, and warped to any grid."""

from tileserver.photo.proj_data import use_grids

# Before any CRS is looked up: PROJ_DATA may name a folder of grids without PROJ's database.
use_grids()
